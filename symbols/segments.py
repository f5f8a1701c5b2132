"""Gradient checkpointing: a network split into a chain of segments, of which only one keeps its inner maps at a
time."""
from __future__ import annotations

import json
import math
from dataclasses import dataclass

import mxnet as mx

from symbols.fused_norm import OPERATOR
from symbols.graph import Graph, Node
from symbols.shapes import infer_shapes

DATA = "data"
# cost of a map between segments relative to one inside: measured, few large segments take less than many small ones
KEPT_COSTS = 20


@dataclass(frozen=True)
class Cuts:
    """places: the nodes where a graph is split, in order. kept: values per image kept between segments; inner: the most
    values per image inside one segment; whole: those of the whole graph."""

    places: tuple[int, ...]
    kept: int
    inner: int
    whole: int


def choose_cuts(symbol: mx.sym.Symbol, data_shape: tuple[int, ...]) -> Cuts:
    """The split that keeps the least: outputs of the split nodes, and the largest segment's inner maps with gradients.

    A graph is split where a single array passes; not behind a Dropout, whose mask must not be sampled twice, nor in
    front of a BatchNormWithReLU, which must not take an array from outside (`symbols.fused_norm`).
    """
    nodes = json.loads(symbol.tojson())["nodes"]
    shapes = infer_shapes(symbol, (1, *data_shape[1:]))
    sizes = [math.prod(shapes.get(f"{node['name']}_output", (0,))) if node["op"] != "null" else 0 for node in nodes]
    narrow = _narrow_places(nodes)
    best = Cuts((), 0, sum(sizes), sum(sizes))
    for limit in {sum(sizes[first:last + 1]) for first in (0, *narrow) for last in narrow if last > first}:
        places, start, kept, inner = [], 0, 0, 0
        for place, following in zip(narrow, (*narrow[1:], len(nodes) - 1)):
            if sum(sizes[start:following + 1]) > limit:
                inner = max(inner, sum(sizes[start:place + 1]))
                places.append(place)
                kept, start = kept + sizes[place], place + 1
        inner = max(inner, sum(sizes[start:]))
        if KEPT_COSTS * kept + 2 * inner < KEPT_COSTS * best.kept + 2 * best.inner:
            best = Cuts(tuple(places), kept, inner, best.whole)
    return best


def split(symbol: mx.sym.Symbol, places: tuple[int, ...]) -> list[mx.sym.Symbol]:
    """The segments of `symbol`, each a network from `data` to one output, the output of one the data of the next."""
    source = json.loads(symbol.tojson())
    segments: list[mx.sym.Symbol] = []
    before: int | None = None
    for last in (*places, source["heads"][0][0]):
        graph = Graph()
        moved: dict[int, int] = {} if before is None else {before: graph.add("null", DATA, [])[0]}
        head = [_copy(source["nodes"], last, graph, moved), 0, 0]
        written = {"nodes": graph.nodes, "heads": [head], "attrs": source["attrs"],
                   "arg_nodes": [number for number, node in enumerate(graph.nodes) if node["op"] == "null"]}
        segments.append(mx.sym.load_json(json.dumps(written)))
        before = last
    return segments


def _copy(nodes: list[Node], number: int, graph: Graph, moved: dict[int, int]) -> int:
    """The index in `graph` of a node, copied with those of its inputs that `moved` does not have yet."""
    if number not in moved:
        inputs = [[_copy(nodes, entry[0], graph, moved), *entry[1:]] for entry in nodes[number]["inputs"]]
        moved[number] = graph.append({**nodes[number], "inputs": inputs})[0]
    return moved[number]


def _narrow_places(nodes: list[Node]) -> list[int]:
    """Nodes whose output is all that later nodes take from earlier ones, parameters aside, and may be cut off."""
    last_use, joined = {}, set()
    for number, node in enumerate(nodes):
        for entry in node["inputs"]:
            last_use[entry[0]] = number
        if node["op"] == OPERATOR:
            joined.add(node["inputs"][0][0])
    places, reach = [], -1
    for number, node in enumerate(nodes[:-1]):
        if node["op"] == "Dropout":
            break
        if node["op"] == "null" and node["name"] != DATA:
            continue
        if node["op"] != "null" and reach <= number and last_use[number] > number and number not in joined:
            places.append(number)
        reach = max(reach, last_use.get(number, -1))
    return places
