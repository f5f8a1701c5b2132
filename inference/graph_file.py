"""Reads an untrusted graph, PREFIX-symbol.json: MXNet is given a new graph, made of validated parts only.

MXNet runs any operator that a graph names, with any attributes and indices: some operators call an address in the file,
or write out of bounds. Here each node is one of `operators.OPERATORS`, each index is valid, and all else is left out.
"""
from __future__ import annotations

import collections
import json
import re
from typing import Any

from inference import attributes as rules
from inference.operators import OPERATORS, Operator

LARGEST_FILE = 32 << 20
MOST_NODES, MOST_INPUTS, MOST_HEADS, LONGEST_NAME = 10_000, 256, 1000, 500
VARIABLE = "null"
# Attributes for optimizers and devices, which do not affect results.
HINT = re.compile(r"__\w+__|(\w+_)?(lr_mult|wd_mult|ctx_group|force_mirroring|mirror_stage)", re.ASCII)
KEPT = {"__lr_mult__": rules.number(), "__wd_mult__": rules.number(), "__dtype__": rules.integer(0, 7),
        "__shape__": rules.integers(None, 0, 1 << 24, empty=True)}
BEFORE_STATES = 900  # MXNet 0.9 is the first whose graphs name the states of BatchNorm
STATES = 2
NEWEST = 20_000
WITH_PARAMETERS = ("LeakyReLU", "Convolution", "FullyConnected", "Deconvolution")  # after their first input
FORMS = ("Cast", "cast", "amp_cast", "Reshape", "reshape", "identity", "_copy", "L2Normalization")


def checked_graph(text: str) -> str:
    """The graph in `text`, rewritten as JSON for `mx.sym.load_json`; ValueError, in a few words, where it is not one
    that a face network can have."""
    try:
        source = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    nodes = source.get("nodes") if isinstance(source, dict) else None
    if not isinstance(nodes, list) or not nodes:
        raise ValueError("no nodes")
    if len(nodes) > MOST_NODES:
        raise ValueError(f"it has {len(nodes)} nodes, more than {MOST_NODES}")
    version = _version(source)
    written: list[dict[str, Any]] = []
    outputs: list[int] = []
    for number, node in enumerate(nodes):
        checked, count = _node(node, number, written, outputs, version)
        written.append(checked)
        outputs.append(count)
    variables = [number for number, node in enumerate(written) if node["op"] == VARIABLE]
    _name_apart(written)
    heads = source.get("heads")
    if not isinstance(heads, list) or not 1 <= len(heads) <= MOST_HEADS:
        raise ValueError("no heads")
    graph = {"nodes": written, "arg_nodes": variables, "heads": [_entry(head, len(written), outputs) for head in heads]}
    if version is not None:
        graph["attrs"] = {"mxnet_version": ["int", version]}
    return json.dumps(graph)


def _name_apart(nodes: list[dict[str, Any]]) -> None:
    """Give operators of one name other names: MXNet numbers those without a name anew in each program, so a loaded
    graph that was continued has some twice. No layer can be asked for by such a name. ValueError for a variable's, by
    which parameters are known."""
    counts = collections.Counter(node["name"] for node in nodes)
    taken = set(counts)
    variables = {node["name"] for node in nodes if node["op"] == VARIABLE}
    for number, node in enumerate(nodes):
        name = node["name"]
        if counts[name] == 1:
            continue
        if name in variables:
            raise ValueError(f"two nodes are named {name}")
        while node["name"] in taken:
            node["name"] = f"{node['name']}_{number}"
        taken.add(node["name"])


def _version(source: dict[str, Any]) -> int | None:
    attrs = source.get("attrs")
    version = attrs.get("mxnet_version") if isinstance(attrs, dict) else None
    if isinstance(version, list) and len(version) == 2 and type(version[1]) is int and 0 <= version[1] <= NEWEST:
        return version[1]
    return None


