"""Compares all files of two finished runs, except times."""
from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Iterator

import mxnet as mx
import numpy as np
from mxboard.proto import event_pb2

from training.saving.state import ARRAYS, generations

TIMES = frozenset(("samples_per_s", "data_wait", "time", "seconds"))
APART = frozenset(("lengths", "window"))  # of the progress: bytes of rows with times in them; seconds
TIMED = "input-bound"  # of its warnings: where images came late


def differences(first: Path, second: Path) -> list[str]:
    """A line for each kind of content that differs between two run folders; none where they are equal."""
    found = []
    for what, read in (("rows of metrics.jsonl", rows), ("events", events), ("checkpoints", checkpoints),
                       ("arrays of the newest state", arrays), ("progress of the newest state", progress)):
        ours, theirs = read(first), read(second)
        if ours != theirs:
            found.append(f"{what}: {_first_difference(ours, theirs)}")
    return found


def rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl without times."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in TIMES} for line in lines]


def events(folder: Path) -> list[tuple[int, str, bytes]]:
    """(step, tag, value) of all events, in the order in which TensorBoard reads them; no value where it is a time."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in _events_of(path):
            for value in event.summary.value:
                timed = value.tag.split("/")[-1] in TIMES
                found.append((event.step, value.tag, b"" if timed else value.SerializeToString(deterministic=True)))
    return found


def checkpoints(folder: Path) -> dict[str, bytes]:
    """The files of the checkpoints' parameters, whole."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("model-*.params"))}


def arrays(folder: Path) -> dict[str, bytes]:
    """Shape and bytes of network, running statistics of each device, head and momentum in the newest state."""
    newest = generations(folder / "state")[-1]
    loaded = {part: mx.nd.load(str(newest / f"{part}.params")) or {} for part in ARRAYS}
    return {f"{part}/{name}": repr(value.shape).encode() + np.ascontiguousarray(value.asnumpy()).tobytes()
            for part, values in loaded.items() for name, value in values.items()}


def progress(folder: Path) -> dict[str, Any]:
    """The newest state without its arrays and what depends on times."""
    header = json.loads((generations(folder / "state")[-1] / "state.json").read_text(encoding="utf-8"))
    found = {name: value for name, value in header["progress"].items() if name not in APART}
    return {**found, "warned": [name for name in found["warned"] if name != TIMED],
            "symptoms": {name: rows for name, rows in found["symptoms"].items() if name != TIMED}}


def _events_of(path: Path) -> Iterator[event_pb2.Event]:
    content, offset = path.read_bytes(), 0
    while offset < len(content):
        (length,) = struct.unpack_from("<Q", content, offset)
        if offset + 16 + length > len(content):
            raise ValueError(f"{path}: the event at byte {offset} is truncated")
        yield event_pb2.Event.FromString(content[offset + 12:offset + 12 + length])
        offset += 16 + length


def _first_difference(ours: Any, theirs: Any) -> str:
    if isinstance(ours, dict):
        different = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
        return f"{len(different)} differ, the first is {different[0]}"
    for number, (mine, other) in enumerate(zip(ours, theirs)):
        if mine != other:
            return f"number {number} is {str(mine)[:150]} and {str(other)[:150]}"
    return f"{len(ours)} and {len(theirs)}"
