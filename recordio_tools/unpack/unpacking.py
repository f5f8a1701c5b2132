"""A packed set to folders of images, a `.bin` to images and a table of pairs; packing these gives the same set
again."""
from __future__ import annotations

import collections
import contextlib
import functools
import os
from pathlib import Path
from typing import Callable, Iterable

import numpy as np

from common.files import write_json
from common.folders import new_folder
from common.progress import meter
from common.tables import csv_bytes
from common.workers import ordered_map
from images.folder_names import ending, folder_names
from images.formats import kind_of
from recordio_tools.bins.binfile import read_bin
from recordio_tools.records.copying import read_images
from recordio_tools.records.dataset import FaceDataset, open_dataset
from recordio_tools.records.identities import identity_table, names_beside

REPORT, LIST, NAMES, PAIRS = "unpack-report.json", "unpack.lst", "identities.csv", "pairs.csv"
RESERVED = (REPORT, LIST, NAMES)
CHUNK = 64  # images that a thread writes at a time
HEAD = 64  # leading bytes of an image that identify its format


def unpack_rec(path: Path, out: Path, workers: int, overwrite: bool = False) -> dict:
    """Write OUT/<identity>/<record key>.jpg, unpack.lst, identities.csv and the report, which is returned.

    The lists name images label by label, in the index's order. UserError where the set is not sound enough to train on.
    """
    dataset = open_dataset(path, fewest=1)
    with dataset.record_file, new_folder(out, overwrite, REPORT) as folder:
        present, owner, counts = np.unique(dataset.labels, return_inverse=True, return_counts=True)
        labels = present.tolist()
        names = names_beside(dataset.record_file.rec_path, labels, counts.tolist())
        folders = folder_names(labels, names, RESERVED)
        for name in folders:
            (folder / name).mkdir()
        work = functools.partial(_write_records, dataset, str(folder), folders, owner)
        spans = [range(start, min(start + CHUNK, len(dataset))) for start in range(0, len(dataset), CHUNK)]
        found = _finish(work, spans, len(dataset), workers)
        order = np.argsort(owner, kind="stable").tolist()
        lines = (f"1\t{folders[owner[place]]}/{dataset.keys[place]}{ending(found[place])}\t{dataset.labels[place]}\n"
                 for place in order)
        (folder / LIST).write_bytes("".join(lines).encode("utf-8", "surrogateescape"))
        (folder / NAMES).write_bytes(identity_table(zip(names, counts.tolist(), folders), ("folder",), labels))
        report = {"source": str(path), "images": len(dataset), "identities": len(labels),
                  "identities_without_images": dataset.num_classes - len(labels), "named_folders": folders == names,
                  "formats": _formats(found)}
        write_json(folder / REPORT, report)
    return report


def unpack_bin(path: Path, out: Path, workers: int, overwrite: bool = False) -> dict:
    """Write OUT/images/000000.jpg, ..., each different image once, OUT/pairs.csv, which names the pairs in their order
    (left,right,same), and the report, which is returned."""
    images, same = read_bin(path)
    places: dict[bytes, int] = {}
    order = [places.setdefault(image, len(places)) for image in images]
    width = max(len(str(len(places) - 1)), 6)
    with new_folder(out, overwrite, REPORT) as folder:
        (folder / "images").mkdir()
        names = [f"images/{number:0{width}d}{ending(kind_of(image))}" for image, number in places.items()]
        work = functools.partial(_write_images, str(folder))
        items = list(zip(names, places))
        spans = [items[start:start + CHUNK] for start in range(0, len(items), CHUNK)]
        found = _finish(work, spans, len(items), workers)
        (folder / PAIRS).write_bytes(csv_bytes(("left", "right", "same"), (
            (names[order[2 * pair]], names[order[2 * pair + 1]], int(same[pair])) for pair in range(len(same)))))
        report = {"source": str(path), "pairs": len(same), "same": int(same.sum()), "images": len(places),
                  "formats": _formats(found)}
        write_json(folder / REPORT, report)
    return report


def _finish(work: Callable, spans: Iterable, total: int, workers: int) -> list[str | None]:
    """The kinds that `work` returns, some at a time; its threads have ended when this does, however it does."""
    kinds: list[str | None] = []
    results = ordered_map(work, spans, workers, chunk=1)
    with contextlib.closing(results), meter(total, "unpack", " images") as bar:
        for some in results:
            kinds += some
            bar.update(len(some))
    return kinds


def _formats(kinds: list[str | None]) -> dict[str, int]:
    return dict(collections.Counter(kind or "unknown" for kind in kinds).most_common())


def _write_records(dataset: FaceDataset, folder: str, folders: list[str], owner: np.ndarray, places: range
                   ) -> list[str | None]:
    """Write the images of some records; returns their kinds."""
    keys = dataset.keys[places.start:places.stop]
    kinds = []
    for key, identity, image in zip(keys.tolist(), owner[places.start:places.stop].tolist(),
                                    read_images(dataset.record_file, keys)):
        kinds.append(kind_of(bytes(image[:HEAD])))
        _write_file(f"{folder}/{folders[identity]}/{key}{ending(kinds[-1])}", image)
    return kinds


def _write_images(folder: str, items: list[tuple[str, bytes]]) -> list[str | None]:
    """Write some files, (name, content); returns their kinds."""
    for name, content in items:
        _write_file(f"{folder}/{name}", content)
    return [kind_of(content) for _, content in items]


def _write_file(path: str, content: bytes | memoryview) -> None:
    """Write a new file, in as few system calls as possible: a set has millions."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest):]
    finally:
        os.close(handle)
