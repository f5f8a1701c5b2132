"""What `deploy search` and `compare` read, mutated: a gallery of embeddings, and the scores that a threshold is of."""
from __future__ import annotations

import argparse
import io
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from deploy.search import check_gallery, difference_of, gallery_size, nearest
from deploy.thresholds import choose_threshold
from eval.embedding_file import load_embeddings
from eval.score_file import COLUMNS
from stress.fuzzing.mutations import mutate, mutate_text

DIMENSION, IMAGES = 8, 6
SHA256 = "0" * 64
ALIGNMENT = {"detector": "mtcnn", "sha256": "2" * 64, "image_size": [112, 112], "longest": 0, "min_face": 20,
             "factor": 0.7, "thresholds": [0.6, 0.7, 0.7]}
META: dict[str, Any] = {
    "model": {"name": "a,1", "sha256": SHA256}, "set": {"path": "x", "sha256": "1" * 64}, "layer": "fc1", "flip": True,
    "people": ["ann", "bob", "eve"], "alignment": ALIGNMENT}
ODD: tuple[Any, ...] = (None, 3, -1.5, "x", [], {}, [1, 2],
                       {"sha256": 7}, [["a"]], True, "\x1b[2J", [10 ** 9, 5], "1" * 9999)


def gallery(chance: random.Random) -> dict[str, bytes]:
    """X.npz by `deploy embed`: entries of its description replaced, arrays of other content, or its bytes damaged."""
    meta = {**META, "alignment": dict(ALIGNMENT)}
    arrays: dict[str, Any] = {
        "embeddings": np.eye(IMAGES, DIMENSION, dtype=np.float32), "norms": np.ones(IMAGES, np.float32),
        "names": np.array([f"p{number}.jpg" for number in range(IMAGES)]), "labels": np.arange(IMAGES) // 2}
    way = chance.randrange(4)
    if way < 2:
        part = chance.choice((meta, meta, meta["alignment"]))
        part[chance.choice(sorted(part))] = chance.choice(ODD)
    elif way == 2:
        arrays["labels"] = chance.choice((np.full(IMAGES, -5), np.full(IMAGES, 2 ** 62), np.arange(IMAGES) * 99))
        arrays["embeddings"] = chance.choice((arrays["embeddings"], np.zeros((IMAGES, DIMENSION), np.float32),
                                              np.eye(IMAGES, 3 + IMAGES, dtype=np.float32)))
    stream = io.BytesIO()
    np.savez(stream, meta=np.array(json.dumps(meta)), **arrays)
    return {"x.npz": mutate(stream.getvalue(), chance, 3) if way == 3 else stream.getvalue()}


def scores(chance: random.Random) -> dict[str, bytes]:
    """SET.csv and SET.json, by `eval verify --scores`, one or both of them damaged."""
    rows = "".join(f"{pair},{2 * pair},{2 * pair + 1},{pair % 2},{0.5 + pair / 10:.3f},{0.75 - pair / 20:.3f},0,9.5,8\n"
                   for pair in range(12))
    meta = {name: META[name] for name in ("model", "set", "layer", "flip")}
    if chance.randrange(2):
        meta[chance.choice(sorted(meta))] = chance.choice(ODD)
    made = {"x.csv": (",".join(COLUMNS) + "\n" + rows).encode(),
            "x.json": json.dumps({**meta, "pca": 0, "folds": 10}).encode()}
    for name in chance.sample(sorted(made), chance.choice((0, 1, 1, 2))):
        made[name] = mutate_text(made[name], chance)
    return made


def read_gallery(folder: Path) -> None:
    """As `search` does, with a face that is one of the gallery's."""
    path = folder / "x.npz"
    found = load_embeddings(path)
    model: Any = SimpleNamespace(name="a,1", sha256=SHA256, layer="fc1", flip=True)
    check_gallery(str(path), found, model)
    difference_of(found.meta.get("alignment"), ALIGNMENT)
    gallery_size(found)
    for match in nearest(found.embeddings[0], found, 3, None):
        json.dumps(match)


def read_scores(folder: Path) -> None:
    """As `compare` does, for the threshold at an FPR."""
    choose_threshold(argparse.Namespace(threshold=None, fpr=0.2, scores=str(folder / "x.csv"), no_flip=False), SHA256,
                     "fc1")
