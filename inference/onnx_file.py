"""Reads an ONNX file of a face network, exported here or elsewhere: its input and output, and its pixel
normalisation."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

from common.errors import UserError
from common.files import PathLike, read_regular

LARGEST_FILE = (1 << 31) - 1  # of one protobuf message
FIRST_NODES = 8  # which InsightFace's loader inspects
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")  # whose operators onnxruntime has


@dataclass(frozen=True)
class OnnxModel:
    """A network that embeds images.

    content: the file's bytes. sha256: of them. input, output: names. image_size: (H, W), None where it is dynamic.
    batch: fixed batch size, None where it is dynamic. dimension: of the embedding, None where it is dynamic. mean,
    scale: the input is (x - mean) * scale for pixels x from 0 to 255.
    """

    path: str
    content: bytes
    sha256: str
    input: str
    output: str
    image_size: tuple[int, int] | None
    batch: int | None
    dimension: int | None
    mean: float
    scale: float


def read_onnx(path: PathLike) -> OnnxModel:
    """The model in a file; UserError, one line, where it is not a network from RGB images to one embedding each."""
    try:
        content = read_regular(Path(path), LARGEST_FILE)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    return parse_onnx(content, str(path))


def parse_onnx(content: bytes, path: str = "the ONNX model") -> OnnxModel:
    """As `read_onnx`, of the bytes of a file; path: its name in errors."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise UserError(f"{path}: the package {error.name} is not installed; run `make venv`") from None
    try:
        graph = onnx.load_model_from_string(content)
    # the Python implementation of protobuf raises the second for names that are not valid text
    except (DecodeError, UnicodeDecodeError):
        raise UserError(f"{path}: is not an ONNX file") from None
    model = graph.graph
    if not model.node:
        raise UserError(f"{path}: is not an ONNX file of a network (it has no nodes)")
    foreign = {node.domain for node in model.node} - set(DOMAINS)
    if foreign:
        raise UserError(f"{path}: needs operators of {sorted(foreign)[0]}, which onnxruntime does not have")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model)):
        raise UserError(f"{path}: keeps its weights in other files; save it as one file (onnx.save_model with "
                        "save_as_external_data=False)")
    stored = {tensor.name for tensor in model.initializer}
    inputs = [value for value in model.input if value.name not in stored]
    if len(inputs) != 1 or len(model.output) != 1:
        raise UserError(f"{path}: has {len(inputs)} inputs and {len(model.output)} outputs; a network that embeds "
                        "images has one of each, and onnx.utils.extract_model cuts it out of a larger one")
    shape, out, kind = _shape(inputs[0]), _shape(model.output[0]), inputs[0].type.tensor_type.elem_type
    if len(shape) != 4 or shape[1] not in (3, None) or kind != onnx.TensorProto.FLOAT:
        told = ", ".join(str(length or "?") for length in shape)
        raise UserError(f"{path}: its input {inputs[0].name} is ({told}) in {onnx.TensorProto.DataType.Name(kind)}; "
                        "export it with (N, 3, height, width) in FLOAT, which is float32, for RGB images")
    size = (shape[2], shape[3]) if shape[2] and shape[3] else None
    raw = feeds_raw_pixels([node.name for node in model.node[:FIRST_NODES]])
    dimension = None
    if out and all(out[1:]):
        dimension = 1
        for length in out[1:]:
            dimension *= length or 1
    return OnnxModel(path, content, hashlib.sha256(content).hexdigest(), inputs[0].name, model.output[0].name, size,
                     shape[0], dimension, *((0.0, 1.0) if raw else (127.5, 1 / 127.5)))


def feeds_raw_pixels(names: list[str]) -> bool:
    """Whether InsightFace's loader would feed pixels from 0 to 255 as they are, by the names of the first nodes: it
    then assumes that the network normalises. Else the input is (x - 127.5) / 127.5."""
    first = names[:FIRST_NODES]
    return ((any(name.startswith(("Sub", "_minus")) for name in first)
             and any(name.startswith(("Mul", "_mul")) for name in first))
            or any(name == "bn_data" for name in first[:3]))


def _shape(value: Any) -> list[int | None]:
    """The shape of an input or output; None where a dimension is dynamic, which some exporters write as -1."""
    return [axis.dim_value if axis.dim_value > 0 else None for axis in value.type.tensor_type.shape.dim]


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor in a graph and its subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)
