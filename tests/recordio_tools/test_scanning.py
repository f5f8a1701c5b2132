"""Finding the records of damaged and hostile files: the same for any block size, and in linear time."""
import struct

import cv2
import numpy as np
import pytest
from check_cases import check_rec
from recordio_cases import picture
from small_sets import jpeg

from recordio_tools.records import framing
from recordio_tools.records.faults import FileReport
from recordio_tools.records.raw import RawFile
from recordio_tools.records.scanning import APART, blocks

MAGIC = framing.MAGIC_BYTES


class Counted(RawFile):
    """Counts the bytes and the calls that reading takes."""

    def __init__(self, path):
        super().__init__(path)
        self.read = self.calls = 0

    def bytes_at(self, offset, count):
        data = super().bytes_at(offset, count)
        self.read, self.calls = self.read + len(data), self.calls + 1
        return data

    def content_at(self, offset):
        content, end = super().content_at(offset)
        self.read, self.calls = self.read + len(content), self.calls + 1
        return content, end


def write(path, contents):
    """Frame the contents; returns their offsets."""
    pieces = [framing.frame(content) for content in contents]
    path.write_bytes(b"".join(pieces))
    return np.cumsum([0, *map(len, pieces)])[:-1].tolist()


def found(path, known=None, size=1 << 22):
    """([(offset, content)], {kind: (count, byte, message)}) of a file."""
    report, records = FileReport("x"), []
    with RawFile(path) as raw:
        for block in blocks(raw, None if known is None else np.array(known), report, size):
            assert len(block.data) <= size and (np.diff(block.offset) > 0).all()
            for place in range(len(block)):
                start, offset = int(block.start[place]), int(block.offset[place])
                whole = raw.content_at(offset)[0]
                content = whole if start == APART else block.data[start:start + int(block.length[place])]
                assert content == whole and len(content) == block.length[place]
                records.append((offset, content))
                if block.readable[place]:
                    unpacked = framing.unpack(content)
                    assert (unpacked.flag, unpacked.id) == (block.flag[place], block.id[place])
                    labels = np.append(unpacked.label, [0, 0])[:2] if unpacked.flag < 2 else unpacked.label[:2]
                    np.testing.assert_array_equal(labels, block.label[place])
                    assert block.has_image[place] == bool(unpacked.image)
                else:
                    with pytest.raises(framing.FramingError):
                        framing.unpack(content)
    return records, {kind: (fault.count, fault.byte, fault.message) for kind, fault in report.faults.items()}


def many_contents(random, count=60):
    """Contents of all lengths, some with the magic word where it must be split, some without an image header."""
    contents = []
    for number in range(count):
        content = framing.pack([1.0, 2.0, 3.0][:number % 4] or float(number), number, random.bytes(random.randint(300)))
        if number % 7 == 0:
            content = content[:24] + MAGIC * (number % 3) + content[24:] + MAGIC
        if number % 11 == 0:
            content = content[:random.randint(40)]
        contents.append(content)
    return [MAGIC + MAGIC, b"", struct.pack("<IfQQ", 0, 1.0, framing.MAGIC, framing.MAGIC) + b"image", *contents]


@pytest.mark.parametrize("size", [64, 100, 1000, 1 << 22])
def test_every_record_of_a_sound_file_whatever_the_block(tmp_path, size):
    contents = many_contents(np.random.RandomState(0))
    offsets = write(tmp_path / "x.rec", contents)
    assert found(tmp_path / "x.rec", None, size) == (list(zip(offsets, contents)), {})
    assert found(tmp_path / "x.rec", offsets, size) == (list(zip(offsets, contents)), {})


def test_damage_is_the_same_whatever_the_block(tmp_path):
    random = np.random.RandomState(1)
    contents = many_contents(random)
    offsets = write(tmp_path / "x.rec", contents)
    data = (tmp_path / "x.rec").read_bytes()
    for case in range(40):
        broken = bytearray(data[:len(data) - random.choice([0, random.randint(400)])])
        for _ in range(random.randint(1, 6)):
            at = min(int(random.choice(offsets)) + random.randint(8), len(broken) - 1)
            broken[at] = random.choice([0, 0xff, random.randint(256)])
        (tmp_path / "x.rec").write_bytes(broken)
        for known in (None, offsets):
            records, faults = found(tmp_path / "x.rec", known)
            for size in (64, 500):
                assert found(tmp_path / "x.rec", known, size) == (records, faults)
            if known:
                good = {offset: content for offset, content in zip(offsets, contents)
                        if broken[offset:offset + 8] == data[offset:offset + 8] and MAGIC not in content
                        and offset + 8 + len(content) <= len(broken)}
                got = dict(records)
                assert set(good) <= set(got), case
                assert all(len(got[offset]) == len(content) for offset, content in good.items())


