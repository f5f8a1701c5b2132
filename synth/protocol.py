"""Verification protocols over identities disjoint from training: LFW's pairs file and CFP's Protocol folder."""
from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

FOLDS = 10
LFW_IMAGES, FRONTAL_IMAGES, PROFILE_IMAGES = 6, 10, 4  # images of each identity; CFP's own numbers
PAIRS_PER_PERSON = 7  # same pairs per fold, and as many different ones; CFP's own number
LEAST_PEOPLE = 2 * FOLDS  # a different pair needs two identities in a fold


def lfw_name(person: int) -> str:
    """The folder of verification identity 0, 1, ... and the prefix of its images' names."""
    return f"Person_{person + 1:04d}"


def folds_of(people: int) -> list[list[int]]:
    """Identities 0 to people - 1, assigned to the folds in turn, so that folds are disjoint."""
    return [list(range(fold, people, FOLDS)) for fold in range(FOLDS)]


def draw_pairs(members: list[int], images: tuple[int, int], count: int, random: np.random.RandomState
               ) -> tuple[list[tuple[int, int, int, int]], list[tuple[int, int, int, int]]]:
    """`count` same and `count` different pairs (person, image, person, image) of one fold's identities, without
    repetition.

    images: how many each identity has on the left and on the right side; equal numbers mean the same images.
    """
    left, right = images
    sides = [(a, b) for a in range(left) for b in range(right) if left != right or a < b]
    each = [[(person, *sides[k], person) for k in random.permutation(len(sides))] for person in members]
    same = [(p, a, q, b) for p, a, b, q in itertools.islice(
        (pair for row in itertools.zip_longest(*each) for pair in row if pair), count)]
    different: list[tuple[int, int, int, int]] = []
    seen = set()
    while len(different) < count:
        p, q = (members[k] for k in random.permutation(len(members))[:2])
        pair = (p, int(random.randint(left)), q, int(random.randint(right)))
        key = pair if left != right else tuple(sorted([pair[:2], pair[2:]]))
        if key not in seen:
            seen.add(key)
            different.append(pair)
    return same, different


def write_lfw(folder: Path, people: int, random: np.random.RandomState) -> None:
    """`pairs.txt`: folds and pairs a fold, then for each fold its same pairs and its different pairs."""
    folds = folds_of(people)
    count = PAIRS_PER_PERSON * min(map(len, folds))
    lines = [f"{FOLDS}\t{count}"]
    for members in folds:
        same, different = draw_pairs(members, (LFW_IMAGES, LFW_IMAGES), count, random)
        lines += [f"{lfw_name(p)}\t{a + 1}\t{b + 1}" for p, a, _, b in same]
        lines += [f"{lfw_name(p)}\t{a + 1}\t{lfw_name(q)}\t{b + 1}" for p, a, q, b in different]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n", "utf-8")


def write_cfp(folder: Path, people: int, random: np.random.RandomState) -> None:
    """`Protocol/`: the two lists of images, and for FF and FP ten splits of same.txt and diff.txt."""
    protocol = folder / "Protocol"
    protocol.mkdir(parents=True, exist_ok=True)
    counts = {"F": FRONTAL_IMAGES, "P": PROFILE_IMAGES}
    for letter, name in (("F", "frontal"), ("P", "profile")):
        images = itertools.product(range(1, people + 1), range(1, counts[letter] + 1))
        lines = [f"{number} ../Data/Images/{person:03d}/{name}/{image:02d}.jpg"
                 for number, (person, image) in enumerate(images, 1)]
        (protocol / f"Pair_list_{letter}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    folds = folds_of(people)
    for kind, (fold, members) in itertools.product(("FF", "FP"), enumerate(folds, 1)):
        left, right = (counts[letter] for letter in kind)
        count = PAIRS_PER_PERSON * min(map(len, folds))
        target = protocol / "Split" / kind / f"{fold:02d}"
        target.mkdir(parents=True)
        for name, pairs in zip(("same", "diff"), draw_pairs(members, (left, right), count, random)):
            lines = [f"{p * left + a + 1},{q * right + b + 1}" for p, a, q, b in pairs]
            (target / f"{name}.txt").write_text("\n".join(lines) + "\n", "utf-8")
