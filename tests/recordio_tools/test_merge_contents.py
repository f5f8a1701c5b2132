"""merge sees what the images hold: copies under several identities, and images that a sound set must not have."""
from __future__ import annotations

import csv
import json

import cv2
import pytest
from recordio_cases import command, packed_images, picture

from recordio_tools.merge import shared_images
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
def test_the_same_images_under_several_identities_are_reported(tmp_path, caplog, names, way):
    images = [(0, jpeg(1)), (0, jpeg(2)), (1, jpeg(3)), (1, jpeg(4)[:-2] + MAGIC_BYTES * 3 + b"\xff\xd9")]
    one, two = (write_set(tmp_path / name, images, people) for name, people in zip("ab", names))
    assert command("merge", tmp_path / "out", one, two) == (0, "")
    told = report(tmp_path / "out")["images_of_several_identities"]
    assert told["count"] == 8 and [entry["images"] for entry in told["identities"]] == [2, 2]
    assert "8 images occur under several identities" in caplog.text and way in caplog.text
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


@pytest.mark.parametrize("plain", [(), ("--plain",)])
def test_unusable_images_do_not_count_for_the_least_images(tmp_path, plain):
    images = [(label, jpeg(10 * label + number)) for label in range(4) for number in range(2)]
    images[2], images[6], images[7] = (1, jpeg(1, 100)), (3, b"no image"), (3, jpeg(2, 100))
    write_set(tmp_path / "a", images)
    assert command("merge", tmp_path / "out", tmp_path / "a", "--min-images", "2", *plain) == (0, "")
    packed = [images[place] for place in (0, 1, 4, 5)]
    assert packed_images(tmp_path / "out") == [image for _, image in packed]
    assert command("check", tmp_path / "out") == (0, "")
    told = report(tmp_path / "out")
    assert told["removed"] == {"fewer than 2 images": {"identities": 2, "images": 4}}
    assert told["images"] == 4 and told["unusable_images_left_out"] == 0


@pytest.mark.parametrize("action", ["join", "drop"])
def test_identities_of_the_same_images_are_made_one_without_a_model(tmp_path, action):
    """Ann's images are in b whole, Bob's to a half, Cid's to a third; one image is everybody's."""
    odd = jpeg(5)[:-2] + MAGIC_BYTES * 3 + b"\xff\xd9"
    one = [("Ann", [jpeg(1), jpeg(2)]), ("Bob", [jpeg(3), odd]), ("Cid", [jpeg(7), jpeg(8), jpeg(9)])]
    two = [("x", [jpeg(2), jpeg(1), jpeg(20)]), ("y", [odd, jpeg(21), jpeg(22)]), ("z", [jpeg(9), jpeg(23), jpeg(24)])]
    folders = []
    for folder, people in (("a", one), ("b", two)):
        images = [(label, image) for label, (_, own) in enumerate(people) for image in own]
        folders.append(write_set(tmp_path / folder, images, [name for name, _ in people]))
    assert command("merge", tmp_path / "out", *folders, "--duplicates", action) == (0, "")
    expected = [one[0][1] + two[0][1][2:], one[1][1] + two[1][1][1:]] if action == "join" else [one[0][1], one[1][1]]
    expected += [one[2][1], two[2][1]]
    assert packed_images(tmp_path / "out") == [image for own in expected for image in own]
    with open(tmp_path / "out/matches.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["identity"], row["other_identity"], float(row["similarity"])) for row in rows] == [
        ("x", "Ann", 1.0), ("y", "Bob", 0.5)]
    assert report(tmp_path / "out")["identities"] == 4
    status, line = command("merge", tmp_path / "no", *folders, "--overlap-with", folders[1])
    assert status == 2 and "--overlap-with compares embeddings" in line


def test_an_image_of_all_identities_merges_none(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_images, "MOST_HOLDERS", 3)
    images = [(label, image) for label in range(4) for image in (jpeg(0), jpeg(10 + label))]
    folder = write_set(tmp_path / "a", images)
    assert command("merge", tmp_path / "out", folder, "--duplicates", "join") == (0, "")
    assert report(tmp_path / "out")["identities"] == 4
    assert command("merge", tmp_path / "one", write_set(tmp_path / "b", images[:6]), "--duplicates", "join")[0] == 2
