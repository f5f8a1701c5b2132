"""check of sets in several `.rec` files: labels, and images that stand there twice, over all of them."""
import json

import pytest
from recordio_cases import command, picture
from small_sets import jpeg

from recordio_tools.records import framing
from recordio_tools.records.writer import RecordWriter


def plain_part(path, labels, first_key=0, indexed=True):
    """A `.rec` as im2rec writes it; returns the offset of each record."""
    with RecordWriter(path, path.with_suffix(".idx") if path.suffix == ".rec" else None) as writer:
        offsets = [writer.write(first_key + number, framing.pack(float(label), first_key + number,
                                                                 jpeg(picture(first_key + number))))
                   for number, label in enumerate(labels)]
    if not indexed:
        writer.idx_path.unlink()
    return offsets


@pytest.mark.parametrize("names", [["faces_0.rec", "faces_1.rec"], ["faces.rec.part000", "faces.rec.part001"]])
def test_labels_are_considered_over_all_parts_of_a_set(tmp_path, capsys, names):
    plain_part(tmp_path / names[0], [0, 2, 0])
    offsets = plain_part(tmp_path / names[1], [4, 1, 5], 3)
    for argv in ([tmp_path], [tmp_path / "faces"], [tmp_path / names[1], tmp_path / names[0]]):
        assert command("check", *argv, "--json") == (1, "")
        report = json.loads(capsys.readouterr().out)
        assert [file["path"] for file in report["files"]] == [str(tmp_path / name) for name in names]
        assert report["files"][0]["sound"] and report["files"][0]["faults"] == []
        gap, = report["files"][1]["faults"]
        assert (gap["kind"], gap["count"], gap["file"], gap["first_byte"]) == ("label-gap", 1, "rec", offsets[0])
    assert command("check", tmp_path / names[0]) == (0, "")  # one of several: labels may be missing
    plain_part(tmp_path / names[0], [0, 2, 3])
    assert command("check", tmp_path) == (0, "")


def test_one_image_under_two_labels_is_noted_where_it_comes_again(tmp_path, capsys):
    plain_part(tmp_path / "a_0.rec", [0, 1])
    offsets = plain_part(tmp_path / "a_1.rec", [1, 0])
    command("check", tmp_path / "a", "--json")
    first, second = json.loads(capsys.readouterr().out)["files"]
    assert first["notes"] == [] and second["notes"][0]["count"] == 2 and second["notes"][0]["first_byte"] == offsets[0]
