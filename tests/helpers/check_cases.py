"""A sound training set to be damaged by hand, and what check says of it then."""
from __future__ import annotations

import json

import numpy as np
from recordio_cases import command
from small_sets import write_training_set

from recordio_tools.check.check_bin import examine_bin
from recordio_tools.check.check_rec import check_set
from recordio_tools.records.recordio import RecordFile
from recordio_tools.records.writer import RecordWriter

IDENTITIES, IMAGES = 4, 3  # images are records 1 to 12, identities' headers 13 to 16


def check_rec(path, workers):
    """The report of a single `.rec`."""
    return check_set([path], workers).reports[0]


def check_bin(path, *options):
    """The report of a `.bin`."""
    return examine_bin(path, *options).report


class Set:
    """A sound set to damage; what it says of its places is taken from before the damage."""

    def __init__(self, folder):
        self.folder = write_training_set(folder, IDENTITIES, IMAGES)
        self.data = bytearray((folder / "train.rec").read_bytes())
        self.lines = (folder / "train.idx").read_bytes().splitlines(True)
        with RecordFile(folder / "train.rec") as file:
            self.at = dict(zip(file.keys.tolist(), file.offsets.tolist()))
            self.length = {key: len(file.content_at(offset)[0]) for key, offset in self.at.items()}

    def put(self, key, inside, new):
        """Overwrite bytes of a record, from its offset on."""
        self.data[self.at[key] + inside:self.at[key] + inside + len(new)] = new

    def label(self, key, *values):
        """Overwrite the label, or the labels of a header record."""
        self.put(key, 12 if len(values) == 1 else 32, np.array(values, "<f4").tobytes())

    def line_at(self, number):
        """The byte at which a line of the index begins, from 0."""
        return sum(map(len, self.lines[:number]))

    def rebuild(self, change):
        """Write all records again, each content as `change(key, content)` gives it, or not at all (None)."""
        with RecordFile(self.folder / "train.rec") as file, RecordWriter(self.folder / "new.rec") as writer:
            for key in file.keys.tolist():
                content = change(key, file.content_at(self.at[key])[0])
                if content is not None:
                    self.at[key] = writer.write(key, content)
        self.data = bytearray((self.folder / "new.rec").read_bytes())
        self.lines = (self.folder / "new.idx").read_bytes().splitlines(True)
        for name in ("new.rec", "new.idx"):
            (self.folder / name).unlink()

    def faults(self, capsys, *flags):
        """{kind: (count, file, first byte, first record)} as --json tells them."""
        (self.folder / "train.rec").write_bytes(self.data)
        (self.folder / "train.idx").write_bytes(b"".join(self.lines))
        status, _ = command("check", self.folder, "--json", *flags)
        report, = json.loads(capsys.readouterr().out)["files"]
        assert status == int(bool(report["faults"])) and report["sound"] == (not status)
        self.report = report
        return {fault["kind"]: (fault["count"], fault["file"], fault["first_byte"], fault["first_record"])
                for fault in report["faults"]}
