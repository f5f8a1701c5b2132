"""Each kind of fault put into a set by hand: check must find exactly it, so often, and where it was put."""
import json
import pickle
import struct

import cv2
import numpy as np
import pytest
from recordio_cases import command, picture
from small_sets import jpeg, write_training_set

from recordio_tools.binfile import write_bin
from recordio_tools.faults import KINDS, NOTES
from recordio_tools.recordio import RecordFile
from recordio_tools.writer import RecordWriter

IDENTITIES, IMAGES = 4, 3  # images are records 1 to 12, identities' headers 13 to 16


class Set:
    """A sound set to damage; what it says of its places is taken from before the damage."""

    def __init__(self, folder):
        self.folder = write_training_set(folder, IDENTITIES, IMAGES)
        self.data = bytearray((folder / "train.rec").read_bytes())
        self.lines = (folder / "train.idx").read_bytes().splitlines(True)
        with RecordFile(folder / "train.rec") as file:
            self.at = dict(zip(file.keys.tolist(), file.offsets.tolist()))
            self.length = {key: len(file.content_at(offset)[0]) for key, offset in self.at.items()}

    def put(self, key, inside, new):
        """Overwrite bytes of a record, from its offset on."""
        self.data[self.at[key] + inside:self.at[key] + inside + len(new)] = new

    def label(self, key, *values):
        """Overwrite the label, or the labels of a header record."""
        self.put(key, 12 if len(values) == 1 else 32, np.array(values, "<f4").tobytes())

    def line_at(self, number):
        """The byte at which a line of the index begins, from 0."""
        return sum(map(len, self.lines[:number]))

    def rebuild(self, change):
        """Write all records again, each content as `change(key, content)` gives it, or not at all (None)."""
        with RecordFile(self.folder / "train.rec") as file, RecordWriter(self.folder / "new.rec") as writer:
            for key in file.keys.tolist():
                content = change(key, file.content_at(self.at[key])[0])
                if content is not None:
                    self.at[key] = writer.write(key, content)
        self.data = bytearray((self.folder / "new.rec").read_bytes())
        self.lines = (self.folder / "new.idx").read_bytes().splitlines(True)
        for name in ("new.rec", "new.idx"):
            (self.folder / name).unlink()

    def faults(self, capsys, *flags):
        """{kind: (count, file, first byte, first record)} as --json tells them."""
        (self.folder / "train.rec").write_bytes(self.data)
        (self.folder / "train.idx").write_bytes(b"".join(self.lines))
        status, _ = command("check", self.folder, "--json", *flags)
        report, = json.loads(capsys.readouterr().out)["files"]
        assert status == int(bool(report["faults"])) and report["sound"] == (not status)
        self.report = report
        return {fault["kind"]: (fault["count"], fault["file"], fault["first_byte"], fault["first_record"])
                for fault in report["faults"]}


@pytest.fixture
def small(tmp_path):
    return Set(tmp_path / "set")


def test_sound(small, capsys):
    assert small.faults(capsys) == {} == small.faults(capsys, "--workers", 1)
    assert small.report["images"] == 12 and small.report["bytes"] == len(small.data)


def test_bad_magic(small, capsys):
    for key in (11, 4, 8):
        small.put(key, 2, b"\0")
    assert small.faults(capsys) == {
        "bad-magic": (3, "rec", small.at[4], None), "index-entry": (3, "rec", small.at[4], 4),
        "header-range": (3, "rec", small.at[14], 14)}  # 4, 8 and 11 are of three identities


@pytest.mark.parametrize("change", [-40, -4, 4, 4000, 1 << 27])
def test_bad_length(small, capsys, change):
    small.put(6, 4, struct.pack("<I", small.length[6] + change))
    assert small.faults(capsys) == {
        "bad-length": (1, "rec", small.at[6], None), "index-entry": (1, "rec", small.at[6], 6),
        "header-range": (1, "rec", small.at[14], 14)}


def test_bad_parts(small, capsys):
    small.put(9, 4, struct.pack("<I", 1 << 29 | small.length[9]))
    assert small.faults(capsys) == {
        "bad-parts": (1, "rec", small.at[9], None), "index-entry": (1, "rec", small.at[9], 9),
        "header-range": (1, "rec", small.at[15], 15)}


def test_truncated(small, capsys):
    del small.data[small.at[16] + 20:]
    assert small.faults(capsys) == {
        "truncated": (1, "rec", small.at[16], None), "index-entry": (1, "rec", small.at[16], 16),
        "header-range": (1, "rec", 0, 0), "property": (1, "property", 0, None)}


def test_index_file(small, capsys):
    small.lines[5] = b"5 x\n"
    assert small.faults(capsys) == {"index-file": (1, "idx", small.line_at(5), None)}
    assert small.report["faults"][0]["index_line"] == 6


