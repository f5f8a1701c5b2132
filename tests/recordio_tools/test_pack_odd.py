"""pack: every odd file is counted once, by kind, and the numbers add up to the files found."""
import errno
import io
import json
import os
import struct
import unicodedata
import zlib

import cv2
import numpy as np
import pytest
from recordio_cases import command, drawn_faces, picture, write_image

from align.photographs import list_photographs
from common.environment import MAX_PIXELS
from images import prepare
from recordio_tools.pack import batches
from recordio_tools.records.dataset import open_dataset


def report_of(folder):
    return json.loads((folder / "pack-report.json").read_text("utf-8"))


def adds_up(report):
    parts = (report["images"], *report["images_skipped"].values(), report["images_not_chosen"],
             report["duplicates_dropped"], report["images_of_identities_left_out"])
    assert report["images_found"] == sum(parts)
    for key in ("images_by_treatment", "images_by_kind"):
        assert sum(report[key].values()) == report["images"]
    return report


def bomb(height, width):
    """A PNG of a few kilobytes that promises height x width pixels, all black."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = zlib.compressobj(9)
    body = b"".join(rows.compress(bytes(1 + width)) for _ in range(min(height, 400))) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + chunk(
        b"IDAT", body) + chunk(b"IEND", b"")


def test_the_whole_matrix(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    faces = drawn_faces(tmp_path / "faces", 3, 2)
    odd = faces / "odd"
    plain = write_image(odd / "1.jpg", picture(50))
    for name, options in (("gray.jpg", {"channels": 1}), ("gray.png", {"channels": 1}), ("alpha.png", {"channels": 4}),
                          ("deep.png", {"dtype": np.uint16}), ("a.bmp", {}), ("a.webp", {}), ("a.tiff", {}),
                          ("a.jp2", {}), ("a.ppm", {}), ("wrong.jpg", {"height": 90})):
        write_image(odd / name, picture(len(name) + len(options), **options))
    image_module.fromarray(picture(60)).convert("CMYK").save(odd / "cmyk.jpg")
    image_module.fromarray(picture(61)).save(odd / "progressive.jpg", progressive=True)
    exif = image_module.Exif()
    exif[0x0112] = 6
    image_module.fromarray(picture(62)).save(odd / "turned.jpg", exif=exif)
    (odd / "copy.jpg").write_bytes(plain.read_bytes())
    (faces / "person0/copy of another.jpg").write_bytes((faces / "person1/0.jpg").read_bytes())
    (odd / "broken.jpg").symlink_to(tmp_path / "nowhere")
    (odd / "round.jpg").symlink_to(odd / "round.jpg")
    for link, target in ((odd / "loop", faces), (faces / "all", faces), (faces / "above", tmp_path)):
        link.symlink_to(target)
    (odd / "deeper").mkdir()
    (odd / "deeper/2.jpg").symlink_to(faces / "person2/0.jpg")
    os.mkfifo(odd / "pipe.jpg")
    (odd / "empty.jpg").write_bytes(b"")
    (odd / "text.jpg").write_text("text")
    (odd / "cut.jpg").write_bytes(plain.read_bytes()[:-700])
    (odd / "bomb.png").write_bytes(bomb(60000, 60000))
    (odd / "scans.jpg").write_bytes(plain.read_bytes()[:-2] + b"\xff\xda\0\x02" * 1000 + b"\xff\xd9")
    (odd / "moving.gif").write_bytes(b"GIF89a" + bytes(40))
    (odd / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (odd / "huge.jpg").write_bytes(b"")
    os.truncate(odd / "huge.jpg", prepare.MOST_BYTES + 1)
    (odd / ".hidden.jpg").write_bytes(b"x")
    (odd / "notes.txt").write_text("x")
    (faces / "readme.md").write_text("x")
    assert command("pack", faces, tmp_path / "out", "--skip-wrong-size")[0] == 0
    report = adds_up(report_of(tmp_path / "out"))
    assert report["images_skipped"] == {
        "GIF, which is not read": 1, "HEIC, which is not read": 1, "broken link": 2, "empty": 1, "no image": 1,
        "no regular file": 1, "too large": 3, "truncated": 1, "wrong size": 1}
    assert report["odd_images"] == {"16-bit": 1, "CMYK": 1, "alpha": 1, "grayscale": 2, "rotated by EXIF": 1}
    assert report["images_by_kind"] == {"BMP": 1, "JPEG": 14, "JPEG 2000": 1, "PNG": 3, "PNM": 1, "TIFF": 1, "WebP": 1}
    assert report["images_by_treatment"] == {"copied": 12, "converted": 10}
    assert report["files_skipped"]["broken link"] == [str(odd / "broken.jpg"), str(odd / "round.jpg")]
    assert report["duplicates"] == {"count": 1, "files": [[str(plain), str(odd / "copy.jpg")]]}
    assert report["images_of_several_identities"]["count"] == 4
    assert report["images_of_several_identities"]["files"][0] == [str(odd / "deeper/2.jpg"),
                                                                  str(faces / "person2/0.jpg")]
    assert report["notes"] == {"link_loops": {
        "count": 3, "first": [str(faces / "above"), str(faces / "all"), str(odd / "loop")]}}
    assert report["other_files"] == 2 and report["images_found"] == 34
    assert len(open_dataset(tmp_path / "out")) == report["images"] == 22
    assert command("check", tmp_path / "out")[0] == 0


def test_duplicates_are_dropped_inside_an_identity_only(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 3, 3)
    first = (faces / "person1/0.jpg").read_bytes()
    for name in ("person1/00.jpg", "person1/9.jpg", "person2/9.jpg"):
        (faces / name).write_bytes(first)
    assert command("pack", faces, tmp_path / "keep")[0] == 0
    assert command("pack", faces, tmp_path / "drop", "--duplicates", "drop")[0] == 0
    keep, drop = (adds_up(report_of(tmp_path / name)) for name in ("keep", "drop"))
    assert (keep["images"], drop["images"], keep["duplicates_dropped"], drop["duplicates_dropped"]) == (12, 10, 0, 2)
    assert keep["duplicates"] == drop["duplicates"] and keep["duplicates"]["count"] == 2
    assert keep["images_of_several_identities"]["count"] == 4 and drop["images_of_several_identities"]["count"] == 2
    dataset = open_dataset(tmp_path / "drop")
    contents = [dataset.record_file.read(key).content for key in dataset.keys.tolist()]
    assert contents == [(faces / f"person{identity}/{name}.jpg").read_bytes() for identity, names in
                        enumerate(("012", ("0", "1", "2"), "0129")) for name in names]
    status, line = command("pack", faces, tmp_path / "x", "--duplicates", "drop", "--min-images", 4)
    assert status == 2 and "2 identities below --min-images 4" in line


def test_an_equal_hash_alone_is_not_a_duplicate(tmp_path, monkeypatch):
    faces = drawn_faces(tmp_path / "faces", 3, 3)
    monkeypatch.setattr(batches, "hash", lambda data: len(data) % 2, raising=False)
    assert command("pack", faces, tmp_path / "out", "--duplicates", "drop")[0] == 0
    report = adds_up(report_of(tmp_path / "out"))
    assert report["images"] == 9
    assert report["duplicates"]["count"] == report["images_of_several_identities"]["count"] == 0


def test_names_of_any_bytes_and_twins(tmp_path):
    faces = tmp_path / "faces"
    composed, apart = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
    names = ["Bob", "bob", composed, apart, "tab\tnew\nline", "‮turned", "山田"]
    for number, name in enumerate(names):
        write_image(faces / name / "x.jpg", picture(number))
    raw = os.fsencode(faces) + b"/caf\xe9"
    os.mkdir(raw)
    with open(raw + b"/\xff.jpg", "wb") as stream:
        stream.write((faces / "Bob/x.jpg").read_bytes())
    with open(raw + b"/\xfe.jpg", "wb"):
        pass
    assert command("pack", faces, tmp_path / "out")[0] == 0
    report = adds_up(report_of(tmp_path / "out"))
    assert report["identities"] == 8 and report["files_skipped"] == {"empty": [f"{faces}/caf\\xe9/\\xfe.jpg"]}
    assert report["notes"]["names_alike"] == {"count": 2, "first": ["Bob | bob", f"{apart} | {composed}"]}
    table = (tmp_path / "out/identities.csv").read_bytes()
    assert b",caf\xe9," in table and f",{composed},".encode() in table and f",{apart},".encode() in table
    assert [row.split(",")[0] for row in table.decode("utf-8", "replace").splitlines()[1:3]] == ["0", "1"]


def test_what_may_not_be_read_is_counted(tmp_path, monkeypatch):
    faces = drawn_faces(tmp_path / "faces", 3, 2)
    opened, scanned = os.open, os.scandir

    def refuse(path, *more, **named):
        if os.fsencode(path).endswith((b"person0/1.jpg", b"person1/1.jpg")):
            raise OSError(errno.EACCES, "Permission denied")
        return opened(path, *more, **named)

    def refuse_folder(path):
        if os.fsencode(path).endswith(b"locked"):
            raise OSError(errno.EACCES, "Permission denied")
        return scanned(path)

    (faces / "person2/locked").mkdir()
    monkeypatch.setattr(prepare.os, "open", refuse)
    monkeypatch.setattr(os, "scandir", refuse_folder)
    assert command("pack", faces, tmp_path / "out")[0] == 0
    report = adds_up(report_of(tmp_path / "out"))
    assert report["images_skipped"] == {"cannot be read (Permission denied)": 2} and report["images"] == 4
    assert report["notes"]["unreadable_folders"]["first"] == [f"{faces}/person2/locked (Permission denied)"]


def test_wrong_sizes_are_counted_before_they_end_the_pack(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 3, 3)
    for number in (1, 2):
        write_image(faces / f"person{number}/9.png", picture(number, 100, 90))
    status, line = command("pack", faces, tmp_path / "out")
    assert status == 2 and "; 1 more have another size too; " in line
    assert line.startswith(f"{faces}/person1/9.png: is 100x90 (height x width), not 112x112")
    assert "--skip-wrong-size" in line and not (tmp_path / "out").exists()
    assert command("pack", faces, tmp_path / "out", "--skip-wrong-size")[0] == 0
    report = adds_up(report_of(tmp_path / "out"))
    assert report["images_skipped"] == {"wrong size": 2} and report["images"] == 9


def test_max_images_and_small_identities_add_up(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 4, 5)
    (faces / "person3/0.jpg").write_bytes(b"x")
    for number in (1, 2, 3):
        (faces / f"person2/{number}.jpg").unlink()
    assert command("pack", faces, tmp_path / "out", "--min-images", 3, "--max-images", 4)[0] == 0
    report = adds_up(report_of(tmp_path / "out"))
    assert report["images_found"] == 17 and report["images_of_identities_left_out"] == 2
    assert report["images_not_chosen"] == 3


def test_shuffled_images_of_an_identity_stay_together(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 6, 6)
    assert command("pack", faces, tmp_path / "a", "--shuffle")[0] == 0
    assert command("pack", faces, tmp_path / "b", "--shuffle", "--seed", 1)[0] == 0
    orders = []
    for name in "ab":
        dataset = open_dataset(tmp_path / name)
        contents = [dataset.record_file.read(key).content for key in dataset.keys.tolist()]
        where = {(faces / f"person{i}/{j}.jpg").read_bytes(): (i, j) for i in range(6) for j in range(6)}
        order = [where[content] for content in contents]
        orders.append(order)
        assert sorted(order) == sorted(where.values()) and order != sorted(order)
        assert [len({identity for identity, _ in order[at:at + 6]}) for at in range(0, 36, 6)] == [1] * 6
        assert order[:6] != sorted(order[:6])
    assert orders[0] != orders[1]


def test_absurd_shapes_stay_in_bounds():
    for height, width in ((1, 100000), (100000, 1), (3, 5000)):
        assert prepare.fit(np.zeros((height, width, 3), np.uint8), 112, 112).shape == (112, 112, 3)
    long = cv2.resize(picture(1, 40, 400), (400, 40))
    expected = cv2.resize(long, (1120, 112), interpolation=cv2.INTER_LINEAR)[:, 504:616]
    assert np.abs(prepare.fit(long, 112, 112).astype(int) - expected).mean() < 3
    assert MAX_PIXELS * 3 < 1 << 28


def test_a_small_image_in_a_large_file_is_not_copied_with_all_its_bytes(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    faces = drawn_faces(tmp_path / "faces", 2, 1)
    stream = io.BytesIO()
    image_module.fromarray(picture(9)).save(stream, "JPEG", quality=95)
    (faces / "person0/large.jpg").write_bytes(stream.getvalue() + bytes(1 << 22))
    assert command("pack", faces, tmp_path / "out")[0] == 0
    assert report_of(tmp_path / "out")["images_by_treatment"] == {"converted": 1, "copied": 2}
    assert (tmp_path / "out/train.rec").stat().st_size < 1 << 18


def test_names_that_are_not_utf8_are_shuffled_and_sampled(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 3, 4)
    os.rename(faces / "person1", os.fsencode(faces) + b"/Jos\xe9")
    for number, flags in enumerate((("--shuffle",), ("--max-images", 2))):
        assert command("pack", faces, tmp_path / f"{number}", *flags)[0] == 0
    assert report_of(tmp_path / "1")["images"] == 6


def test_copies_are_found_by_names_that_need_a_lookup(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 2, 2)
    for name in ("person0/9.jpg", "person1/9.jpg"):
        (faces / name).write_bytes((faces / "person0/0.jpg").read_bytes())
    lines = [(f"person{person}", file) for person in (0, 1) for file in ("0.jpg", "1.jpg", "9.jpg")]
    for number, mark in enumerate("/\\"):
        (tmp_path / f"{number}.lst").write_text("".join(
            f"{place}\t{person[-1]}\t{person}{mark}{file}\n" for place, (person, file) in enumerate(lines)))
        assert command("pack", faces, tmp_path / f"{number}", "--lst", tmp_path / f"{number}.lst", "--duplicates",
                       "drop")[0] == 0
    one, other = (report_of(tmp_path / f"{number}") for number in (0, 1))
    assert one["duplicates_dropped"] == other["duplicates_dropped"] == 1
    assert one["images"] == other["images"] == 5


def test_a_list_below_a_folder_that_is_not_there(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 2, 2)
    (tmp_path / "a.lst").write_text("0\t0\tperson0/0.jpg\n1\t1\tperson1/0.jpg\n")
    status, line = command("pack", faces / "typo", tmp_path / "out", "--lst", tmp_path / "a.lst")
    assert status == 2 and "typo: there is no such folder" in line


def test_thumbnails_of_a_synology_are_no_faces(tmp_path, caplog):
    faces = drawn_faces(tmp_path / "faces", 3, 2)
    for folder in ("@eaDir/0.jpg", "person0/@eaDir/0.jpg", "person2/@eaDir/1.jpg"):
        write_image(faces / folder / "SYNOPHOTO_THUMB_M.jpg", picture(7))
    assert command("pack", faces, tmp_path / "out") == (0, "")
    report = adds_up(report_of(tmp_path / "out"))
    assert report["images"] == report["images_found"] == 6 and report["identities"] == 3
    assert report["notes"]["folders_of_thumbnails_skipped"] == {"count": 3, "first": [
        f"{faces}/{name}@eaDir" for name in ("", "person0/", "person2/")]}
    assert "folders of thumbnails skipped" in caplog.text
    assert len(list_photographs(faces, tmp_path / "none").images) == 6