def _node(node: Any, number: int, before: list[dict[str, Any]], outputs: list[int],
          version: int | None) -> tuple[dict[str, Any], int]:
    """The node for MXNet, and its number of outputs."""
    if not isinstance(node, dict):
        raise ValueError(f"node {number} is not a node")
    op, name, inputs = node.get("op"), node.get("name"), node.get("inputs")
    if not (isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and "\0" not in name and _encodes(name)):
        raise ValueError(f"node {number} has no valid name")
    if not isinstance(inputs, list) or len(inputs) > MOST_INPUTS:
        raise ValueError(f"node {name} has no list of inputs")
    entries = [_entry(entry, number, outputs) for entry in inputs]
    attributes = _attributes(node, name)
    if op == VARIABLE:
        if entries:
            raise ValueError(f"variable {name} has inputs")
        return _written(VARIABLE, name, [], _hints(attributes, name)), 1
    operator = OPERATORS.get(op) if isinstance(op, str) else None
    if operator is None:
        raise ValueError(f"{name} is of the operator {str(op)[:60]}, which is not one of those that are read")
    try:
        checked = _of_operator(operator, attributes)
        counts = operator.inputs(checked)
        if operator.states is not None and (version or 0) < BEFORE_STATES:
            counts = (*counts, counts[0] - STATES)
        if len(entries) not in counts:
            raise ValueError(f"takes {' or '.join(map(str, counts))} inputs, not {len(entries)}")
        if operator.states is not None and any(before[entry[0]]["op"] != VARIABLE
                                               for entry in entries[operator.states:]):
            raise ValueError("has parameters that are computed")
        roots = [_root(before, entry[0]) for entry in entries[1:]] if op in WITH_PARAMETERS else []
        if "data" in roots or op == "LeakyReLU" and None in roots:  # GNAP's channel sum has weights that are computed
            raise ValueError("has parameters that are not variables")
        operator.check(checked)
        return _written(str(op), name, entries, checked), operator.outputs(checked)
    except ValueError as error:
        raise ValueError(f"{op} {name} {error}") from None


def _root(nodes: list[dict[str, Any]], number: int) -> str | None:
    """The variable that a node is, or is a cast or reshape of; None where it is computed otherwise."""
    while nodes[number]["op"] in FORMS:
        number = nodes[number]["inputs"][0][0]
    return nodes[number]["name"] if nodes[number]["op"] == VARIABLE else None


def _written(op: str, name: str, inputs: list[list[int]], attributes: dict[str, str]) -> dict[str, Any]:
    node: dict[str, Any] = {"op": op, "name": name, "inputs": inputs}
    return {**node, "attrs": attributes} if attributes else node


def _entry(entry: Any, nodes: int, outputs: list[int]) -> list[int]:
    """[node, output, 0] where both exist among the `nodes` so far; later ones would make a cycle."""
    if not (isinstance(entry, list) and 2 <= len(entry) <= 3 and all(type(value) is int for value in entry)
            and 0 <= entry[0] < nodes and 0 <= entry[1] < outputs[entry[0]] and 0 <= entry[-1] < 1 << 31):
        raise ValueError(f"{str(entry)[:40]} leads to no node before node {nodes}")
    return [*entry[:2], entry[2] if len(entry) > 2 else 0]


def _attributes(node: dict[str, Any], name: str) -> dict[str, str]:
    """All attributes, whatever graphs of different versions call them."""
    found: dict[str, str] = {}
    for key in ("param", "attr", "attrs"):
        given = node.get(key, {})
        if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
            raise ValueError(f"{name} has attributes that are not text")
        found.update(given)
    return found


def _of_operator(operator: Operator, attributes: dict[str, str]) -> dict[str, str]:
    checked = {}
    for key, text in attributes.items():
        rule = operator.attributes.get(key)
        if rule is None:
            if HINT.fullmatch(key):
                continue
            raise ValueError(f"has the unknown attribute {key[:40]}")
        try:
            value = rule(text)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"has {key} {text[:40]}, which {error}") from None
        if value is not None:
            checked[key] = value
    missing = [key for key in operator.needs if key not in checked]
    if missing:
        raise ValueError(f"lacks {missing[0]}")
    return checked


def _hints(attributes: dict[str, str], name: str) -> dict[str, str]:
    """A variable's attributes; operators' attributes that scripts left on it are dropped."""
    kept = {}
    for key, rule in KEPT.items():
        if key in attributes:
            try:
                value = rule(attributes[key])
            except (ValueError, OverflowError) as error:
                raise ValueError(f"variable {name} has {key} {attributes[key][:40]}, which {error}") from None
            if value is not None:
                kept[key] = value
    return kept


def _encodes(name: str) -> bool:
    try:
        return bool(name.encode("utf-8"))
    except UnicodeEncodeError:
        return False
