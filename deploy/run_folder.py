"""Reads a checkpoint's run folder, as untrusted data: its training and its scores."""
from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, Iterator

from common.files import open_regular, read_regular
from common.foreign import is_finite
from common.run_files import CONFIG, LOG, METRICS

LARGEST = 1 << 24  # bytes of config.json
LONGEST = 1 << 16  # of a line
STEP = re.compile(r"\bstep (\d{1,12})\b")
# Not part of a model's training: additions of config.json, and flags for the start of a command only.
NO_FLAGS = frozenset(["from_preset", "given", "resolved", "versions", "git_commit", "started", "resume", "overwrite",
                      "dry_run"])


def run_config(prefix: str) -> dict[str, Any]:
    """config.json beside a checkpoint; empty where there is none that can be read, or it is of a run of another
    prefix."""
    try:
        content = json.loads(read_regular(Path(prefix).parent / CONFIG, LARGEST).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    own = isinstance(content, dict) and Path(str(content.get("prefix", ""))).name == Path(prefix).name
    return content if own else {}


def resolved(config: dict[str, Any]) -> dict[str, Any]:
    """Derived values of a run: images, classes, devices."""
    found = config.get("resolved")
    return found if isinstance(found, dict) else {}


def size_of_run(prefix: str) -> tuple[int, int] | None:
    """(H, W) of the images that a checkpoint was trained on; None where not known."""
    size = resolved(run_config(prefix)).get("image_size")
    if isinstance(size, list) and len(size) == 2 and all(type(side) is int and 0 < side < 10000 for side in size):
        return size[0], size[1]
    return None


def command_of(config: dict[str, Any]) -> str:
    """A command line with the flags that a run was given, which makes that configuration again."""
    words = ["python", "train_softmax.py"]
    if "given" in config:
        given = set(str(config["given"]).split(","))
    else:  # an older run only says what its preset had set; its end_epoch of 100000 was none
        given = {*config} - {*str(config.get("from_preset", "")).split(",")}
        given -= {"end_epoch"} if config.get("end_epoch") == 100000 else set()
    for name, value in config.items():
        unset = value is False or value == "" or not isinstance(value, (str, int, float))
        if unset or name in NO_FLAGS or name not in given:
            continue
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(words) if len(words) > 2 else ""


def step_of(prefix: str, number: int) -> int | None:
    """The step at which PREFIX-NNNN.params was saved, by the run's log; None where it is not in it."""
    saved = re.compile(rf"\bsaved .*{re.escape(Path(prefix).name)}-{number:04d}\.params\b")
    step, found = None, None
    for line in _lines(Path(prefix).parent / LOG):
        if saved.search(line):
            found = step
        told = STEP.search(line)
        step = int(told.group(1)) if told else step
    return found


def verifications(prefix: str) -> dict[int, dict[str, dict[str, float]]]:
    """By step and set, the numbers of each verification of a run; empty where there are none."""
    found: dict[int, dict[str, dict[str, float]]] = {}
    for line in _lines(Path(prefix).parent / METRICS):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and row.get("kind") == "verification" and type(row.get("step")) is int:
            found.setdefault(row["step"], {})[str(row.get("target"))[:200]] = {
                **numbers(row), **{name: row[name] for name in ("interval", "false_accepts")
                                   if isinstance(row.get(name), (dict, int))}}
    return found


def numbers(row: dict[str, Any]) -> dict[str, float]:
    """The finite numbers of a row."""
    return {name: value for name, value in row.items()
            if is_finite(value) and name != "step"}


def _lines(path: Path) -> Iterator[str]:
    try:
        with open_regular(path) as stream:
            for line in iter(lambda: stream.readline(LONGEST), b""):
                yield line.decode("utf-8", "replace")
    except (OSError, ValueError):
        return
