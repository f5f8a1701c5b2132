"""Loads a checkpoint for inference: the symbol up to the embedding, and its parameters.

Checkpoints are untrusted. All code that reads their files uses this module (`load_model`, `read_symbol`,
`read_parameters`), never MXNet's own loaders, which do not validate them.
"""
from __future__ import annotations

import difflib
import itertools
import json
from pathlib import Path
from typing import Dict

import mxnet as mx
import numpy as np

from common.errors import UserError
from common.files import open_regular, read_regular
from common.quiet import quiet
from inference.graph_file import LARGEST_FILE, checked_graph
from inference.param_file import ParameterFile
from symbols.graph import Entry, Graph, Node, fixed_gammas, layer_of, rewrite, to_json, weights_of_layers
from symbols.shapes import shapes_of_any_size

FLOATS = ("float16", "float32", "float64")
CASTS = ("Cast", "cast", "amp_cast")
Arrays = Dict[str, mx.nd.NDArray]
EMBEDDING = "fc1"  # the embedding's usual name in InsightFace's networks
CLASSIFIERS = ("SoftmaxOutput", "Softmax", "softmax", "log_softmax", "SoftmaxActivation")
LABEL = "label"  # in the names of the inputs that a loss compares with, as MXNet names them
MODEL = "`model`"  # the checkpoint's name in messages unless the caller gives one


def load_model(prefix: str, epoch: int, layer: str = EMBEDDING) -> tuple[mx.sym.Symbol, Arrays, Arrays]:
    """The symbol up to `layer`, its arguments and its auxiliary states, of a checkpoint PREFIX-symbol.json and
    PREFIX-NNNN.params. Where the network has no layer fc1, that is its only output.

    Gammas that the network holds fixed are set to 1: foreign checkpoints hold other values there, which MXNet itself
    ignores. UserError where a file is missing or is not a checkpoint, the layer does not exist, or a parameter is not
    in the file or is another layer's.
    """
    symbol = cut_at_layer(read_symbol(prefix), layer, f"{prefix}-symbol.json")
    path = _params_path(prefix, epoch)
    arguments, auxiliary = _read_params(path)
    needed = [name for name in symbol.list_arguments() if name != "data"]
    for kind, names, given in (("parameter", needed, arguments), ("auxiliary state", symbol.list_auxiliary_states(),
                                                                  auxiliary)):
        missing = [name for name in names if name not in given]
        labels = [name for name in missing if LABEL in name]
        if labels:
            raise UserError(f"`layer` {layer}: depends on the labels {labels[0]} in {prefix}-symbol.json, as a loss "
                            "does; name the layer of the embedding, which has none")
        if missing:
            raise UserError(f"{path}: lacks {len(missing)} of {len(names)} {kind}s of {prefix}-symbol.json, the first "
                            f"is {missing[0]}; is it of another network?")
    unlike = _unlike_its_layer(symbol, arguments) or _unlike_rgb(symbol, {**arguments, **auxiliary})
    if unlike:
        raise UserError(f"{path}: {unlike} of {prefix}-symbol.json; is it of another network?")
    for name in fixed_gammas(symbol):
        arguments[name][:] = 1
    return (symbol, {name: arguments[name] for name in needed},
            {name: auxiliary[name] for name in symbol.list_auxiliary_states()})


def _unlike_its_layer(symbol: mx.sym.Symbol, arguments: Arrays) -> str:
    """The first weight that has not its layer's outputs or kernel, which no image size changes; "" where there is
    none."""
    for layer, weight, outputs, kernel in weights_of_layers(symbol):
        shape = arguments[weight].shape if weight in arguments else None
        if shape and (shape[0] != outputs or shape[2:] != kernel):
            return f"its {weight} is of shape {shape}, which is not that of the layer {layer}"
    return ""


def _unlike_rgb(symbol: mx.sym.Symbol, given: Arrays) -> str:
    """The first layer's parameter that has another shape than images of 3 channels need, of any size; "" where none
    has."""
    for layer, *_ in itertools.islice(weights_of_layers(symbol), 1):
        for name, shape in shapes_of_any_size(symbol.get_internals()[f"{layer}_output"]).items():
            if name in given and given[name].shape != shape:
                return f"its {name} is of shape {given[name].shape}, and RGB images need {shape} in the network"
    return ""


def in_float32(symbol: mx.sym.Symbol, arguments: Arrays, auxiliary: Arrays) -> tuple[mx.sym.Symbol, Arrays, Arrays]:
    """The network without casts between float types, its parameters in float32, in which CPUs compute."""
    text, arrays = symbol.tojson(remove_amp_cast=False), (*arguments.values(), *auxiliary.values())
    if all(array.dtype == np.float32 for array in arrays) and not any(word in text for word in (*CASTS, "__dtype__")):
        return symbol, arguments, auxiliary

    def replace(graph: Graph, node: Node) -> Entry | None:
        attributes = node.get("attrs", {})
        if node["op"] == "null":
            attributes.pop("__dtype__", None)
        elif attributes.get("dtype") in FLOATS:  # a constant, if it is no cast
            attributes["dtype"] = "float32"
        return node["inputs"][0] if node["op"] in CASTS and node["attrs"]["dtype"] in FLOATS else None
    return (rewrite(symbol, replace), {name: value.astype("float32") for name, value in arguments.items()},
            {name: value.astype("float32") for name, value in auxiliary.items()})


