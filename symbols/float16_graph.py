"""The same network with its products of matrices in float16, and with the same float32 parameters.

Parameters stay float32 variables, so that an optimizer, a checkpoint and BatchNorm's running statistics never see less:
what is multiplied is cast where it is used, and the cast's gradient is float32 again. Convolutions and fully
connected layers take float16; what stands between them follows; BatchNorm takes float16 maps with float32 parameters
and sums in float32. All else is float32, above all GNAP: squares of 512 features add up past 65504, the largest
float16, and the square of a feature below 0.0002 is 0 there. So is the last BatchNorm, and the embedding it gives.

MXNet's own `amp.convert_symbol` refuses these graphs: it casts the input of a PReLU but not its slope.
"""
from __future__ import annotations

import mxnet as mx

from symbols.graph import Entry, Graph, Node, rewrite

PRODUCTS = ("Convolution", "FullyConnected")
FOLLOWING = ("Activation", "LeakyReLU", "Pooling", "Dropout", "Flatten", "elemwise_add", "add_n", "broadcast_mul")
DERIVING = ("Reshape", "negative", "_minus_scalar", "_rminus_scalar", "Cast")  # weights of slopes (prelu_rewrite)
HALF, FULL = "float16", "float32"
FLOAT32_NUMBER = "0"  # MXNet's number of the type


def to_float16(symbol: mx.sym.Symbol, products: str = HALF) -> mx.sym.Symbol:
    """`symbol`, input and output float32, computed in float16 where it is safe.

    products="float32" rounds what is multiplied and the product to float16 but multiplies in float32: the same
    numbers but for the order of sums, on devices that have no float16 product, such as CPUs.
    """
    return rewrite(symbol, _Caster(symbol, products))


class _Caster:
    """The rewriting of one graph: casts what goes into a node, and remembers what comes out."""

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
        if node["op"] in PRODUCTS:  # GNAP's sum over channels is a convolution with ones, which are no variable
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
    """Is it a variable, or one in another form?"""
    node = graph.nodes[entry[0]]
    while node["op"] in DERIVING:
        node = graph.nodes[node["inputs"][0][0]]
    return node["op"] == "null" and node["name"] != "data"
