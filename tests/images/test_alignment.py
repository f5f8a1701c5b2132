"""Five landmarks to a crop: the similarity transform, the template, the pixels."""
from __future__ import annotations

import cv2
import numpy as np
import pytest

from images import alignment


def test_similarity_recovers_a_known_transform():
    random = np.random.RandomState(0)
    for _ in range(20):
        angle, scale, shift = random.uniform(-3, 3), random.uniform(0.2, 4), random.uniform(-50, 50, 2)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        source = random.uniform(0, 200, (5, 2))
        matrix = alignment.similarity(source, source @ turn.T + shift)
        np.testing.assert_allclose(matrix, np.hstack([turn, shift[:, None]]), atol=1e-9)


def test_similarity_is_the_least_squares_one():
    random = np.random.RandomState(1)
    source, target = random.uniform(0, 100, (5, 2)), random.uniform(0, 100, (5, 2))
    rows = np.zeros((10, 4))  # a, b, tx, ty of x' = a x - b y + tx, y' = b x + a y + ty
    rows[0::2] = np.stack([source[:, 0], -source[:, 1], np.ones(5), np.zeros(5)], 1)
    rows[1::2] = np.stack([source[:, 1], source[:, 0], np.zeros(5), np.ones(5)], 1)
    a, b, x, y = np.linalg.lstsq(rows, target.ravel(), rcond=None)[0]
    np.testing.assert_allclose(alignment.similarity(source, target), [[a, -b, x], [b, a, y]], atol=1e-9)


@pytest.mark.parametrize("source", [np.ones((5, 2)), np.full((5, 2), np.nan), np.ones((4, 2)), np.ones((5, 3))])
def test_similarity_refuses_what_has_no_answer(source):
    with pytest.raises(ValueError, match="similarity"):
        alignment.similarity(source, alignment.TEMPLATE)


def test_align_is_black_beyond_the_photograph():
    image = np.full((112, 112, 3), 200, np.uint8)
    crop = alignment.align(image, alignment.TEMPLATE + [30, 0])
    assert (crop[:, :81] == 200).all() and (crop[:, 83:] == 0).all()


def test_a_crop_of_a_photograph_beyond_opencvs_limit_has_the_same_pixels(monkeypatch):
    image = cv2.resize(np.random.RandomState(2).randint(0, 256, (30, 40, 3)).astype(np.uint8), (400, 300))
    turn = np.array([[0.9, -0.3], [0.3, 0.9]])  # a face in the middle, one at a border, one beyond the corner
    faces = [alignment.TEMPLATE @ turn.T + shift for shift in ([150, 70], [-40, 10], [330, 230])]
    whole = [alignment.align(image, points) for points in faces]
    monkeypatch.setattr(alignment, "LONGEST_SIDE", 250)
    for points, expected in zip(faces, whole):
        assert expected.any()
        assert np.abs(alignment.align(image, points).astype(int) - expected).max() <= 2  # the warp's fixed point
    with pytest.raises(ValueError, match="more than 250 pixels"):
        alignment.align(image, 3 * alignment.TEMPLATE)


def test_pixels_are_those_of_bilinear_interpolation():
    """Half a pixel to the right and a quarter down: the weighted mean of four neighbours."""
    image = np.random.RandomState(3).randint(0, 256, (112, 112, 3)).astype(np.uint8)
    crop = alignment.align(image, alignment.TEMPLATE + [0.5, 0.25])
    between = (image[:, :-1].astype(float) + image[:, 1:]) / 2
    between = 0.75 * between[:-1] + 0.25 * between[1:]
    assert np.abs(crop[:-1, :-1] - between).max() <= 1


def test_the_template_is_the_ecosystems():
    """ArcFace's five points, as its scripts write them: for a crop of 112x96, moved to the middle of 112x112."""
    published = [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]]
    np.testing.assert_allclose(alignment.template(112, 96), published, atol=1e-9)
    np.testing.assert_allclose(alignment.template(), np.add(published, [8, 0]), atol=1e-9)


def test_template_of_other_sizes():
    np.testing.assert_allclose(alignment.template(224, 224), 2 * alignment.TEMPLATE)
    np.testing.assert_allclose(alignment.template(112, 96), alignment.TEMPLATE - [8, 0])
