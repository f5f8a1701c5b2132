"""Random protocols: CFP-FP's structure, the same pairs for every run, and rates by loops."""
import numpy as np
import pytest
from sklearn.metrics import roc_curve

from eval.metrics import accuracy_10fold
from study.random_protocols import fold_count, protocol_rates, random_protocols

PEOPLE = 100


@pytest.fixture(scope="module")
def faces():
    """labels, frontal and profile images of 100 identities, ten and four each, not in order."""
    random = np.random.RandomState(5)
    order = random.permutation(PEOPLE * 14)
    labels, frontal = np.repeat(np.arange(PEOPLE), 14)[order], np.tile([True] * 10 + [False] * 4, PEOPLE)[order]
    return labels, (np.flatnonzero(frontal), np.flatnonzero(~frontal))


def test_each_identity_has_seven_pairs_of_each_kind_within_its_fold(faces):
    labels, (frontal, profile) = faces
    assert fold_count(PEOPLE) == 2 and fold_count(250) == 5 and fold_count(20) == 2
    for pairs, same in random_protocols(*faces, 3, 0):
        left, right = labels[frontal[pairs[:, 0]]], labels[profile[pairs[:, 1]]]
        assert np.array_equal(left == right, same)
        assert (np.bincount(left[same]) == 7).all() and (np.bincount(left[~same]) == 7).all()
        assert np.array_equal(left // 50, right // 50)
        assert np.array_equal(left // 50, np.repeat([0, 1], 700))  # the folds are consecutive
        assert np.array_equal(same, np.tile(np.repeat([True, False], 350), 2))
        assert len(np.unique(pairs, axis=0)) == len(pairs)


def test_the_seed_decides_the_pairs(faces):
    (one, _), (two, _) = random_protocols(*faces, 2, 1)
    (again, _), = random_protocols(*faces, 1, 1)
    assert np.array_equal(one, again) and not np.array_equal(one, two)


def test_every_pair_of_an_identity_is_as_likely(faces):
    labels, (frontal, profile) = faces
    counts = np.zeros((len(frontal), len(profile)))
    for pairs, same in random_protocols(*faces, 200, 2):
        counts[tuple(pairs[same].T)] += 1
    genuine = counts[labels[frontal][:, None] == labels[profile][None]]
    assert len(genuine) == 40 * PEOPLE and genuine.mean() == 200 * 7 / 40
    assert genuine.var() == pytest.approx(200 * 7 / 40 * 33 / 40, rel=0.1)  # of a binomial distribution


def test_rates_are_those_of_the_pairs(faces):
    labels, (frontal, profile) = faces
    unit = np.random.RandomState(1).randn(len(labels), 8) + 2 * np.random.RandomState(2).randn(PEOPLE, 8)[labels]
    unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32)
    found = protocol_rates(unit, *faces, (1e-2, 1e-4), 3, 7)
    assert list(found["tpr"]) == ["0.01"]  # 700 impostor pairs cannot measure 0.0001
    for draw, (pairs, same) in enumerate(random_protocols(*faces, 3, 7)):
        distance = np.array([((unit[frontal[one]] - unit[profile[two]]) ** 2).sum() for one, two in pairs])
        fpr, tpr, _ = roc_curve(same, -distance, drop_intermediate=False)
        assert found["tpr"]["0.01"][draw] == pytest.approx(tpr[fpr <= 0.01].max(), abs=2e-3)
        assert found["accuracy"][draw] == pytest.approx(accuracy_10fold(distance, same, 2)[0], abs=2e-3)


@pytest.mark.parametrize("labels, sides", [([0, 0], ([0], [1])), ([0, 0, 1], ([0, 2], [1]))])
def test_images_that_make_no_protocol_are_refused(labels, sides):
    with pytest.raises(ValueError, match="two identities|no frontal or no profile image"):
        next(random_protocols(np.array(labels), tuple(map(np.array, sides)), 1, 0))
