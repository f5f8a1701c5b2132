"""open_dataset: the layouts that exist, and every set that must not be trained on."""
import shutil

import mxnet as mx
import numpy as np
import pytest
from recordio_cases import picture
from small_sets import jpeg, write_training_set

from common.errors import UserError
from recordio_tools.records.dataset import open_dataset


@pytest.fixture
def folder(tmp_path):
    return write_training_set(tmp_path / "set", identities=4, images=3)


def plain_set(folder, labels, label_width=1, size=(112, 112)):
    """What im2rec writes: no headers, no property; keys from 0."""
    folder.mkdir(parents=True, exist_ok=True)
    record = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "w")
    for key, label in enumerate(labels):
        value = float(label) if label_width == 1 else [float(label)] + [1.0] * (label_width - 1)
        record.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, value, key, 0), jpeg(picture(key, *size))))
    record.close()
    return folder


def refused(path, *words):
    with pytest.raises(UserError) as error:
        open_dataset(path)
    message = str(error.value)
    assert "\n" not in message and error.value.exit_status == 2
    for word in words:
        assert word in message, message
    return message


def test_a_set_of_insightfaces_own_packer(shared_data):
    dataset = open_dataset(shared_data / "train")
    assert (len(dataset), dataset.num_classes, dataset.height, dataset.width) == (21869, 72, 112, 112)
    assert dataset.keys.dtype == dataset.labels.dtype == np.int64
    np.testing.assert_array_equal(dataset.keys, np.arange(1, 21870))
    theirs = mx.recordio.MXIndexedRecordIO(str(shared_data / "train/train.idx"), str(shared_data / "train/train.rec"),
                                           "r")
    for position in range(0, 21869, 997):
        header, _ = mx.recordio.unpack(theirs.read_idx(position + 1))
        assert header.label[0] == dataset.labels[position]
    for identity in (0, 71):  # the header records give the ranges independently
        header, _ = mx.recordio.unpack(theirs.read_idx(21870 + identity))
        expected = np.arange(*header.label.astype(int))
        np.testing.assert_array_equal(dataset.keys[dataset.labels == identity], expected)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_plain_im2rec_files(tmp_path, width):
    dataset = open_dataset(plain_set(tmp_path / "a", [2, 0, 1, 1], width, (96, 112)) / "train.rec")
    assert (dataset.num_classes, dataset.height, dataset.width) == (3, 96, 112)
    assert list(dataset.labels) == [2, 0, 1, 1] and list(dataset.keys) == [0, 1, 2, 3]


@pytest.mark.parametrize("told", [False, True])
def test_one_image_of_another_size_is_not_the_size_of_the_set(tmp_path, told):
    record = mx.recordio.MXIndexedRecordIO(str(tmp_path / "train.idx"), str(tmp_path / "train.rec"), "w")
    for key in range(8):
        image = jpeg(picture(key, *((96, 80) if key == 0 else (112, 112))))
        record.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, float(key % 2), key, 0), image))
    record.close()
    if told:
        (tmp_path / "property").write_text("2,112,112")
    dataset = open_dataset(tmp_path)
    assert (dataset.height, dataset.width) == (112, 112)


def test_a_set_without_its_index_is_read_through(folder):
    with_index = open_dataset(folder)
    (folder / "train.idx").unlink()
    np.testing.assert_array_equal(open_dataset(folder).labels, with_index.labels)
    (folder / "train.rec").write_bytes((folder / "train.rec").read_bytes()[:-8])
    refused(folder, f"bytes more than the file has; python -m recordio_tools check {folder}/train.rec --repair OUT")


def test_another_name_and_several(folder):
    for ending in ("rec", "idx"):
        (folder / f"train.{ending}").rename(folder / f"faces.{ending}")
    assert len(open_dataset(folder)) == 12
    shutil.copy(folder / "faces.rec", folder / "more.rec")
    refused(folder, "2 .rec files")


