"""Union-find: disjoint sets built from pairs."""
from __future__ import annotations


class UnionFind:
    """The numbers 0 to count - 1, at first each its own group; a group is represented by its smallest number."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, number: int) -> int:
        """The smallest number of its group."""
        root = number
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[number] != root:
            self._parent[number], number = root, self._parent[number]
        return root

    def union(self, one: int, other: int) -> None:
        """Merge the groups of both."""
        one, other = sorted((self.find(one), self.find(other)))
        self._parent[other] = one

    def members(self) -> list[list[int]]:
        """The groups in the order of their smallest numbers, each sorted."""
        found: dict[int, list[int]] = {}
        for number in range(len(self._parent)):
            found.setdefault(self.find(number), []).append(number)
        return list(found.values())
