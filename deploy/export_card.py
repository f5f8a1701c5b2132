"""Files beside an exported model: a card, X.json, and the folder that InsightFace's Python package loads."""
from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from common.errors import UserError, writing
from common.files import read_regular, write_atomic
from common.folders import check_free, new_folder
from deploy.agreement import Difference, SetScores
from inference.onnx_file import parse_onnx

MANIFEST, MOST_BYTES = "manifest.json", 1 << 24
BEGINS = '{\n "manifest_version": 2,\n "model_id": "'  # identifies our own: other packages have such a file too
FLIP = ("the embeddings of an image and of its mirror image are summed, then L2-normalised; a pair's score is the "
        "squared L2 distance")
ALIGNMENT = ("faces warped by five landmarks to ArcFace's template for 112x112 (eyes near (38, 52) "
             "and (74, 52))")
NORMALISING = ("Sub", "Add", "Mul", "Div", "BatchNormalization")
FEED = "RGB pixels from 0 to 255"
TYPES = {TensorProto.FLOAT16: "float16", TensorProto.DOUBLE: "float64"}  # of embeddings by others, not float32
LIBRARIES = ("mxnet", "onnx", "onnxruntime")


def normalisation(model: onnx.ModelProto) -> dict[str, Any]:
    """The graph's normalisation of pixels before its first layer: a subtraction and a multiplication, or not known, as
    graphs by others may have it in other forms."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    stored.update({node.output[0]: attribute.t for node in model.graph.node if node.op_type == "Constant"
                   for attribute in node.attribute if attribute.name == "value"})
    value, found = model.graph.input[0].name, []
    for op in ("Sub", "Mul"):
        taking = [node for node in model.graph.node if value in node.input]
        number = numpy_helper.to_array(stored[taking[0].input[1]]) if (
            len(taking) == 1 and taking[0].op_type == op and taking[0].input[1] in stored) else np.zeros(0)
        if number.size != 1:
            break
        found.append(float(number.reshape(())))
        value = taking[0].output[0]
    inside = found != [0.0, 1.0]
    if len(found) < 2 or not inside and any(node.op_type in NORMALISING for node in model.graph.node
                                            if value in node.input):
        return {"inside": None, "mean": None, "scale": None, "formula": "what its first layers do to them",
                "feed": FEED}
    mean, scale = found
    return {"inside": inside, "mean": mean, "scale": scale, "formula": f"(x - {mean:g}) * {scale:g}", "feed": FEED}


def make_card(name: str, content: bytes, source: dict[str, Any], check: Difference, scores: Sequence[SetScores],
              fpr: Sequence[float]) -> dict[str, Any]:
    """The card of an ONNX file of these bytes. source: the model that it was made of, with its sha256."""
    model, told = onnx.load_model_from_string(content), parse_onnx(content)
    return {
        "format": "ONNX", "file": name, "sha256": told.sha256, "bytes": len(content),
        "opset": next(entry.version for entry in model.opset_import if not entry.domain),
        "nodes": len(model.graph.node), "model": source,
        "input": {"name": told.input, "type": "float32", "shape": ["N", 3, *(told.image_size or ())], "colour": "RGB",
                  "range": [0, 255], "alignment": ALIGNMENT},
        "output": {"name": told.output, "type": TYPES.get(model.graph.output[0].type.tensor_type.elem_type, "float32"),
                   "shape": ["N", told.dimension], "normalised": check.unit_length},
        "normalisation": normalisation(model), "flip": FLIP,
        "batch": "any" if check.alone else "one image at a time: an embedding depends on the others in its batch",
        "check": {"against": source["name"], **check.as_row()},
        "scores": {one.name: one.as_row(fpr) for one in scores},
        "versions": {name: _version(name) for name in LIBRARIES}}


def write_insightface(folder: Path, name: str, content: bytes, card: dict[str, Any], overwrite: bool) -> None:
    """Write the folder of a model package: the ONNX file, `manifest.json` and the card. In one that was written before
    these are replaced; other files, and other tasks of the manifest, stay.

    Its name is the model's. InsightFace's `get_model` takes the .onnx file, its newer package and its server the
    manifest (version 2), whose preprocessing "embedded" means that the input is raw pixels.
    """
    size = card["input"]["shape"][2:]
    task = {"file": f"{name}.onnx", "sha256": hashlib.sha256(content).hexdigest(), "input_size": size,
            "embedding_dimension": card["output"]["shape"][1], "preprocessing": "embedded"}
    manifest = {"manifest_version": 2, "model_id": folder.name, "display_name": folder.name,
                "tasks": {"recognition": task}, "license": "MODEL.LICENSE"}
    if not folder.is_dir() or not any(folder.iterdir()):
        with new_folder(folder, overwrite, MANIFEST, BEGINS) as temporary:
            (temporary / f"{name}.onnx").write_bytes(content)
            (temporary / f"{name}.json").write_text(as_json(card), encoding="utf-8")
            (temporary / MANIFEST).write_text(as_json(manifest), encoding="utf-8")
        return
    check_free(folder, overwrite, MANIFEST, BEGINS)
    tasks = _tasks(folder / MANIFEST)
    before = tasks.get("recognition")
    with writing(folder):
        write_atomic(folder / f"{name}.onnx", content)
        write_atomic(folder / f"{name}.json", as_json(card))
        write_atomic(folder / MANIFEST, as_json({**manifest, "tasks": {**tasks, "recognition": task}}))
        stem = Path(str(before.get("file"))).stem if isinstance(before, dict) else name
        for ending in (".onnx", ".json"):
            old = folder / f"{stem}{ending}"
            if old.stem != name and old.name != MANIFEST:
                old.unlink(missing_ok=True)


def _tasks(manifest: Path) -> dict[str, Any]:
    try:
        tasks = json.loads(read_regular(manifest, MOST_BYTES).decode("utf-8"))["tasks"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return tasks if isinstance(tasks, dict) else {}


def check_names_in(folder: Path, name: str) -> None:
    """UserError where a file that `write_insightface` is to write under `name` is another task's or somebody else's."""
    own = _tasks(folder / MANIFEST).get("recognition")
    before = Path(str(own.get("file"))).stem if isinstance(own, dict) else ""
    for ending in (".onnx", ".json"):
        if name != before and (folder / f"{name}{ending}").exists():
            raise UserError(f"`insightface` {folder}: holds {name}{ending}, which is not its recognition model; give "
                            "`out` another name")


def check_model_name(folder: Path, image_size: tuple[int, int]) -> None:
    """UserError where InsightFace's loaders would not take the folder's name or images of this size."""
    name = Path(folder).absolute().name
    if not name or not name[0].isalnum() or not all(letter.isalnum() or letter in "._-" for letter in name) \
            or not name.isascii() or len(name) > 128:
        raise UserError(f"`insightface` {folder}: its last part is the model's name: letters, digits, dots, hyphens "
                        "and underscores, as in ~/.insightface/models/mine")
    if image_size != (112, 112):
        raise UserError(f"`insightface` {folder}: InsightFace recognises a recognition model by its input of 112x112, "
                        f"not {image_size[0]}x{image_size[1]}; leave the flag out")


def as_json(content: dict[str, Any]) -> str:
    """Text of a JSON file."""
    return json.dumps(content, indent=1, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
