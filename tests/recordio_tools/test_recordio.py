"""The `.rec` format against MXNet's own reader and writer, and damaged files."""
import os
import pickle
import shutil
import threading

import mxnet as mx
import numpy as np
import pytest

from recordio_tools.records import framing
from recordio_tools.records.recordio import DataError, RecordFile
from recordio_tools.records.writer import RecordWriter

WORD = framing.MAGIC_BYTES
CONTENTS = [b"", b"a", b"abcd", b"abcde", WORD, b"x" + WORD, b"abcd" + WORD, WORD * 3, b"abcd" + WORD + b"e" * 9 + WORD,
            b"ab" + WORD + b"cd" + WORD * 2 + b"z", os.urandom(100_000)]
LABELS = [0.0, 3.0, [1.0, 2.0], [5.0], list(range(14))]


def cases():
    return [(key, label, content) for key, (label, content) in
            enumerate((label, content) for label in LABELS for content in CONTENTS)]


@pytest.fixture
def ours(tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        for key, label, content in cases():
            writer.write(key, framing.pack(label, key, content))
    return tmp_path / "a.rec"


def test_the_bytes_are_those_of_mxnets_writer(ours, tmp_path):
    theirs = mx.recordio.MXIndexedRecordIO(str(tmp_path / "b.idx"), str(tmp_path / "b.rec"), "w")
    for key, label, content in cases():
        theirs.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, label, key, 0), content))
    theirs.close()
    assert ours.read_bytes() == (tmp_path / "b.rec").read_bytes()
    assert ours.with_suffix(".idx").read_bytes() == (tmp_path / "b.idx").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.idx", "a.rec", "b.idx", "b.rec"]


@pytest.mark.parametrize("with_index", [True, False])
def test_every_record_comes_back(ours, with_index):
    if not with_index:
        ours.with_suffix(".idx").unlink()
    with RecordFile(ours) as file:
        assert len(file) == len(cases())
        for key, label, content in cases():
            record = file.read(key)
            np.testing.assert_array_equal(record.label, np.atleast_1d(np.float32(label)))
            assert record.content == content and record.flag == (0 if np.ndim(label) == 0 else len(label))
        heads = file.heads()
        assert heads.readable.all()
        np.testing.assert_array_equal(heads.label[:, 0], [np.atleast_1d(label)[0] for _, label, _ in cases()])
        np.testing.assert_array_equal(heads.id, file.keys)
        np.testing.assert_array_equal(heads.has_image, [len(content) > 0 for *_, content in cases()])


def test_an_index_in_any_order_gives_the_same_records(ours):
    lines = ours.with_suffix(".idx").read_bytes().splitlines(True)
    order = np.random.RandomState(6).permutation(len(lines))
    ours.with_suffix(".idx").write_bytes(b"".join(lines[place] for place in order))
    with RecordFile(ours) as file:
        assert file.keys.tolist() == order.tolist()
        asked = np.array([7, 3, 50, 0, 3])
        for key, offset, (where, begin) in zip(asked.tolist(), file.offsets_of(asked), file.places(asked)):
            _, label, content = cases()[key]
            assert where is file and begin == offset == int(lines[key].split(b"\t")[1])
            assert file.read(key).content == framing.unpack(file.content_at(begin)[0]).image == content
            np.testing.assert_array_equal(file.read(key).label, np.atleast_1d(np.float32(label)))
        np.testing.assert_array_equal(file.heads().id, file.keys)
        with pytest.raises(DataError, match="has no record 5000"):
            file.offsets_of(np.array([3, 5000]))


def test_a_record_that_no_length_can_say_is_refused(monkeypatch):
    monkeypatch.setattr(framing, "MAX_LENGTH", 40)
    assert len(framing.frame(b"x" * 40)) == 48
    with pytest.raises(ValueError, match="at most 40 bytes, not 41"):
        framing.frame(b"x" * 41)


def test_a_set_of_insightfaces_packer_reads_as_mxnet_reads_it(shared_data):
    rec, idx = shared_data / "train/train.rec", shared_data / "train/train.idx"
    theirs = mx.recordio.MXIndexedRecordIO(str(idx), str(rec), "r")
    with RecordFile(rec) as file:
        np.testing.assert_array_equal(file.keys, theirs.keys)
        for key in [0, 1, 2, 500, 21869, 21870, 21941]:
            header, content = mx.recordio.unpack(theirs.read_idx(key))
            record = file.read(key)
            assert record.content == content and record.flag == header.flag
            np.testing.assert_array_equal(record.label, header.label)


def test_without_the_index_the_same_index_is_built(shared_data, tmp_path):
    (tmp_path / "alone.rec").symlink_to(shared_data / "train/train.rec")
    with RecordFile(shared_data / "train/train.rec") as file, RecordFile(tmp_path / "alone.rec") as built:
        assert file.idx_path is not None and built.idx_path is None
        np.testing.assert_array_equal(built.keys, np.sort(file.keys))
        np.testing.assert_array_equal(built.offsets, file.offsets[np.argsort(file.keys)])


def test_threads_forks_and_pickles_read_the_same(ours):
    file = RecordFile(ours)
    expected = {key: content for key, _, content in cases()}
    wrong = []

    def work():
        for key in np.random.RandomState(0).permutation(len(expected)).tolist() * 3:
            if file.read(key).content != expected[key]:
                wrong.append(key)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    copy = pickle.loads(pickle.dumps(file))
    file.close()
    assert copy.read(10).content == expected[10]


