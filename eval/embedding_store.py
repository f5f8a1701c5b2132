"""A cache folder of embeddings files, so that a model embeds a set once for all commands."""
from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, Collection, Sequence

import numpy as np

from common.errors import UserError
from common.foreign import shown
from common.package_versions import versions
from eval.embedding_file import Embeddings, load_embeddings, save_embeddings
from eval.opening import LAYER, EmbeddingSettings, OpenModel

log = logging.getLogger(__name__)
CROPS = "none, aligned crops"
PACKAGES = ("mxnet", "numpy", "opencv-python-headless", "onnxruntime")


def check_manner(text: str, made: Embeddings, settings: EmbeddingSettings) -> None:
    """UserError where the metadata of a file, `--model` text, differ from the settings in mirror images or layer. A
    file without these metadata is accepted."""
    if made.meta.get("flip", settings.flip) != settings.flip:
        raise UserError(f"`model` {text}: was made {'without' if settings.flip else 'with'} mirror images; "
                        f"{'give' if settings.flip else 'leave out'} `no_flip`")
    layer = made.meta.get("layer")
    if layer is not None and layer != settings.layer:
        raise UserError(f"`model` {text}: is of the layer {shown(str(layer))[:60]}, not of {settings.layer}; give "
                        f"`layer` {shown(str(layer))[:60]}, or the model itself")


def warn_of_zeros(text: str, unit: np.ndarray, names: np.ndarray, failed: Collection[str] = ()) -> None:
    """A line where embeddings are zeros, other than of the images that are known to have failed."""
    zeros = [str(name) for name in names[~unit.any(axis=1)] if name not in failed]
    if zeros:
        log.warning("%s: %d of %d embeddings are zeros, %s the first: their pairs count as scored, at cosine 0; "
                    "--failures counts images that could not be embedded", text, len(zeros), len(names), zeros[0])


def meta_of(model: OpenModel, path: str, set_digest: str, settings: EmbeddingSettings, size: Sequence[int],
            detector: str = CROPS) -> dict[str, Any]:
    """The metadata of an embeddings file; size: (H, W) of the crops; detector: how they were made."""
    return {"model": {"name": model.name.text, "sha256": model.digest}, "set": {"path": path, "sha256": set_digest},
            "layer": settings.layer, "flip": settings.flip, "alignment": alignment_of_crops(size, detector),
            "versions": versions(PACKAGES)}


def alignment_of_crops(size: Sequence[int], detector: str = CROPS) -> dict[str, Any]:
    """How images that no detector cropped here were aligned."""
    return {"image_size": [int(side) for side in size], "detector": detector}


def place_of(model: OpenModel, set_digest: str, settings: EmbeddingSettings) -> Path:
    """The file in `settings.keep`, whose name identifies model, set and settings."""
    if settings.keep is None:
        raise ValueError("there is no folder of embeddings")
    manner = "" if settings.layer == LAYER else "-" + hashlib.sha256(settings.layer.encode()).hexdigest()[:4]
    return settings.keep / (f"{model.name.stem}-{model.digest[:8]}-{set_digest[:8]}{manner}"
                            f"{'' if settings.flip else '-noflip'}.npz")


def stored(model: OpenModel, set_digest: str, settings: EmbeddingSettings) -> Embeddings | None:
    """The cached embeddings for this model, set, layer and flip; None where there are none, or unusable ones."""
    path = place_of(model, set_digest, settings)
    if not path.exists():
        return None
    try:
        found = load_embeddings(path)
    except UserError as error:
        log.warning("%s; it is recomputed", error)
        return None
    provenance = (found.digest_of("model"), found.digest_of("set"), found.meta.get("layer"), found.meta.get("flip"))
    if provenance != (model.digest, set_digest, settings.layer, settings.flip):
        log.warning("%s: is of another model, set, layer or flip than its name; it is recomputed", path)
        return None
    log.info("%s: embeddings of %s", model.name.text, path)
    return found


def write_stored(model: OpenModel, made: Embeddings, settings: EmbeddingSettings) -> None:
    """Put embeddings into the folder."""
    path = place_of(model, made.digest_of("set") or "", settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_embeddings(path, made)
    log.info("%s: embeddings in %s", model.name.text, path)
