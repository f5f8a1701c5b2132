"""Writes a planned merge: images byte for byte, new labels and headers."""
from __future__ import annotations

import collections
import contextlib
import itertools
import logging
from pathlib import Path
from typing import Generator, Sequence

import numpy as np

from common.counts import NamedCounts
from common.errors import UserError
from common.files import open_regular, write_atomic, write_json
from common.folders import staged_files
from common.foreign import shown
from common.progress import meter
from common.tables import csv_bytes
from common.workers import ordered_map
from recordio_tools.faces import PackedFaces
from recordio_tools.merge.contents import Contents, Examiner
from recordio_tools.merge.plan import Plan
from recordio_tools.records.copying import Copied
from recordio_tools.records.identities import identity_table
from recordio_tools.records.property import Property, write_property
from recordio_tools.records.writer import MAIN, SET_FILES, RecordWriter

log = logging.getLogger(__name__)
REPORT = "merge-report.json"
CHUNK = 256  # records that a thread copies at a time
MATCH_COLUMNS = ("set", "label", "identity", "images", "other_set", "other_label", "other_identity", "other_images",
                 "similarity", "action")


def merge(plan: Plan, out: Path, image_size: tuple[int, int], plain: bool, workers: int, details: dict,
          overwrite: bool = False, least: int = 1) -> dict:
    """Write the set and return the report, `details` among it.

    Images of an identity joined from several are written once where they are equal byte for byte. least: identities
    with fewer usable images are left out, where it is above 1. UserError, and nothing written, where fewer than two
    identities are left.
    """
    with staged_files(out, SET_FILES, overwrite) as folder:
        groups, counts, contents = _write_set(folder, plan, workers, plain, image_size, least)
        report = count_taken(plan, groups)
        shared = contents.shared(lambda label: plan.title(groups[label][0]))
        members = [[plan.identities[number] for number in group] for group in groups]
        sources = [dict.fromkeys(plan.sets[identity.source].path for identity in group) for group in members]
        # A made-up name would be taken for a real one by the next merge.
        names = [next(filter(None, (identity.name for identity in group)), "") for group in members]
        rows = [(name, count, "; ".join(paths)) for name, count, paths in zip(names, counts, sources)]
        images = sum(counts)
        report.update(repeated_images_left_out=contents.repeated, unusable_images_left_out=contents.unusable,
                      images=images, images_of_several_identities=shared, **details)
        write_property(folder / "property", Property(len(groups), *image_size))
        write_atomic(folder / "identities.csv", identity_table(rows, ("source",)))
        write_json(folder / REPORT, report)
    return report


def _write_set(folder: Path, plan: Plan, workers: int, plain: bool, image_size: tuple[int, int], least: int
               ) -> tuple[list[list[int]], list[int], Contents]:
    """The identities' groups, the number of images of each, and the statistics of their contents.

    Which images are usable is known after the first pass: where identities fall below `least`, there is another.
    """
    while True:
        groups = plan.output()
        check_enough(plan, groups)
        with RecordWriter(folder / MAIN) as writer:
            counts, contents = _write_records(writer, plan, groups, workers, plain, image_size, least)
        small = [group for group, count in zip(groups, counts) if count < least]
        if not small:
            return groups, counts, contents
        log.warning("%d identities have fewer than %d usable images, e.g. %s; the set is written again without them",
                    len(small), least, shown(plan.title(small[0][0])))
        for number in itertools.chain.from_iterable(small):
            plan.remove(number, f"fewer than {least} images")
        (folder / MAIN).unlink()  # there may be no space for two


def _write_records(writer: RecordWriter, plan: Plan, groups: list[list[int]], workers: int, plain: bool,
                   image_size: tuple[int, int], least: int) -> tuple[list[int], Contents]:
    """All records of the set; returns the number of images of each identity, and the statistics of their contents.

    UserError where no image of an identity can be used, and `least` does not leave it out.
    """
    if not plain:
        writer.begin_set()
    counts, contents = np.zeros(len(groups), np.int64), Contents(groups)
    with contextlib.closing(_records(plan, groups, workers, Examiner(image_size))) as records:
        for copied, labels, digests in records:
            copied, labels = contents.choose(copied, labels, digests)
            copied.stamp(labels, writer.count)
            writer.extend(copied.framed, copied.lengths.tolist())
            np.add.at(counts, labels, 1)
    if least == 1 and not counts.all():
        number = groups[int(np.argmin(counts))][0]
        raise UserError(f"{plan.sets[plan.identities[number].source].path}: no image of {plan.title(number)} decodes "
                        "and is of the set's size; python -m recordio_tools check IN --repair OUT makes a sound set of "
                        "it, or leave it out by `exclude`")
    if not plain:
        writer.end_set(counts.tolist())
    return counts.tolist(), contents


