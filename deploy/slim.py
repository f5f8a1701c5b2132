"""A checkpoint of plain operators: BatchNorms and slopes folded into the weights of convolutions and products."""
from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import mxnet as mx
import numpy as np

from common.errors import RunError, UserError
from common.files import atomic_path, write_atomic
from deploy.agreement import LARGEST, Difference, compare, draw_images, plain_mxnet
from deploy.checkpoint import Checkpoint
from deploy.speed import IMAGES, bound_mxnet, run_rates
from inference.param_writer import write_arrays
from symbols.folding import fold
from symbols.graph import Entry, Graph, Node, rewrite, to_json
from symbols.prelu_rewrite import flatten_inputs

SHAPES_OF = 1  # one image: the graph depends on the image size, not the batch size


def slim(checkpoint: Checkpoint) -> tuple[Checkpoint, Difference]:
    """The same embeddings by plain operators, under the same layer name, and their agreement.

    RunError where an embedding differs by more than 1e-4 of its norm, as one of `convert`, which may be MXNet's fault:
    its fused operators compute some networks wrongly, or cannot be bound (`inference.embedder`).
    """
    shape = (SHAPES_OF, 3, *checkpoint.image_size)
    symbol, arguments, auxiliary = fold(flatten_inputs(checkpoint.symbol), checkpoint.arguments, checkpoint.auxiliary,
                                        shape)
    made = replace(checkpoint, symbol=_called(symbol, checkpoint.layer), arguments=arguments, auxiliary=auxiliary)
    try:
        check = _compared(checkpoint, made, fused=True)
        if check.relative <= LARGEST:
            return made, check
        why = str(check)
    except mx.MXNetError:
        why = "they cannot be bound"
    check = _compared(checkpoint, made)
    if check.relative <= LARGEST:
        raise RunError(f"`model` {checkpoint.name}: plain MXNet's fused operators, its default on CPUs, do not compute "
                       f"this network folded ({why}), while without them it is right; nothing was written: leave "
                       "`slim` out and let `out` end in .onnx, or let MXNet load the checkpoint itself, with "
                       "MXNET_SUBGRAPH_BACKEND=NONE in the environment")
    raise RunError(f"`model` {checkpoint.name}: folded, it differs on {check.images} synthetic images ({check}); "
                   "nothing was written")


def _compared(checkpoint: Checkpoint, made: Checkpoint, fused: bool = False) -> Difference:
    return compare(plain_mxnet(checkpoint.symbol, checkpoint.arguments, checkpoint.auxiliary),
                   plain_mxnet(made.symbol, made.arguments, made.auxiliary, fused), checkpoint.image_size)


def slim_paths(prefix: str, epoch: int) -> tuple[Path, Path]:
    """PREFIX-symbol.json and PREFIX-NNNN.params."""
    return Path(f"{prefix}-symbol.json"), Path(f"{prefix}-{epoch:04d}.params")


def write_slim(made: Checkpoint, prefix: str, epoch: int, overwrite: bool) -> None:
    """Write what `mx.model.load_checkpoint(prefix, epoch)` reads."""
    graph, parameters = slim_paths(prefix, epoch)
    text = to_json(made.symbol)
    own = re.compile(re.escape(Path(prefix).name) + r"-\d{4,}\.params")
    others = sorted(path.name for path in graph.parent.glob("*.params")
                    if own.fullmatch(path.name) and path != parameters)
    if others and graph.exists() and graph.read_text(encoding="utf-8", errors="replace") != text:
        raise UserError(f"{graph}: is the graph of {others[0]} too, and would change under it; slim this one to "
                        "another PREFIX")
    with atomic_path(parameters, overwrite) as temporary:
        write_arrays(temporary, {**{f"arg:{name}": value for name, value in made.arguments.items()},
                                 **{f"aux:{name}": value for name, value in made.auxiliary.items()}})
    write_atomic(graph, text, overwrite)


def measure(checkpoint: Checkpoint, made: Checkpoint) -> dict[str, float]:
    """Images/s of both in plain MXNet on this machine's CPU."""
    images = draw_images(IMAGES, checkpoint.image_size)
    return run_rates({name: bound_mxnet(flatten_inputs(one.symbol), one.arguments, one.auxiliary, images.shape)
                      for name, one in (("before", checkpoint), ("slim", made))}, images)


def _called(symbol: mx.sym.Symbol, name: str) -> mx.sym.Symbol:
    """With the node that gives the output called `name`, as commands that take a checkpoint look for it."""
    outputs = symbol.list_outputs()
    if outputs == [f"{name}_output"] or outputs == [name]:
        return symbol
    last = outputs[0][:-len("_output")]

    def replace_node(graph: Graph, node: Node) -> Entry | None:
        if node["name"] == last and node["op"] != "null":
            node["name"] = name
        return None
    return rewrite(symbol, replace_node)


def size_of(checkpoint: Checkpoint) -> int:
    """Bytes of all parameters."""
    return sum(int(np.prod(value.shape)) * np.dtype(value.dtype).itemsize for value in checkpoint.parameters.values())
