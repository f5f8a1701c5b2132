"""merge sees what the images hold: copies under several identities, and images that a sound set must not have."""
from __future__ import annotations

import json

import cv2
import pytest
from recordio_cases import command, picture

from recordio_tools.records import framing
from recordio_tools.records.framing import MAGIC_BYTES
from recordio_tools.records.writer import RecordWriter


def jpeg(seed, size=112):
    return cv2.imencode(".jpg", picture(seed, size, size))[1].tobytes()


def write_set(folder, images, names=None):
    """A plain set of (label, encoded image), perhaps with names."""
    with RecordWriter(folder / "train.rec") as writer:
        for key, (label, image) in enumerate(images):
            writer.write(key, framing.pack(float(label), key, image))
    if names:
        (folder / "identities.csv").write_text("label,identity\n" + "".join(
            f"{label},{name}\n" for label, name in enumerate(names)))
    return folder


def report(folder):
    return json.loads((folder / "merge-report.json").read_text())


@pytest.mark.parametrize("names, way", [((["Ann", "Bob"], ["Ann", "Bob"]), "--same-name join"),
                                        ((["Ann", "Bob"], ["Cid", "Dan"]), "--duplicates join")])
def test_the_same_images_under_several_identities_are_told(tmp_path, caplog, names, way):
    images = [(0, jpeg(1)), (0, jpeg(2)), (1, jpeg(3)), (1, jpeg(4)[:-2] + MAGIC_BYTES * 3 + b"\xff\xd9")]
    one, two = (write_set(tmp_path / name, images, people) for name, people in zip("ab", names))
    assert command("merge", tmp_path / "out", one, two) == (0, "")
    told = report(tmp_path / "out")["images_of_several_identities"]
    assert told["count"] == 8 and [entry["images"] for entry in told["identities"]] == [2, 2]
    assert "8 images stand under several identities" in caplog.text and way in caplog.text
    assert command("check", tmp_path / "out") == (0, "")
    if way == "--same-name join":  # what the message advises
        caplog.clear()
        assert command("merge", tmp_path / "joined", one, two, "--same-name", "join") == (0, "")
        assert "several identities" not in caplog.text
        assert report(tmp_path / "joined")["repeated_images_left_out"] == 4


def test_images_that_would_make_the_set_unsound_are_left_out(tmp_path):
    images = [(0, jpeg(1)), (0, b"no image"), (0, jpeg(2)), (0, jpeg(6)[:-200]), (1, jpeg(3)), (1, jpeg(4, 96))]
    assert command("merge", tmp_path / "out", write_set(tmp_path / "a", images),
                   write_set(tmp_path / "b", [(0, jpeg(7)), (1, jpeg(8))])) == (0, "")
    told = report(tmp_path / "out")
    assert told["unusable_images_left_out"] == 3 and told["images"] == 5 and told["repeated_images_left_out"] == 0
    assert command("check", tmp_path / "out") == (0, "")


def test_an_identity_without_a_usable_image_is_named(tmp_path):
    images = [(0, jpeg(1)), (0, jpeg(2)), (1, b"no image"), (2, jpeg(3))]
    folder = write_set(tmp_path / "a", images, ["Ann", "Bob", "Cid"])
    status, line = command("merge", tmp_path / "out", folder)
    assert status == 2 and "no image of Bob" in line and not (tmp_path / "out").exists()
    (tmp_path / "x.csv").write_text("identity\nBob\n")
    assert command("merge", tmp_path / "out", folder, "--exclude", tmp_path / "x.csv") == (0, "")
    assert command("check", tmp_path / "out") == (0, "")
