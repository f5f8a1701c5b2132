"""The outcome for every file of a pack: counts, `pack-report.json`, the table on the screen."""
from __future__ import annotations

import collections
from dataclasses import dataclass, field
from typing import Iterator

from common.counts import MOST_NAMES, NamedCounts, NamedGroups, notes_as_dict
from images.sources import readable


@dataclass
class PackReport:
    """found = images + the skipped + not_chosen + dropped + those of `small` identities.

    counts: of packed images, by `batches.note`; not_chosen: left out by --max-images; dropped: copies left out by
    --duplicates drop; small: identities left out, with their usable images; notes: of the source, by kind;
    first_wrong: the first image of another size, and its size.
    """

    found: int = 0
    other_files: int = 0
    other_names: list[str] = field(default_factory=list)
    images: int = 0
    identities: list[tuple[str, int]] = field(default_factory=list)
    counts: collections.Counter = field(default_factory=collections.Counter)
    skipped: NamedCounts = field(default_factory=NamedCounts)
    small: list[tuple[str, int]] = field(default_factory=list)
    not_chosen: int = 0
    dropped: int = 0
    duplicates: NamedGroups = field(default_factory=NamedGroups)
    shared: NamedGroups = field(default_factory=NamedGroups)
    notes: dict[str, list[str]] = field(default_factory=dict)
    first_wrong: str = ""

    def parts(self, place: int) -> dict[str, int]:
        """Packed images by one part of their notes: 0 the change, 1 the format, 2 peculiarities."""
        found: collections.Counter = collections.Counter()
        for note, count in self.counts.items():
            words = note.split("\t")
            for word in words[2:] if place == 2 else words[place:place + 1]:
                found[word] += count
        return dict(sorted(found.items()))

    def as_dict(self) -> dict:
        """Plain numbers and lists, in a fixed order; of every list the first MOST_NAMES entries."""
        return {
            "images_found": self.found, "images": self.images, "identities": len(self.identities),
            "images_by_treatment": self.parts(0), "images_by_kind": self.parts(1), "odd_images": self.parts(2),
            "images_skipped": self.skipped.as_dict(), "images_not_chosen": self.not_chosen,
            "duplicates_dropped": self.dropped, "images_of_identities_left_out": sum(count for _, count in self.small),
            "files_skipped": self.skipped.names_as_dict(), "identities_left_out_count": len(self.small),
            "identities_left_out": [{"identity": readable(name), "images": count}
                                    for name, count in self.small[:MOST_NAMES]],
            "duplicates": self.duplicates.as_dict(), "images_of_several_identities": self.shared.as_dict(),
            "notes": notes_as_dict(self.notes), "other_files": self.other_files,
            "other_files_first": self.other_names}

    def table(self) -> Iterator[tuple[str, int]]:
        """The lines of the table on the screen; they add up to the files found."""
        yield "image files found", self.found
        yield from ((f"  {change}", count) for change, count in self.parts(0).items())
        yield from ((f"  left out, {reason}", count) for reason, count in sorted(self.skipped.items()))
        rest = (("not chosen, of larger identities", self.not_chosen), ("duplicate", self.dropped),
                ("of identities with too few images", sum(count for _, count in self.small)))
        yield from ((f"  left out, {what}", count) for what, count in rest if count)
        marks = (*((f"of the packed, {mark}", count) for mark, count in self.parts(2).items()),
                 ("same file twice in an identity", 0 if self.dropped else self.duplicates.count),
                 ("of the packed, same file under several identities", self.shared.count),
                 ("identities left out", len(self.small)), ("other files", self.other_files),
                 *((kind.replace("_", " "), len(names)) for kind, names in sorted(self.notes.items())))
        yield from ((what, count) for what, count in marks if count)

