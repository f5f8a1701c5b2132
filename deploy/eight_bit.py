"""A network in ONNX with weights and maps of 8 bits: static quantisation by onnxruntime's tools, on calibration images.

Convolutions and products, and the sums between them, are computed in 8 bits (QDQ format, weights with a scale for each
filter), after `equalise`. GNAP's norms stay float, and so do the first convolution and the last product where that
brings the embeddings closer to the float network's.
"""
from __future__ import annotations

import contextlib
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import onnx
from onnx import numpy_helper, version_converter

from common.errors import UserError
from common.progress import meter
from deploy.agreement import Difference, Run, difference, plain_onnx
from deploy.equalise import equalise
from deploy.foreign_onnx import normalise_first
from inference.onnx_file import feeds_raw_pixels

OPSET = 13  # the first with a scale for each filter
KINDS = ["Conv", "Gemm", "Add"]
QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
             "ConvInteger", "MatMulInteger")
BATCH = 8
SMALL = 0.1  # largest fraction of the weights with which the last product may stay float
PAYS = 0.75  # factor by which first and last layer in float must reduce the error


@dataclass(frozen=True)
class EightBit:
    """content: of the ONNX file. kept: names of the layers that stay float, GNAP's norms left out. difference: to the
    float network's embeddings, on images that it was not calibrated on; cosine: the mean on them. maps: equalised."""

    content: bytes
    kept: list[str]
    difference: Difference
    cosine: float
    calibration: int
    maps: int


def quantise(content: bytes, images: np.ndarray, held_out: np.ndarray) -> EightBit:
    """The float network `content`, an ONNX file as `symbols.onnx_export` writes it, in 8 bits.

    images: (n, 3, H, W) float32, 0 to 255, to calibrate on; held_out: others, for evaluation. UserError where it is in
    8 bits already, or has no layer for them.
    """
    model = onnx.load_model_from_string(content)
    there = [node.name for node in model.graph.node if node.op_type in QUANTISED]
    if there:
        raise UserError(f"`int8`: the network is in 8 bits already ({there[0]}); give the float network that it was "
                        "made of, or leave `int8` out")
    if not any(node.op_type in KINDS for node in model.graph.node):
        raise UserError(f"`int8`: the network has none of the layers that are computed in 8 bits ({', '.join(KINDS)}); "
                        "leave `int8` out")
    model = _of_opset(model)
    for node in model.graph.node:  # layers that stay float are told by their names, which others may leave out
        node.name = node.name or f"{node.op_type.lower()}_of_{node.output[0]}"
    maps = equalise(model, images)
    float_run = plain_onnx(content)
    expected = _embed(float_run, held_out)
    tried = []
    for kept in ([], _first_and_last(model)):
        made = _quantised(model, images, [*kept, *_never(model)], "calibrate" + (", layers kept" if kept else ""))
        found = _embed(plain_onnx(made), held_out)
        tried.append(EightBit(made, kept, difference(expected, found), _cosine(expected, found), len(images), maps))
    return tried[1] if 1 - tried[1].cosine < PAYS * (1 - tried[0].cosine) else tried[0]


def _of_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """Converted to OPSET where it is older."""
    version = next((entry.version for entry in model.opset_import if not entry.domain), OPSET)
    if version >= OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except RuntimeError as error:
        told = " ".join(str(error).split())[:150]
        raise UserError(f"`int8`: the network of opset {version} cannot be converted to {OPSET} ({told}); export it "
                        "with opset 13 or newer") from None


def has_vnni() -> bool:
    """Whether this CPU has VNNI (8-bit dot products), according to Linux."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return bool({"avx512_vnni", "avx_vnni", "asimddp"} & set(flags))


def _quantised(model: onnx.ModelProto, images: np.ndarray, kept: list[str], what: str) -> bytes:
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        """The calibration images, in small batches."""

        def __init__(self, bar: Any) -> None:
            self.starts, self.bar = iter(range(0, len(images), BATCH)), bar

        def get_next(self) -> dict[str, np.ndarray] | None:
            """The next batch, None after the last."""
            first = next(self.starts, None)
            if first is None:
                return None
            self.bar.update(len(images[first:first + BATCH]))
            return {model.graph.input[0].name: images[first:first + BATCH]}
    with tempfile.TemporaryDirectory() as folder, _quiet(), meter(len(images), what, "images") as bar:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(model.SerializeToString())
        quantization.quantize_static(
            str(source), str(target), Reader(bar), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            reduce_range=not has_vnni(),  # without it pairs of products may overflow 16 bits
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=KINDS, nodes_to_exclude=kept)
        return _normalising_first(onnx.load(str(target)), model).SerializeToString()


def _normalising_first(made: onnx.ModelProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """With the float network's first Sub and Mul first again, where InsightFace's loader looks for them; the
    quantiser puts what unpacks weights in front of them."""
    first: list[str] = []
    for node in model.graph.node:
        if node.op_type not in ("Sub", "Mul", "Constant"):
            break
        first.append(node.output[0])
    nodes = sorted(made.graph.node,
                   key=lambda node: first.index(node.output[0]) if node.output[0] in first else len(first))
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    if not feeds_raw_pixels([node.name for node in nodes]):
        normalise_first(made.graph, 0, 1)  # changes nothing, but its names say that the input is raw pixels
    return made


def _first_and_last(model: onnx.ModelProto) -> list[str]:
    """The names of the first convolution, and of the last product where it holds few of the weights."""
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    kept = [layers[0].name] if layers else []
    last = [node for node in layers if node.op_type == "Gemm"][-1:]
    return kept + [node.name for node in last if sizes.get(node.input[1], 0) <= SMALL * sum(sizes.values())]


def _never(model: onnx.ModelProto) -> list[str]:
    """The names of convolutions that add up channels, which are GNAP's: squares do not fit into 8 bits."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node
            if node.op_type == "Conv" and node.input[1] in stored and stored[node.input[1]].dims[0] == 1
            and (numpy_helper.to_array(stored[node.input[1]]) == 1).all()]


def _embed(run: Run, images: np.ndarray) -> np.ndarray:
    return np.concatenate([run(images[first:first + BATCH]) for first in range(0, len(images), BATCH)])


def _cosine(expected: np.ndarray, found: np.ndarray) -> float:
    unit = [array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-30) for array in (expected, found)]
    return float((unit[0].astype(np.float64) * unit[1]).sum(axis=1).mean())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses onnxruntime's warnings about intended settings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