def test_a_writer_that_fails_leaves_what_was_there(ours, tmp_path):
    before = ours.read_bytes()
    with pytest.raises(RuntimeError):
        with RecordWriter(ours) as writer:
            writer.write(0, b"new")
            raise RuntimeError
    assert ours.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.idx", "a.rec"]


def test_a_set_begins_with_its_numbers_and_ends_with_its_identities_headers(tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        writer.begin_set()
        for key, label in ((1, 0), (2, 0), (3, 1)):
            writer.write(key, framing.pack(label, key, b"image"))
        writer.end_set([2, 1])
    with RecordFile(tmp_path / "a.rec") as file:
        assert [list(file.read(key).label) for key in range(6)] == [[4, 6], [0], [0], [1], [1, 3], [3, 4]]


def test_an_absent_key_and_an_absent_file_are_named(ours, tmp_path):
    file = RecordFile(ours)
    with pytest.raises(DataError, match="a.idx: has no record 5000"):
        file.read(5000)
    with pytest.raises(DataError, match="none.rec: there is no such file"):
        RecordFile(tmp_path / "none.rec")
    with pytest.raises(DataError, match="is not a file"):
        RecordFile(tmp_path)


def test_another_file_in_place_of_the_rec_is_refused_with_what_is_expected(ours):
    for name in (ours.with_suffix(".idx"), ours.with_name("property")):
        name.write_text("2,112,112\n")
        with pytest.raises(DataError, match=f"{name.name}: is a text file, not a .rec"):
            RecordFile(name)


def test_damage_is_named_by_file_key_and_byte(ours):
    file = RecordFile(ours)
    offset = int(file.offsets[1])
    data = bytearray(ours.read_bytes())
    data[offset] ^= 1
    ours.write_bytes(data)
    with pytest.raises(DataError, match=rf"a\.rec: record 1 at byte {offset}: no record begins here"):
        file.read(1)
    assert list(np.flatnonzero(~file.heads().readable)) == [1]
    ours.with_suffix(".idx").unlink()
    with pytest.raises(DataError, match=f"record 1 at byte {offset}: no record begins"):
        RecordFile(ours)


def test_a_truncated_file_is_named_wherever_it_ends(ours):
    whole = ours.read_bytes()
    index = ours.with_suffix(".idx").read_bytes()
    last = len(cases()) - 1
    offset = int(RecordFile(ours).offsets[last])
    for end in (offset, offset + 3, offset + 8, offset + 20, offset + 40, len(whole) - 8):
        ours.write_bytes(whole[:end])
        ours.with_suffix(".idx").write_bytes(index)
        with pytest.raises(DataError, match=f"record {last} at byte {offset}"):
            RecordFile(ours).read(last)
        ours.with_suffix(".idx").unlink()
        if end > offset:
            with pytest.raises(DataError, match=f"record {last} at byte {offset}"):
                RecordFile(ours)


def test_a_header_that_declares_more_labels_than_there_are(tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(0, framing.HEADER.pack(4_000_000_000, 0, 0, 0) + b"short")
        writer.write(1, b"tiny")
    with RecordFile(tmp_path / "a.rec") as file:
        with pytest.raises(DataError, match="record 0 at byte 0: its header declares 4000000000 labels"):
            file.read(0)
        with pytest.raises(DataError, match="record 1 at byte .*holds 4 bytes"):
            file.read(1)
        assert list(file.heads().has_image) == [False, False]


@pytest.mark.parametrize("text, message", [
    (b"0\t0\nx\t5\n", "line 2 is not"), (b"0 0\n1 5\n", "line 1"), (b"0\t0\n1\t-5\n", "line 2"),
    (b"\x80\x04]", "line 1"),
    (b"0\t0\n1\t99999999999999999999999\n", "line 2"), (b"0\t0\n" + b"9" * 10_000_000 + b"\t1\n", "line 2"),
    (b"0\t0\n0\t40\n", "key 0 occurs twice"), (b"0\t1\t2\n", "line 1")])
def test_an_index_that_is_none_is_named_by_line(ours, text, message):
    ours.with_suffix(".idx").write_bytes(text)
    with pytest.raises(DataError, match=f"a.idx: .*{message}"):
        RecordFile(ours)


def test_mutated_real_records_give_an_error_or_a_record_never_a_crash(shared_data, tmp_path):
    shutil.copy(shared_data / "train/train.idx", tmp_path / "a.idx")
    lines = (tmp_path / "a.idx").read_bytes().splitlines()[:30]
    (tmp_path / "a.idx").write_bytes(b"\n".join(lines))
    with open(shared_data / "train/train.rec", "rb") as stream:
        data = stream.read(int(lines[-1].split(b"\t")[1]) + 3000)
    random, failed, read = np.random.RandomState(0), 0, 0
    for _ in range(100):
        mutated = bytearray(data)
        for _ in range(5):
            at = int(lines[random.randint(30)].split(b"\t")[1]) + random.randint(40)
            if at < len(mutated):
                mutated[at] = random.randint(256)
        (tmp_path / "a.rec").write_bytes(mutated[:random.randint(len(data) // 2, len(data))])
        with RecordFile(tmp_path / "a.rec") as file:
            file.heads()
            for key in file.keys.tolist():
                try:
                    file.read(key)
                    read += 1
                except DataError as error:
                    assert "\n" not in str(error) and f"record {key} at byte" in str(error)
                    failed += 1
    assert failed > 100 and read > 1000
