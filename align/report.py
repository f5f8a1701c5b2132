"""The outcome for every photograph of an align: counts, `align-report.json`, the table on the screen."""
from __future__ import annotations

import collections
from dataclasses import dataclass, field
from typing import Iterator

from common.counts import NamedCounts, notes_as_dict
from common.foreign import shown

FOUND, RELAXED, GIVEN, MISSED, SKIPPED = "found", "found_relaxed", "landmarks_given", "not_found", "skipped"


@dataclass
class AlignReport:
    """counts: photographs by outcome, one of the five above; done_before: those of them whose crop an earlier run made;
    centre_crops: those not found that were cropped all the same; reasons: of the skipped; looks: the kinds that need
    attention; notes: of the folder, by kind."""

    settings: dict
    counts: collections.Counter = field(default_factory=collections.Counter)
    reasons: NamedCounts = field(default_factory=NamedCounts)
    looks: NamedCounts = field(default_factory=NamedCounts)
    notes: dict[str, list[str]] = field(default_factory=dict)
    done_before: int = 0
    centre_crops: int = 0

    def add(self, name: str, kind: str, reason: str = "") -> None:
        """Count a photograph."""
        self.counts[kind] += 1
        if reason:
            self.reasons.add(reason, shown(name))
        elif kind in (RELAXED, MISSED):
            self.looks.add(kind, shown(name))

    @property
    def crops(self) -> int:
        """Images in OUT that belong to the photographs."""
        return self.counts[FOUND] + self.counts[RELAXED] + self.counts[GIVEN] + self.centre_crops

    def as_dict(self) -> dict:
        """For align-report.json; the five kinds add up to the photographs."""
        return {"photographs": sum(self.counts.values()), "crops": self.crops,
                **{kind: self.counts[kind] for kind in (FOUND, RELAXED, GIVEN, MISSED, SKIPPED)},
                "centre_crops": self.centre_crops, "done_before": self.done_before,
                "skipped_by_reason": self.reasons.as_dict(),
                "files_found_relaxed": self.looks.names[RELAXED], "files_not_found": self.looks.names[MISSED],
                "files_skipped": self.reasons.names_as_dict(),
                "notes": notes_as_dict({kind: list(map(shown, names)) for kind, names in self.notes.items()}),
                "settings": self.settings}

    def table(self) -> Iterator[tuple[str, int]]:
        """The lines of the table on the screen."""
        yield "photographs", sum(self.counts.values())
        names = {FOUND: "found", RELAXED: "found by the relaxed search", GIVEN: "landmarks given"}
        yield from ((f"  {name}", self.counts[kind]) for kind, name in names.items() if self.counts[kind])
        yield "  not found" + (", cropped at the centre" if self.centre_crops else ""), self.counts[MISSED]
        yield from ((f"  skipped, {reason}", count) for reason, count in sorted(self.reasons.items()))
        if self.done_before:
            yield "of them done by an earlier run", self.done_before
        yield from ((kind.replace("_", " "), len(names)) for kind, names in sorted(self.notes.items()) if names)
