"""check: sound real data passes; every kind of fault is found, counted, and its first byte named."""
import json
import re
import shutil

import cv2
import mxnet as mx
import numpy as np
import pytest
from check_cases import check_rec
from recordio_cases import command, picture
from small_sets import jpeg, write_training_set, write_verification_set

from recordio_tools.records import framing
from recordio_tools.records.recordio import RecordFile
from recordio_tools.records.writer import RecordWriter


@pytest.fixture
def folder(tmp_path):
    return write_training_set(tmp_path / "set", identities=4, images=3)


def faults(folder):
    """{kind: (count, first byte)} of the folder's train.rec."""
    report = check_rec(folder / "train.rec", workers=2)
    return {fault.kind: (fault.count, fault.byte) for fault in report.ordered()}


def offset_of(folder, key):
    with RecordFile(folder / "train.rec") as file:
        return int(file.offsets[list(file.keys).index(key)])


def patch(folder, offset, new):
    data = bytearray((folder / "train.rec").read_bytes())
    data[offset:offset + len(new)] = new
    (folder / "train.rec").write_bytes(data)


def rewrite(folder, change):
    """Write the set again with every (key, label, image) as `change` returns it; None leaves the record out."""
    with RecordFile(folder / "train.rec") as file:
        records = [file.read(key) for key in file.keys.tolist()]
    with RecordWriter(folder / "train.rec") as writer:
        for record in records:
            label = record.label if record.flag else float(record.label[0])
            changed = change(record.key, label, record.content)
            if changed is not None:
                writer.write(record.key, framing.pack(changed[0], record.key, changed[1]))


def test_real_sets_are_sound(shared_data, tmp_path, capsys):
    with RecordFile(shared_data / "train/train.rec") as file, RecordWriter(tmp_path / "train.rec") as writer:
        for key in range(1, 2000, 10):
            record = file.read(key)
            writer.write(key, framing.pack(record.label, key, record.content))
    report = check_rec(tmp_path / "train.rec", 2)
    assert report.sound and report.holds["images"] == 200 and report.holds["height"] == 112
    assert command("check", tmp_path) == (0, "")
    assert "train.rec: sound: 200 images of" in capsys.readouterr().out


def test_sound_sets_exit_0_and_the_report_is_json(folder, capsys):
    write_verification_set(folder / "x.bin", pairs=20)
    assert command("check", folder, "--json") == (0, "")
    report = json.loads(capsys.readouterr().out)
    assert report["sound"] and [file["sound"] for file in report["files"]] == [True, True]
    assert report["files"][0]["images"] == 12 and report["files"][0]["identities"] == 4
    assert report["files"][1]["pairs"] == 20


def test_a_fault_exits_1_and_is_reported_with_its_place(folder, capsys):
    at = offset_of(folder, 5)
    patch(folder, at, b"\0\0\0\0")
    assert command("check", folder / "train.rec") == (1, "")
    out = capsys.readouterr().out
    assert "train.rec: NOT sound" in out and re.search(rf"bad-magic +1 +first at byte {at}:", out)
    command("check", folder, "--json")
    fault = json.loads(capsys.readouterr().out)["files"][0]["faults"][0]
    assert (fault["kind"], fault["count"], fault["first_byte"]) == ("bad-magic", 1, at)


