"""Five landmarks to a crop: the similarity transform, the template, the pixels."""
from __future__ import annotations

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


def test_template_of_other_sizes():
    np.testing.assert_allclose(alignment.template(224, 224), 2 * alignment.TEMPLATE)
    np.testing.assert_allclose(alignment.template(112, 96), alignment.TEMPLATE - [8, 0])
