"""Sets in several .rec files: those that MXNet's own im2rec.py writes, and the C++ one's names."""
import os
import pickle
import threading

import mxnet as mx
import numpy as np
import pytest
from im2rec import im2rec
from recordio_cases import command, drawn_faces, picture
from small_sets import jpeg, write_training_set

from common.errors import UserError
from recordio_tools.records.dataset import open_dataset
from recordio_tools.records.framing import unpack
from recordio_tools.records.parts import RecordParts, find_set, open_records


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return drawn_faces(tmp_path_factory.mktemp("faces"), identities=4, images=5)


@pytest.fixture(scope="module")
def chunked(tmp_path_factory, faces):
    """(folder, {image file's bytes: label}) of 20 shuffled images in 3 parts."""
    folder = tmp_path_factory.mktemp("chunks")
    im2rec("--list", "--recursive", "--chunks", 3, folder / "small", faces)
    im2rec("--pass-through", "--num-thread", 1, folder / "small", faces)
    expected = {}
    for path in folder.glob("*.lst"):
        for line in path.read_text().splitlines():
            key, label, name = line.split("\t")
            expected[int(key)] = (faces / name).read_bytes(), int(float(label))
    assert len(expected) == 20 and len(list(folder.glob("*.rec"))) == 3
    return folder, expected


@pytest.mark.parametrize("names", [["train.REC", "train.IDX"], ["TRAIN.REC", "TRAIN.IDX"], ["Faces.Rec", "Faces.idx"],
                                   ["x_0.REC", "x_0.IDX"]])
def test_names_in_capitals(tmp_path, names, capsys):
    """As some disks and archives of Windows have them."""
    folder = write_training_set(tmp_path / "set", 3, 3, 32)
    for name, now in zip(("train.rec", "train.idx"), names):
        (folder / name).rename(folder / now)
    for path in (folder, folder / names[0]):
        with open_records(path) as records:
            assert [(part.rec_path, part.idx_path) for part in records.parts] == [tuple(folder / one for one in names)]
        assert command("check", path) == (0, "") and command("info", path) == (0, "")
        assert f"{folder / names[0]}: sound: 9 images" in capsys.readouterr().out
        assert command("unpack", path, tmp_path / "out", "--overwrite") == (0, "")
        assert len(list((tmp_path / "out").glob("*/*.jpg"))) == 9
        assert command("merge", tmp_path / "merged", path, *["--overwrite"] * (tmp_path / "merged").exists()) == (0, "")


@pytest.mark.parametrize("name", ["", "small", "small.rec"])
def test_the_chunks_of_im2rec_are_one_set(chunked, name):
    folder, expected = chunked
    dataset = open_dataset(folder / name)
    assert len(dataset) == 20 and dataset.num_classes == 4
    assert sorted(dataset.keys.tolist()) == sorted(expected)
    for key, label in zip(dataset.keys.tolist(), dataset.labels.tolist()):
        record = dataset.record_file.read(key)
        assert (record.content, label) == expected[key] and record.key == key
    asked = np.random.RandomState(0).permutation(dataset.keys)  # as training reads them, and copying
    for key, (part, offset) in zip(asked.tolist(), dataset.record_file.places(asked)):
        assert unpack(part.content_at(offset)[0]).image == expected[key][0]
    copied = [part.read(key).content for part, keys in dataset.record_file.split(asked) for key in keys.tolist()]
    assert copied == [expected[key][0] for key in asked.tolist()]


def test_one_chunk_can_be_named(chunked):
    folder, _ = chunked
    with open_records(folder / "small_1.rec") as one:
        assert not isinstance(one, RecordParts) and len(one) == 7


def test_a_split_of_im2rec_is_named_by_the_split(tmp_path, faces):
    im2rec("--list", "--recursive", "--chunks", 2, "--train-ratio", 0.6, tmp_path / "x", faces)
    im2rec("--pass-through", "--num-thread", 1, tmp_path / "x", faces)
    assert [path.name for path in find_set(tmp_path / "x_train")[1]] == ["x_0_train.rec", "x_1_train.rec"]
    assert len(open_dataset(tmp_path / "x_train")) == 12
    with pytest.raises(UserError, match="holds 4 .rec files and no train.rec"):
        open_dataset(tmp_path)


