"""A plan of several sets to the joined set: images byte for byte, labels and headers new."""
from __future__ import annotations

import collections
import contextlib
import hashlib
import itertools
import json
import logging
from pathlib import Path
from typing import Iterator

from common.errors import UserError
from common.files import write_atomic
from recordio_tools import framing
from recordio_tools.identities import csv_bytes, identity_table
from recordio_tools.layout import EXACT
from recordio_tools.merge_plan import Plan
from recordio_tools.parallel import ordered_map
from recordio_tools.progress import progress
from recordio_tools.property import Property, write_property
from recordio_tools.staging import MAIN, staged_set
from recordio_tools.writer import RecordWriter

log = logging.getLogger(__name__)
REPORT = "merge-report.json"
MATCH_COLUMNS = ("set", "label", "identity", "images", "other_set", "other_label", "other_identity", "other_images",
                 "similarity", "action")


def merge(plan: Plan, out: Path, image_size: tuple[int, int], plain: bool, workers: int, details: dict) -> dict:
    """Write the set and return the report, `details` among it.

    Images of an identity that several make up are taken once where they are equal byte for byte. UserError, and
    nothing written, where fewer than two identities are left.
    """
    groups = plan.output()
    check_enough(plan, groups)
    report = describe(plan, groups)
    with staged_set(out) as folder:
        with RecordWriter(folder / MAIN) as writer, contextlib.closing(_contents(plan, groups, workers)) as contents:
            rows = _write_records(writer, plan, groups, contents, plain)
        images = sum(count for _, count, _ in rows)
        report.update(repeated_images_left_out=report["images"] - images, images=images, **details)
        write_property(folder / "property", Property(len(groups), *image_size))
        write_atomic(folder / "identities.csv", identity_table(rows, ("source",)))
        text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        write_atomic(folder / REPORT, text.encode("utf-8", "surrogateescape"))
    return report


def _write_records(writer: RecordWriter, plan: Plan, groups: list[list[int]], contents: Iterator[bytes], plain: bool
                   ) -> list[tuple[str, int, str]]:
    """All records of the set; returns (name, images, sources) of each identity."""
    placeholder, rows, ranges = framing.pack([0, 0], 0), [], []
    if not plain:
        writer.write(0, placeholder)
    for label, group in enumerate(groups):
        total = sum(len(plan.identities[number].images) for number in group)
        images = itertools.islice(contents, total)
        first = writer.count
        for image in _different(images) if len(group) > 1 else images:
            writer.write(writer.count, framing.pack(float(label), writer.count, image))
        sources = dict.fromkeys(plan.sets[plan.identities[number].source].path for number in group)
        rows.append((plan.title(group[0]), writer.count - first, "; ".join(sources)))
        ranges.append((first, writer.count))
    if not plain:
        headers = writer.count
        for span in ranges:
            writer.write(writer.count, framing.pack(span, writer.count))
        writer.rewrite(0, placeholder, framing.pack([headers, writer.count], 0))
        if writer.count > EXACT:
            log.warning("%d records: header records hold record numbers as float32, which is exact up to %d only; "
                        "readers that trust the labels in the image records, as ours, are not concerned", writer.count,
                        EXACT)
    return rows


def check_enough(plan: Plan, groups: list[list[int]]) -> None:
    """UserError where fewer than two identities would be left."""
    if len(groups) < 2:
        reasons = collections.Counter(plan.removed.values())
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))
        raise UserError(f"{len(groups)} of {len(plan.identities)} identities would be left, a training set needs two"
                        + (f"; removed: {why}" if why else ""))


def describe(plan: Plan, groups: list[list[int]]) -> dict:
    """What was taken of each set, and why what was not."""
    inputs = [{"path": faces.path, "identities": len(faces.images), "images": faces.count, "identities_taken": 0,
               "images_taken": 0} for faces in plan.sets]
    for number in (number for group in groups for number in group):
        identity = plan.identities[number]
        inputs[identity.source]["identities_taken"] += 1
        inputs[identity.source]["images_taken"] += len(identity.images)
    removed: dict[str, dict[str, int]] = {}
    for number, reason in plan.removed.items():
        entry = removed.setdefault(reason, {"identities": 0, "images": 0})
        entry["identities"] += 1
        entry["images"] += len(plan.identities[number].images)
    return {"images": sum(entry["images_taken"] for entry in inputs), "identities": len(groups),
            "identities_joined": sum(len(group) - 1 for group in groups), "inputs": inputs, "removed": removed,
            "images_excluded": plan.left_out}


def write_matches(plan: Plan, path: Path) -> None:
    """Write the matches as CSV for review, the most similar first; `--exclude` reads it."""
    rows = []
    for match in sorted(plan.matches, key=lambda match: -2 if match.similarity is None else -match.similarity):
        identity = plan.identities[match.one]
        rows.append((plan.sets[identity.source].path, identity.label, identity.name, len(identity.images),
                     match.other_set, match.other_label if match.other_label >= 0 else "", match.other_name,
                     match.other_images or "", "" if match.similarity is None else f"{match.similarity:.4f}",
                     match.action))
    write_atomic(path, csv_bytes(MATCH_COLUMNS, rows))


def _contents(plan: Plan, groups: list[list[int]], workers: int) -> Iterator[bytes]:
    """The images of all groups in order, read a little ahead."""
    reads = [faces.read for faces in plan.sets]
    wanted = ((plan.identities[number].source, key) for group in groups for number in group
              for key in plan.identities[number].images.tolist())
    total = sum(len(plan.identities[number].images) for group in groups for number in group)
    with contextlib.closing(ordered_map(lambda item: reads[item[0]](item[1]), wanted, workers)) as contents:
        yield from progress(contents, total, "merge")


def _different(images: Iterator[bytes]) -> Iterator[bytes]:
    seen = set()
    for image in images:
        digest = hashlib.sha1(image).digest()
        if digest not in seen:
            seen.add(digest)
            yield image
