"""Landmarks that cannot be a face's: told by their fit to the template, counted, and a table of them refused."""
from __future__ import annotations

import json

import numpy as np
import pytest
from recordio_cases import command, picture, write_image

from eval.pose import HEAD
from images.alignment import COINCIDE, NO_FACE, NO_NUMBERS, NOT_MARKED, TEMPLATE, TOO_SMALL, misfit, similarity
from images.landmark_faults import ORDERS, LandmarkFaults, residuals

FACE = TEMPLATE * 2.3 + (80, 40)
PROFILE = np.array([(60.0, 80), (78, 80), (46, 108), (62, 136), (76, 137)])
WRONG = {"sides swapped": FACE[[1, 0, 2, 4, 3]], "x and y swapped": FACE[:, ::-1],
         "y from below": FACE * [1, -1] + [0, 400], "mirrored": FACE * [-1, 1] + [500, 0],
         "mouth above": FACE[[3, 4, 2, 0, 1]] * [1, 1]}
ODD = {"mouth corners swapped": FACE[[0, 1, 2, 4, 3]], "eyes swapped": FACE[[1, 0, 2, 3, 4]],
       "on one line": FACE[:, :1] * [1, 0.5] + [0, 20]}


def residual(points, target=TEMPLATE):
    """By numpy's own least squares."""
    rows = np.concatenate([np.array([[x, -y, 1, 0], [y, x, 0, 1]]) for x, y in points])
    fitted, *_ = np.linalg.lstsq(rows, target.ravel(), rcond=None)
    return np.sqrt(((rows @ fitted - target.ravel()).reshape(5, 2) ** 2).sum(1).mean())


