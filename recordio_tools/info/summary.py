"""Summary of a data file, from its index and a sample of its images; also of files with faults."""
from __future__ import annotations

import collections
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterable

import numpy as np

from common import histogram
from common.errors import DataError
from images.codec import ImageError, decode
from images.formats import kind_of, read_header
from recordio_tools.bins.binfile import is_bin, read_bin
from recordio_tools.records.dataset import check_frames
from recordio_tools.records.identities import read_beside, read_identities
from recordio_tools.records.index_gaps import check_index, index_warnings
from recordio_tools.records.parts import open_records
from recordio_tools.records.property import read_property

log = logging.getLogger(__name__)
SAMPLE = 1000  # evenly spaced images whose format and size are read
FOLDS = 10
EXTREMES = 3  # identities with most and with fewest images that are named


@dataclass(frozen=True)
class Summary:
    """facts: a plain dictionary, for JSON; counts: images of each identity, int (N,), none of a verification set."""

    facts: dict
    counts: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


def summarise(path: Path) -> Summary:
    """Summarise a `.rec`, a set in parts or a `.bin`; DataError where it cannot be read at all."""
    return _bin(path) if is_bin(path) else _rec(path)


def _rec(path: Path) -> Summary:
    beside = path.with_name("property")
    with open_records(path) as file:
        heads = file.heads()
        try:
            check_index(file)
            check_frames(file, heads)
        except DataError as error:
            log.warning("%s", error)
        for warning in index_warnings(file, heads):
            log.warning("%s", warning)
        images = np.flatnonzero(heads.has_image)
        headers = int((heads.readable & ~heads.has_image).sum())
        told = heads.label[images, 0]
        labels, counts = np.unique(told[np.isfinite(told)], return_counts=True)  # `check` reports the others
        widths = np.maximum(heads.flag[images], 1)
        keys = _spaced(file.keys[images])
        parts = [str(part.rec_path) for part in file.parts]
        facts = {
            "path": str(path), "kind": "training set", **({"parts": parts} if len(parts) > 1 else {}),
            "layout": "InsightFace (header records)" if headers else "plain (im2rec, no headers)",
            "records": len(file), "index": str(file.idx_path) if file.idx_path else None,
            "images": len(images), "identities": len(labels), "images_per_identity": histogram.spread(counts),
            "histogram": [entry._asdict() for entry in histogram.bins(counts)],
            **_names(path.with_name("identities.csv"), labels, counts),
            "label_width": sorted(int(width) for width in np.unique(widths)),
            **_looked_at(_contents(file.read, keys)),
            "bytes_per_record": histogram.spread((heads.end - file.offsets)[images]),
            "property": _property(beside), "bytes": file.size}
    return Summary(facts, counts)


def _bin(path: Path) -> Summary:
    images, same = read_bin(path)
    folds = [{"pairs": len(part), "same": int(part.sum()), "different": int((~part).sum())}
             for part in np.array_split(same, FOLDS)]
    facts = {"path": str(path), "kind": "verification set", "pairs": len(same), "same": int(same.sum()),
             "different": int((~same).sum()), "folds": folds, "images": len(images),
             "different_images": len(set(images)),
             **_looked_at(images[number] for number in _spaced(np.arange(len(images)))),
             "bytes_per_image": histogram.spread(np.array(list(map(len, images)))), "bytes": path.stat().st_size}
    return Summary(facts)


def _property(path: Path) -> dict | None:
    told = read_beside(path, read_property, log.warning)
    return told and {name: value for name, value in told._asdict().items() if value is not None}


def _names(path: Path, labels: np.ndarray, counts: np.ndarray) -> dict:
    """The names in identities.csv, and the identities with most and fewest images."""
    held = dict(zip(labels.tolist(), counts.tolist()))
    known = read_beside(path, lambda table: read_identities(table, held), log.warning)
    if known is None:
        return {"names": None}
    order = np.argsort(-counts, kind="stable").tolist()
    named = [{"identity": known.get(int(labels[place]), str(labels[place])), "images": int(counts[place])}
             for place in order]
    return {"names": len(known), "most_images": named[:EXTREMES], "fewest_images": named[::-1][:EXTREMES]}


def _spaced(values: np.ndarray) -> list[int]:
    places = np.linspace(0, len(values) - 1, min(SAMPLE, len(values))).astype(int)
    return values[places].tolist()


def _contents(read: Callable, keys: list[int]) -> Iterable[bytes]:
    for key in keys:
        try:
            yield read(key).content
        except DataError:  # `check` reports what is wrong with it
            yield b""


def _looked_at(contents: Iterable[bytes]) -> dict:
    """Kinds and sizes of a sample, e.g. {'JPEG': 990, 'PNG': 10} and {'112x112': 1000}."""
    kinds: collections.Counter = collections.Counter()
    sizes: collections.Counter = collections.Counter()
    for content in contents:
        kinds[kind_of(content) or "unknown"] += 1
        sizes[_size(content)] += 1
    return {"looked_at": sum(kinds.values()), "formats": dict(kinds.most_common()), "sizes": dict(sizes.most_common())}


def _size(content: bytes) -> str:
    """height x width, of a JPEG by its header."""
    if kind_of(content) == "JPEG":
        header = read_header(content)
        if header.scan > 0 and header.orientation < 5 and header.height and header.width:
            return f"{header.height}x{header.width}"
    try:
        return "{}x{}".format(*decode(content).shape)
    except ImageError:
        return "unreadable"