def check_enough(plan: Plan, groups: list[list[int]]) -> None:
    """UserError where fewer than two identities would be left."""
    if len(groups) < 2:
        why = ", ".join(f"{count} {reason}" for reason, count in _removed(plan)[0].most_common(3))
        joined = sum(len(group) - 1 for group in groups)
        raise UserError(f"{len(groups)} of {len(plan.identities)} identities would be left, a training set needs two"
                        + (f"; removed: {why}" if why else "")
                        + (f"; joined with others: {joined} (`same_name` and `duplicates`, whose default, keep, leaves "
                           "them apart)" if joined else ""))


def count_taken(plan: Plan, groups: list[list[int]]) -> dict:
    """What was used of each set, and why the rest was not."""
    people_taken, images_taken = [0] * len(plan.sets), [0] * len(plan.sets)
    for number in (number for group in groups for number in group):
        identity = plan.identities[number]
        people_taken[identity.source] += 1
        images_taken[identity.source] += len(identity.images)
    inputs = [{"path": faces.path, "identities": len(faces.images), "images": faces.count,
               "identities_taken": people_taken[source], "images_taken": images_taken[source]}
              for source, faces in enumerate(plan.sets)]
    people, images = _removed(plan)
    return {"images": sum(images_taken), "identities": len(groups),
            "identities_joined": sum(len(group) - 1 for group in groups), "inputs": inputs,
            "removed": {reason: {"identities": count, "images": images[reason]} for reason, count in people.items()},
            "identities_removed": people.names_as_dict(), "images_excluded": plan.left_out}


def _removed(plan: Plan) -> tuple[NamedCounts, collections.Counter]:
    """The identities that are left out, and the number of their images, by reason."""
    people = NamedCounts()
    images: collections.Counter[str] = collections.Counter()
    for number, reason in plan.removed.items():
        people.add(reason, plan.title(number))
        images[reason] += len(plan.identities[number].images)
    return people, images


def is_matches(path: Path) -> bool:
    """Whether a file begins like a table of matches."""
    try:
        with open_regular(path) as stream:
            return stream.readline(1000).decode("latin-1").strip() == ",".join(MATCH_COLUMNS)
    except (OSError, ValueError):
        return False


def write_matches(plan: Plan, path: Path, overwrite: bool = False) -> None:
    """Write the matches as CSV for review, the most similar first; `exclude` reads it."""
    rows = []
    for match in sorted(plan.matches, key=lambda match: -2 if match.similarity is None else -match.similarity):
        identity = plan.identities[match.one]
        rows.append((plan.sets[identity.source].path, identity.label, identity.name, len(identity.images),
                     match.other_set, match.other_label if match.other_label >= 0 else "", match.other_name,
                     match.other_images or "", "" if match.similarity is None else f"{match.similarity:.4f}",
                     match.action))
    write_atomic(path, csv_bytes(MATCH_COLUMNS, rows), overwrite)


def _records(plan: Plan, groups: list[list[int]], workers: int,
             examine: Examiner) -> Generator[tuple[Copied, np.ndarray, list[bytes]], None, None]:
    """The records of all groups in order, in batches, with read-ahead; their labels, int64, and digests."""
    members = [(label, plan.identities[number]) for label, group in enumerate(groups) for number in group]
    sizes = [len(identity.images) for _, identity in members]
    keys = np.concatenate([identity.images for _, identity in members])
    labels = np.repeat([label for label, _ in members], sizes)
    sources = np.repeat([identity.source for _, identity in members], sizes)
    spans = [slice(start, start + CHUNK) for start in range(0, len(keys), CHUNK)]

    def work(span: slice) -> tuple[Copied, list[bytes]]:
        copied = _copy(plan.sets, sources[span], keys[span])
        return copied, [examine(record) for record in copied.pieces()]

    done = ordered_map(work, spans, workers, chunk=1)
    with contextlib.closing(done), meter(len(keys), "merge", " images") as bar:
        for span, (copied, digests) in zip(spans, done):
            yield copied, labels[span], digests
            bar.update(len(labels[span]))


def _copy(sets: Sequence[PackedFaces], sources: np.ndarray, keys: np.ndarray) -> Copied:
    """The records of `keys`, each of the set that `sources` has in its place."""
    stretches = np.split(np.arange(len(keys)), np.flatnonzero(np.diff(sources)) + 1)
    parts = [sets[sources[places[0]]].copy(keys[places]) for places in stretches]
    return parts[0] if len(parts) == 1 else Copied(bytearray().join(part.framed for part in parts),
                                                   np.concatenate([part.lengths for part in parts]))