@pytest.mark.parametrize("name", ["nothing", "folder", "text.txt"])
def test_a_path_that_is_not_data_exits_2(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.txt").write_text("x")
    status, line = command("check", tmp_path / name)
    assert status == 2 and name in line


def test_bad_magic_words_are_counted_and_passed(folder):
    places = [offset_of(folder, key) for key in (9, 3, 4)]
    for at in places:
        patch(folder, at, b"X")
    found = faults(folder)
    assert found["bad-magic"] == (2, places[1])  # 3 and 4 are one stretch of damage
    assert found["index-entry"] == (3, places[1])
    assert check_rec(folder / "train.rec", 1).holds["images"] == 9


@pytest.mark.parametrize("length, kind", [(100, "bad-length"), (200_000, "bad-length"), (1 << 28, "bad-length")])
def test_a_wrong_length(folder, length, kind):
    at = offset_of(folder, 4)
    patch(folder, at + 4, length.to_bytes(4, "little"))
    assert faults(folder)[kind] == (1, at)
    assert check_rec(folder / "train.rec", 1).holds["images"] == 11


def test_a_truncated_tail(folder):
    data = (folder / "train.rec").read_bytes()
    at = offset_of(folder, 12)
    (folder / "train.rec").write_bytes(data[:at + 500])
    found = faults(folder)
    assert found["truncated"] == (1, at) and found["index-entry"][0] == 5
    (folder / "train.idx").unlink()
    assert faults(folder)["truncated"] == (1, at)


def test_index_and_records_that_do_not_know_each_other(folder):
    lines = (folder / "train.idx").read_text().splitlines(True)
    at, other = offset_of(folder, 2), offset_of(folder, 7)
    (folder / "train.idx").write_text("".join(lines[:2] + lines[3:]) + f"2\t{other + 4}\n99\t99999999\n")
    found = faults(folder)
    assert found["not-in-index"] == (1, at) and found["index-entry"] == (2, other + 4)
    (folder / "train.idx").write_text("".join(lines) + lines[4])
    assert faults(folder)["duplicate-key"] == (1, offset_in(lines[4]))
    (folder / "train.idx").write_text("no index\n")
    assert set(faults(folder)) == {"index-file"}


def offset_in(line):
    return int(line.split("\t")[1])


def test_the_index_of_another_set(folder, tmp_path):
    other = write_training_set(tmp_path / "other", identities=5, images=4)
    shutil.copy(other / "train.idx", folder / "train.idx")
    found = faults(folder)
    assert found["not-in-index"][0] > 5 and found["index-entry"][0] > 5


def test_headers_whose_ranges_lie(folder):
    rewrite(folder, lambda key, label, image: ([13, 19] if key == 0 else label, image))
    assert set(faults(folder)) == {"header-range"} and faults(folder)["header-range"] == (1, 0)
    for lie in ([1, 3], [0, 4], [1, 5], [4, 7], [1, 14], [-5, 4], [4, 1], [1, 2 ** 30], [float("nan"), 4], [1.5, 4]):
        broken = folder.parent / "lie"
        write_training_set(broken, identities=4, images=3)
        rewrite(broken, lambda key, label, image, lie=lie: (lie if key == 13 else label, image))
        assert set(faults(broken)) == {"header-range"}, lie


def test_an_identity_without_images(folder):
    rewrite(folder, lambda key, label, image: ([4, 4] if key == 14 else label, image) if key not in (4, 5, 6) else None)
    found = faults(folder)
    assert found["no-images"] == (1, offset_of(folder, 14)) and found["label-gap"] == (1, offset_of(folder, 7))
    (folder / "train.idx").unlink()
    (folder / "property").write_text("6,112,112")
    assert faults(folder)["no-images"][0] == 3


def test_labels_outside_property_and_gaps(folder):
    (folder / "property").write_text("2,112,112")
    assert faults(folder)["label"] == (6, offset_of(folder, 7)) and "property" in faults(folder)
    (folder / "property").write_text("4,112,112")
    rewrite(folder, lambda key, label, image: (0.25 if key == 2 else label, image))
    assert faults(folder)["label"] == (1, offset_of(folder, 2))


def test_a_property_that_is_none_or_disagrees(folder):
    (folder / "property").write_text("four")
    assert set(faults(folder)) == {"property"}
    (folder / "property").write_text("9,112,112")
    assert set(faults(folder)) == {"property", "no-images"}


def test_images_that_do_not_decode_are_cut_off_or_of_another_size(folder):
    changes = {3: lambda image: b"text", 5: lambda image: image[:len(image) // 2],
               8: lambda image: jpeg(picture(1, 96, 112)), 9: lambda image: jpeg(picture(1, 112, 96))}
    rewrite(folder, lambda key, label, image: (label, changes.get(key, lambda same: same)(image)))
    assert faults(folder) == {"undecodable": (1, offset_of(folder, 3)), "cut-off-image": (1, offset_of(folder, 5)),
                              "size": (2, offset_of(folder, 8))}


def test_a_record_too_short_for_its_header_and_one_without_an_image(tmp_path):
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key in range(4):
            writer.write(key, framing.pack(float(key), key, jpeg(picture(key))))
        short = writer.write(4, b"short")
        bare = writer.write(5, framing.pack(1.0, 5))
    assert faults(tmp_path) == {"record-header": (1, short), "no-content": (1, bare)}


def test_plain_sets_and_empty_ones(tmp_path):
    record = mx.recordio.MXIndexedRecordIO(str(tmp_path / "train.idx"), str(tmp_path / "train.rec"), "w")
    for key in range(4):
        record.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, float(key % 2), key, 0), jpeg(picture(key))))
    record.close()
    assert faults(tmp_path) == {}
    (tmp_path / "train.rec").write_bytes(b"")
    (tmp_path / "train.idx").write_bytes(b"")
    assert set(faults(tmp_path)) == {"empty"}
    (tmp_path / "train.rec").write_bytes(b"\0garbage, and more of it")
    assert {"empty", "bad-magic"} == set(faults(tmp_path))
    (tmp_path / "train.rec").write_bytes(b"garbage, and more of it")
    assert {"rec-file"} == set(faults(tmp_path))


