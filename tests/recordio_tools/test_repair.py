"""check --repair: what is saved is sound, byte for byte what it was, and the report tells what was lost."""
import csv
import json
import os
import pickle

import numpy as np
import pytest
from check_cases import check_rec
from recordio_cases import command, picture
from small_sets import jpeg, write_training_set, write_verification_set

from recordio_tools.bins.binfile import read_bin, write_bin
from recordio_tools.records import framing
from recordio_tools.records.dataset import open_dataset
from recordio_tools.records.recordio import RecordFile
from recordio_tools.records.writer import RecordWriter


@pytest.fixture
def folder(tmp_path):
    return write_training_set(tmp_path / "set", identities=5, images=4)


def records(folder):
    """[(label, image)] of a set's image records."""
    dataset = open_dataset(folder)
    with dataset.record_file as file:
        return [(label, file.read(key).content) for key, label in zip(dataset.keys.tolist(), dataset.labels.tolist())]


def snapshot(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def repaired(folder, out, status=1):
    """The report of repairing; the source is as before, the result sound."""
    before = snapshot(folder)
    assert command("check", folder, "--repair", out) == (status, "")
    assert snapshot(folder) == before
    assert command("check", out) == (0, "")
    return json.loads((out / "repair-report.json").read_text())


@pytest.mark.parametrize("gone", [4, 8, 400])
def test_bytes_missing_in_one_record_do_not_lose_the_next(folder, tmp_path, gone):
    before = records(folder)
    with RecordFile(folder / "train.rec") as file:
        at = int(file.offsets[3])
    data = (folder / "train.rec").read_bytes()
    (folder / "train.rec").write_bytes(data[:at + 200] + data[at + 200 + gone:])
    report = repaired(folder, tmp_path / "out")["training_sets"][0]
    assert report["images"] == 19 and records(tmp_path / "out") == before[:2] + before[3:]


def test_a_property_of_too_few_identities_loses_none(folder, tmp_path):
    images = [(float(label), image) for label, image in records(folder)]
    with RecordWriter(tmp_path / "plain/train.rec") as writer:
        for key, (label, image) in enumerate(images):
            writer.write(key, framing.pack(label, key, image))
    (tmp_path / "plain/property").write_text("4,112,112\n")
    report = repaired(tmp_path / "plain", tmp_path / "out")["training_sets"][0]
    assert report["images"] == 20 and report["identities"] == 5 and report["images_lost"] == {}
    assert records(tmp_path / "out") == images


def test_damage_of_every_kind_in_one_set(folder, tmp_path):
    before = records(folder)
    (folder / "identities.csv").write_text("label,identity,images\n" + "".join(f"{n},person {n},4\n" for n in range(5)))
    with RecordFile(folder / "train.rec") as file:
        offsets = dict(zip(file.keys.tolist(), file.offsets.tolist()))
        contents = {key: file.read(key) for key in file.keys.tolist()}
    data = bytearray((folder / "train.rec").read_bytes())
    data[offsets[2]] ^= 0xff  # image 2: bad magic
    for key in (5, 6, 7):  # three of identity 1 do not decode
        at = offsets[key] + 8 + 24
        data[at:at + 20] = bytes(20)
    data[offsets[8] + 12:offsets[8] + 16] = np.float32(7).tobytes()  # the last of identity 1 gets a label that is none
    cut = offsets[20] + 100  # the last image and all headers of identities are cut off
    (folder / "train.rec").write_bytes(data[:cut])
    report = repaired(folder, tmp_path / "out")["training_sets"][0]
    assert report["images"] == 14 and report["identities"] == 4
    assert report["images_lost"] == {"undecodable": 3, "label": 1}
    assert [row["record"] for row in report["records_lost"]] == [5, 6, 7, 8]
    assert [row["byte"] for row in report["records_lost"]] == [offsets[key] for key in (5, 6, 7, 8)]
    lost = {row["record"] for row in report["index_entries_lost"]["records"]}
    assert lost == {2, 20, 21, 22, 23, 24, 25} and report["index_entries_lost"]["count"] == 7
    assert report["identities_lost_named"] == [{"label": 1, "identity": "person 1"}]
    assert report["new_labels"] == {"0": 0, "2": 1, "3": 2, "4": 3}
    keep = [(label, image) for key, (label, image) in enumerate(before, 1) if key not in (2, 5, 6, 7, 8, 20)]
    after = records(tmp_path / "out")
    assert [(int(list(report["new_labels"])[label]), image) for label, image in after] == keep
    assert contents[1].content == after[0][1]
    with open(tmp_path / "out" / "identities.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["label"], row["identity"], row["images"]) for row in rows] == [
        ("0", "person 0", "3"), ("1", "person 2", "4"), ("2", "person 3", "4"), ("3", "person 4", "3")]
    assert (tmp_path / "out" / "property").read_text() == "4,112,112\n"


def test_a_sound_set_comes_out_as_it_was(folder, tmp_path):
    report = repaired(folder, tmp_path / "out", status=0)
    assert report["training_sets"][0]["images_lost"] == {}
    assert records(tmp_path / "out") == records(folder)
    for name in ("train.rec", "train.idx"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    assert sorted(os.listdir(tmp_path / "out")) == ["property", "repair-report.json", "train.idx", "train.rec"]


def write_plain(path, images, labels, first=0):
    with RecordWriter(path) as writer:
        for number, (image, label) in enumerate(zip(images, labels), first):
            writer.write(number, framing.pack(label, number, image))


def test_parts_with_gaps_mixed_widths_and_sizes_become_one_set(tmp_path):
    source = tmp_path / "parts"
    source.mkdir()
    images = [jpeg(picture(number)) for number in range(6)]
    small = jpeg(picture(9, 96, 96))
    write_plain(source / "x_0.rec", [*images[:3], small], [7.0, 3.0, [7.0, 1.0], 3.0])
    write_plain(source / "x_1.rec", images[3:], [3.0, 12.0, float("nan")], 4)
    report = repaired(source, tmp_path / "out")["training_sets"][0]
    assert report["images_lost"] == {"size": 1, "label": 1} and report["new_labels"] == {"3": 0, "7": 1, "12": 2}
    assert [row["file"] for row in report["records_lost"]] == ["x_0.rec", "x_1.rec"]
    assert records(tmp_path / "out") == [(0, images[1]), (0, images[3]), (1, images[0]), (1, images[2]), (2, images[4])]


def test_two_wide_labels_stay_two_wide(tmp_path):
    source = tmp_path / "set"
    write_plain(source / "train.rec", [jpeg(picture(number)) for number in range(4)],
                [[5.0, 0.25], [2.0, 0.5], [5.0, 0.75], [2.0, 1.0]])
    repaired(source, tmp_path / "out")
    with RecordFile(tmp_path / "out" / "train.rec") as file:
        assert [file.read(key).label.tolist() for key in (1, 2, 3, 4)] == [[0, 0.5], [0, 1], [1, 0.25], [1, 0.75]]


@pytest.mark.parametrize("told, classes, size", [("9,112,112", 5, 112), ("5,96,96", 5, 112), ("nonsense", 5, 112)])
def test_a_wrong_property_is_ignored_against_headers_and_images(folder, tmp_path, told, classes, size):
    (folder / "property").write_text(told)
    report = repaired(folder, tmp_path / "out")["training_sets"][0]
    assert (report["identities"], report["height"], report["images"]) == (classes, size, 20)
    assert records(tmp_path / "out") and check_rec(tmp_path / "out" / "train.rec", 1).sound


def test_where_nothing_can_be_saved_nothing_is_written(folder, tmp_path):
    data = (folder / "train.rec").read_bytes()
    (folder / "train.rec").write_bytes(data[:3000])
    status, line = command("check", folder, "--repair", tmp_path / "out")
    assert status == 1 and "a training set needs two" in line
    (folder / "x.bin").write_bytes(b"no pickle")
    status, line = command("check", folder / "x.bin", "--repair", tmp_path / "out")
    assert status == 1 and "nothing can be recovered" in line
    assert sorted(os.listdir(tmp_path)) == ["set"]


def test_the_source_and_what_holds_files_are_refused_as_out(folder, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    (tmp_path / "link").symlink_to(folder)
    write_training_set(tmp_path / "other", identities=2, images=2)
    write_plain(tmp_path / "parts" / "x_0.rec", [jpeg(picture())], [0.0])
    write_plain(tmp_path / "parts" / "x_1.rec", [jpeg(picture())], [1.0])
    before = snapshot(folder)
    for paths, out, word in (([folder], folder, "folder of the data itself"), ([folder], tmp_path / "link", "itself"),
                             ([folder / "train.rec"], folder, "itself"), ([folder], tmp_path / "full", "not empty"),
                             ([folder], tmp_path / "full" / "file", "is a file"),
                             ([folder, tmp_path / "other"], tmp_path / "out", "2 training sets"),
                             ([tmp_path / "parts" / "x_0.rec"], tmp_path / "out", "one part")):
        status, line = command("check", *paths, "--repair", out)
        assert status == 2 and word in line
    assert snapshot(folder) == before and not (tmp_path / "out").exists()


def broken_bin(path, pairs, broken):
    """(images, same) of a set in which some images do not decode; 10 folds, same and different in turn."""
    images = [b"text" if number in broken else jpeg(picture(number % 9)) + bytes([number % 256])
              for number in range(2 * pairs)]
    same = [number % 2 == 0 for number in range(pairs)]
    write_bin(path, images, same)
    return images, same


def test_a_bin_loses_pairs_and_its_folds_stay_apart(tmp_path):
    source = tmp_path / "set"
    source.mkdir()
    images, same = broken_bin(source / "x.bin", 200, {3, 4})  # pairs 1 and 2: one different, one same
    report = repaired(source, tmp_path / "out")["verification_sets"][0]
    assert report["pairs"] == 180 and report["pairs_lost"] == {"image": 2, "to keep the folds alike": 18}
    assert report["pairs_lost_numbers"] == [1, 2] and "keeps its own pairs, 9 same and 9 different" in report["folds"]
    found, found_same = read_bin(tmp_path / "out" / "x.bin")
    place = {image: number for number, image in enumerate(images)}
    assert len(place) > 380
    for fold in range(10):
        pairs = [(place[found[2 * n]], place[found[2 * n + 1]]) for n in range(18 * fold, 18 * fold + 18)]
        assert all(left // 40 == fold and right == left + 1 and left % 2 == 0 for left, right in pairs)
        assert [same[left // 2] for left, _ in pairs] == found_same[18 * fold:18 * fold + 18].tolist()


def test_a_bin_with_a_lost_fold_keeps_all_other_pairs(tmp_path):
    source = tmp_path / "set"
    source.mkdir()
    broken_bin(source / "x.bin", 200, set(range(38)))
    report = repaired(source, tmp_path / "out")["verification_sets"][0]
    assert report["pairs"] == 181 and report["folds"].startswith("moved")
    images = [jpeg(picture(number)) for number in range(60)]
    write_bin(source / "x.bin", [*images[:50], b"text", *images[51:]], [number < 15 for number in range(30)])
    report = repaired(source, tmp_path / "out2")["verification_sets"][0]
    assert report["pairs"] == 29 and "in turn" in report["folds"]


def test_a_bin_with_an_odd_image(tmp_path):
    source = tmp_path / "set"
    source.mkdir()
    images = [jpeg(picture(number)) for number in range(47)]
    (source / "x.bin").write_bytes(pickle.dumps((images, [number % 2 == 0 for number in range(24)]), protocol=2))
    report = repaired(source, tmp_path / "out")["verification_sets"][0]
    assert report["pairs_lost"]["count"] == 1 and report["pairs"] >= 20


def test_a_real_set_with_holes(shared_data, tmp_path):
    source = tmp_path / "set"
    with RecordFile(shared_data / "train/train.rec") as file, RecordWriter(source / "train.rec") as writer:
        originals = {}
        for key in range(1, 3000, 20):
            record = file.read(key)
            writer.write(key, framing.pack(record.label, key, record.content))
            originals[record.content] = int(record.label[0])
    data = bytearray((source / "train.rec").read_bytes())
    random = np.random.RandomState(0)
    for at in random.randint(0, len(data), 10):
        data[at:at + 300] = random.bytes(min(300, len(data) - at))
    (source / "train.rec").write_bytes(data)
    write_verification_set(source / "pairs.bin", pairs=20)
    report = repaired(source, tmp_path / "out")["training_sets"][0]
    old = {new: int(label) for label, new in report["new_labels"].items()}
    saved = [(label, image) for label, image in records(tmp_path / "out") if image in originals]
    assert len(saved) > 120 and all(originals[image] == old[label] for label, image in saved)
    assert len(read_bin(tmp_path / "out" / "pairs.bin")[1]) == 20


@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_download_that_lacks_header_records_keeps_its_images(folder, tmp_path, left):
    expected = records(folder)
    with RecordFile(folder / "train.rec") as file:  # images are 1 to 20, the headers of identities 21 to 25
        end = int(file.offsets[file.keys == 21 + left][0])
    with open(folder / "train.rec", "r+b") as stream:
        stream.truncate(end)
    (folder / "property").unlink()
    assert repaired(folder, tmp_path / "out")["training_sets"][0]["images"] == 20
    assert records(tmp_path / "out") == expected


def test_folds_of_a_bin_and_files_of_others_in_out(folder, tmp_path):
    write_verification_set(tmp_path / "few.bin", pairs=6)
    assert command("check", tmp_path / "few.bin", "--folds", 2, "--repair", tmp_path / "r")[0] == 0
    assert read_bin(tmp_path / "r" / "few.bin")[1].tolist() == [True, False] * 3
    (tmp_path / "r" / "mine.bin").write_text("x")
    status, line = command("check", tmp_path / "few.bin", "--folds", 2, "--repair", tmp_path / "r", "--overwrite")
    assert status == 2 and "holds mine.bin, which it did not write" in line
    (tmp_path / "r" / "mine.bin").unlink()
    assert command("check", tmp_path / "few.bin", "--folds", 2, "--repair", tmp_path / "r", "--overwrite")[0] == 0


def test_what_cannot_be_repaired_is_named_beside_what_can(folder, tmp_path):
    (folder / "train.idx").write_bytes((folder / "train.idx").read_bytes() + b"99\t5\n")
    (folder / "bad.bin").write_bytes(b"\x80\x02]q\0.")
    status, line = command("check", folder, "--repair", tmp_path / "out")
    assert status == 1 and "bad.bin: is not" in line and "nothing was written; name the other files alone" in line
    assert command("check", folder / "train.rec", "--repair", tmp_path / "out") == (1, "")
    status, line = command("check", folder / "bad.bin", "--repair", tmp_path / "bins")
    assert status == 1 and line.endswith("nothing was written")


def test_hidden_files_are_no_verification_sets(folder):
    (folder / "._lfw.bin").write_bytes(b"\0\5\26\7Mac OS X")
    assert command("check", folder) == (0, "") == command("info", folder)
