"""`search`: 1:N search of the faces of photographs in a gallery of embeddings."""
from __future__ import annotations

import argparse
import logging
from typing import Any

import numpy as np

from common.errors import UserError
from common.foreign import shown
from common.progress import progress
from deploy.arguments import STDOUT, write_or_print_json
from deploy.models import ServedModel
from deploy.photographs import FaceFinder
from deploy.query import open_query, unusable
from deploy.thresholds import Threshold
from eval.embedding_file import Embeddings, load_embeddings
from eval.scores import distances

log = logging.getLogger(__name__)
FOUND, FAILED, NOBODY, NO_FACE = 0, 1, 3, 4
ALIGNING = ("detector", "sha256", "image_size", "longest", "min_face", "factor", "thresholds")  # but not `select`


def run(args: argparse.Namespace) -> int:
    """Search with every face of every photograph."""
    model, threshold = open_query(args)
    gallery = load_embeddings(args.gallery)
    check_gallery(args.gallery, gallery, model)
    finder = FaceFinder(args, model, args.photographs, gallery_size(gallery))
    if gallery.embeddings.shape[1] != finder.dimension:
        raise UserError(f"{args.gallery}: its embeddings are {gallery.embeddings.shape[1]}-d, the model's "
                        f"{finder.dimension}-d")
    difference = difference_of(gallery.meta.get("alignment"), finder.alignment)
    if difference:
        log.warning("%s: its images were aligned differently, which changes scores: %s", args.gallery, difference)
    told, found, faces, failed = [], False, 0, False
    watched = progress(finder.photographs(), len(args.photographs), "search", "photographs")
    for photograph in watched:
        results = [nearest(unit, gallery, args.top, threshold) for unit in photograph.unit]
        faces += len(results)
        found = found or any(results)
        failed = failed or bool(photograph.reason and not photograph.without_face)
        row = photograph.as_json()
        for face, matches in zip(row["faces"], results):
            face["matches"] = matches
        told.append(row)
        if photograph.reason:
            log.warning("%s", unusable(photograph, args.detector) if not photograph.without_face
                        else f"{photograph.name}: no face found")
        if args.json != STDOUT:
            for number, matches in enumerate(results):
                print(f"{photograph.face(number)}:" + ("" if matches else " no match within the threshold"))
                print("".join(_line(match) for match in matches), end="", flush=True)
    if threshold is not None and args.json != STDOUT:
        print(_note(threshold, len(gallery.embeddings)))
    if args.json:
        write_or_print_json(args.json, {
            "model": {"name": model.name, "sha256": model.sha256}, "gallery": args.gallery,
            "threshold": threshold and threshold.as_json(), "photographs": told})
    return FAILED if failed else FOUND if found else NOBODY if faces else NO_FACE


def check_gallery(path: str, gallery: Embeddings, model: ServedModel) -> None:
    """UserError where the gallery is of another model or layer, or differs in mirror images."""
    sha256 = gallery.digest_of("model")
    if sha256 is None:
        raise UserError(f"{path}: has no sha256 of its model, so distances to this one's embeddings are undefined; "
                        "`deploy embed` makes a gallery with it")
    if sha256 != model.sha256:
        other = shown(gallery.meta["model"].get("name", ""))[:80]
        raise UserError(f"{path}: was made by another model, {other} of sha256 {shown(sha256)[:12]}; {model.name} is "
                        f"{model.sha256[:12]}: give that model, or embed the gallery again")
    if gallery.meta.get("layer", model.layer) != model.layer:
        raise UserError(f"{path}: holds the outputs of layer {shown(gallery.meta['layer'])[:40]}; give --layer "
                        f"{shown(gallery.meta['layer'])[:40]}")
    if gallery.meta.get("flip", True) != model.flip:
        raise UserError(f"{path}: was made {'without' if model.flip else 'with'} mirror images; "
                        f"{'give' if model.flip else 'leave out'} --no-flip")
    if not len(gallery.embeddings):
        raise UserError(f"{path}: holds no embeddings")


def nearest(unit: np.ndarray, gallery: Embeddings, top: int, threshold: Threshold | None) -> list[dict[str, Any]]:
    """The `top` images nearest to a face, (D,), nearest first, equals in the gallery's order; those below the
    threshold alone, where there is one."""
    cosines = gallery.embeddings @ unit.astype(np.float32)
    top = min(top, len(cosines))
    least = np.partition(cosines, len(cosines) - top)[len(cosines) - top]
    chosen = np.flatnonzero(cosines >= least)
    chosen = chosen[np.argsort(-cosines[chosen], kind="stable")][:top]
    scores = distances(gallery.embeddings[chosen], unit)
    people = gallery.meta.get("people")
    found = []
    for number, score in zip(chosen.tolist(), scores.tolist()):
        if threshold is not None and not score < threshold.score:
            continue
        match = {"name": str(gallery.names[number]), "score": score, "cosine": 1 - score / 2}
        if gallery.labels is not None:
            label = int(gallery.labels[number])
            match["label"] = label
            if isinstance(people, list) and 0 <= label < len(people):
                match["person"] = str(people[label])
        found.append(match)
    return found


def difference_of(gallery: Any, ours: dict[str, Any]) -> str:
    """In what the gallery's crops were made differently from the photographs'; "" where in nothing, or not known."""
    if not isinstance(gallery, dict):
        return ""
    differing = [name for name in ALIGNING if gallery.get(name) != ours.get(name)]
    if not differing:
        return ""
    with_detector = [not str(made.get("detector", "none")).startswith("none") for made in (gallery, ours)]
    if with_detector[0] != with_detector[1]:
        return f"it was made {'with a detector' if with_detector[0] else 'of aligned crops'}"
    name = differing[0]
    there, here = (shown(str(made.get(name)))[:40] for made in (gallery, ours))
    return f"{name.replace('_', ' ')} {there} there, {here} here"


def gallery_size(gallery: Embeddings) -> tuple[int, int] | None:
    """(H, W) of the crops that the embeddings are of; None where the file does not say."""
    told = gallery.meta.get("alignment")
    size = told.get("image_size") if isinstance(told, dict) else None
    if isinstance(size, list) and len(size) == 2 and all(type(side) is int and 0 < side < 10000 for side in size):
        return size[0], size[1]
    return None


def _line(match: dict[str, Any]) -> str:
    person = f"{shown(match['person'])}, " if "person" in match else ""
    return f"  score {match['score']:.4f}  cosine {match['cosine']:.4f}  {person}{shown(match['name'])}\n"


def _note(threshold: Threshold, images: int) -> str:
    if threshold.fpr is None:
        return str(threshold)
    return (f"{threshold}; of a gallery of {images} images, about {threshold.fpr * images:.2g} are below it for a "
            "face that is not in it")
