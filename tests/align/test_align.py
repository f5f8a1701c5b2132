"""align: folders of photographs to crops, by MTCNN on real faces and by given landmarks; odd files never stop it."""
from __future__ import annotations

import csv
import json
import shutil
import struct
import unicodedata
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from recordio_cases import picture, write_image

from align.landmark_table import COLUMNS, read_table
from align.photographs import crop_names, list_photographs, read_picture
from common.errors import RunError, UserError
from images.alignment import TEMPLATE, align, similarity
from images.codec import REDUCED
from recordio_tools.__main__ import main

POINTS = np.array([(60, 70), (110, 68), (86, 100), (64, 130), (104, 128)], float)
RANDOM = np.random.RandomState(3)


def photograph(height=200, width=180):
    return cv2.resize(RANDOM.randint(0, 256, (9, 9, 3)).astype(np.uint8), (width, height))


def write_table(path, rows):
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS[:11], *([name, *np.ravel(points)] for name, points in rows)])


@pytest.fixture
def folder(tmp_path):
    """Two identities; a.png beside a.jpg."""
    for name in ("src/ann/a.jpg", "src/ann/a.png", "src/bob/b.bmp", "src/bob/deep/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), photograph())
    write_table(tmp_path / "points.csv", [(name, POINTS) for name in
                                          ("ann/a.jpg", "ann/a.png", tmp_path / "src" / "bob" / "b.bmp")])
    return tmp_path


def run(folder, *flags, out="out"):
    status = main(["align", str(folder / "src"), str(folder / out), *map(str, flags)])
    return status, json.loads((folder / out / "align-report.json").read_text())


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.jpg"))}


def test_similarity_is_the_least_squares_solution():
    """Against numpy's solver on the linear system of a, b, tx, ty."""
    for _ in range(20):
        points = RANDOM.normal(50, 30, (5, 2))
        rows = [row for x, y in points for row in ((x, -y, 1, 0), (y, x, 0, 1))]
        a, b, x, y = np.linalg.lstsq(np.array(rows), TEMPLATE.ravel(), rcond=None)[0]
        assert np.allclose(similarity(points, TEMPLATE), [[a, -b, x], [b, a, y]])


def test_given_landmarks_make_the_crops_that_opencv_makes(folder):
    status, report = run(folder, "--landmarks", folder / "points.csv")
    assert status == 0 and report["landmarks_given"] == 3 and report["files_not_found"] == ["bob/deep/c.jpg"]
    assert set(files(folder / "out")) == {"ann/a.jpg", "ann/a.png.jpg", "bob/b.jpg"}
    image = cv2.imread(str(folder / "src/bob/b.bmp"))
    expected = cv2.imencode(".jpg", align(image, POINTS), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    assert (folder / "out/bob/b.jpg").read_bytes() == expected
    assert not list((folder / "out").rglob(".*"))


def test_flags_without_effect_are_named(folder, caplog):
    status, report = run(folder, "--landmarks", folder / "points.csv", "--detector", folder / "nothing", "--strict")
    assert status == 0 and report["landmarks_given"] == 3
    assert caplog.messages[:2] == [f"--{flag}: is without effect beside --landmarks" for flag in ("detector", "strict")]
    caplog.clear()
    status, report = run(folder, "--landmarks", folder / "points.csv", "--select", "largest", "--min-face", 20,
                         "--max-side", 100, "--thresholds", "0.5,0.6,0.7")
    assert report["done_before"] == 3 and caplog.messages[:4] == [
        f"--{flag}: is without effect beside --landmarks" for flag in ("select", "min-face", "max-side", "thresholds")]
    with pytest.raises(UserError, match="nothing"):
        run(folder, "--detector", folder / "nothing", "--trust-landmarks")
    assert caplog.messages[-1] == "--trust-landmarks: is without effect without --landmarks"


def test_a_second_run_continues_and_the_table_makes_the_same_crops(folder):
    run(folder, "--landmarks", folder / "points.csv")
    before = files(folder / "out")
    (folder / "out/ann/a.jpg").unlink()
    (folder / "out/bob/b.jpg").write_bytes(before["bob/b.jpg"][:200])
    with open(folder / "out/landmarks.csv", "a") as stream:
        stream.write("bob/deep/c.jpg,1,2")  # as a run that was killed leaves it
    _, report = run(folder, "--landmarks", folder / "points.csv")
    assert report["done_before"] == 1 and files(folder / "out") == before
    _, again = run(folder, "--landmarks", folder / "out/landmarks.csv", out="again")
    assert files(folder / "again") == before and again["not_found"] == 1
    _, kept = run(folder, "--landmarks", folder / "points.csv", "--keep-missed", "--image-size", "64,48")
    assert kept["done_before"] == 0 and kept["centre_crops"] == 1
    assert {cv2.imread(str(path)).shape for path in (folder / "out").rglob("*.jpg")} == {(64, 48, 3)}


def test_out_inside_src_is_not_aligned_again(folder):
    for _ in range(2):
        _, report = run(folder, "--landmarks", folder / "points.csv", "--overwrite", out="src/aligned")
        assert report["photographs"] == 4
    with pytest.raises(UserError, match="holds SRC"):
        run(folder, "--landmarks", folder / "points.csv", out="")


@pytest.mark.parametrize("line, told", [
    ("a.jpg,1,2,3", "line 2 has 4 columns"), ("a.jpg" + ",x" * 10, "x1 is 'x'"),
    ("a.jpg" + ",nan" * 10, "x1 is 'nan'"), ("," + "1," * 9 + "1", "line 2"),
    ("a.jpg" + ",1" * 10 + "\na.jpg" + ",1" * 10, "line 3: a.jpg is on line 2 already")])
def test_a_bad_line_of_a_table_is_named(tmp_path, line, told):
    (tmp_path / "t.csv").write_text(",".join(COLUMNS[:11]) + "\n" + line + "\n")
    with pytest.raises(UserError, match=told):
        read_table(tmp_path / "t.csv", tmp_path)
    (tmp_path / "t.csv").write_text("path,x1\n")
    with pytest.raises(UserError, match="no column y1"):
        read_table(tmp_path / "t.csv", tmp_path)


@pytest.mark.parametrize("first", [
    "", "image,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n", "Filename;x1;y1;x2;y2;x3;y3;x4;y4;x5;y5\n",
    "file,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,left_mouth_x,left_mouth_y,mouth_right_x,"
    "mouth_right_y\n"], ids=["no first line", "image", "semicolons", "names of parts"])
def test_a_table_by_other_names(tmp_path, first):
    row = "p/a.jpg,1,2,3,4.5,-5,6,7e0,8,9,10\n"
    (tmp_path / "t.csv").write_text("\ufeff" + first + (row.replace(",", ";") if ";" in first else row), "utf-8")
    [(name, found)] = read_table(tmp_path / "t.csv", tmp_path).items()
    assert name == "p/a.jpg"
    np.testing.assert_array_equal(found.array(), [[1, 2], [3, 4.5], [-5, 6], [7, 8], [9, 10]])
    (tmp_path / "t.csv").write_text(row + "q.jpg,1\n")
    with pytest.raises(UserError, match="line 2 has 2 columns, line 1 has 11"):
        read_table(tmp_path / "t.csv", tmp_path)


def test_a_link_to_a_folder_above_is_not_followed(tmp_path):
    for name in ("src/a/1.jpg", "other/2.jpg"):
        write_image(tmp_path / name, picture(1))
    for link, target in (("src/all", "src"), ("src/above", "."), ("src/other", "other")):
        (tmp_path / link).symlink_to(tmp_path / target)
    assert list_photographs(tmp_path / "src", tmp_path / "out").images == ["a/1.jpg", "other/2.jpg"]


def test_no_two_crops_have_one_name():
    paths = ["a.png", "a.jpg", "a.png.jpg", "A.bmp", "b.JPG", "c/a.webp", "c/\u00e9.png", "c/e\u0301.png"]
    names = crop_names(paths)
    assert names[1] == "a.jpg" and names[2] == "a.png.jpg" and names[4:6] == ["b.jpg", "c/a.jpg"]
    assert len({unicodedata.normalize("NFC", name).lower() for name in names}) == len(names)


@pytest.mark.parametrize("longest, reduced", [(1300, 1), (1200, 2), (300, 8), (100, 8)])
def test_a_large_photograph_is_searched_in_a_smaller_copy(tmp_path, monkeypatch, longest, reduced):
    """A point of the photograph lies where `scale` says, however the copy was made; turned by EXIF as well."""
    image = cv2.GaussianBlur(photograph(1703, 2501), (0, 0), 3)
    flags = []
    real = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda data, flag: flags.append(flag) or real(data, flag))
    for orientation, stored in ((1, image), (6, np.rot90(image))):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.jpg", quality=95, exif=exif)
        picture = read_picture(tmp_path / "a.jpg", longest)
        height, width = picture.pixels.shape[:2]
        assert flags.pop() == REDUCED[reduced] | cv2.IMREAD_IGNORE_ORIENTATION
        assert width == longest and abs(height - longest * 1703 / 2501) <= 1
        assert picture.scale == pytest.approx((width / 2501, height / 1703), rel=4e-3)  # 1703 is 213 times 8 less one
        expected = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        assert np.abs(picture.pixels.astype(float) - expected).mean() < 1.5


def test_an_out_that_cannot_be_written_is_told_before_the_work(folder, monkeypatch):
    (folder / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written .*file is a file"):
        run(folder, "--landmarks", folder / "points.csv", out="file/out")
    (folder / "there").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    for out, above in (("there", folder / "there"), ("new", folder)):
        with pytest.raises(UserError, match=f"cannot be written .*nothing can be made in the folder {above}[)]"):
            run(folder, "--landmarks", folder / "points.csv", out=out)


def test_unusable_arguments(folder):
    for flags in ((), ("--detector", folder / "nothing"), ("--detector", folder), ("--landmarks", folder / "no.csv")):
        with pytest.raises(UserError):
            run(folder, *flags)
    write_table(folder / "empty.csv", [])
    with pytest.raises(UserError, match="empty.csv: holds no rows"):
        run(folder, "--landmarks", folder / "empty.csv")
    for path in (folder / "src").rglob("?.*"):
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(RunError, match="none of the photographs gave a crop"):
        run(folder, "--landmarks", folder / "points.csv")


def test_real_photographs_are_found_and_odd_files_named(tmp_path, shared_data):
    source, raw = tmp_path / "src", shared_data / "cfp_raw" / "Images"
    for number in range(1, 21):
        name = ("frontal/01.jpg", "profile/02.jpg")[number % 2]
        (source / f"{number:03d}").mkdir(parents=True)
        shutil.copy(raw / f"{number:03d}" / name, source / f"{number:03d}" / "real.jpg")
    odd = source / "odd"
    odd.mkdir()
    face = cv2.imread(str(raw / "003/frontal/02.jpg"))
    cv2.imwrite(str(odd / "alpha.png"), np.dstack([face, np.full(face.shape[:2], 9, np.uint8)]))
    cv2.imwrite(str(odd / "gray.png"), cv2.cvtColor(face, cv2.COLOR_BGR2GRAY))
    cv2.imwrite(str(odd / "deep.png"), face.astype(np.uint16) * 257)
    cv2.imwrite(str(odd / "deep.tif"), face.astype(np.uint16) * 257)
    cv2.imwrite(str(odd / "huge.jpg"), cv2.resize(face, None, fx=8, fy=8))
    cv2.imwrite(str(odd / "many.jpg"), np.hstack([cv2.resize(face, (200, 200))] * 4))
    cv2.imwrite(str(odd / "noise.png"), RANDOM.randint(0, 256, (150, 150, 3)).astype(np.uint8))
    cv2.imwrite(str(odd / "pixel.png"), face[:1, :1])
    cv2.imwrite(str(odd / "line.png"), face[:1])
    whole = (raw / "003/frontal/02.jpg").read_bytes()
    (odd / "cut.jpg").write_bytes(whole[:len(whole) // 2])
    promise = b"IHDR" + struct.pack(">IIBBBBB", 100000, 100000, 8, 2, 0, 0, 0)
    (odd / "promise.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + promise
                                      + struct.pack(">I", zlib.crc32(promise)) + b"\0" * 99)
    (odd / "text.jpg").write_text("no image")
    (odd / "empty.jpg").write_bytes(b"")
    (odd / "notes.txt").write_text("no image name")
    (odd / "gone.jpg").symlink_to("nowhere")
    status, report = run(tmp_path, "--detector", shared_data / "weights" / "mtcnn")
    assert status == 0 and report["photographs"] == 34 and report["notes"]["other_files"]["first"] == ["odd/notes.txt"]
    assert report["found"] + report["found_relaxed"] == 26, report["files_not_found"]
    assert report["files_not_found"] == ["odd/line.png", "odd/noise.png", "odd/pixel.png"]
    assert report["files_skipped"] == {"broken link": ["odd/gone.jpg"], "empty": ["odd/empty.jpg"], "no image":
                                       ["odd/text.jpg"], "too large": ["odd/promise.png"], "truncated": ["odd/cut.jpg"]}
    rows = read_table(tmp_path / "out/landmarks.csv", source)
    plain = rows["odd/alpha.png"].array()
    assert np.allclose(rows["odd/huge.jpg"].array() / 8, plain, atol=0.03 * face.shape[1])
    assert all(np.abs(rows[f"odd/{name}"].array() - plain).max() < 0.03 * face.shape[1]
               for name in ("gray.png", "deep.png", "deep.tif"))
    errors = []
    for number in range(1, 21):
        name = ("frontal/01.txt", "profile/02.txt")[number % 2]
        marks = np.loadtxt(shared_data / "cfp_raw/Fiducials" / f"{number:03d}" / name, delimiter=",")
        eye, nose, mouth = marks[12:18].mean(0), marks[21], marks[25]
        seen = rows[f"{number:03d}/real.jpg"].array()[[0, 2, 3] if nose[0] > eye[0] else [1, 2, 4]]
        errors.append(np.linalg.norm(seen - [eye, nose, mouth], axis=1).mean() / np.linalg.norm(eye - mouth))
    assert np.mean(errors) < 0.12 and np.median(errors) < 0.07  # profiles that the cascade places wrongly included
