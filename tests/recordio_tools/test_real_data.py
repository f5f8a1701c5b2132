"""What people's own files are like: sets of other tools, odd images, lists of other systems, read as they are meant."""
from __future__ import annotations

import json
import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest
from real_data_cases import TIFF, exif, stored  # noqa: F401
from recordio_cases import command, drawn_faces, packed_images, picture, write_image
from repository import REPO
from small_sets import write_training_set

from common.name_lookup import NameLookup, canonical_path
from common.tables import read_table
from common.text_files import read_lines
from images.codec import decode
from images.formats import describe, kind_of, orientation_of
from recordio_tools.records.dataset import open_dataset
from recordio_tools.records.property import read_property


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", [("webp", "<"), ("webp", ">"), ("png", "<"), ("png", ">"), ("png", "<", True)])
def test_exif_turns_webp_and_png(orientation, form):
    data = stored(orientation, *form)
    assert orientation_of(data) == orientation
    assert np.array_equal(decode(data), picture(3, 40, 56))
    assert ("rotated by EXIF" in describe(data).odd) == (orientation != 1)


def test_turned_images_are_counted_by_pack(tmp_path):
    for identity in "ab":
        for orientation in range(1, 9):
            path = tmp_path / f"faces/{identity}/{orientation}.webp"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(stored(orientation, "webp"))
    assert command("pack", tmp_path / "faces", tmp_path / "out", "--image-size", "40,56") == (0, "")
    assert json.loads((tmp_path / "out/pack-report.json").read_text())["odd_images"] == {"rotated by EXIF": 14}


