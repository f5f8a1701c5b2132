"""What a data file holds, told without decoding more than one image; also of files that `check` would not pass."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from recordio_tools.binfile import read_bin
from recordio_tools.formats import kind_of
from recordio_tools.images import ImageError, decode
from recordio_tools.parts import open_records
from recordio_tools.property import read_property


def summarise(path: Path) -> dict:
    """A plain dictionary about a `.rec` or a `.bin`; DataError where it cannot be read at all."""
    return _bin(path) if path.suffix == ".bin" else _rec(path)


def _rec(path: Path) -> dict:
    property_path = path.with_name("property")
    with open_records(path) as file:
        heads = file.heads()
        images = np.flatnonzero(heads.has_image)
        headers = int((heads.readable & ~heads.has_image).sum())
        labels, counts = np.unique(heads.label[images, 0], return_counts=True)
        first = file.read(int(file.keys[images[0]])).content if len(images) else b""
        sizes = (heads.end - file.offsets)[images]
        widths = np.maximum(heads.flag[images], 1)
        return {
            "path": str(path), "kind": "training set",
            "layout": "InsightFace (header records)" if headers else "plain (im2rec, no headers)",
            "records": len(file), "index": str(file.idx_path) if file.idx_path else None,
            "images": len(images), "identities": len(labels),
            "images_per_identity": _spread(counts), "bytes_per_record": _spread(sizes),
            "label_width": sorted(int(width) for width in np.unique(widths)),
            "image": _image(first), "property": read_property(property_path)._asdict() if property_path.is_file()
            else None, "bytes": file.size}


def _bin(path: Path) -> dict:
    images, same = read_bin(path)
    return {"path": str(path), "kind": "verification set", "pairs": len(same), "same": int(same.sum()),
            "different": int((~same).sum()), "images": len(images), "different_images": len(set(images)),
            "bytes_per_image": _spread(np.array([len(image) for image in images])), "image": _image(images[0]),
            "bytes": path.stat().st_size}


def _spread(values: np.ndarray) -> dict | None:
    if not len(values):
        return None
    return {"min": int(values.min()), "median": float(np.median(values)), "max": int(values.max())}


def _image(content: bytes) -> dict:
    """The first image: what it is, in the hope that the others are the same."""
    try:
        height, width = decode(content).shape[:2]
    except ImageError:
        return {"format": kind_of(content), "height": None, "width": None}
    return {"format": kind_of(content), "height": height, "width": width}
