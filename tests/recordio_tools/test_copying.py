"""Records copied many at a time are the bytes of reading, packing and framing them one by one."""
import numpy as np
import pytest
from recordio_cases import picture
from small_sets import jpeg

from common.errors import DataError
from recordio_tools.records import framing
from recordio_tools.records.copying import copy_images, read_images
from recordio_tools.records.parts import open_records
from recordio_tools.records.recordio import RecordFile

WORD = framing.MAGIC_BYTES
IMAGES = [jpeg(picture(0)), jpeg(picture(1)) + b"a", jpeg(picture(2)) + b"bb", b"x", b"abcd", b"abcd" + WORD + b"efg",
          WORD, b"1" + WORD * 2, b"big" * 500_000, b"z" * 4000]


def whole(content, padding=b"\0\0\0"):
    """A record in one part whatever it holds, as dmlc's writer would not write it."""
    return framing.FRAME.pack(framing.MAGIC, len(content)) + content + padding[:-len(content) & 3]


def write(path, pieces):
    offsets = np.cumsum([0, *map(len, pieces)])[:-1]
    path.write_bytes(b"".join(pieces))
    path.with_suffix(".idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in enumerate(offsets.tolist())))
    return RecordFile(path)


@pytest.fixture
def file(tmp_path):
    contents = [framing.pack(label, 7, image) for label in (3.0, [5.0], [5.0, 1.0], [2.0] * 40) for image in IMAGES]
    odd = [whole(framing.pack([1.0, 2.0], 0, b"q" + image), b"\1\2\3") for image in IMAGES]  # padding, the word inside
    with write(tmp_path / "a.rec", [*map(framing.frame, contents), *odd]) as opened:
        yield opened


def one_by_one(file, keys, labels, first):
    return b"".join(framing.frame(framing.pack(float(label), number, file.read(key).content))
                    for number, (key, label) in enumerate(zip(keys, labels), first))


def test_all_orders_and_kinds(file):
    random = np.random.RandomState(0)
    count = len(file)
    orders = [np.arange(count), np.arange(count)[::-1], random.permutation(count), np.array([4]), np.array([9, 9, 9])]
    orders += [np.sort(random.choice(count, size, replace=False)) for size in (2, 5, 17)]
    for keys in orders:
        labels = random.randint(0, 1 << 24, len(keys))
        copied = copy_images(file, keys)
        for first in (1, 1 << 33):
            copied.stamp(labels, first)
            assert bytes(copied.framed) == one_by_one(file, keys.tolist(), labels.tolist(), first)
        assert [len(piece) for piece in copied.pieces()] == copied.lengths.tolist()
        assert b"".join(copied.pieces()) == copied.framed
        assert list(map(bytes, read_images(file, keys))) == [file.read(key).content for key in keys.tolist()]


def test_many_records_go_in_few_reads(tmp_path, monkeypatch):
    with write(tmp_path / "a.rec", [framing.frame(framing.pack([1.0, 0.0], 3, IMAGES[0]))] * 500) as file:
        expected = one_by_one(file, range(500), [2] * 500, 1)
        monkeypatch.setattr(RecordFile, "read", None)
        copied = copy_images(file, np.arange(500))
        copied.stamp(np.full(500, 2), 1)
        assert bytes(copied.framed) == expected


def test_nothing_parts_and_faults(file, tmp_path):
    assert len(copy_images(file, np.empty(0, np.int64)).lengths) == 0
    with pytest.raises(DataError, match="has no record 99"):
        copy_images(file, np.array([1, 99]))
    data = bytearray(file.rec_path.read_bytes())
    data[file.offsets[1]] ^= 1
    data[file.offsets[3] + 8:file.offsets[3] + 12] = b"\xff" * 4
    file.rec_path.write_bytes(data[:-1000])
    for key, message in ((1, "no record begins here"), (3, "declares 4294967295 labels"),
                         (len(file) - 1, "was truncated")):
        with pytest.raises(DataError, match=f"record {key} at byte .*{message}"):
            copy_images(file, np.array([0, 2, key]))
    for number in (0, 1):
        write(tmp_path / f"x_{number}.rec", [framing.frame(framing.pack(1.0, key, IMAGES[key])) for key in range(4)])
    with open_records(tmp_path / "x") as parts:
        keys = np.array([6, 1, 2, 5])
        copied = copy_images(parts, keys)
        copied.stamp(keys, 0)
        assert bytes(copied.framed) == one_by_one(parts, keys.tolist(), keys.tolist(), 0)