@pytest.mark.parametrize("data, kind", [
    (b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", "AVIF"), (b"\0\0\0\x18ftypavis\0\0\0\0avif", "AVIF"),
    (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"), (b"\0\0\0\x18ftypheim\0\0\0\0", "HEIC"),
    (b"\0\0\0\x18ftypheis\0\0\0\0", "HEIC"), (b"\0\0\0\x18ftyphevc\0\0\0\0", "HEIC"),
    (b"\0\0\0\x18ftypmiaf\0\0\0\0", "HEIC"), (b"\xff\x0a\xfa\x1f", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n\0", "JPEG XL"), (b"\0\0\0\x18ftypisom\0\0\0\0", None), (b"", None)])
def test_kinds_that_are_not_read_are_named(tmp_path, data, kind):
    assert kind_of(data) == kind
    if kind:
        (drawn_faces(tmp_path / "faces", 3, 2) / "person0/odd").write_bytes(data + b"\0" * 100)
        assert command("pack", tmp_path / "faces", tmp_path / "out")[0] == 0
        report = json.loads((tmp_path / "out/pack-report.json").read_text())
        assert report["images_skipped"] == {f"{kind}, which is not read": 1} and report["other_files"] == 0


def animated():
    frame = cv2.imencode(".webp", picture(1)[..., ::-1])[1].tobytes()[12:]
    body = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + b"\x6f\0\0" * 2
    body += b"ANIM" + struct.pack("<I", 6) + b"\0" * 6
    body += b"ANMF" + struct.pack("<I", 16 + len(frame)) + b"\0" * 16 + frame
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def test_libraries_say_nothing_on_stderr(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 3, 2)
    jpeg = (faces / "person0/0.jpg").read_bytes()
    (faces / "person0/animated.webp").write_bytes(animated())
    (faces / "person0/damaged.jpg").write_bytes(jpeg[:600] + b"\xff\xd3" * 40 + jpeg[680:])
    tiff = cv2.imencode(".tiff", picture(2)[..., ::-1])[1].tobytes()
    (faces / "person0/damaged.tif").write_bytes(tiff[:8] + b"\xff" * 60 + tiff[68:])
    for argv in (["pack", faces, tmp_path / "out"], ["check", tmp_path / "out"]):
        done = subprocess.run([sys.executable, "-m", "recordio_tools", *map(str, argv)], cwd=REPO, capture_output=True,
                              text=True)
        assert done.returncode == 0
        assert all(line.startswith("left out, ") for line in done.stderr.splitlines()), done.stderr
    assert "animated WebP, which is not read" in (tmp_path / "out/pack-report.json").read_text()


def test_files_are_known_by_what_they_hold(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 3, 3)
    for number, name in enumerate(["a.jfif", "no_ending", "photo.JPG.download"]):
        (faces / f"person1/{number}.jpg").rename(faces / "person1" / name)
    (faces / "person2/notes.txt").write_text("text")
    (faces / "person2/.hidden.jpg").write_bytes(b"x")
    (faces / "person2/Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + b"\0" * 100)
    (faces / "lost").mkdir()
    (faces / "lost/readme.md").write_text("no images")
    write_image(faces / "beside.png", picture(9))
    (faces / "list.txt").write_text("x")
    assert command("pack", faces, tmp_path / "out") == (0, "")
    report = json.loads((tmp_path / "out/pack-report.json").read_text())
    assert (report["images"], report["identities"], report["other_files"]) == (9, 3, 4)
    assert report["notes"]["folders_without_images"]["first"] == ["lost"]
    assert report["notes"]["images_beside_the_folders"]["first"] == ["beside.png"]


def test_a_folder_too_high_is_said_with_the_one_meant(tmp_path):
    drawn_faces(tmp_path / "split/train", 3, 2)
    drawn_faces(tmp_path / "split/val", 3, 2)
    status, line = command("pack", tmp_path / "split", tmp_path / "out")
    assert status == 2 and f"give {tmp_path}/split/train instead" in line
    assert command("pack", tmp_path / "split/train", tmp_path / "out") == (0, "")
    drawn_faces(tmp_path / "once/faces", 4, 2)
    status, line = command("pack", tmp_path / "once", tmp_path / "other")
    assert status == 2 and f"give {tmp_path}/once/faces instead" in line


def test_a_parent_folder_is_said_whatever_else_lies_there(tmp_path, caplog):
    for group, kind in (("NIR", 1), ("VIS", 2)):  # the same people in each
        drawn_faces(tmp_path / "casia" / group, 4, kind)
    assert command("pack", tmp_path / "casia", tmp_path / "out") == (0, "")
    told = f"give {tmp_path}/casia/NIR instead, or pack NIR, VIS each and merge the sets, with merge's --same-name join"
    assert told in caplog.text
    for group in ("NIR", "VIS"):
        assert command("pack", tmp_path / "casia" / group, tmp_path / f"set{group}") == (0, "")
    sets = tmp_path / "setNIR", tmp_path / "setVIS"
    assert command("merge", tmp_path / "all", *sets, "--same-name", "join") == (0, "")
    assert len(packed_images(tmp_path / "all")) == 8  # four are in both
    drawn_faces(tmp_path / "split/train", 5, 4)
    write_image(tmp_path / "split/train/preview.jpg", picture(9))  # one stray file
    drawn_faces(tmp_path / "split/val", 3, 4)
    status, line = command("pack", tmp_path / "split", tmp_path / "no")
    assert status == 2 and f"give {tmp_path}/split/train instead" in line
    drawn_faces(tmp_path / "up/x/faces", 8, 2)
    status, line = command("pack", tmp_path / "up", tmp_path / "no")
    assert status == 2 and f"give {tmp_path}/up/x/faces instead" in line
    assert command("pack", tmp_path / "up/x/faces", tmp_path / "eight") == (0, "")


def test_folders_inside_an_identity_are_its_own(tmp_path, caplog):
    for person in "abc":
        for kind in ("frontal", "profile"):
            write_image(tmp_path / f"cfp/{person}/{kind}/1.jpg", picture(ord(person)))
    assert command("pack", tmp_path / "cfp", tmp_path / "out") == (0, "") and "only folders" not in caplog.text
    for person in range(6):
        write_image(tmp_path / f"deep/{'xy'[person % 2]}/p{person}/1.jpg", picture(person))
    assert command("pack", tmp_path / "deep", tmp_path / "deeper")[0] == 0 and "only folders of images" in caplog.text


def test_a_picture_that_resizing_cannot_make_a_face_of(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 2, 2)
    write_image(faces / "person0/pixel.png", picture(1, 1, 1))
    write_image(faces / "person0/small.png", picture(1, 40, 40))
    assert command("pack", faces, tmp_path / "out", "--resize") == (0, "")
    report = json.loads((tmp_path / "out/pack-report.json").read_text())
    assert report["images_skipped"] == {"too small to be a face": 1}
    assert report["odd_images"] == {"enlarged more than twice": 1}


def test_a_property_of_two_lines_and_others(tmp_path):
    for text in ("8,112,112\n32\n", "8,112,112", " 8, 112 ,112 \r\n", "\ufeff8,112,112\n"):
        (tmp_path / "property").write_text(text, encoding="utf-8")
        assert read_property(tmp_path / "property")[:3] == (8, 112, 112)
    (tmp_path / "property").write_bytes("8,112,112\n".encode("utf-16"))
    assert read_property(tmp_path / "property")[:3] == (8, 112, 112)


@pytest.mark.parametrize("second, wrong", [("10", False), ("", False), ("# by hand", False), ("4711", True)])
def test_the_number_of_images_in_a_property_is_compared(tmp_path, caplog, capsys, second, wrong):
    folder = write_training_set(tmp_path / "set", 5, 2)
    (folder / "property").write_text((folder / "property").read_text().strip() + f"\n{second}\n")
    with open_dataset(folder).record_file:
        assert ("its second line says 4711 images, the records have 10" in caplog.text) == wrong
    assert command("check", folder)[0] == wrong
    assert ("property: its second line says 4711 images, there are 10" in capsys.readouterr().out) == wrong


def test_identities_are_the_labels_of_the_images_whatever_headers_say(tmp_path):
    folder = write_training_set(tmp_path / "set", 5, 2)
    index = (folder / "train.idx").read_text().splitlines()
    (folder / "train.idx").write_text("\n".join(index[1:11]) + "\n")  # the images alone, and no header is known
    data = (folder / "train.rec").read_bytes()
    end = int(index[11].split()[1])
    (folder / "train.rec").write_bytes(data[:end])
    with open_dataset(folder).record_file:
        assert open_dataset(folder).num_classes == 5


@pytest.mark.parametrize("name", ["unpack", "merge", "train", "info"])
def test_an_index_that_is_cut_off_is_noticed(tmp_path, name, caplog):
    import mxnet as mx
    (tmp_path / "set").mkdir()
    record = mx.recordio.MXIndexedRecordIO(str(tmp_path / "set/train.idx"), str(tmp_path / "set/train.rec"), "w")
    for key in range(12):
        image = cv2.imencode(".jpg", picture(key))[1].tobytes()
        record.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, float(key // 3), key, 0), image))
    record.close()
    lines = (tmp_path / "set/train.idx").read_text().splitlines(True)
    (tmp_path / "set/train.idx").write_text("".join(lines[:7]))
    if name == "train":
        from common.errors import UserError
        with pytest.raises(UserError, match="continues to byte"):
            open_dataset(tmp_path / "set")
    elif name == "info":
        assert command("info", tmp_path / "set") == (0, "") and "continues to byte" in caplog.text
    else:
        places = [tmp_path / "set", tmp_path / "o"]
        status, line = command(name, *(places if name == "unpack" else places[::-1]))
        assert status == 2 and "continues to byte" in line and "remove it" in line
    (tmp_path / "set/train.idx").unlink()  # what the message advises
    with open_dataset(tmp_path / "set").record_file:
        assert len(open_dataset(tmp_path / "set")) == 12


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_as_any_editor_saves_it(tmp_path, encoding, end):
    text = end.join(["path,identity", "Jos\u00e9/1.jpg,Jos\u00e9", "", "b.jpg,b"])
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    if encoding in ("utf-16-le", "utf-16-be") or end:
        assert [line for _, line in read_lines(tmp_path / "a.csv")] == ["path,identity", "Jos\u00e9/1.jpg,Jos\u00e9",
                                                                       "b.jpg,b"]
    rows = list(read_table(tmp_path / "a.csv", {"path": (), "identity": ()}, ""))
    assert [row.values for row in rows] == [{"path": "Jos\u00e9/1.jpg", "identity": "Jos\u00e9"},
                                            {"path": "b.jpg", "identity": "b"}]
    assert [row.where for row in rows] == [f"{tmp_path}/a.csv: line 2", f"{tmp_path}/a.csv: line 4"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_of_any_separator_and_spelling(tmp_path, separator):
    lines = [["Filename ", "Other", "LABEL"], ["a b.jpg", "x", "1"], ["c.jpg", "", "2"]]
    (tmp_path / "t.csv").write_text("\n".join(separator.join(line) for line in lines))
    rows = list(read_table(tmp_path / "t.csv", {"path": ("image", "filename"), "identity": ("label",)}, ""))
    assert [(row["path"], row["identity"]) for row in rows] == [("a b.jpg", "1"), ("c.jpg", "2")]


def test_names_are_found_in_any_form(tmp_path):
    (tmp_path / "Jose\u0301").mkdir()  # as a Mac writes it
    (tmp_path / "Jose\u0301/1.JPG").write_bytes(b"x")
    lookup = NameLookup()
    for name in ("Jos\u00e9/1.jpg", "Jos\u00e9\\1.jpg", f"{tmp_path.name}\\Jos\u00e9\\1.jpg"):
        assert NameLookup().find(name, tmp_path) == f"{tmp_path}/Jose\u0301/1.JPG"
    for name in ("Jos\u00e9/1.jpg", "Jos\u00e9\\1.jpg"):
        assert lookup.find(f"{tmp_path}/{name}") == f"{tmp_path}/Jose\u0301/1.JPG"
    (tmp_path / "Jose\u0301/1.Jpg").write_bytes(b"x")
    assert NameLookup().find(f"{tmp_path}/Jos\u00e9/1.jpg") is None  # two that fit
    assert lookup.find(f"{tmp_path}/none/1.jpg") is None
    assert canonical_path("C:\\a\\Jose\u0301.JPG") == "a/Jos\u00e9.jpg"


def test_lists_from_a_mac_and_from_windows(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 2, 2)
    (faces / "person0").rename(faces / "Jose\u0301")
    names = [("Jos\u00e9", 0), ("Jos\u00e9", 1), ("person1", 0), ("person1", 1)]
    for number, form in enumerate(("{}/{}.jpg", "{}\\{}.jpg", "D:\\faces\\{}\\{}.JPG")):
        lst = "".join(f"1\t{form.format(name, index)}\t{name}\n" for name, index in names)
        (tmp_path / "a.lst").write_bytes(lst.encode("utf-8-sig"))
        assert command("pack", faces, tmp_path / f"out{number}", "--lst", tmp_path / "a.lst") == (0, "")
        assert json.loads((tmp_path / f"out{number}/pack-report.json").read_text())["images"] == 4


def test_an_empty_argument_is_not_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for argv in (["pack", drawn_faces(tmp_path / "faces"), ""], ["unpack", "", "out"], ["check", " "],
                 ["synth", "--seed", "1", ""]):
        assert command(*argv)[0] == 2
        assert "is empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]
