"""Writes a run's records: metrics.jsonl, log.txt, TensorBoard events, config.json."""
from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Mapping

import numpy as np

from common.files import write_atomic
from common.package_versions import versions
from common.run_files import CONFIG, LOG, METRICS
from training.reporting.events import EventFile
from training.reporting.logfile import LogFile
from training.saving.append_only import AppendOnlyFile, truncate
from training.saving.names import is_own_event_file
from training.saving.ownership import is_event_file_of_run
from training.saving.plain_files import kind

log = logging.getLogger(__name__)
PACKAGES = ("mxnet", "gluoncv", "numpy", "mxboard", "scikit-learn", "opencv-python-headless", "protobuf")


class RunLog:
    """The files of one run folder.

    lengths: of the files that may keep rows, by name, as `sync` gave them to the state that is resumed. A resumed run
    repeats the steps after its state, so rows of those are truncated, and newer event files removed. Every row is with
    the operating system when its method returns; an OSError names the file.
    """

    def __init__(self, folder: Path, lengths: Mapping[str, int] | None = None, first_step: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lengths = dict(lengths or {})
        own = {METRICS, *self._lengths, *(path.name for path in folder.iterdir() if is_own_event_file(path.name))}
        foreign = [name for name in own - {METRICS} if kind(folder / name) == "a file"  # a state may name any
                   and not is_event_file_of_run(folder / name)]
        shorter = [name for name in sorted(own.difference(foreign))
                   if not truncate(folder / name, self._lengths.get(name, 0))]
        self._handler = LogFile(folder / LOG)
        logging.getLogger().addHandler(self._handler)
        if shorter:
            log.warning("%s in %s: shorter than when the state was saved; rows are missing there", ", ".join(shorter),
                        folder)
        self._metrics = AppendOnlyFile(folder / METRICS)
        self._folder, self._first_step = folder, first_step
        self._opened: EventFile | None = None

    @property
    def _events(self) -> EventFile:
        if self._opened is None:  # a resumed run without remaining steps leaves no file
            self._opened = EventFile(self._folder, self._first_step)
        return self._opened

    def mark(self) -> tuple[dict[str, int], Callable[[], None]]:
        """The length of every file that holds rows or events, by name; and what flushes those to the disk, from any
        thread."""
        files: list[AppendOnlyFile | EventFile] = [self._metrics, *([self._opened] if self._opened else [])]

        def flush() -> None:
            for file in files:
                file.flush()
        return {**self._lengths, **{file.path.name: file.length() for file in files}}, flush

    def check(self) -> None:
        """OSError where a file with rows was removed or changed: a checkpoint would create its folder again."""
        self._metrics.check()
        if self._opened:
            self._opened.check()

    def row(self, row: dict[str, Any]) -> None:
        """Append one row to metrics.jsonl; values that JSON cannot represent become null."""
        clean = {name: _plain(value) for name, value in row.items()}
        self._metrics.append(json.dumps(clean).encode("utf-8") + b"\n")

    def _has(self, row: dict[str, Any]) -> bool:
        """Whether metrics.jsonl has this row of a verification already, but for the time that it took."""
        wanted = {**{name: _plain(value) for name, value in row.items()}, "seconds": 0}
        for line in (self._folder / METRICS).read_bytes().splitlines():
            with contextlib.suppress(ValueError, TypeError):
                if {**json.loads(line), "seconds": 0} == wanted:
                    return True
        return False

    def train(self, row: dict[str, Any], emb_norm: float) -> None:
        """A `train` row, and its curves."""
        self.row(row)
        for name in ("loss", "accuracy", "cosine", "lr", "samples_per_s", "data_wait"):
            self._events.scalar(f"train/{name}", row[name], row["step"])
        self._events.scalar("train/embedding_norm", emb_norm, row["step"])

    def verification(self, row: dict[str, Any], roc: np.ndarray | None, embeddings: np.ndarray) -> None:
        """A `verification` row, its curves, the ROC picture ((3, H, W) uint8) and a histogram of embedding values; what
        a resumed run verifies a second time, to keep a checkpoint by other flags, is written once."""
        if row["step"] < self._first_step and self._has(row):
            return
        self.row(row)
        target, step = row["target"], row["step"]
        for name in ("accuracy", "tpr", "eer", "auc", "threshold", "xnorm"):
            self._events.scalar(f"{target}/{name}", row[name], step)
        if "false_accepts" in row:
            self._events.scalar(f"{target}/false_accepts", row["false_accepts"], step)
        for name, limits in row.get("interval", {}).items():
            for end, value in zip(("low", "high"), limits):
                self._events.scalar(f"{target}/{name}_{end}", value, step)
        self._events.histogram(f"{target}/embedding", embeddings, step)
        if roc is not None:
            self._events.image(f"{target}/roc", roc, step)

    def close(self) -> None:
        """Close every file."""
        if self._opened:
            self._opened.close()
        self._metrics.close()
        logging.getLogger().removeHandler(self._handler)
        with contextlib.suppress(OSError):  # a full disk, which was reported when the line was logged
            self._handler.close()


def write_config(folder: Path, settings: Mapping[str, Any], resolved: Mapping[str, Any]) -> None:
    """Write RUN/config.json: the configuration, resolved values, package versions and the git commit."""
    content = {**settings, "resolved": resolved, "versions": versions(PACKAGES), "git_commit": git_commit(),
               "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    write_atomic(folder / CONFIG, json.dumps(content, indent=1) + "\n", named=False)


def git_commit() -> str | None:
    """The commit of this checkout, with `+` where files differ from it; None outside git."""
    folder = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=10)
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=folder, capture_output=True, text=True,
                                 timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if commit.returncode:
        return None
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _plain(value: Any) -> Any:
    if isinstance(value, (np.floating, float)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.integer) else value
