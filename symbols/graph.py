"""Graph rewriting: traverse a symbol's nodes in topological order, and replace some of them."""
from __future__ import annotations

import ast
import functools
import json
from typing import Any, Callable, Dict, Iterator, List

import mxnet as mx

Node = Dict[str, Any]
Entry = List[int]  # [node, output, version], as the JSON has it


class Graph:
    """The nodes of a graph being written; `add` returns the entry of a new node's first output."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, op: str, name: str, inputs: list[Entry], **attrs: Any) -> Entry:
        """Append a node; attribute values become text."""
        return self.append({"op": op, "name": name, "inputs": inputs,
                            "attrs": {key: str(value) for key, value in attrs.items()}})

    def variable(self, name: str) -> Entry:
        """Append a parameter."""
        return self.append({"op": "null", "name": name, "inputs": []})

    def append(self, node: Node) -> Entry:
        """Append a node unchanged."""
        self.nodes.append(node)
        return [len(self.nodes) - 1, 0, 0]


def rewrite(symbol: mx.sym.Symbol, replace: Callable[[Graph, Node], Entry | None]) -> mx.sym.Symbol:
    """`symbol` with nodes replaced: replace(graph, node) adds others and returns the entry that stands for the node's
    output, or returns None to keep it (it may change it)."""
    source = json.loads(to_json(symbol))
    graph = Graph()
    place: list[Entry] = []
    for node in source["nodes"]:
        node["inputs"] = [_moved(place, entry) for entry in node["inputs"]]
        entry = replace(graph, node)
        place.append(graph.append(node) if entry is None else entry)
    written = {"nodes": graph.nodes, "heads": [_moved(place, head) for head in source["heads"]],
               "arg_nodes": [number for number, node in enumerate(graph.nodes) if node["op"] == "null"],
               "attrs": source["attrs"]}
    return _load(json.dumps(written))


@functools.lru_cache(maxsize=32)
def _load(text: str) -> mx.sym.Symbol:
    return mx.sym.load_json(text)


def to_json(symbol: mx.sym.Symbol) -> str:
    """`symbol.tojson()`, once for each symbol of the last few: MXNet 1.9.1 leaks memory at every call (247 KiB for
    MobileFaceNet), and a long run verifies and saves thousands of times."""
    return _text(_Same(symbol))


class _Same:
    """Equal where the symbol is the same MXNet object, which it keeps alive."""

    def __init__(self, symbol: mx.sym.Symbol) -> None:
        self.symbol = symbol

    def __hash__(self) -> int:
        return hash(self.symbol.handle.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.symbol.handle.value == self.symbol.handle.value


@functools.lru_cache(maxsize=32)
def _text(same: _Same) -> str:
    return same.symbol.tojson()


def consumers(symbol: mx.sym.Symbol) -> list[list[int | None]]:
    """For each node of `symbol`'s graph, the indices of the nodes that consume an output of it; None for the caller,
    who takes the symbol's own outputs."""
    source = json.loads(to_json(symbol))
    users: list[list[int | None]] = [[] for _ in source["nodes"]]
    for number, node in enumerate(source["nodes"]):
        for entry in node["inputs"]:
            users[entry[0]].append(number)
    for head in source["heads"]:
        users[head[0]].append(None)
    return users


def layer_of(output: str) -> str:
    """The layer whose output has this name; parts of a split have no other name than their output's."""
    return output[:-len("_output")] if output.endswith("_output") else output


def groups_of(convolution: Node) -> int:
    """The number of groups of its channels."""
    return int(convolution["attrs"].get("num_group", 1))


def is_depthwise(convolution: Node) -> bool:
    """Whether each channel is a group of its own."""
    return 1 < groups_of(convolution) == int(convolution["attrs"]["num_filter"])


def is_on(node: Node, attribute: str, default: str = "True") -> bool:
    """A node's boolean attribute; `default` is the operator's default where it is absent."""
    return node.get("attrs", {}).get(attribute, default) in ("True", "1", "true")


def fixed_gammas(symbol: mx.sym.Symbol) -> list[str]:
    """The names of the gammas of BatchNorms with fix_gamma (MXNet's default), which count as 1."""
    nodes = json.loads(to_json(symbol))["nodes"]
    return [nodes[node["inputs"][1][0]]["name"] for node in nodes
            if node["op"] == "BatchNorm" and is_on(node, "fix_gamma")]


def weights_of_layers(symbol: mx.sym.Symbol) -> Iterator[tuple[str, str, int, tuple[int, ...]]]:
    """Of each convolution and fully connected layer: its name, that of its weight, its outputs and its kernel, ()
    without one."""
    nodes = json.loads(to_json(symbol))["nodes"]
    for node in nodes:
        settings = node.get("attrs", {})
        outputs = settings.get("num_filter", settings.get("num_hidden"))
        if outputs:
            weight = nodes[node["inputs"][1][0]]["name"]
            yield node["name"], weight, int(outputs), ast.literal_eval(settings.get("kernel", "()"))


def prelu_slopes(symbol: mx.sym.Symbol) -> list[str]:
    """The names of the slopes of PReLUs, cast or not."""
    nodes = json.loads(to_json(symbol))["nodes"]
    slopes = [nodes[node["inputs"][1][0]] for node in nodes if is_prelu(node)]
    return [nodes[slope["inputs"][0][0]]["name"] if slope["op"] == "Cast" else slope["name"] for slope in slopes]


def is_prelu(node: Node) -> bool:
    """Whether it is a PReLU: LeakyReLU with a learned slope for each channel."""
    return node["op"] == "LeakyReLU" and node.get("attrs", {}).get("act_type") == "prelu"


def _moved(place: list[Entry], entry: Entry) -> Entry:
    new = place[entry[0]]
    return [new[0], new[1] + entry[1], *entry[2:]]