def cut_at_layer(symbol: mx.sym.Symbol, layer: str, source: str = "the symbol") -> mx.sym.Symbol:
    """The part of `symbol` up to the output of `layer`, by its name or its output's; fc1 is the only output of a
    network without such a layer. UserError with the nearest names where it has none."""
    internals, inputs = symbol.get_internals(), set(symbol.list_inputs())
    outputs = [name for name in internals.list_outputs() if name not in inputs]
    wanted = layer if layer in outputs else f"{layer}_output"
    if wanted not in outputs and layer == EMBEDDING:
        wanted = _only_output(symbol, source)
    if wanted not in outputs:
        layers = list(map(layer_of, outputs))
        near = difflib.get_close_matches(layer, layers, n=3) or layers[-3:]
        raise UserError(f"`layer` {layer}: {source} has no such layer; it has {', '.join(near)}")
    found = internals[wanted]
    if "data" not in found.list_arguments():
        raise UserError(f"`layer` {layer}: does not depend on an input named data in {source}; where the images' input "
                        "has another name there, call it data")
    return found


def _only_output(symbol: mx.sym.Symbol, source: str) -> str:
    outputs, graph = symbol.list_outputs(), json.loads(to_json(symbol))
    if len(outputs) > 1 or graph["nodes"][graph["heads"][0][0]]["op"] in CLASSIFIERS:
        raise UserError(f"{source}: has no layer {EMBEDDING}, and has the outputs {', '.join(outputs[:4])}, of which "
                        "none is known to be the embedding; `layer` NAME selects its layer")
    return outputs[0]


def read_symbol(prefix: str, setting: str = MODEL) -> mx.sym.Symbol:
    """The symbol of PREFIX-symbol.json, whoever made it: `graph_file` says what it may hold.

    UserError naming `setting` where there is no such file, or it is not a symbol.
    """
    path = Path(f"{prefix}-symbol.json")
    if not path.exists():
        raise UserError(f"{setting} {prefix}: there is no {path}")
    try:
        graph = checked_graph(read_regular(path, LARGEST_FILE).decode("utf-8"))
        with quiet():  # MXNet logs that a symbol of an older version was upgraded
            return mx.sym.load_json(graph)
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: is not an MXNet symbol of a face network ({_reason(error)})") from None
    except mx.MXNetError:
        raise UserError(f"{path}: is not an MXNet symbol of a face network (MXNet cannot read it)") from None


def read_parameters(prefix: str, epoch: int, setting: str = MODEL) -> tuple[Arrays, Arrays]:
    """Arguments and auxiliary states of PREFIX-NNNN.params by name, in host memory, unchanged.

    Every array is dense and of the size in its header; whether names and shapes are those of a network is for the
    caller to compare before it binds them (`embedder.check_parameters`). UserError naming `setting` where there is no
    such file, or it is not a checkpoint.
    """
    return _read_params(_params_path(prefix, epoch, setting))


def _params_path(prefix: str, epoch: int, setting: str = MODEL) -> Path:
    path = Path(f"{prefix}-{epoch:04d}.params")
    if path.exists():
        return path
    stem = f"{path.name[:-len('.params')].rpartition('-')[0]}-"
    there = sorted(item.name for item in path.parent.glob("*.params") if item.name.startswith(stem))
    raise UserError(f"{setting} {prefix},{epoch}: there is no {path}"
                    + (f"; there is {', '.join(there[-3:])}" if there else ""))


def _read_params(path: Path) -> tuple[Arrays, Arrays]:
    named: tuple[Arrays, Arrays] = ({}, {})
    try:
        with open_regular(path) as stream:
            file = ParameterFile(stream)
            arguments = [name for name in file.entries if name.startswith("arg:")]
            arrays = file.read_all() if arguments else {}
    except MemoryError as error:
        raise UserError(f"{path}: cannot be read now ({_reason(error)})") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: is not an MXNet parameter file ({_reason(error)})") from None
    for name, value in arrays.items():
        kind, colon, bare = name.partition(":")
        if colon and bare and kind in ("arg", "aux"):
            named[kind == "aux"][bare] = value
    if not named[0]:
        raise UserError(f"{path}: holds no parameters named arg:..., so it is not a checkpoint; a hybridized Gluon "
                        "block writes one by its method export")
    return named


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return " ".join(str(error).split())[:200] or "out of memory"
