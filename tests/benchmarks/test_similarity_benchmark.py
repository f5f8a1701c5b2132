"""The table of merge's thresholds counts what plain loops count."""
import numpy as np

from benchmarks.similarity import counts, halves, most_alike, table


def test_halves_share_nothing_and_hold_all():
    for count in (2, 3, 9, 10):
        one, other = halves(np.arange(5, 5 + count), np.random.RandomState(count))
        assert sorted([*one, *other]) == list(range(5, 5 + count)) and len(one) - len(other) == count % 2
    seen = {tuple(halves(np.arange(9), np.random.RandomState(seed))[0]) for seed in range(5)}
    assert len(seen) == 5


def test_counts_are_those_of_plain_loops():
    random = np.random.RandomState(0)
    cosines = random.uniform(-1, 1, (20, 20)).astype(np.float32)
    several = random.rand(20) < 0.5
    for threshold in (-0.5, 0.0, 0.7):
        own = [cosines[person, person] >= threshold for person in range(20)]
        wrong = sum(cosines[one, other] >= threshold for one in range(20) for other in range(20) if one != other)
        part = [found for found, counted in zip(own, several) if counted]
        assert counts(cosines, several, threshold) == (sum(own) / 20, sum(part) / len(part), wrong)


def test_rows_are_means_over_the_splits_and_the_most_alike_are_named():
    first, second = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    second[0, 0], second[2, 1] = 0.2, 0.6
    lines = table([first, second], np.array([True, True, False]), np.array([0.1, 0.52]), [0.5])
    assert "3 identities" in lines[0] and "2 identities with two" in lines[0]
    assert "of 6 " in lines[0] and "of 2 other" in lines[0]
    assert lines[2] == "| 0.50 | 83.3% | 75.00% | 0 (0 to 1) | 1 |"
    assert most_alike([first, second], ["a", "b", "c"], 1) == "b and c 0.60"
