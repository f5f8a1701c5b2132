"""Mixed precision: the same network with its matrix products in float16 and its parameters in float32.

Parameters stay float32 variables, so that an optimizer, a checkpoint and BatchNorm's running statistics never lose
precision: operands are cast where they are used, and the cast's gradient is float32 again. Convolutions and fully
connected layers take float16; the operators between them follow; BatchNorm takes float16 maps with float32 parameters
and sums in float32. All else is float32, most importantly GNAP: the squares of 512 features can sum to more than 65504,
the largest float16, and the square of a feature below 0.0002 is 0 there. The last BatchNorm and its output, the
embedding, are float32 too.

MXNet's own `amp.convert_symbol` refuses these graphs: it casts the input of a PReLU but not its slope.
"""
from __future__ import annotations

import mxnet as mx

from symbols.fused_norm import OPERATOR, add_separately
from symbols.graph import Entry, Graph, Node, rewrite

PRODUCTS = ("Convolution", "FullyConnected")
FOLLOWING = ("Activation", "LeakyReLU", "Pooling", "Dropout", "Flatten", "elemwise_add", "add_n", "broadcast_mul")
# of weights: slopes as weights, and signs in weights (prelu_rewrite); the weight comes first
DERIVING = ("Reshape", "negative", "_rminus_scalar", "elemwise_mul", "Cast")
HALF, FULL = "float16", "float32"
FLOAT32_NUMBER = "0"  # MXNet's code of the dtype


def to_float16(symbol: mx.sym.Symbol, products: str = HALF) -> mx.sym.Symbol:
    """`symbol`, input and output float32, computed in float16 where it is safe.

    products="float32" rounds operands and product to float16 but multiplies in float32: the same values up to summation
    order, on devices without float16 products, such as CPUs.
    """
    separate = rewrite(symbol, lambda graph, node: add_separately(graph, node) if node["op"] == OPERATOR else None)
    return rewrite(separate, _Caster(separate, products))


class _Caster:
    """Rewrites one graph: casts the inputs of a node, and records the dtype of its output."""

    def __init__(self, symbol: mx.sym.Symbol, products: str) -> None:
        self.products, self.outputs = products, {name[:-len("_output")] for name in symbol.list_outputs()}
        self.types: dict[int, str] = {}
        self.casts: dict[tuple[int, int, str], Entry] = {}

    def __call__(self, graph: Graph, node: Node) -> Entry:
        kind = self._kind(graph, node)
        if node["op"] == "null":
            node.setdefault("attrs", {})["__dtype__"] = FLOAT32_NUMBER
        elif node["op"] == "BatchNorm":
            node["inputs"][0] = self._cast(graph, node["inputs"][0], kind)
        else:
            node["inputs"] = [self._cast(graph, entry, kind) for entry in node["inputs"]]
        emulated = node["op"] in PRODUCTS and kind == HALF and self.products == FULL
        if emulated:
            node["inputs"] = [self._cast(graph, entry, FULL) for entry in node["inputs"]]
        entry = graph.append(node)
        self.types[entry[0]] = FULL if emulated else kind
        return self._cast(graph, entry, kind)

    def _kind(self, graph: Graph, node: Node) -> str:
        """The type that a node computes in."""
        inputs = node["inputs"]
        if not inputs or node["name"] in self.outputs:
            return FULL
        if node["op"] in PRODUCTS:  # GNAP's sum over channels is a convolution with constant ones, not a variable
            return HALF if _is_parameter(graph, inputs[1]) else FULL
        if node["op"] == "BatchNorm":
            return self.types[inputs[0][0]]
        maps = [entry for entry in inputs if graph.nodes[entry[0]]["op"] != "null"]
        follows = node["op"] in FOLLOWING and maps and all(self.types[entry[0]] == HALF for entry in maps)
        return HALF if follows else FULL

    def _cast(self, graph: Graph, entry: Entry, kind: str) -> Entry:
        if self.types[entry[0]] == kind:
            return entry
        key = (entry[0], entry[1], kind)
        if key not in self.casts:
            name = f"{graph.nodes[entry[0]]['name']}_{kind}" + (f"_{entry[1]}" if entry[1] else "")
            self.casts[key] = graph.add("Cast", name, [entry], dtype=kind)
            self.types[self.casts[key][0]] = kind
        return self.casts[key]


def _is_parameter(graph: Graph, entry: Entry) -> bool:
    """Whether it is a variable, or a cast or reshaped one."""
    node = graph.nodes[entry[0]]
    while node["op"] in DERIVING:
        node = graph.nodes[node["inputs"][0][0]]
    return node["op"] == "null" and node["name"] != "data"
