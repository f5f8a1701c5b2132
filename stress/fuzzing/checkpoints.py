"""Checkpoints to mutate: a network of a few layers, its symbol.json and .params; and reading one as `eval` does."""
from __future__ import annotations

import functools
import json
import random
import tempfile
from pathlib import Path

import mxnet as mx
import numpy as np

from inference.embedder import Embedder
from inference.model import load_model
from stress.fuzzing.mutations import NUMBERS, mutate

SIZE = (16, 16)
SYMBOL, PARAMETERS = "x-symbol.json", "x-0001.params"
OPERATORS = ("_NDArray", "_Native", "Custom", "_ones", "Reshape", "SliceChannel", "Concat", "batch_dot", "BatchNorm",
             "Convolution", "FullyConnected", "Pooling", "transpose", "mean", "null", "slice_axis", "Flatten")
VALUES = ("0", "-1", "1", "2", "3", "65536", "2147483647", "-9223372036854775808", "(0, 0)", "(-1, 2)", "(3, 3)",
          "(512, 512)", "(1,)", "()", "None", "True", "nan", "inf", "1e400", "\u00b2", "\x1b[2J", "", "(" * 50)


@functools.lru_cache(maxsize=1)
def sound() -> dict[str, bytes]:
    """The files of a sound checkpoint."""
    data = (mx.sym.Variable("data") - 127.5) * 0.0078125
    body = mx.sym.Convolution(data, name="conv", num_filter=4, kernel=(3, 3), stride=(2, 2), no_bias=True)
    body = mx.sym.LeakyReLU(mx.sym.BatchNorm(body, name="bn", fix_gamma=False), act_type="prelu", name="relu")
    body = mx.sym.Pooling(body, kernel=(2, 2), stride=(2, 2), pool_type="max")
    symbol = mx.sym.BatchNorm(mx.sym.FullyConnected(mx.sym.Flatten(body), name="pre", num_hidden=6), name="fc1")
    shapes, _, states = symbol.infer_shape(data=(1, 3, *SIZE))
    named = [*((f"arg:{name}", shape) for name, shape in zip(symbol.list_arguments(), shapes) if name != "data"),
             *((f"aux:{name}", shape) for name, shape in zip(symbol.list_auxiliary_states(), states))]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / PARAMETERS)
        mx.nd.save(path, {name: mx.nd.ones(shape) for name, shape in named})
        return {SYMBOL: symbol.tojson().encode(), PARAMETERS: Path(path).read_bytes()}


def mutated(chance: random.Random) -> dict[str, bytes]:
    """The files of a mutated checkpoint."""
    files = dict(sound())
    if chance.random() < 0.5:
        files[PARAMETERS] = mutate(files[PARAMETERS], chance)
    else:
        graph = json.loads(files[SYMBOL])
        for _ in range(chance.randint(1, 3)):
            _change(graph, chance)
        files[SYMBOL] = json.dumps(graph).encode()
        if chance.random() < 0.15:
            files[SYMBOL] = mutate(files[SYMBOL], chance)
    return files


def read(folder: Path) -> None:
    """Load the checkpoint and embed two images."""
    embedder = Embedder(*load_model(str(folder / "x"), 1), [mx.cpu()], 2, SIZE)
    next(embedder.embed([np.zeros((2, *SIZE, 3), np.uint8)]))


def _change(graph: dict, chance: random.Random) -> None:
    node = chance.choice(graph["nodes"])
    attributes = node.setdefault("attrs", {})
    way, number = chance.randrange(7), chance.choice((*NUMBERS, -1, -7, 1 << 70, 0.5, "x", None))
    if way == 0:
        node["op"] = chance.choice(OPERATORS)
    elif way == 1 and attributes:
        attributes[chance.choice(sorted(attributes))] = chance.choice(VALUES)
    elif way == 2 and node["inputs"]:
        chance.choice(node["inputs"])[chance.randrange(2)] = number
    elif way == 3:
        graph["heads"] = [[number, 0, 0]]
    elif way == 4:
        node["name"] = chance.choice(("", "data", "a\0b", "\x1b[2J", "fc1", "x" * 9999, number))
    elif way == 5:
        attributes[chance.choice(("num_group", "kernel", "pad", "axis", "shape", "__shape__", "num_args"))] = \
            chance.choice(VALUES)
    else:
        node["inputs"] = chance.choice(([], node["inputs"] * 2, node["inputs"][:1]))