def cpp_parts(folder, keys=((0, 1, 2), (3, 4)), label_width=1):
    """What the C++ im2rec writes with nsplit: parts without an index; with pack_label the labels behind the header."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = []
    for part, numbers in enumerate(keys):
        record = mx.recordio.MXRecordIO(str(folder / f"faces.rec.part{part:03d}"), "w")
        for key in numbers:
            label = float(len(expected) % 2)
            value = label if label_width == 1 else [label] + [7.0] * (label_width - 1)
            image = jpeg(picture(len(expected)))
            record.write(mx.recordio.pack(mx.recordio.IRHeader(0, value, key, 0), image))
            expected.append((image, int(label)))
        record.close()
    return expected


@pytest.mark.parametrize("keys, known", [
    (((0, 1, 2), (3, 4)), [0, 1, 2, 3, 4]), (((0, 1, 2), (0, 1)), [0, 1, 2, 3, 4]), (((5, 9), (9, 2)), [5, 9, 19, 12])])
@pytest.mark.parametrize("width", [1, 3])
def test_the_parts_of_the_cpp_im2rec(tmp_path, keys, known, width):
    expected = cpp_parts(tmp_path, keys, width)
    for name in ("", "faces", "faces.rec"):
        dataset = open_dataset(tmp_path / name)
        assert dataset.keys.tolist() == known and dataset.labels.tolist() == [label for _, label in expected]
        assert [dataset.record_file.read(key).content for key in known] == [image for image, _ in expected]
    with pytest.raises(UserError, match="none of its 2 parts has a record 100"):
        dataset.record_file.read(100)


def test_keys_that_cannot_be_moved_up_are_counted(tmp_path):
    expected = cpp_parts(tmp_path, ((0,), (1,), (2,), (3,)))
    for part in range(4):
        (tmp_path / f"faces.rec.part{part:03d}.idx").write_text(f"{(1 << 62) - 1}\t0\n")
    with open_records(tmp_path) as records:
        assert records.keys.tolist() == [0, 1, 2, 3] and records.keys.dtype == np.int64
        assert [records.read(key).content for key in range(4)] == [image for image, _ in expected]


def test_parts_by_threads_and_after_pickling(tmp_path):
    expected = cpp_parts(tmp_path, ((0, 1, 2), (0, 1)))
    records = pickle.loads(pickle.dumps(open_records(tmp_path)))
    wrong = []

    def work():
        for key in np.random.RandomState(0).permutation(5).tolist() * 20:
            if records.read(key).content != expected[key][0]:
                wrong.append(key)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong
    heads = records.heads()
    np.testing.assert_array_equal(heads.label[:, 0], [label for _, label in expected])
    np.testing.assert_array_equal(heads.end % 4, 0)


def test_faults_name_the_part(tmp_path):
    cpp_parts(tmp_path / "a")
    (tmp_path / "a/faces.rec.part000").unlink()
    with pytest.raises(UserError, match="faces.rec: part 0 is missing"):
        open_dataset(tmp_path / "a")
    cpp_parts(tmp_path / "b")
    path = tmp_path / "b/faces.rec.part001"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"part001: record 1 at byte \d+: is truncated"):
        open_dataset(tmp_path / "b")
    cpp_parts(tmp_path / "c")
    offset = open_records(tmp_path / "c").offsets[4]
    (tmp_path / "c/faces.rec.part001.idx").write_text(f"7\t0\n8\t{offset + 8}\n")
    with pytest.raises(UserError, match=f"part001: record 8 at byte {offset + 8}: no image record begins there"):
        open_dataset(tmp_path / "c")


def test_whole_sets_whose_names_look_like_parts(tmp_path):
    for number in (0, 1):
        write_training_set(tmp_path / str(number))
        for ending in ("rec", "idx"):
            (tmp_path / f"{number}/train.{ending}").rename(tmp_path / f"people_{number}.{ending}")
    with pytest.raises(UserError, match="people_0.rec: record 0 at byte 0: holds no image, .* merge OUT IN"):
        open_dataset(tmp_path)
    assert len(open_dataset(tmp_path / "people_1.rec")) == 48
    for ending in ("rec", "idx"):
        (tmp_path / f"people_0.{ending}").rename(tmp_path / f"people_2.{ending}")
    with pytest.raises(UserError, match="holds 2 .rec files and no train.rec"):
        open_dataset(tmp_path)


def test_info_describes_the_parts_together(chunked, capsys):
    assert command("info", chunked[0]) == (0, "")
    out = capsys.readouterr().out
    assert out.startswith(f"{chunked[0] / 'small'}: training set")
    assert "min 5, quarter 5, median 5" in out and "small_2.rec" in out


def test_a_folder_that_may_not_be_listed_is_refused_in_a_line(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", forbidden)
    for name in ("info", "check", "merge"):
        assert command(name, *([tmp_path / "out"] if name == "merge" else []), tmp_path) == (
            2, f"{tmp_path}: cannot be listed (Permission denied)")
