"""What `check` found in one file: for each kind of fault how many, and the first by its place in the file."""
from __future__ import annotations

from dataclasses import dataclass, field

KINDS = {
    "bad-magic": "no record begins where one should",
    "bad-length": "a record's length does not lead to the next record",
    "truncated": "the file ends inside a record",
    "index-file": "the .idx cannot be read",
    "index-entry": "the index leads to a byte where no record begins",
    "not-in-index": "a record that the index does not know",
    "duplicate-key": "a key that the index has twice",
    "record-header": "a record too short for its own header",
    "no-content": "an image record without an image",
    "header-range": "a header record whose range of records is wrong",
    "property": "`property` disagrees with the records",
    "label": "a label outside 0 to num_classes - 1",
    "label-gap": "labels are not 0, 1, 2, ... without gaps",
    "no-images": "an identity without images",
    "one-identity": "fewer than two identities",
    "undecodable": "an image that does not decode",
    "cut-off-image": "an image file that lacks its end",
    "size": "an image of another size",
    "empty": "no images at all",
    "bin-file": "no verification set",
    "few-pairs": "fewer pairs than folds",
    "one-class-fold": "a fold of same pairs only, or of different pairs only",
}


@dataclass
class Fault:
    """One kind: how often, and its first place; record, byte are None where the fault has no such place."""

    kind: str
    count: int
    byte: int | None
    record: int | None
    message: str


@dataclass
class FileReport:
    """The faults of one file, and what it holds."""

    path: str
    holds: dict = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether no fault was found."""
        return not self.faults

    def add(self, kind: str, message: str, byte: int | None = None, record: int | None = None, count: int = 1) -> None:
        """Count a fault; the one nearest to the beginning of the file is the one that is named."""
        if kind not in KINDS:
            raise KeyError(kind)
        known = self.faults.get(kind)
        if known is None:
            self.faults[kind] = Fault(kind, count, byte, record, message)
            return
        known.count += count
        if byte is not None and (known.byte is None or byte < known.byte):
            known.byte, known.record, known.message = byte, record, message

    def as_dict(self) -> dict:
        """For --json."""
        faults = [{"kind": fault.kind, "count": fault.count, "first_byte": fault.byte, "first_record": fault.record,
                   "message": fault.message} for fault in self.ordered()]
        return {"path": self.path, "sound": self.sound, **self.holds, "faults": faults}

    def ordered(self) -> list[Fault]:
        """The faults in the order of KINDS."""
        return [self.faults[kind] for kind in KINDS if kind in self.faults]
