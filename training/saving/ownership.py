"""Identifies the files that a run has written, by their contents: only these may be replaced by another run."""
from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.run_files import CONFIG, LOG, METRICS
from training.saving.header import HEADER_BEGINNING, Header, read_header
from training.saving.names import (
    EVENT_FILE,
    GENERATION,
    GENERATION_FILES,
    HALF_GENERATION,
    HEADER,
    LOG_BEGINNING,
    STATE,
    is_own_event_file,
)
from training.saving.plain_files import is_folder, kind, read_beginning, read_plain

MOST_CONFIG = 1 << 20
BEGINNING = 1 << 16  # bytes of a text file, enough to identify it
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} "
LOG_LINE = re.compile(STAMP + rf"(INFO {re.escape(LOG_BEGINNING)}|INFO configuration:$|INFO step \d+/\d+ epoch "
                      r"|WARNING metrics\.jsonl|WARNING record \d+ of )")
CURVE = b"train/embedding_norm"  # in the event files of runs alone, from their first row on
ROW_BEGINNINGS = (b'{"kind": "train", "step": ', b'{"kind": "verification", "step": ')
ROW_ENTRIES = {"train": {"step", "loss", "lr", "data_wait"}, "verification": {"step", "target", "pairs", "xnorm"}}
CONFIG_ENTRIES = {"per_batch_size", "loss_type", "prefix", "resolved", "versions", "started"}


@dataclass
class FolderScan:
    """The contents of a run's folder, by name.

    own: written by a run; foreign: not known to be a run's, and a run would overwrite it, with a description, or with
    "" where it is of a checkpoint; in_state: the same in the state folder, which a resumed run leaves alone. states,
    rows, checkpoints: those of a run.
    """

    own: list[str] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)
    in_state: list[str] = field(default_factory=list)
    states: bool = False
    rows: bool = False
    checkpoints: list[str] = field(default_factory=list)


def scan_folder(folder: Path, name: str) -> FolderScan:
    """Inspect all that a run with checkpoints named `name` would write in `folder`; links are never followed."""
    found = FolderScan()
    headers, unreadable = _states(folder / STATE, found)
    config = _config(folder / CONFIG)
    for file, whose in ((CONFIG, config is not None), (METRICS, _has_rows(folder / METRICS)),
                        (LOG, _is_log(folder / LOG))):
        _sort(folder / file, whose, found)
    found.rows = METRICS in found.own and _size(folder / METRICS) > 0
    lengths = {file for header in headers for file in header.progress.lengths}
    found.own += [path.name for path in sorted(folder.iterdir()) if kind(path) == "a file" and (
        is_own_event_file(path.name) or path.name in lengths and is_event_file_of_run(path))]
    prefixes = [header.identity.get("prefix", name) for header in headers] + ([config["prefix"]] if config else [])
    known = any(Path(str(prefix)).name == name for prefix in prefixes) or found.states and not prefixes
    saves = max((header.progress.saves for header in headers), default=0)
    _sort(folder / f"{name}-symbol.json", known, found, "")
    for path, number in checkpoints(folder, name):
        whose = known and (unreadable or not headers or number <= saves + 1)
        _sort(path, whose, found, "")
    found.checkpoints = [path.name for path, _ in checkpoints(folder, name) if path.name in found.own]
    return found


def checkpoints(folder: Path, name: str) -> list[tuple[Path, int]]:
    """NAME-NNNN.params as a run numbers them, from 1, with their numbers, by these."""
    pattern = re.compile(re.escape(name) + r"-(\d{4,9})\.params", re.ASCII)
    matches = ((path, pattern.fullmatch(path.name)) for path in folder.iterdir())
    numbered = sorted((int(match.group(1)), path) for path, match in matches if match)
    return [(path, number) for number, path in numbered if number and path.name == f"{name}-{number:04d}.params"]