@pytest.mark.parametrize("angle", [0, 30, 90, 180])
def test_faces_fit_however_they_are_turned(angle):
    turn = np.radians(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    assert misfit(FACE @ rotation.T + 1000) == "" and misfit(PROFILE @ rotation.T + 1000) == ""


@pytest.mark.parametrize("points", WRONG.values(), ids=WRONG.keys())
def test_points_in_another_order_do_not(points):
    assert residual(points) > 20 and misfit(points) == NO_FACE
    matrix = similarity(points, TEMPLATE)
    rest = points @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE
    assert np.sqrt((rest ** 2).sum(1).mean()) == pytest.approx(residual(points))


@pytest.mark.parametrize("points", ODD.values(), ids=ODD.keys())
def test_points_that_fit_nearly_and_are_out_of_order(points):
    assert misfit(points) == NO_FACE


def test_parts_of_the_picture_and_points_that_coincide():
    assert misfit(FACE / 500) == TOO_SMALL and misfit(np.full((5, 2), 7.0)) == COINCIDE
    assert misfit(TEMPLATE * 11.9 / 112) == TOO_SMALL and misfit(TEMPLATE * 12.1 / 112) == ""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_points_that_are_no_numbers_of_pixels(tmp_path, value):
    points = FACE.copy()
    points[2, 1] = value
    assert misfit(points) == misfit(np.full((5, 2), value)) == NO_NUMBERS
    status, line = write_list(tmp_path, points)
    assert status == 2 and "a.lst: 6 of its 6 faces have landmarks that are not numbers" in line


def write(folder, rows):
    for number in range(len(rows)):
        write_image(folder / f"src/{number}.png", picture(number, 400, 500))
    (folder / "l.csv").write_text("path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n" + "".join(
        f"{number}.PNG," + ",".join(f"{value:.3f}" for value in np.ravel(points)) + "\n"
        for number, points in enumerate(rows)))
    return "align", folder / "src", folder / "out", "--landmarks", folder / "l.csv"


def test_some_are_counted_and_named(tmp_path):
    assert command(*write(tmp_path, [FACE] * 4 + [FACE[[1, 0, 2, 4, 3]], FACE / 500, FACE + 2000])) == (0, "")
    report = json.loads((tmp_path / "out/align-report.json").read_text())
    assert report["landmarks_given"] == 4
    assert report["files_skipped"] == {NO_FACE: ["4.png"], TOO_SMALL: ["5.png"],
                                       "landmarks outside the image": ["6.png"]}


@pytest.mark.parametrize("points, words", [(FACE[[1, 0, 2, 4, 3]], "left and right"),
                                           (FACE / 500, "instead of pixels")])
def test_a_table_of_them_is_refused(tmp_path, points, words):
    status, line = command(*write(tmp_path, [points] * 6 + [FACE]))
    assert status == 2 and "l.csv: 6 of its 7 rows" in line and words in line and not (tmp_path / "out").exists()


@pytest.mark.parametrize("mark", [0, -1])
@pytest.mark.parametrize("places", [[3, 4], [2, 3, 4], [1], [0, 1, 2, 3, 4]])
def test_points_that_are_not_marked(places, mark):
    points = FACE.copy()
    points[places] = mark
    assert misfit(points) == NOT_MARKED


def test_unmarked_points_are_counted_and_a_table_or_list_of_them_is_refused(tmp_path):
    points = FACE * [[1], [1], [1], [0], [0]]
    status, line = command(*write(tmp_path, [points] * 6 + [FACE]))
    assert status == 2 and "l.csv: 6 of its 7 rows" in line and "not marked" in line
    assert write_list(tmp_path, points)[0] == 2
    assert command(*write(tmp_path, [points] * 3 + [FACE] * 4)) == (0, "")
    report = json.loads((tmp_path / "out/align-report.json").read_text())
    assert report["skipped_by_reason"] == {NOT_MARKED: 3}


def test_a_profiles_eyes_may_coincide_and_no_eye_the_nose():
    points = PROFILE.copy()
    points[1] = points[0]
    assert misfit(points) == ""
    points = PROFILE.copy()
    points[2] = points[0]
    assert misfit(points) == COINCIDE


def heads(yaw, pitch, count=12):
    """(N, 5, 2) points of heads that differ a little, by a distant camera, in pixels with y down."""
    yaw, pitch = np.radians([yaw, pitch])
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    shapes = HEAD + np.random.RandomState(0).normal(0, 0.04, (count, 5, 3))
    return (shapes @ (nod @ turn).T)[..., :2] * [80, -80] + (250, 150)


@pytest.mark.parametrize("order, yaw, words", [([0, 2, 1, 3, 4], 0, "as left eye, nose, right eye, left corner"),
                                               ([2, 0, 1, 3, 4], -50, "as nose, left eye, right eye, left corner")])
def test_an_order_that_fits_far_better_is_told(tmp_path, order, yaw, words):
    points = heads(yaw, 0)[:, order]
    assert sum(misfit(one) == "" for one in points) > 6  # each alone may pass for a face
    status, line = command(*write(tmp_path, points))
    assert status == 2 and "of its 12 rows fit a face far better" in line and words in line
    assert not (tmp_path / "out").exists()
    status, line = write_list(tmp_path, points)
    assert status == 2 and words in line


@pytest.mark.parametrize("yaw", [0, 45, 70, -80, 90])
@pytest.mark.parametrize("pitch", [-20, 0, 30])
def test_faces_in_the_right_order_are_not_taken_for_another(yaw, pitch):
    faults = LandmarkFaults()
    for points in heads(yaw, pitch, 100):
        faults.add(points)
    faults.refuse("a.lst", "faces", 5)


def test_the_other_layout_of_ten_numbers_is_told(tmp_path):
    read = (heads(10, 0) - [200, 50]).transpose(0, 2, 1).reshape(-1, 5, 2)  # x1 to x5, then y1 to y5, read as pairs
    assert sum(misfit(one) == "" for one in read) > 6  # each alone may pass for a face
    status, line = command(*write(tmp_path, read))
    assert status == 2 and "of its 12 rows fit a face far better as x1..x5 y1..y5" in line
    assert not (tmp_path / "out").exists()
    read = heads(10, 0).reshape(-1, 2, 5).transpose(0, 2, 1)  # pairs, in a list
    status, line = write_list(tmp_path, read)
    assert status == 2 and "x1..x5 y1..y5 in a .lst" in line


@pytest.mark.parametrize("shift", [(-200, -50), (1500, 1000)])
@pytest.mark.parametrize("yaw", [0, 45, -80])
def test_the_right_layout_is_not_taken_for_the_other(shift, yaw):
    faults = LandmarkFaults()
    for points in heads(yaw, 0, 100) + shift:
        faults.add(points)
    faults.refuse("a.csv", "rows", 5)


def test_residuals_are_those_of_least_squares():
    points = heads(40, 10, 3)
    found = residuals(points)
    for number in range(5):
        assert found[1, number] == pytest.approx(residual(points[1], TEMPLATE[ORDERS[number]]))
    assert found[1, 5] == pytest.approx(residual(points[1].T.reshape(5, 2)))
    assert found[1, 6] == pytest.approx(residual(points[1].reshape(2, 5).T))


def write_list(folder, faces):
    """What pack says to a list of faces, or of six faces of the same points."""
    write_image(folder / "a.png", picture(1, 400, 500))
    faces = faces if np.ndim(faces) == 3 else [faces] * 6
    (folder / "a.lst").write_text("".join(
        f"0\ta.png\t{label}\t0\t0\t9\t9\t" + "\t".join(f"{value:.2f}" for value in points.T.ravel()) + "\n"
        for label, points in enumerate(faces)))
    return command("pack", folder / "a.lst", folder / "out")


def test_a_list_of_them_is_refused(tmp_path):
    status, line = write_list(tmp_path, FACE / 500)
    assert status == 2 and "a.lst: 6 of its 6 faces" in line and "instead of pixels" in line
