"""People whose images fall into two groups, as `allpairs --audit` lists them."""
from __future__ import annotations

import numpy as np

from eval.second_groups import second_groups


def near(direction, count, random):
    made = np.eye(32)[direction] + random.normal(0, 0.05, (count, 32))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def test_the_smaller_group_of_a_person_and_nothing_else():
    """One person; two people; one with strangers that are no group; too few images."""
    random = np.random.RandomState(0)
    strangers = np.concatenate([near(place, 1, random) for place in (10, 11, 12)])
    parts = [(0, near(0, 12, random)), (1, near(1, 9, random)), (1, near(2, 6, random)), (2, near(3, 12, random)),
             (2, strangers), (3, near(4, 4, random)), (3, near(5, 4, random))]
    labels = np.concatenate([np.full(len(unit), person) for person, unit in parts])
    unit = np.concatenate([unit for _, unit in parts])
    shuffled, seen = random.permutation(len(labels)), []
    found = dict(second_groups(unit[shuffled], labels[shuffled], seen.append))
    assert {int(shuffled[image]) for image in found} == set(range(21, 27)) and len(seen) == 4
    mean = unit[12:21].mean(axis=0)
    for image, cosine in found.items():
        np.testing.assert_allclose(cosine, unit[shuffled[image]] @ mean / np.linalg.norm(mean), rtol=1e-5)


def test_no_identities():
    assert not list(second_groups(np.eye(3, dtype=np.float32), np.arange(3)))