def is_event_file_of_run(path: Path) -> bool:
    """Whether an event file is a run's: by its name, or, where an older version named it, by the curves in it, since
    a state that names it may come from anyone."""
    try:
        return is_own_event_file(path.name) or bool(EVENT_FILE.fullmatch(path.name)) and (
            CURVE in read_beginning(path, BEGINNING))
    except (OSError, ValueError):
        return False


def _sort(path: Path, whose: bool, found: FolderScan, why: str = "no run here wrote it") -> None:
    """Classify `path`, where it exists, as a run's or foreign."""
    what = kind(path)
    if what == "a file" and whose:
        found.own.append(path.name)
    elif what:
        found.foreign[path.name] = why if what == "a file" else what


def _states(folder: Path, found: FolderScan) -> tuple[list[Header], bool]:
    """The headers of the states in `folder`, and whether there are others that cannot be read."""
    headers, unreadable = [], False
    if not is_folder(folder):
        if kind(folder):
            found.foreign[folder.name] = f"{kind(folder)}, not a folder of states"
        return [], False
    for path in sorted(folder.iterdir()):
        there = sorted(path.iterdir()) if is_folder(path) else []
        others = [item.name for item in there if not _is_of_state(item)]
        whole = bool(GENERATION.fullmatch(path.name)) and is_folder(path)
        header = _header(path / HEADER) if whole else None
        if header is not None:
            headers.append(header)
        elif whole and not others:
            if _is_damaged_state(path):
                unreadable = True
            else:
                others = [HEADER]
        if others or not whole and (not HALF_GENERATION.fullmatch(path.name) or kind(path) == "a file"):
            found.in_state.append("/".join([folder.name, path.name, *others[:1]]))
    found.states = bool(headers) or unreadable
    if not found.in_state:
        found.own.append(folder.name)
    return headers, unreadable


def _header(path: Path) -> Header | None:
    try:
        return read_header(path)
    except (OSError, ValueError):
        return None


def _is_damaged_state(path: Path) -> bool:
    """Whether a generation whose header cannot be read is a run's: by its arrays, or by what is left of the header."""
    if not kind(path / HEADER) or any(kind(path / name) for name in GENERATION_FILES - {HEADER}):
        return True
    try:
        beginning = read_beginning(path / HEADER, len(HEADER_BEGINNING))
    except (OSError, ValueError):
        return False
    return HEADER_BEGINNING.startswith(beginning.rstrip(b"\0"))


def _is_of_state(path: Path) -> bool:
    half = path.name.startswith(f".{HEADER}.") and path.name.endswith(".tmp")
    return (path.name in GENERATION_FILES or half) and not is_folder(path)  # of a link, only the link would be removed


def _config(path: Path) -> dict[str, Any] | None:
    """The content of a run's config.json; None where it is not one."""
    try:
        content = json.loads(read_plain(path, MOST_CONFIG))
    except (OSError, ValueError, RecursionError):
        return None
    whose = isinstance(content, dict) and CONFIG_ENTRIES <= set(content) and isinstance(content["prefix"], str)
    return content if whose else None


def _has_rows(path: Path) -> bool:
    """Whether all whole lines at the beginning of a file are a run's rows, as they are where it has none."""
    try:
        beginning = read_beginning(path, BEGINNING)
    except (OSError, ValueError):
        return False
    *lines, rest = beginning.split(b"\n")
    try:
        return all(_is_row(json.loads(line)) for line in lines) and (
            bool(lines) or any(row.startswith(rest) or rest.startswith(row) for row in ROW_BEGINNINGS))
    except (ValueError, RecursionError):
        return False


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("kind"), str) and (
        ROW_ENTRIES.get(row["kind"], {""}) <= set(row))


def _is_log(path: Path) -> bool:
    """Whether a line at the beginning of a file is one that only a run logs, or there is nothing."""
    try:
        beginning = read_beginning(path, BEGINNING).decode("utf-8", "replace")
    except (OSError, ValueError):
        return False
    lines = beginning.split("\n")[:20]
    return not beginning or bool(re.match(STAMP, lines[0])) and any(map(LOG_LINE.match, lines))


def _size(path: Path) -> int:
    return path.lstat().st_size