def test_records_in_several_parts_are_sound(tmp_path):
    """A BMP may hold the magic word; dmlc's writer then splits the record."""
    image = picture(1)
    image[10:20, 10:20] = (0xce, 0xd7, 0x23)
    bmp = bytearray(cv2.imencode(".bmp", image)[1].tobytes())
    bmp[200:204] = framing.MAGIC_BYTES
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key in range(4):
            writer.write(key, framing.pack(float(key % 2), key, bytes(bmp)))
    assert (tmp_path / "train.rec").read_bytes().count(framing.MAGIC_BYTES) == 8
    assert faults(tmp_path) == {}


def test_mutated_real_records_end_in_a_report(shared_data, tmp_path):
    with RecordFile(shared_data / "train/train.rec") as file, RecordWriter(tmp_path / "train.rec") as writer:
        for key in [*range(1, 6), *range(400, 406)]:
            writer.write(key, framing.pack(file.read(key).label, key, file.read(key).content))
    data = (tmp_path / "train.rec").read_bytes()
    index = (tmp_path / "train.idx").read_bytes()
    random, unsound = np.random.RandomState(1), 0
    starts = [int(line.split()[1]) for line in index.splitlines()]
    for case in range(150):
        mutated, lines = bytearray(data), bytearray(index)
        for _ in range(3):
            mutated[(starts[random.randint(11)] + random.randint(48)) % len(mutated)] = random.randint(256)
        if case % 3 == 0:
            lines[random.randint(len(lines))] = random.choice(list(b"0123456789\t\n-x"))
        (tmp_path / "train.rec").write_bytes(mutated[:len(data) - (random.randint(5000) if case % 2 else 0)])
        (tmp_path / "train.idx").write_bytes(lines)
        report = check_rec(tmp_path / "train.rec", 1)
        json.dumps(report.as_dict(), allow_nan=False)
        unsound += not report.sound
    assert unsound > 75


def test_one_image_under_two_labels_is_a_note(folder, capsys):
    images = {}
    rewrite(folder, lambda key, label, image: (label, images.setdefault({8: 2, 9: 7}.get(key, key), image)))
    assert command("check", folder) == (0, "")
    assert re.search(rf"note: same-image +1 +first at byte {offset_of(folder, 8)}, record 8: is the image at byte "
                     rf"{offset_of(folder, 2)} too", capsys.readouterr().out)
