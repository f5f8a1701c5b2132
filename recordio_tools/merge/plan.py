"""The plan of a merge: which identities are removed or joined, each with its reason."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Sequence

import numpy as np

from common.errors import UserError
from common.name_forms import name_key
from common.union_find import UnionFind
from recordio_tools.faces import PackedFaces

NO_SET, ANY_SET = -1, -2  # beside the sets' numbers


@dataclass
class Identity:
    """An identity of a set: source is the set's index on the command line from 0, images its record keys to use,
    int64."""

    source: int
    label: int
    name: str
    images: np.ndarray


@dataclass(frozen=True)
class Match:
    """Two identities that are the same, by name (similarity None) or by similarity: number `one` of the plan, which was
    `removed` or `joined` (action), and another, of the plan or of a set that it is compared with."""

    one: int
    other_set: str
    other_label: int
    other_name: str
    other_images: int
    similarity: float | None
    action: str


class Plan:
    """All identities of the sets, in order, with the planned action for each.

    removed: number of the identity to the reason; the first reason is kept. left_out: images that were removed one by
    one. matches: for review.
    """

    def __init__(self, sets: Sequence[PackedFaces]) -> None:
        self.sets = sets
        self.short = _short_names([faces.path for faces in sets])
        self.identities = [Identity(source, label, name, images) for source, faces in enumerate(sets)
                           for label, name, images in zip(faces.labels, faces.names, faces.images)]
        self.removed: dict[int, str] = {}
        self.left_out = 0
        self.matches: list[Match] = []
        self.groups = UnionFind(len(self.identities))

    def remove(self, number: int, reason: str) -> None:
        """Leave an identity out."""
        self.removed.setdefault(number, reason)

    def remove_image(self, number: int, key: int) -> None:
        """Leave one image of an identity out, and the identity with its last one."""
        identity = self.identities[number]
        rest = identity.images[identity.images != key]
        self.left_out += len(identity.images) - len(rest)
        identity.images = rest
        if not len(rest):
            self.remove(number, "all images excluded")

    def kept(self) -> list[int]:
        """The numbers of the identities that are not removed."""
        return [number for number in range(len(self.identities)) if number not in self.removed]

    def output(self) -> list[list[int]]:
        """The identities of the merged set: each the numbers of those joined in it, in order of the first."""
        members = ([number for number in group if number not in self.removed] for group in self.groups.members())
        return [group for group in members if group]

    def title(self, number: int) -> str:
        """A name for display: its own, or one made of the set and the label."""
        identity = self.identities[number]
        return identity.name or f"{self.short[identity.source]}_{identity.label}"

    def remove_named(self, names: Iterable[str], where: str) -> None:
        """Leave out identities that have one of the names, as `name_key` compares them."""
        keys = {name_key(name): name for name in names}
        keys.pop("", None)
        for number in self.kept():
            key = name_key(self.identities[number].name)
            if key in keys:
                self.remove(number, f"named in {where}")
                self.matches.append(Match(number, where, -1, keys[key], 0, None, "removed"))

    def same_names(self, action: str) -> int:
        """Join or drop identities that have the name of an earlier one; `keep` only counts. Returns how many."""
        first: dict[str, int] = {}
        found = 0
        for number in self.kept():
            key = name_key(self.identities[number].name)
            if not key or first.setdefault(key, number) == number:
                continue
            found += 1
            self._unite(number, first[key], action, "same name as an earlier one", None)
        return found

    def similar(self, numbers: Sequence[int], pairs: np.ndarray, similarities: np.ndarray, action: str,
                reason: str = "resembles an earlier one") -> None:
        """Join or drop identities that resemble an earlier one: pairs (P, 2), i < j, of places in `numbers`, sorted.

        Dropping is sequential: one that resembles only dropped ones stays.
        """
        for (one, other), similarity in zip(pairs.tolist(), similarities.tolist()):
            earlier, later = numbers[one], numbers[other]
            if action == "drop" and earlier in self.removed:
                continue
            self._unite(later, earlier, action, reason, similarity)

    def remove_joined(self) -> None:
        """Leave out those that are joined to one that is left out: they are the same identity."""
        for group in self.groups.members():
            reasons = [self.removed[number] for number in group if number in self.removed]
            for number in group if reasons else ():
                self.remove(number, reasons[0])

    def _unite(self, number: int, earlier: int, action: str, reason: str, similarity: float | None) -> None:
        if action == "join":
            self.groups.union(number, earlier)
        elif action == "drop":
            self.remove(number, reason)
        else:
            return
        first = self.identities[earlier]
        self.matches.append(Match(number, self.sets[first.source].path, first.label, first.name, len(first.images),
                                  similarity, "joined" if action == "join" else "removed"))


def find_source(plan: Plan, text: str) -> int:
    """The set for a table's `set`: as on the command line, or its short name; NO_SET for another one."""
    paths = [Path(faces.path) for faces in plan.sets]
    if Path(text) in paths:
        return paths.index(Path(text))
    return plan.short.index(text) if plan.short.count(text) == 1 else NO_SET


def check_sizes(sizes: Sequence[tuple[str, int, int]]) -> tuple[int, int]:
    """(height, width) of all sets, of (path, height, width); UserError names two that differ."""
    first = sizes[0]
    for path, height, width in sizes[1:]:
        if (height, width) != first[1:]:
            raise UserError(f"{path}: its images are {height}x{width}, those of {first[0]} {first[1]}x{first[2]} "
                            "(height x width); unpack one of them and pack it again with `image_size` and `resize`")
    return first[1:]


def _short_names(paths: Sequence[str]) -> list[str]:
    """The folder's or the file's own name, made different by its place where two are equal."""
    names = []
    for text in paths:
        path = Path(text).resolve()
        names.append(path.name if path.is_dir() else path.parent.name if path.stem == "train" else path.stem)
    return [name if names.count(name) == 1 else f"{name}{place + 1}" for place, name in enumerate(names)]
