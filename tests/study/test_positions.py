"""Lengths of local features by position."""
import numpy as np
import pytest

from study.positions import centre_correlation, effective_number


def test_equal_lengths_count_in_full_and_a_single_one_counts_once():
    assert np.allclose(effective_number(np.full((2, 49), 3.0)), 49)
    assert np.allclose(effective_number(np.eye(1, 49)), 1)
    assert np.allclose(effective_number(np.array([[1.0, 1, 1, 1, 0]])), 4)


def test_correlation_with_the_distance_from_the_centre_is_numpys():
    lengths = np.random.RandomState(1).rand(5, 21)
    away = np.array([np.hypot(row - 1, column - 3) for row in range(3) for column in range(7)])
    expected = np.mean([np.corrcoef(image, away)[0, 1] for image in lengths])
    assert centre_correlation(lengths, 3, 7) == pytest.approx(expected)
    assert centre_correlation(np.ones((1, 21)), 3, 7) == 0
    assert centre_correlation(away[None], 3, 7) == pytest.approx(1)
