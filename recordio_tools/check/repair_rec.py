"""Recovers a sound training set from a damaged one: labels 0, 1, 2, ..., new header records, good images."""
from __future__ import annotations

from pathlib import Path
from typing import Iterator, NamedTuple

import numpy as np

from common.errors import DataError, RunError
from common.files import write_atomic
from common.progress import progress
from images.codec import IMAGE_KINDS
from recordio_tools.check.check_rec import Checked, common_size
from recordio_tools.check.layout import header_classes
from recordio_tools.records import framing
from recordio_tools.records.dataset import open_dataset
from recordio_tools.records.framing import EXACT
from recordio_tools.records.identities import identity_table, read_beside, read_identities
from recordio_tools.records.property import Property, write_property
from recordio_tools.records.raw import RawFile
from recordio_tools.records.writer import RecordWriter

NAMED = 1000  # records and identities named in the report, for each reason


class Saved(NamedTuple):
    """The images of the new set in order: part, position in that part's records and old label, int64 (N,) each."""

    part: np.ndarray
    position: np.ndarray
    label: np.ndarray


class _Losses:
    """What is left out: how many records for each reason, and the first of them."""

    def __init__(self, checked: Checked) -> None:
        self._checked = checked
        self.counts: dict[str, int] = {}
        self.records: list[dict] = []
        self.labels: list[np.ndarray] = []

    def add(self, number: int, reason: str, positions: np.ndarray, labels: np.ndarray) -> None:
        """Leave out the records at `positions` of a part, which have these labels."""
        if not len(positions):
            return
        before = self.counts.get(reason, 0)
        self.counts[reason] = before + len(positions)
        self.labels.append(labels)
        records = self._checked.parts[number].records
        for position in positions[:max(NAMED - before, 0)].tolist():
            self.records.append({"reason": reason, "file": self._checked.paths[number].name,
                                 "record": int(records.key[position]), "byte": int(records.offset[position])})


def repair_set(checked: Checked, folder: Path) -> dict:
    """Write train.rec, train.idx, property and, with names, identities.csv to a folder; returns what was lost.

    Images are copied byte for byte. RunError where fewer than two identities are left.
    """
    foreign = next((report.faults["rec-file"] for report in checked.reports if "rec-file" in report.faults), None)
    if foreign:
        raise RunError(f"{foreign.message}; nothing can be recovered, nothing was written")
    size = _size(checked)
    losses = _Losses(checked)
    saved = _choose(checked, size, losses)
    labels, counts = np.unique(saved.label, return_counts=True)
    if len(labels) < 2:
        raise RunError(f"{checked.paths[0]}: {len(saved.label)} images of {len(labels)} identities can be recovered, "
                       "and a training set needs two; nothing was written")
    _write(checked, saved, labels, folder / "train.rec")
    write_property(folder / "property", Property(len(labels), *size))
    problems: list[DataError] = []
    names = read_beside(checked.paths[0].with_name("identities.csv"), read_identities, problems.append)
    if names is not None:
        table = [(names.get(label, ""), count) for label, count in zip(labels.tolist(), counts.tolist())]
        write_atomic(folder / "identities.csv", identity_table(table))
    open_dataset(folder).record_file.close()  # errors come before anything is written
    return {"files": [str(path) for path in checked.paths], "images": len(saved.label), "identities": len(labels),
            "height": size[0], "width": size[1], "images_lost": losses.counts, "records_lost": losses.records,
            "index_entries_lost": _entries_lost(checked), **_identities_lost(checked, losses, labels, names or {}),
            "identities_csv": f"left out: {problems[0]}" if problems else "none" if names is None else "kept",
            "new_labels": {str(old): new for new, old in enumerate(labels.tolist())}}


def _size(checked: Checked) -> tuple[int, int]:
    """That of `property` where at least half of the images have it, else that of most."""
    found = [part.records for part in checked.parts]
    usual = common_size(found)
    if checked.told is None or usual is None:
        return usual or (0, 0)
    told = checked.told.height, checked.told.width
    sizes = np.concatenate([records.size[records.size[:, 0] > 0] for records in found])
    return told if 2 * int((sizes == told).all(axis=1).sum()) >= len(sizes) else usual


