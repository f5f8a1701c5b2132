"""The findings of `check` in one file: for each kind of fault the number, and the first by its place."""
from __future__ import annotations

from dataclasses import dataclass, field, replace

KINDS = {
    "rec-file": "a file of another kind, not a .rec",
    "bad-magic": "no record begins where one should",
    "bad-length": "a record's length does not end at the next record",
    "bad-parts": "a record in parts that lacks some",
    "truncated": "the file ends inside a record",
    "index-file": "the .idx cannot be read",
    "index-entry": "the index points to a byte where no record begins, or twice to one record",
    "not-in-index": "a record that is not in the index",
    "duplicate-key": "a key that the index has twice",
    "record-header": "a record too short for its own header",
    "no-content": "an image record without an image",
    "header-range": "a header record whose range of records is wrong",
    "property": "`property` disagrees with the records",
    "identities-csv": "`identities.csv` cannot be read, or is of other records",
    "label": "a label outside 0 to num_classes - 1",
    "label-gap": "labels are not 0, 1, 2, ... without gaps",
    "no-images": "an identity without images",
    "one-identity": "fewer than two identities",
    "undecodable": "an image that does not decode",
    "cut-off-image": "a truncated image file",
    "size": "an image of another size",
    "empty": "no images at all",
    "bin-file": "not a verification set",
    "pair-count": "not two images for each pair",
    "few-pairs": "fewer pairs than folds",
    "one-class-fold": "a fold of same pairs only, or of different pairs only",
}
NOTES = {
    "odd-pair": "a pair of an image with itself, one that is there twice, or same and different at once",
    "other-readers": "an image that MXNet's own readers do not decode, or do not rotate by its EXIF",
    "same-image": "one image under two labels",
    "label-width": "records with different numbers of labels, which ImageRecordIter does not read",
}


@dataclass
class Fault:
    """One kind: how often, and its first place.

    byte: of `file` ('rec', 'idx', 'bin' or 'property'); record: the key of the record, or the number of a `.bin`'s
    image, from 0; entry: (byte, line from 1) of the `.idx` where an entry of it is at fault. None where there is no
    such place.
    """

    kind: str
    count: int
    byte: int | None
    record: int | None
    message: str
    file: str
    entry: tuple[int, int] | None = None

    def as_dict(self) -> dict:
        """For --json."""
        return {"kind": self.kind, "count": self.count, "file": self.file if self.byte is not None else None,
                "first_byte": self.byte, "first_record": self.record, "message": self.message,
                **({"index_byte": self.entry[0], "index_line": self.entry[1]} if self.entry else {})}


@dataclass
class FileReport:
    """The faults of one file, and what it holds. Notes are kinds of NOTES: unusual, but not faults.

    reasons: of a kind of notes that has several, each reason's own number and first place.
    """

    path: str
    holds: dict = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    notes: dict[str, Fault] = field(default_factory=dict)
    reasons: dict[str, dict[str, Fault]] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether no fault was found."""
        return not self.faults

    def add(self, kind: str, message: str, byte: int | None = None, record: int | None = None, count: int = 1,
            file: str = "rec", entry: tuple[int, int] | None = None, reason: str = "") -> None:
        """Count `count` faults or notes; the one nearest to the beginning of the file is named.

        reason: of a note of a kind that has several; each is counted by itself too.
        """
        if kind not in NOTES and kind not in KINDS:
            raise KeyError(kind)
        one = Fault(kind, count, byte, record, message, file, entry)
        _count(self.notes if kind in NOTES else self.faults, kind, one)
        if reason:
            _count(self.reasons.setdefault(kind, {}), reason, one)

    def notes_by_reason(self) -> list[Fault]:
        """The notes, those of a kind that has reasons one by one."""
        return [one for kind, note in self.notes.items() for one in self.reasons.get(kind, {"": note}).values()]

    def as_dict(self) -> dict:
        """For --json."""
        return {"path": self.path, "sound": self.sound, **self.holds,
                "faults": [fault.as_dict() for fault in self.ordered()],
                "notes": [{**note.as_dict(), **self._reasons_as_dict(kind)} for kind, note in self.notes.items()]}

    def _reasons_as_dict(self, kind: str) -> dict:
        return {"reasons": [{"reason": reason, "count": one.count, "first_byte": one.byte, "first_record": one.record}
                            for reason, one in self.reasons[kind].items()]} if kind in self.reasons else {}

    def ordered(self) -> list[Fault]:
        """The faults in the order of KINDS."""
        return [self.faults[kind] for kind in KINDS if kind in self.faults]


def _count(found: dict[str, Fault], name: str, one: Fault) -> None:
    """Add to the count of a name; the fault nearest to the beginning of the file stays."""
    known = found.get(name)
    if known is None:
        found[name] = one
    elif one.byte is not None and (known.byte is None or known.file == one.file and one.byte < known.byte):
        found[name] = replace(one, count=known.count + one.count)
    else:
        found[name] = replace(known, count=known.count + one.count)
