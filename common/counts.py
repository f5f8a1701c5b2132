"""Counts by kind, with the first few names of each, as logs and JSON reports show them."""
from __future__ import annotations

import collections
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, Sequence

MOST_NAMES = 1000  # in a report, of each kind
MOST_LINES = 3  # on the screen


class NamedCounts(collections.Counter):
    """Counts by kind; names: the first MOST_NAMES of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, list[str]] = collections.defaultdict(list)

    def add(self, kind: str, name: str) -> None:
        """Count one by its name."""
        self[kind] += 1
        if self[kind] <= MOST_NAMES:
            self.names[kind].append(name)

    def as_dict(self) -> dict[str, int]:
        """The counts, sorted by kind."""
        return dict(sorted(self.items()))

    def names_as_dict(self) -> dict[str, list[str]]:
        """The names, sorted by kind."""
        return {kind: self.names[kind] for kind in sorted(self)}


@dataclass
class NamedGroups:
    """A count of items, and the first of them in groups."""

    count: int = 0
    groups: list[list[str]] = field(default_factory=list)

    def add(self, count: int, names: list[str]) -> None:
        """Count items; keep their names while there are few."""
        self.count += count
        if len(self.groups) < MOST_NAMES:
            self.groups.append(names)

    def as_dict(self) -> dict:
        """The number and the first groups."""
        return {"count": self.count, "files": self.groups}


def notes_as_dict(notes: Mapping[str, Sequence[str]]) -> dict[str, dict]:
    """`count` and the `first` names of each kind, for JSON."""
    return {kind: {"count": len(names), "first": list(names[:MOST_NAMES])} for kind, names in sorted(notes.items())
            if names}


def warn_of(log: logging.Logger, what: str, names: Sequence[str], count: int, report: Path | None) -> None:
    """Log the first names of a kind, a line each, and how many more there are; they are in the report where there is
    one."""
    for name in names[:MOST_LINES]:
        log.warning("%s: %s", what, name)
    if count > MOST_LINES:
        log.warning("%s: %d more%s", what, count - MOST_LINES, f", see {report}" if report else "")
