"""Subgraph matching: finds a block that a function builds, such as GNAP, whatever its nodes are named."""
from __future__ import annotations

import ast
import json
from typing import Any

import mxnet as mx

from symbols.graph import Entry, Node, to_json

HOLE = "hole"  # the variable of a pattern that matches anything


def match(nodes: list[Node], number: int, pattern: mx.sym.Symbol) -> Entry | None:
    """The entry at the place of `pattern`'s variable HOLE (a symbol of one output), if `pattern` without that is what
    computes the first output of node `number`; else None."""
    source = json.loads(to_json(pattern))
    found: dict[int, Entry] = {}
    todo: list[tuple[Entry, Entry]] = [([number, 0, 0], source["heads"][0])]
    while todo:
        ours, theirs = todo.pop()
        node, wanted = nodes[ours[0]], source["nodes"][theirs[0]]
        if wanted["op"] == "null":
            if wanted["name"] != HOLE or found.setdefault(0, ours)[:2] != ours[:2]:
                return None
            continue
        same = (node["op"] == wanted["op"] and ours[1] == theirs[1] and len(node["inputs"]) == len(wanted["inputs"])
                and _values(node) == _values(wanted))
        if not same:
            return None
        todo += list(zip(node["inputs"], wanted["inputs"]))
    return found.get(0)


def _values(node: Node) -> dict[str, Any]:
    """A node's attributes in normal form; hints to optimizers and devices are left out."""
    return {name: _value(text) for name, text in node.get("attrs", {}).items() if not name.startswith("__")}


def _value(text: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value  # an axis, and a tuple of it
