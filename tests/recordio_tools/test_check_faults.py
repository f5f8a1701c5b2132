"""Each kind of fault put into a set by hand: check must find exactly it, so often, and where it was put."""
import struct

import cv2
import numpy as np
import pytest
from check_cases import Set
from real_data_cases import exif
from recordio_cases import command, picture
from small_sets import jpeg

from recordio_tools.records.faults import KINDS, NOTES


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


def test_every_kind_is_explained():
    assert all(len(text) > 10 for text in {**KINDS, **NOTES}.values())


def test_two_entries_of_one_record(small, capsys):
    small.lines.append(b"500\t%d\n" % small.at[7])
    assert small.faults(capsys) == {"index-entry": (1, "rec", small.at[7], 500)}
    assert "two entries for the record" in small.report["faults"][0]["message"]


def test_identities_csv_that_cannot_be_read(small, capsys):
    (small.folder / "identities.csv").write_text("label,identity,images\n0,a,3\n0,b,3\n")
    assert list(small.faults(capsys)) == ["identities-csv"]


@pytest.mark.parametrize("rows, told", [
    ("label,identity,images\n0,a,3\n1,b,3\n2,c,3\n3,d,3\n", ""), ("label,identity\n0,a\n", ""),
    ("label,identity,images\n0,a,3\n1,b,2\n2,c,9\n", "line 3: says 2 images of label 1, the records have 3"),
    ("label,identity,images\n7,a,3\n", "line 2: says 3 images of label 7, the records have 0")])
def test_identities_csv_of_other_records(small, tmp_path, capsys, caplog, rows, told):
    table = small.folder / "identities.csv"
    table.write_text(rows)
    assert list(small.faults(capsys)) == (["identities-csv"] if told else [])
    assert not told or told in small.report["faults"][0]["message"]
    for argv in (("info",), ("unpack", tmp_path / "out"), ("merge", tmp_path / "merged")):
        caplog.clear()
        argv = (*argv[:1], small.folder, *argv[1:]) if argv[0] != "merge" else (*argv, small.folder)
        assert command(*argv) == (0, "")
        assert (told in caplog.text) if told else (str(table) not in caplog.text)


def test_images_that_other_readers_misread_are_counted_by_reason(small, capsys):
    turned, other = jpeg(picture()), {key: cv2.imencode(".webp", picture(key))[1].tobytes() for key in (2, 7, 9)}
    tags = b"Exif\0\0" + exif(6)
    turned = turned[:2] + b"\xff\xe1" + struct.pack(">H", len(tags) + 2) + tags + turned[2:]
    other[4] = turned
    small.rebuild(lambda key, content: content[:24] + other.get(key, content[24:]))
    assert small.faults(capsys) == {}
    note, = small.report["notes"]
    assert (note["kind"], note["count"], note["first_record"]) == ("other-readers", 4, 2)
    assert [(one["count"], one["first_byte"], one["first_record"]) for one in note["reasons"]] == [
        (3, small.at[2], 2), (1, small.at[4], 4)]
    assert command("check", small.folder) == (0, "")
    lines = [line for line in capsys.readouterr().out.splitlines() if "note: other-readers" in line]
    assert len(lines) == 2 and "WebP" in lines[0] and "EXIF" in lines[1]
