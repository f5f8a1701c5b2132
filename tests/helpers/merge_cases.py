"""What tests of several files use of merge."""
import csv
import json

import cv2
import mxnet as mx
import pytest
from recordio_cases import command, picture, write_image


def contents(folder):
    """{label: [image bytes]} by MXNet's reader, the header records checked on the way."""
    record = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "r")
    zero, _ = mx.recordio.unpack(record.read_idx(0))
    found, after = {}, 1
    for label, key in enumerate(range(*zero.label.astype(int))):
        header, content = mx.recordio.unpack(record.read_idx(key))
        first, end = header.label.astype(int)
        assert first == after and not content and header.id == key
        for image_key in range(first, end):
            image, data = mx.recordio.unpack(record.read_idx(image_key))
            assert image.label == label and image.id == image_key and image.flag == 0
            found.setdefault(label, []).append(data)
        after = end
    assert after == zero.label[0] and len(record.keys) == zero.label[1]
    assert (folder / "property").read_text().startswith(f"{len(found)},")
    return found


def named_set(folder, people, size=(112, 112)):
    """pack folders of {name: seeds of its pictures}."""
    for name, seeds in people.items():
        for seed in seeds:
            write_image(folder / "faces" / name / f"{seed}.jpg", picture(seed, *size))
    assert command("pack", folder / "faces", folder / "set", "--workers", 1, "--image-size",
                   "{},{}".format(*size))[0] == 0
    return folder / "set"


def images(seeds):
    return [cv2.imencode(".jpg", picture(seed)[..., ::-1])[1].tobytes() for seed in seeds]


def names(folder):
    return [row["identity"] for row in csv.DictReader(open(folder / "identities.csv", encoding="utf-8"))]


def report(folder):
    return json.loads((folder / "merge-report.json").read_text("utf-8"))


@pytest.fixture
def two(tmp_path):
    return (named_set(tmp_path / "a", {"Ann": [1, 2, 3], "Bob Roy": [4, 5], "Cy": [6]}),
            named_set(tmp_path / "b", {"ann": [2, 7], "bob_roy": [8], "Dee": [9, 10]}))
