"""Every command over the files of others: InsightFace's layout with wide labels, im2rec.py's, pickles of all kinds."""
import csv
import json

import mxnet as mx
import numpy as np
import pytest
from im2rec import im2rec
from recordio_cases import command, drawn_faces, picture
from small_sets import jpeg

from recordio_tools.bins.binfile import read_bin
from recordio_tools.records.dataset import open_dataset
from stress.fuzzing import pickles

PEOPLE, IMAGES = 3, 4


def insightface(folder):
    """A set as InsightFace's packer makes it of a list: image labels [identity, 0] and headers by mx.recordio, the
    identities' ones behind the images and record 0 before them; returns {label: images}."""
    folder.mkdir()
    record = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "w")

    def write(key, flag, label, content):
        record.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(flag, label, key, 0), content))

    total = PEOPLE * IMAGES + 1
    write(0, 2, [float(total), float(total + PEOPLE)], b"")
    expected = {}
    for key in range(1, total):
        label = (key - 1) // IMAGES
        expected.setdefault(label, []).append(jpeg(picture(key)))
        write(key, 2, [float(label), 0.0], expected[label][-1])
    for label in range(PEOPLE):
        write(total + label, 2, [float(1 + label * IMAGES), float(1 + (label + 1) * IMAGES)], b"")
    record.close()
    (folder / "property").write_text(f"{PEOPLE},112,112")
    return expected


def by_im2rec(folder, *flags):
    """A set of MXNet's own im2rec.py, shuffled by it, in one file."""
    faces = drawn_faces(folder / "faces", PEOPLE, IMAGES)
    expected = {label: [path.read_bytes() for path in sorted((faces / f"person{label}").iterdir())]
                for label in range(PEOPLE)}
    (folder / "set").mkdir()
    for argv in (("--list", "--recursive"), ("--pass-through", "--num-thread", "1", *flags)):
        im2rec(*argv, folder / "set/train", faces)
    return expected


@pytest.fixture(scope="module", params=["insightface", "im2rec", "im2rec, packed labels"])
def foreign(request, tmp_path_factory):
    """(folder of a set of others, {label: images, sorted})."""
    folder = tmp_path_factory.mktemp("foreign")
    if request.param == "insightface":
        expected = insightface(folder / "set")
    else:
        expected = by_im2rec(folder, *(["--pack-label"] if "labels" in request.param else []))
    return folder / "set", {label: sorted(images) for label, images in expected.items()}


def by_label(folder):
    """{label: images, sorted} by MXNet's reader; header records left out."""
    record = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "r")
    found = {}
    for key in record.keys:
        header, image = mx.recordio.unpack(record.read_idx(key))
        if image:
            found.setdefault(int(np.atleast_1d(header.label)[0]), []).append(image)
    return {label: sorted(images) for label, images in found.items()}


def test_it_is_what_mxnet_reads_and_sound(foreign, capsys):
    folder, expected = foreign
    assert by_label(folder) == expected
    assert command("check", folder, "--json") == (0, "")
    assert json.loads(capsys.readouterr().out)["sound"]
    assert command("info", folder, "--json") == (0, "")
    info = json.loads(capsys.readouterr().out)[0]
    assert (info["images"], info["identities"], info["sizes"]) == (PEOPLE * IMAGES, PEOPLE, {"112x112": 12})
    assert len(open_dataset(folder)) == PEOPLE * IMAGES


def test_unpacked_and_packed_again(foreign, tmp_path):
    folder, expected = foreign
    assert command("unpack", folder, tmp_path / "out") == (0, "")
    found = {label: sorted(path.read_bytes() for path in (tmp_path / f"out/{label}").iterdir())
             for label in range(PEOPLE)}
    assert found == expected
    assert command("pack", tmp_path / "out", tmp_path / "again")[0] == 0
    assert by_label(tmp_path / "again") == expected


@pytest.mark.parametrize("plain", [[], ["--plain"]])
def test_merged_and_repaired(foreign, tmp_path, plain):
    folder, expected = foreign
    assert command("merge", tmp_path / "out", folder, *plain) == (0, "")
    assert by_label(tmp_path / "out") == expected and command("check", tmp_path / "out") == (0, "")
    assert command("check", folder, "--repair", tmp_path / "same") == (0, "")
    assert by_label(tmp_path / "same") == expected


def test_image_record_iter_shares_out_and_shuffles_what_merge_writes(foreign, tmp_path):
    folder, expected = foreign
    assert command("merge", tmp_path / "out", folder, "--plain") == (0, "")
    pixels = {mx.image.imdecode(image).asnumpy().tobytes(): label
              for label, images in expected.items() for image in images}
    seen = []
    for part in range(2):
        batches = mx.io.ImageRecordIter(path_imgrec=str(tmp_path / "out/train.rec"), data_shape=(3, 112, 112),
                                        path_imgidx=str(tmp_path / "out/train.idx"), batch_size=3, shuffle=True,
                                        num_parts=2, part_index=part, preprocess_threads=1)
        for batch in batches:
            for image, label in zip(batch.data[0].asnumpy(), batch.label[0].asnumpy()):
                key = image.transpose(1, 2, 0).astype(np.uint8).tobytes()
                assert pixels[key] == label
                seen.append(key)
    assert sorted(seen) == sorted(pixels)


def test_bins_of_every_python_and_numpy_by_every_command(tmp_path, capsys):
    images = [jpeg(picture(number)) for number in range(12)]
    expected = [*images, *images[::-1]]
    for number, content in enumerate(pickles.sets(images)):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(content)
        assert read_bin(path)[0] == expected
        assert command("check", path) == (0, "")
        assert command("unpack", path, tmp_path / f"out{number}") == (0, "")
        rows = list(csv.DictReader(open(tmp_path / f"out{number}/pairs.csv")))
        sides = [row[side] for row in rows for side in ("left", "right")]
        assert [(tmp_path / f"out{number}" / side).read_bytes() for side in sides] == expected
        assert [row["same"] for row in rows] == ["1", "0"] * 6
    capsys.readouterr()
    assert command("info", tmp_path, "--json") == (0, "")
    told = json.loads(capsys.readouterr().out)
    assert len(told) == number + 1 == 13 and {(one["pairs"], one["same"]) for one in told} == {(12, 6)}
