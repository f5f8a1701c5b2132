"""A packed set to folders of images, a `.bin` to images and a table of pairs, so that packing them gives it back."""
from __future__ import annotations

import collections
import contextlib
import functools
import json
from pathlib import Path
from typing import Callable, Iterable

import numpy as np

from recordio_tools.binfile import read_bin
from recordio_tools.dataset import FaceDataset, open_dataset
from recordio_tools.folder_names import folder_names
from recordio_tools.formats import kind_of
from recordio_tools.identities import csv_bytes, identity_table, names_beside
from recordio_tools.new_folder import new_folder
from recordio_tools.parallel import ordered_map
from recordio_tools.progress import progress

REPORT, LIST, NAMES, PAIRS = "unpack-report.json", "unpack.lst", "identities.csv", "pairs.csv"
RESERVED = (REPORT, LIST, NAMES)
ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "WebP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "JPEG 2000": ".jp2",
           "GIF": ".gif"}
UNKNOWN = ".unknown"  # no image file; `pack` passes over the ending


def unpack_rec(path: Path, out: Path, workers: int) -> dict:
    """Write OUT/<identity>/<record key>.jpg, unpack.lst, identities.csv and the report, which is returned.

    The lists name images label by label, in the index's order. UserError where the set is not sound enough to train on.
    """
    dataset = open_dataset(path, fewest=1)
    with dataset.record_file, new_folder(out) as folder:
        present, owner, counts = np.unique(dataset.labels, return_inverse=True, return_counts=True)
        labels = present.tolist()
        known = names_beside(dataset.record_file.rec_path)
        names = [known.get(label, "") for label in labels]
        folders = folder_names(labels, names, RESERVED)
        for name in folders:
            (folder / name).mkdir()
        work = functools.partial(_write_record, dataset, folder, folders, owner)
        found = _finish(work, range(len(dataset)), len(dataset), workers)
        order = np.argsort(owner, kind="stable").tolist()
        lines = (
            f"1\t{folders[owner[place]]}/{dataset.keys[place]}{ending(found[place])}\t{dataset.labels[place]}\n"
            for place in order)
        (folder / LIST).write_bytes("".join(lines).encode("utf-8", "surrogateescape"))
        (folder / NAMES).write_bytes(identity_table(zip(names, counts.tolist(), folders), ("folder",), labels))
        report = {"source": str(path), "images": len(dataset), "identities": len(labels),
                  "identities_without_images": dataset.num_classes - len(labels), "named_folders": folders == names,
                  "formats": _formats(found)}
        _write_report(folder, report)
    return report


def unpack_bin(path: Path, out: Path, workers: int) -> dict:
    """Write OUT/images/000000.jpg, ..., each different image once, OUT/pairs.csv, which names the pairs in their order
    (left,right,same), and the report, which is returned."""
    images, same = read_bin(path)
    places: dict[bytes, int] = {}
    order = [places.setdefault(image, len(places)) for image in images]
    width = max(len(str(len(places) - 1)), 6)
    with new_folder(out) as folder:
        (folder / "images").mkdir()
        names = [f"images/{number:0{width}d}{ending(kind_of(image))}" for image, number in places.items()]
        work = functools.partial(_write_image, folder)
        found = _finish(work, zip(names, places), len(places), workers)
        (folder / PAIRS).write_bytes(csv_bytes(("left", "right", "same"), (
            (names[order[2 * pair]], names[order[2 * pair + 1]], int(same[pair])) for pair in range(len(same)))))
        report = {"source": str(path), "pairs": len(same), "same": int(same.sum()), "images": len(places),
                  "formats": _formats(found)}
        _write_report(folder, report)
    return report


def _finish(work: Callable, items: Iterable, total: int, workers: int) -> list[str | None]:
    """The kinds that `work` returns; its threads have ended when this does, however it does."""
    with contextlib.closing(ordered_map(work, items, workers)) as results:
        return list(progress(results, total, "unpack"))


def _formats(kinds: list[str | None]) -> dict[str, int]:
    return dict(collections.Counter(kind or "unknown" for kind in kinds).most_common())


def _write_record(dataset: FaceDataset, folder: Path, folders: list[str], owner: np.ndarray, place: int) -> str | None:
    key = int(dataset.keys[place])
    content = dataset.record_file.read(key).content
    name = f"{folders[owner[place]]}/{key}{ending(kind_of(content))}"
    return _write_image(folder, (name, content))


def _write_image(folder: Path, item: tuple[str, bytes]) -> str | None:
    """Write one file; returns its kind."""
    name, content = item
    (folder / name).write_bytes(content)
    return kind_of(content)


def ending(kind: str | None) -> str:
    """What the name of a file of this kind ends in."""
    return ENDINGS.get(kind or "", UNKNOWN)


def _write_report(folder: Path, report: dict) -> None:
    (folder / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