def test_index_entries_that_lead_nowhere(small, capsys):
    end = len(small.data)
    small.lines += [b"90\t%d\n" % (end + 4), b"91\t%d\n" % (small.at[3] + 4)]
    assert small.faults(capsys) == {"index-entry": (2, "rec", small.at[3] + 4, 91)}
    assert small.report["faults"][0]["index_byte"] == small.line_at(18)


def test_records_that_the_index_does_not_know(small, capsys):
    del small.lines[7], small.lines[2]
    assert small.faults(capsys) == {"not-in-index": (2, "rec", small.at[2], -1),
                                    "header-range": (2, "rec", small.at[13], 13)}


def test_duplicate_keys(small, capsys):
    small.lines += [small.lines[7], small.lines[3]]
    assert small.faults(capsys) == {"duplicate-key": (2, "rec", small.at[7], 7)}
    fault, = small.report["faults"]
    assert (fault["index_byte"], fault["index_line"]) == (small.line_at(17), 18)


def test_heads_that_are_too_short(small, capsys):
    small.put(5, 8, struct.pack("<I", 1 << 20))  # so many labels
    small.rebuild(lambda key, content: b"short" if key == 7 else content)
    (small.folder / "train.rec").write_bytes(small.data)
    small.put(5, 8, struct.pack("<I", 1 << 20))
    found = small.faults(capsys)
    assert found.pop("header-range")[0] == 2
    assert found == {"record-header": (2, "rec", small.at[5], 5)}


def test_records_without_an_image(small, capsys):
    small.rebuild(lambda key, content: content[:24] if key in (5, 7) else content)
    found = small.faults(capsys)
    assert found.pop("header-range") == (2, "rec", small.at[14], 14)
    assert found == {"no-content": (2, "rec", small.at[5], 5)}


@pytest.mark.parametrize("lies, count, first", [
    ({0: (13, 18)}, 1, 0), ({0: (1, 5)}, 1, 0), ({14: (4, 8)}, 1, 15), ({14: (4, 6)}, 1, 0), ({14: (5, 7)}, 1, 0),
    ({13: (2, 2 ** 24)}, 1, 13), ({15: (np.nan, 10), 13: (-1, 3)}, 2, 13), ({16: (10.5, 13)}, 1, 16),
    ({14: (1, 7)}, 1, 13), ({16: (13, 17)}, 1, 16)])
def test_headers_whose_ranges_lie(small, capsys, lies, count, first):
    for key, span in lies.items():
        small.label(key, *span)
    found = small.faults(capsys)["header-range"]
    assert found[0] >= count and (first not in lies or found[2:] == (small.at[first], first))


def test_a_label_that_its_header_does_not_share(small, capsys):
    small.label(5, 3.0)
    assert small.faults(capsys) == {"header-range": (1, "rec", small.at[14], 14)}


def test_a_set_without_its_record_0(small, capsys):
    small.rebuild(lambda key, content: None if key == 0 else content)
    assert small.faults(capsys) == {"header-range": (1, "rec", small.at[13], 13)}


@pytest.mark.parametrize("text", ["4 112 112", "", "0,112,112", "4,112", "x" * 5000, "4,112,112,3", "\0"])
def test_a_property_that_is_none(small, capsys, text):
    (small.folder / "property").write_text(text)
    assert small.faults(capsys) == {"property": (1, "property", 0, None)}


def test_a_property_with_more_identities(small, capsys):
    (small.folder / "property").write_text("7,112,112")
    assert small.faults(capsys) == {"property": (1, "property", 0, None), "no-images": (3, "property", 0, None)}


@pytest.mark.parametrize("label", [4, 5e9, -1, 1.5, np.nan, np.inf])
def test_labels_outside_property(small, capsys, label):
    for key in (8, 9, 3):
        small.label(key, label)
    found = small.faults(capsys)
    assert found.pop("header-range")[0] == 2
    assert found == {"label": (3, "rec", small.at[3], 3)}


def test_labels_with_gaps(small, capsys):
    for key, label in zip(range(1, 13), [0, 0, 0, 9, 9, 9, 2, 2, 2, 6, 6, 6]):
        small.label(key, label)
    small.rebuild(lambda key, content: content if 0 < key < 13 else None)
    (small.folder / "property").unlink()
    assert small.faults(capsys) == {}  # rebuilt from the files, where they have no gaps
    for key, label in zip(range(1, 13), [0, 0, 0, 9, 9, 9, 2, 2, 2, 6, 6, 6]):
        small.label(key, label)
    assert small.faults(capsys) == {"label-gap": (6, "rec", small.at[7], 7)}


def test_identities_without_images(small, capsys):
    small.label(15, 7, 7)
    small.label(16, 7, 13)
    for key in range(7, 10):
        small.label(key, 3.0)
    assert small.faults(capsys) == {"no-images": (1, "rec", small.at[15], 15),
                                    "label-gap": (1, "rec", small.at[7], 7)}


