"""Files that `eval` reads, mutated: embeddings (.npz), the lists of IJB, and ONNX files."""
from __future__ import annotations

import functools
import io
import json
import random
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from eval.embedding_file import load_embeddings
from eval.templates import ijb_files
from inference.onnx_embedder import OnnxEmbedder
from inference.onnx_file import read_onnx
from stress.fuzzing.mutations import mutate, mutate_text

SIZE = 12  # side of the ONNX network's images, in pixels


def embeddings(chance: random.Random) -> dict[str, bytes]:
    """X.npz: its bytes damaged, or an array of it of another shape, type or content."""
    arrays: dict[str, np.ndarray] = {
        "embeddings": np.eye(6, 8, dtype=np.float32), "norms": np.ones(6, np.float32),
        "names": np.array([f"p{number}.jpg" for number in range(6)]), "labels": np.arange(6),
        "meta": np.array(json.dumps({"model": {"sha256": "0" * 64}, "set": {"sha256": "1" * 64}, "flip": True}))}
    way, name = chance.randrange(3), chance.choice(sorted(arrays))
    if way == 0:
        arrays[name] = chance.choice((
            np.zeros((6, 8), complex), np.full((6, 8), np.nan, np.float32), np.array("[" * 9999), np.zeros((0, 8)),
            np.array("{}"), np.array(1), np.arange(6.0), np.array(["x"] * 6), np.zeros((2, 3, 4)), np.zeros((6, 0))))
    elif way == 1:
        del arrays[name]
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return {"x.npz": mutate(stream.getvalue(), chance, 3) if way == 2 else stream.getvalue()}


def ijb(chance: random.Random) -> dict[str, bytes]:
    """The four kinds of lists, one or some of them damaged."""
    points = " ".join(["38.3 51.7", "73.5 51.5", "56.0 71.7", "41.5 92.4", "70.7 92.2"])
    files = {"x_name_5pts_score.txt": "".join(f"{number}.jpg {points} 0.9\n" for number in range(8)),
             "x_face_tid_mid.txt": "".join(f"{number}.jpg {100 + number // 2} {number}\n" for number in range(8)),
             "x_template_pair_label.txt": "".join(f"{100 + number % 4} {100 + number // 3} {number % 2}\n"
                                                  for number in range(12)),
             "x_gallery.csv": "TEMPLATE_ID,SUBJECT_ID\n100,1\n101,2\n"}
    made = {name: text.encode() for name, text in files.items()}
    for name in chance.sample(sorted(made), chance.choice((1, 1, 2))):
        made[name] = mutate_text(made[name], chance)
    return made


def onnx_file(chance: random.Random) -> dict[str, bytes]:
    """X.onnx, its bytes damaged."""
    return {"x.onnx": mutate(_network(), chance, 4)}


@functools.lru_cache(None)
def _network() -> bytes:
    weight = np.random.RandomState(0).normal(size=(3 * SIZE * SIZE, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["data"], ["flat"]), helper.make_node("MatMul", ["flat", "weight"], ["fc1"])],
        "small", [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(weight, "weight")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)],
                             ir_version=onnx.IR_VERSION if onnx.IR_VERSION < 7 else 7).SerializeToString()


def read_embeddings(folder: Path) -> None:
    """By the reader that every command of eval and deploy uses."""
    load_embeddings(folder / "x.npz")


def read_ijb(folder: Path) -> None:
    """All four lists."""
    images = ijb_files.read_images(folder)
    for _ in ijb_files.read_pairs(folder / "x_template_pair_label.txt", images.templates):
        pass
    ijb_files.read_subjects([folder / "x_gallery.csv"], images.templates)


def read_onnx_file(folder: Path) -> None:
    """The file, and the network at work on one image."""
    size = read_onnx(folder / "x.onnx").image_size
    if size is not None and size != (SIZE, SIZE):
        return
    embedder = OnnxEmbedder(read_onnx(folder / "x.onnx"), 1, (SIZE, SIZE))
    list(embedder.embed([np.zeros((1, SIZE, SIZE, 3), np.uint8)], False))
