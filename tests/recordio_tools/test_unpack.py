"""unpack: every byte comes back, labels survive, no name leads out of OUT, and nothing half-made stays."""
import csv
import errno
import filecmp
import os
import pickle

import cv2
import mxnet as mx
import numpy as np
import pytest
from recordio_cases import command, drawn_faces, picture, real_faces, write_image
from small_sets import jpeg, write_training_set, write_verification_set

from images.folder_names import folder_names, is_safe
from recordio_tools.bins.binfile import write_bin
from recordio_tools.records.dataset import open_dataset
from recordio_tools.unpack import unpacking


def contents(path):
    """(label, image bytes) of all images, in the order of MXNet's own reader."""
    record = mx.recordio.MXIndexedRecordIO(str(path / "train.idx"), str(path / "train.rec"), "r")
    pairs = [mx.recordio.unpack(record.read_idx(key)) for key in record.keys]
    return [(int(np.atleast_1d(header.label)[0]), image) for header, image in pairs if image]


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("by_list", [False, True])
def test_real_faces_there_and_back(shared_data, tmp_path, by_list, workers):
    real_faces(shared_data, tmp_path / "faces", identities=12, images=3)
    assert command("pack", tmp_path / "faces", tmp_path / "set", "--workers", 1)[0] == 0
    assert command("unpack", tmp_path / "set", tmp_path / "out", "--workers", workers) == (0, "")
    names = [path.name for path in sorted((tmp_path / "faces").iterdir())]
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == names
    listed = ["--lst", tmp_path / "out/unpack.lst"] if by_list else []
    assert command("pack", tmp_path / "out", tmp_path / "again", "--workers", 1, *listed)[0] == 0
    assert filecmp.cmp(tmp_path / "set/train.rec", tmp_path / "again/train.rec", shallow=False)
    if not by_list:
        assert filecmp.cmp(tmp_path / "set/identities.csv", tmp_path / "again/identities.csv", shallow=False)


def test_a_set_of_mxnets_packer_without_names(tmp_path):
    folder = write_training_set(tmp_path / "set", identities=11, images=2, size=48)
    assert command("unpack", folder, tmp_path / "out") == (0, "")
    assert (tmp_path / "out/00/1.jpg").is_file() and (tmp_path / "out/10/22.jpg").is_file()
    assert command("pack", tmp_path / "out", tmp_path / "again", "--image-size", "48,48")[0] == 0
    assert contents(tmp_path / "again") == contents(folder)


def test_labels_in_another_order_than_the_names(tmp_path):
    drawn_faces(tmp_path / "faces", identities=12, images=2)
    assert command("pack", tmp_path / "faces", tmp_path / "set", "--shuffle", "--seed", 5)[0] == 0
    assert command("unpack", tmp_path / "set", tmp_path / "out") == (0, "")
    names = [row["identity"] for row in csv.DictReader(open(tmp_path / "set/identities.csv"))]
    rows = list(csv.DictReader(open(tmp_path / "out/identities.csv")))
    assert [row["identity"] for row in rows] == names
    assert [row["folder"] for row in rows] == [f"{label:02d}_{name}" for label, name in enumerate(names)]
    assert command("pack", tmp_path / "out", tmp_path / "again")[0] == 0
    assert contents(tmp_path / "again") == contents(tmp_path / "set")


def test_parts_wide_labels_and_shuffled_records(tmp_path):
    expected = {}
    for part, keys in enumerate(([7, 2, 9], [4, 1])):
        record = mx.recordio.MXIndexedRecordIO(str(tmp_path / f"x_{part}.idx"), str(tmp_path / f"x_{part}.rec"), "w")
        for key in keys:
            image = jpeg(picture(key))
            record.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, [key % 3, 5.0, 6.0], key, 0), image))
            expected[f"{key % 3}/{key}.jpg"] = image
        record.close()
    assert command("unpack", tmp_path / "x", tmp_path / "out") == (0, "")
    for name, image in expected.items():
        assert (tmp_path / "out" / name).read_bytes() == image
    assert (tmp_path / "out/unpack.lst").read_text() == "".join(
        f"1\t{key % 3}/{key}.jpg\t{key % 3}\n" for key in (9, 7, 4, 1, 2))
    assert len(tree(tmp_path / "out")) == 5 + 3