def test_places_that_hold_no_set(tmp_path):
    refused(tmp_path / "none", "there is no such file or folder")
    refused(tmp_path, "holds no .rec file", "pack")
    (tmp_path / "train.rec").write_bytes(b"")
    refused(tmp_path, "train.rec", "is empty")
    (tmp_path / "train.rec").write_bytes(b"\0this is not a record file")
    refused(tmp_path, "train.rec", "byte 0")


def test_one_identity(tmp_path):
    refused(plain_set(tmp_path / "a", [0, 0, 0]), "one identity only")
    refused(write_training_set(tmp_path / "b", identities=1, images=3), "one identity only")


@pytest.mark.parametrize("label, shown", [(4, "4"), (-1, "-1"), (0.5, "0.5"), (float("nan"), "nan"), (1e9, "1e+09")])
def test_a_label_that_is_not_a_class_is_named_with_its_record(tmp_path, label, shown):
    folder = write_training_set(tmp_path, identities=4, images=3, labels=[0, 1, label, 3])
    refused(folder, "record 7", f"its label is {shown}, not one of 0 to 3")


def test_a_label_of_a_plain_set_must_be_a_number_from_0(tmp_path):
    refused(plain_set(tmp_path, [0, 1, -2]), "record 2", "label is -2, not a whole number from 0 to 16777215")


@pytest.mark.parametrize("text, words", [
    ("5,112,112", ["says 5 identities, the records have 4"]), ("3,112,112", ["record 10", "label is 3"]),
    ("4,96,112", ["record 1 is 112x112", "says 96x112"]), ("4;112;112", ["num_classes,height,width"]),
    ("4,112", ["num_classes,height,width"]), ("0,112,112", ["num_classes,height,width"]), ("", ["property"]),
    ("\0\xff" * 2000, ["property"])])
def test_a_property_that_disagrees(folder, text, words):
    (folder / "property").write_text(text, "latin-1")
    refused(folder, *words)


def test_a_property_may_end_with_a_line_break(folder):
    (folder / "property").write_text(" 4, 112,112 \r\n")
    assert open_dataset(folder).num_classes == 4


def test_the_index_of_another_set(folder, tmp_path, shared_data):
    other = write_training_set(tmp_path / "other", identities=5, images=4)
    shutil.copy(other / "train.idx", folder / "train.idx")
    refused(folder, "train.rec: record ", "index is that of another rec")
    shutil.copy(shared_data / "train/train.idx", folder / "train.idx")
    refused(folder, "train.rec: record ", "index is that of another rec")


def test_the_index_of_another_set_whose_offsets_happen_to_fit(folder):
    lines = (folder / "train.idx").read_text().splitlines(True)
    (folder / "train.idx").write_text("".join([*lines[:-3], lines[-1]]))  # of a set with fewer identities
    refused(folder, "record 0 at byte 0", "index is that of another rec")


def test_a_truncated_file_wherever_it_ends(folder):
    data = (folder / "train.rec").read_bytes()
    offsets = [int(line.split()[1]) for line in (folder / "train.idx").read_text().splitlines()]
    for end in (len(data) - 4, len(data) - 36, offsets[-1], offsets[5] + 100, offsets[5] + 10, offsets[5]):
        (folder / "train.rec").write_bytes(data[:end])
        refused(folder, "train.rec: record ", "truncated")


def test_images_that_do_not_decode(folder):
    data = (folder / "train.rec").read_bytes()
    (folder / "train.rec").write_bytes(data.replace(b"\xff\xd8\xff", b"\0\0\0"))
    refused(folder, "none of 12 image records", "recordio_tools check")


def test_an_image_record_without_an_image(tmp_path):
    folder = plain_set(tmp_path, [0, 1])
    record = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "w")
    record.write_idx(0, mx.recordio.pack(mx.recordio.IRHeader(0, 0.0, 0, 0), jpeg(picture())))
    record.write_idx(1, mx.recordio.pack(mx.recordio.IRHeader(0, 1.0, 1, 0), b""))
    record.close()
    refused(folder, "record 1 at byte", "holds no image")