HOSTILE = {
    "magic words": MAGIC * 12_500,
    "empty records": (MAGIC + bytes(4)) * 6_250,
    "first parts": (MAGIC + struct.pack("<I", 1 << 29)) * 6_250,
    "middle parts": MAGIC + struct.pack("<I", 1 << 29) + (MAGIC + struct.pack("<I", 2 << 29)) * 6_250,
    "lengths to the end": b"".join(MAGIC + struct.pack("<I", 50_000 - at - 8) for at in range(0, 50_000, 8)),
    "lengths beyond the end": (MAGIC + struct.pack("<I", 1 << 28)) * 6_250,
    "lengths to nowhere": (MAGIC + struct.pack("<I", 15_000)) * 3_125 + bytes(25_000),
    "many first parts of one chain": b"".join(
        MAGIC + struct.pack("<I", 1 << 29 | 25_000 - at - 8) for at in range(0, 25_000, 8))
    + (MAGIC + struct.pack("<I", 2 << 29)) * 3_125,
    "wholes over one chain": b"".join(MAGIC + struct.pack("<I", (at % 16 == 0) << 29 | 25_000 - at - 8)
                                      for at in range(0, 25_000, 8)) + (MAGIC + struct.pack("<I", 2 << 29)) * 3_125,
    "zeros": bytes(50_000),
    "splits without an end": (MAGIC + struct.pack("<I", 1 << 29 | 4) + b"abcd" + MAGIC + struct.pack("<I", 2 << 29)
                              ) * 2_500,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("indexed", [False, True])
def test_hostile_files_take_linear_work(tmp_path, name, indexed):
    data = HOSTILE[name]
    (tmp_path / "train.rec").write_bytes(data)
    known = np.arange(0, len(data), 8) if indexed else None
    report = FileReport("x")
    with Counted(tmp_path / "train.rec") as raw:
        count = sum(map(len, blocks(raw, known, report)))
    assert raw.read < 30 * len(data) + (1 << 22) and raw.calls < len(data)
    assert count <= len(data) // 8
    if indexed:
        (tmp_path / "train.idx").write_text("".join(f"{at}\t{at}\n" for at in known[:5000].tolist()))
    assert not check_rec(tmp_path / "train.rec", 1).sound


def test_what_follows_the_last_record_does_not_make_it_unsound(tmp_path):
    contents = [framing.pack(float(number), number, jpeg(picture(number))) for number in range(3)]
    offsets = write(tmp_path / "x.rec", contents)
    whole = (tmp_path / "x.rec").read_bytes()
    (tmp_path / "x.rec").write_bytes(whole + b"some garbage of another program")
    for known in (None, offsets):
        records, faults = found(tmp_path / "x.rec", known)
        assert [offset for offset, _ in records] == offsets
        assert {kind: value[:2] for kind, value in faults.items()} == {"bad-magic": (1, len(whole))}


def test_a_length_that_swallows_records_exactly(tmp_path):
    contents = [framing.pack(float(number), number, jpeg(picture(number))) for number in range(5)]
    offsets = write(tmp_path / "x.rec", contents)
    data = bytearray((tmp_path / "x.rec").read_bytes())
    data[offsets[1] + 4:offsets[1] + 8] = struct.pack("<I", offsets[4] - offsets[1] - 8)
    (tmp_path / "x.rec").write_bytes(data)
    for known in (None, offsets):
        records, faults = found(tmp_path / "x.rec", known)
        assert [offset for offset, _ in records] == [offsets[place] for place in (0, 2, 3, 4)]
        assert faults["bad-length"][:2] == (1, offsets[1])


def test_a_record_in_parts_that_lacks_one(tmp_path):
    image = bytearray(cv2.imencode(".bmp", picture(1))[1].tobytes())
    image[200:204] = image[400:404] = MAGIC
    contents = [framing.pack(float(number), number, bytes(image)) for number in range(3)]
    offsets = write(tmp_path / "x.rec", contents)
    data = bytearray((tmp_path / "x.rec").read_bytes())
    middle = data.index(MAGIC, offsets[1] + 4)
    data[middle:middle + 1] = b"x"
    (tmp_path / "x.rec").write_bytes(data)
    records, faults = found(tmp_path / "x.rec", offsets)
    assert [offset for offset, _ in records] == [offsets[0], offsets[2]]
    assert {kind: value[:2] for kind, value in faults.items()} == {"bad-parts": (1, offsets[1])}