def test_kinds_of_images_and_labels_without_any(tmp_path, caplog):
    record = mx.recordio.MXIndexedRecordIO(str(tmp_path / "train.idx"), str(tmp_path / "train.rec"), "w")
    png = cv2.imencode(".png", picture(0))[1].tobytes()
    for key, (label, content) in enumerate([(0, png), (0, jpeg(picture(1))), (2, b"\0\1no image")]):
        record.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, float(label), key, 0), content))
    record.close()
    assert command("unpack", tmp_path, tmp_path / "out") == (0, "")
    assert tree(tmp_path / "out")[:3] == ["0/0.png", "0/1.jpg", "2/2.unknown"]
    assert (tmp_path / "out/2/2.unknown").read_bytes() == b"\0\1no image"
    assert "1 labels have no image" in caplog.text and "1 images are of an unknown format" in caplog.text


HOSTILE = ["../../escaped", "/tmp/escaped", "a/b", "..", ".", ".hidden", "", "a\nb", "a\\b", "x" * 300, "tab\t",
           "unpack.lst", "identities.csv"]


def test_hostile_names_stay_inside(tmp_path):
    folder = write_training_set(tmp_path / "set", identities=len(HOSTILE), images=1, size=32)
    with open(folder / "identities.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([("label", "identity"), *enumerate(HOSTILE)])
    assert command("unpack", folder, tmp_path / "a/b/out") == (0, "")
    assert os.listdir(tmp_path / "a/b") == ["out"]
    assert len(tree(tmp_path / "a/b/out")) == len(HOSTILE) + 3
    assert sorted(os.listdir(tmp_path)) == ["a", "set"]


@pytest.mark.parametrize("name", [*HOSTILE, "nul\0", "\ud800"])
def test_each_hostile_name(tmp_path, name):
    if name not in ("unpack.lst", "identities.csv"):
        assert not is_safe(name)
    got = folder_names(range(3), ["A", name, "Z"], taken=("unpack.lst", "identities.csv"))
    assert [label[0] for label in got] == ["0", "1", "2"]
    assert all(is_safe(label) and (tmp_path / label).resolve().parent == tmp_path.resolve() for label in got)


def test_names_that_can_stay():
    for names in (["A", "b\u00f6", "\u5f20\u4e09"], ["n1", "n2", "n10"], ["a\udcff"], ["A B", "A'B"]):
        assert folder_names(range(len(names)), names) == names
    assert folder_names([0, 1], ["n10", "n2"]) == ["0_n10", "1_n2"]
    assert folder_names([0, 1], ["Ann", "ann"]) == ["0_Ann", "1_ann"]
    assert folder_names([3, 11], ["e\u0301", "\u00e9"]) == ["03_e\u0301", "11_\u00e9"]
    assert folder_names(range(11), [""] * 11) == [f"{label:02d}" for label in range(11)]
    assert folder_names([5, 16777215], ["", "Ann"]) == ["00000005", "16777215_Ann"]


def test_a_bin_there_and_back(tmp_path):
    images = [jpeg(picture(seed)) for seed in range(13)]
    sides = [images[seed] for pair in range(20) for seed in (pair % 5, (pair * 7) % 13)]
    write_bin(tmp_path / "a.bin", sides, [pair % 2 == 0 for pair in range(20)])
    assert command("unpack", tmp_path / "a.bin", tmp_path / "out") == (0, "")
    assert len(os.listdir(tmp_path / "out/images")) == 13
    assert command("pairs", "csv", "--pairs", tmp_path / "out/pairs.csv", "--out", tmp_path / "b.bin") == (0, "")
    assert filecmp.cmp(tmp_path / "a.bin", tmp_path / "b.bin", shallow=False)
    write_verification_set(tmp_path / "c.bin", pairs=20, size=48)
    assert command("unpack", tmp_path / "c.bin", tmp_path / "out2") == (0, "")
    assert command("pairs", "csv", "--pairs", tmp_path / "out2/pairs.csv", "--out", tmp_path / "d.bin", "--image-size",
                   "48,48") == (0, "")
    assert pickle.loads((tmp_path / "d.bin").read_bytes()) == pickle.loads((tmp_path / "c.bin").read_bytes())


@pytest.mark.parametrize("target", ["out", "nowhere"])
def test_an_out_that_is_a_link_to_nothing_is_refused_before_the_work(tmp_path, target):
    (tmp_path / "out").symlink_to(target)
    folder = write_training_set(tmp_path / "set", identities=2, images=1)
    for argv in (("unpack", folder, tmp_path / "out"), ("check", folder, "--repair", tmp_path / "out"),
                 ("synth", tmp_path / "out")):
        status, line = command(*argv)
        assert status == 2 and line.endswith("out: is a link to nothing, not a folder; name a folder to write to"), line


def test_an_out_that_is_in_use(tmp_path):
    folder = write_training_set(tmp_path / "set", identities=2, images=2, size=32)
    (tmp_path / "out").mkdir()
    assert command("unpack", folder, tmp_path / "out") == (0, "")  # empty
    before = tree(tmp_path / "out")
    assert "is not empty" in command("unpack", folder, tmp_path / "out")[1]
    (tmp_path / "out/0/more.jpg").write_bytes(b"x")
    assert command("unpack", folder, tmp_path / "out", "--overwrite") == (0, "")
    assert tree(tmp_path / "out") == before
    write_image(tmp_path / "mine/a.jpg", picture())
    for target, message in ((tmp_path / "mine", "was not written by this command"),
                            (folder / "train.rec", "is a file")):
        status, line = command("unpack", folder, target, "--overwrite")
        assert status == 2 and message in line
    assert tree(tmp_path / "mine") == ["a.jpg"]
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert command("unpack", folder, tmp_path / "link", "--overwrite") == (0, "")
    assert (tmp_path / "link").is_symlink() and sorted(os.listdir(tmp_path)) == ["link", "mine", "out", "set"]


@pytest.mark.parametrize("failure, status", [(OSError(errno.ENOSPC, "No space left on device"), 1),
                                             (KeyboardInterrupt(), None)])
def test_what_is_cut_short_leaves_nothing_and_keeps_what_was_there(tmp_path, monkeypatch, failure, status):
    folder = write_training_set(tmp_path / "set", identities=4, images=20, size=32)
    assert command("unpack", folder, tmp_path / "out") == (0, "")
    before = tree(tmp_path / "out")
    written = []

    def fail(*args):
        written.append(args)
        if len(written) == 50:
            raise failure
        return "JPEG"

    monkeypatch.setattr(unpacking, "kind_of", fail)
    for target in ("out", "new"):
        written.clear()
        if status is None:
            with pytest.raises(KeyboardInterrupt):
                command("unpack", folder, tmp_path / target, "--overwrite", "--workers", 2)
        else:
            got, line = command("unpack", folder, tmp_path / target, "--overwrite", "--workers", 2)
            assert got == status and "the disk is full" in line and str(tmp_path / target) in line
    assert tree(tmp_path / "out") == before and sorted(os.listdir(tmp_path)) == ["out", "set"]


def test_sets_that_are_not_sound_are_refused_with_nothing_written(tmp_path):
    folder = write_training_set(tmp_path / "set", identities=3, images=2, size=32)
    rec = (folder / "train.rec").read_bytes()
    (folder / "train.rec").write_bytes(rec[:-8])
    status, line = command("unpack", folder, tmp_path / "out")
    assert status == 2 and "truncated" in line
    (folder / "train.rec").write_bytes(rec)
    (folder / "identities.csv").write_text("label,identity\nx,Ann\n")
    status, line = command("unpack", folder, tmp_path / "out")
    assert status == 2 and "identities.csv: line 2" in line
    assert sorted(os.listdir(tmp_path)) == ["set"]
    assert len(open_dataset(folder)) == 6
