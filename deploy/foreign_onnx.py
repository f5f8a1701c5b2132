"""Converts a third-party ONNX file to this project's form: one input `data` of raw pixels, dynamic batch, one
embedding."""
from __future__ import annotations

from typing import Any, Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from common.errors import RunError, UserError
from deploy.agreement import LARGEST, Difference, Run, compare, plain_onnx
from inference.onnx_embedder import OnnxEmbedder
from inference.onnx_file import OnnxModel
from symbols.onnx_export import INPUT

OUTPUT = "fc1"
FREE_INITIALISERS = 4  # the first IR version in which initialisers are not inputs too


def adopt(model: OnnxModel, image_size: tuple[int, int]) -> tuple[bytes, Difference]:
    """The bytes of the converted file, and its agreement with the original, with the original's normalisation.

    Normalisation is added inside where it was not, and an output that is not of two axes is flattened. UserError
    where onnxruntime does not run it, it has a fixed batch size, or does not take image_size; RunError where the
    embeddings are not the same.
    """
    if model.image_size is not None and model.image_size != tuple(image_size):
        raise UserError(f"`model` {model.path}: takes images of {model.image_size[0]}x{model.image_size[1]}, not of "
                        f"{image_size[0]}x{image_size[1]}")
    dimension = OnnxEmbedder(model, 1, image_size).dimension  # it can be run at all
    made = onnx.load_model_from_string(model.content)
    made.ir_version = max(made.ir_version, FREE_INITIALISERS)
    for entry in made.opset_import:
        entry.domain = "" if entry.domain == "ai.onnx" else entry.domain  # two names of one
    graph = made.graph
    stored = {tensor.name for tensor in graph.initializer}
    for listed in [value for value in graph.input if value.name in stored]:
        graph.input.remove(listed)
    _rename(graph, {model.input: INPUT, model.output: OUTPUT})
    if (model.mean, model.scale) != (0.0, 1.0):
        normalise_first(graph, model.mean, model.scale)
    del graph.value_info[:]  # recorded shapes are those of the old batch size
    out = graph.output[0].type.tensor_type
    if len(out.shape.dim) != 2:  # more, or not declared
        _flatten_last(graph)
    graph.input[0].CopyFrom(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", 3, *image_size]))
    graph.output[0].CopyFrom(helper.make_tensor_value_info(OUTPUT, out.elem_type, ["N", dimension]))
    content = made.SerializeToString()
    try:
        check = compare(_as_it_was(model), _flat(plain_onnx(content)), image_size)
    except (UserError, RunError):
        raise
    except Exception as error:  # of classes that onnxruntime does not export
        told = " ".join(str(error).split())[:150]
        raise UserError(f"`model` {model.path}: does not compute several images at once ({told}); export it with a "
                        "free batch") from None
    if check.relative > LARGEST:
        raise RunError(f"`model` {model.path}: differs from itself on {check.images} synthetic images ({check}); "
                       "nothing was written")
    return content, check


def _as_it_was(model: OnnxModel) -> Run:
    """The original file, one image at a time where its batch size is 1."""
    run = plain_onnx(model.content)

    def embed(images: np.ndarray) -> np.ndarray:
        data = (images - np.float32(model.mean)) * np.float32(model.scale)
        parts = [data] if model.batch is None else [data[place:place + 1] for place in range(len(data))]
        if model.batch not in (None, 1):
            raise UserError(f"`model` {model.path}: has a fixed batch of {model.batch} images; export it "
                            "with a dynamic batch")
        return np.concatenate([_flat(run)(part) for part in parts])
    return embed


def _flat(run: Run) -> Run:
    """(n, D) of n images; ValueError where it gives another number of rows."""
    def rows(images: np.ndarray) -> np.ndarray:
        found = run(images)
        if len(found) != len(images):
            raise ValueError(f"its output is of shape {found.shape} for {len(images)} images")
        return found.reshape(len(images), -1)
    return rows


def normalise_first(graph: Any, mean: float, scale: float) -> None:
    """Put (x - mean) * scale of the input `data` in front, under names by which InsightFace's loader recognises it."""
    for name, value in (("normalise_mean", mean), ("normalise_scale", scale)):
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.float32), name))
    _rename(graph, {INPUT: "normalised"}, nodes_only=True)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([helper.make_node("Sub", [INPUT, "normalise_mean"], ["less_mean"], "Sub_normalise"),
                       helper.make_node("Mul", ["less_mean", "normalise_scale"], ["normalised"], "Mul_normalise"),
                       *nodes])


def _flatten_last(graph: Any) -> None:
    """Make the output, (N, D, 1, 1) for example, (N, D)."""
    inner = f"{OUTPUT}_map"
    _rename(graph, {OUTPUT: inner}, nodes_only=True)
    graph.node.append(helper.make_node("Flatten", [inner], [OUTPUT], f"{OUTPUT}_flat", axis=1))


def _rename(graph: Any, names: dict[str, str], nodes_only: bool = False) -> None:
    taken = {name for node in _nodes(graph) for name in (*node.input, *node.output)}
    taken |= {tensor.name for tensor in graph.initializer}
    for new in [new for old, new in names.items() if old != new and new in taken and new not in names]:
        names = {**names, new: f"{new}_before"}  # the name is taken by something else, which is renamed
    for node in _nodes(graph):
        for listed in (node.input, node.output):
            for place, name in enumerate(listed):
                listed[place] = names.get(name, name)
    if not nodes_only:
        for value in (*graph.input, *graph.output, *graph.initializer):
            value.name = names.get(value.name, value.name)


def _nodes(graph: Any) -> Iterator[Any]:
    """All nodes, including those of subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(inner)