def test_the_last_identities_without_images(small, capsys):
    for key in range(7, 13):
        small.label(key, 1.0)
    small.label(14, 4, 13)
    small.label(15, 13, 13)
    small.label(16, 13, 13)
    assert small.faults(capsys) == {"no-images": (2, "rec", small.at[15], 15)}


def test_one_identity(small, capsys):
    for key in range(1, 13):
        small.label(key, 0.0)
    small.rebuild(lambda key, content: content if 0 < key < 13 else None)
    for key in range(1, 13):
        small.label(key, 0.0)
    (small.folder / "property").unlink()
    assert small.faults(capsys) == {"one-identity": (1, "rec", small.at[1], 1)}


def test_images(small, capsys):
    def change(key, content):
        image = content[24:]
        return content[:24] + {
            2: b"text", 6: image[:700], 3: image[:len(image) // 2], 4: image[:-2], 7: jpeg(picture(1, 112, 100)),
            8: jpeg(picture(1, 300, 112)), 9: cv2.imencode(".png", picture(3))[1].tobytes(),
            10: b"\xff\xd8\xff\xd9", 12: cv2.imencode(".png", picture(3))[1].tobytes()[:-30]}.get(key, image)
    small.rebuild(lambda key, content: change(key, content) if 0 < key < 13 else content)
    found = small.faults(capsys)
    assert found == {"undecodable": (3, "rec", small.at[2], 2), "cut-off-image": (3, "rec", small.at[3], 3),
                     "size": (2, "rec", small.at[7], 7)}


def test_an_image_that_claims_to_be_enormous(small, capsys):
    image = bytearray(jpeg(picture()))
    frame = image.index(b"\xff\xc0")
    image[frame + 5:frame + 9] = struct.pack(">HH", 65500, 65500)
    small.rebuild(lambda key, content: content[:24] + bytes(image) if key == 5 else content)
    assert small.faults(capsys) == {"undecodable": (1, "rec", small.at[5], 5)}


def test_empty(small, capsys):
    small.data, small.lines = bytearray(), []
    assert small.faults(capsys)["empty"] == (1, "rec", 0, None)


def bin_faults(path, capsys):
    status, _ = command("check", path, "--json")
    report, = json.loads(capsys.readouterr().out)["files"]
    assert status == int(bool(report["faults"]))
    return {fault["kind"]: (fault["count"], fault["file"], fault["first_byte"], fault["first_record"])
            for fault in report["faults"]}


def test_bins(tmp_path, capsys):
    path = tmp_path / "x.bin"
    images = [jpeg(picture(number)) for number in range(48)]
    same = [number % 2 == 0 for number in range(24)]

    def write(changes=None, same=same, count=48):
        values = [(changes or {}).get(number, image) for number, image in enumerate(images[:count])]
        path.write_bytes(pickle.dumps((values, same), protocol=2))
        content = path.read_bytes()
        return lambda number: content.index(values[number].decode("latin-1").encode("utf-8"))
    write()
    assert bin_faults(path, capsys) == {}
    at = write({7: b"text that is no image", 5: b"neither is this"})
    assert bin_faults(path, capsys) == {"undecodable": (2, "bin", at(5), 5)}
    write({9: b"", 11: 3})
    assert bin_faults(path, capsys) == {"undecodable": (2, None, None, 9)}
    at = write({6: images[6][:1500]})
    assert bin_faults(path, capsys) == {"cut-off-image": (1, "bin", at(6), 6)}
    at = write({0: jpeg(picture(1, 96, 96)), 30: jpeg(picture(2, 96, 112))})
    assert bin_faults(path, capsys) == {"size": (2, "bin", at(0), 0)}
    write(count=47)
    assert bin_faults(path, capsys) == {"pair-count": (1, None, None, None)}
    at = write(same=same[:20])
    assert bin_faults(path, capsys) == {"pair-count": (1, "bin", at(40), None)}
    at = write(same=same[:9], count=18)
    assert bin_faults(path, capsys) == {"few-pairs": (1, "bin", at(0), None)}
    at = write(same=[True] * 6 + same[6:])
    assert bin_faults(path, capsys) == {"one-class-fold": (2, "bin", at(0), 0)}
    write_bin(path, images, same)
    content = path.read_bytes()
    path.write_bytes(content[:5000])
    count, file, byte, _ = bin_faults(path, capsys)["bin-file"]
    assert (count, file) == (1, "bin") and 0 < byte < 5000  # the operation whose bytes go on past the end
    path.write_bytes(b"")
    assert bin_faults(path, capsys) == {"bin-file": (1, "bin", 0, None)}


def test_every_kind_is_explained():
    assert all(len(text) > 10 for text in {**KINDS, **NOTES}.values())