def _classes(checked: Checked) -> int:
    """Labels from this number on are ignored: by `property` and the headers, where they agree, or by one of them alone;
    not by a `property` alone where images have the labels that follow, without a gap."""
    headers = header_classes(checked.parts)
    told = checked.told.num_classes if checked.told else 0
    if told and not headers:
        labels = np.concatenate([part.records.label[part.records.image, 0] for part in checked.parts])
        with np.errstate(invalid="ignore"):
            more = np.unique(labels[labels >= told])
        told = 0 if len(more) and np.array_equal(more, told + np.arange(len(more))) else told
    return (told or headers or EXACT) if not (told and headers) or told == headers else EXACT


def _choose(checked: Checked, size: tuple[int, int], losses: _Losses) -> Saved:
    """The images to keep, identity by identity, those of one in the order of the files."""
    classes, chosen = _classes(checked), []
    for number, (records, _, _) in enumerate(checked.parts):
        losses.add(number, "record-header", np.flatnonzero(~records.readable), np.empty(0))
        images = np.flatnonzero(records.image)
        label = records.label[images, 0].astype(np.float64)
        with np.errstate(invalid="ignore"):
            whole = (label >= 0) & (label < classes) & (label == np.floor(label))
        reasons = [(kind, records.kind[images] == code) for code, kind in enumerate(IMAGE_KINDS) if kind]
        reasons += [("size", (records.size[images] != size).any(axis=1)), ("label", ~whole)]
        left = np.ones(len(images), bool)
        for reason, applies in reasons:
            losses.add(number, reason, images[left & applies], label[left & applies])
            left &= ~applies
        chosen.append(np.stack([np.full(left.sum(), number), images[left], label[left].astype(np.int64)]))
    part, position, label = np.concatenate(chosen, axis=1)
    order = np.argsort(label, kind="stable")
    return Saved(part[order], position[order], label[order])


def _write(checked: Checked, saved: Saved, labels: np.ndarray, path: Path) -> None:
    new = np.searchsorted(labels, saved.label)
    with RecordWriter(path) as writer:
        writer.begin_set()
        for label, content in zip(new.tolist(), progress(_contents(checked, saved), len(new), "repair")):
            values: float | np.ndarray = float(label)
            if content.flag:
                values = content.label.copy()
                values[0] = label
            writer.write(writer.count, framing.pack(values, writer.count, content.image))
        writer.end_set(np.bincount(new, minlength=len(labels)).tolist())


def _contents(checked: Checked, saved: Saved) -> Iterator[framing.Content]:
    """The records to keep; reduced to one label each where their numbers of labels differ."""
    files = [RawFile(path) for path in checked.paths]
    try:
        flags = np.concatenate([part.records.flag[part.records.image] for part in checked.parts])
        mixed = len(np.unique(flags)) > 1
        for part, position in zip(saved.part.tolist(), saved.position.tolist()):
            offset = int(checked.parts[part].records.offset[position])
            try:
                content = framing.unpack(files[part].content_at(offset)[0])
            except framing.FramingError as error:
                raise RunError(f"{checked.paths[part]}: byte {offset}: {error}; the file changed after it was checked"
                               ) from None
            yield framing.Content(0, content.label[:1], 0, 0, content.image) if mixed else content
    finally:
        for file in files:
            file.close()


def _entries_lost(checked: Checked) -> dict:
    """The index's entries that do not point to a sound record."""
    rows = [(path.name, *row) for path, part in zip(checked.paths, checked.parts)
            for row in part.records.astray[:NAMED].tolist()]
    return {"count": sum(len(part.records.astray) for part in checked.parts),
            "records": [{"file": name, "record": key, "byte": offset} for name, key, offset in rows[:NAMED]]}


def _identities_lost(checked: Checked, losses: _Losses, labels: np.ndarray, names: dict[int, str]) -> dict:
    """Labels that existed, or should have, and have no image any more."""
    expected = _classes(checked)
    if expected < EXACT:  # every label is known; so many from 0 on hold all the gaps that are named
        lost = np.setdiff1d(np.arange(min(expected, len(labels) + NAMED)), labels)
        count = expected - len(labels)
    else:
        dropped = np.concatenate([np.empty(0), *losses.labels])
        dropped = dropped[np.isfinite(dropped) & (dropped >= 0) & (dropped < EXACT)]
        lost = np.setdiff1d(dropped[dropped == np.floor(dropped)].astype(np.int64), labels)
        count = len(lost)
    return {"identities_lost": count, "identities_lost_named": [
        {"label": label, "identity": names.get(label, "")} for label in lost[:NAMED].tolist()]}
