"""What a run writes down: metrics.jsonl, log.txt, TensorBoard events, config.json."""
from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from mxboard import SummaryWriter

from common.files import write_atomic
from training.config import Config

PACKAGES = ("mxnet", "gluoncv", "numpy", "mxboard", "scikit-learn", "opencv-python-headless", "protobuf")


class RunLog:
    """The files of one run folder.

    metrics_bytes: where metrics.jsonl is cut before writing goes on (a resumed run repeats the steps after its state,
    so the rows of those steps go).
    """

    def __init__(self, folder: Path, metrics_bytes: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics = open(folder / "metrics.jsonl", "ab")
        self._metrics.truncate(min(metrics_bytes, os.fstat(self._metrics.fileno()).st_size))
        self._handler = logging.FileHandler(folder / "log.txt", encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logging.getLogger().addHandler(self._handler)
        self.board = SummaryWriter(logdir=str(folder), flush_secs=30, verbose=False)

    @property
    def metrics_bytes(self) -> int:
        """The length of metrics.jsonl so far."""
        return os.fstat(self._metrics.fileno()).st_size

    def row(self, row: dict[str, Any]) -> None:
        """Append one row to metrics.jsonl; numbers that JSON does not have become null."""
        clean = {name: _plain(value) for name, value in row.items()}
        self._metrics.write(json.dumps(clean).encode("utf-8") + b"\n")
        self._metrics.flush()

    def train(self, row: dict[str, Any], emb_norm: float) -> None:
        """A `train` row, and its curves."""
        self.row(row)
        for name in ("loss", "accuracy", "cosine", "lr", "samples_per_s", "data_wait"):
            self.board.add_scalar(f"train/{name}", float(row[name]), global_step=row["step"])
        self.board.add_scalar("train/embedding_norm", emb_norm, global_step=row["step"])

    def verification(self, row: dict[str, Any], roc: np.ndarray | None, embeddings: np.ndarray) -> None:
        """A `verification` row, its curves, the ROC picture ((H, W, 3) uint8) and a histogram of embedding values."""
        self.row(row)
        target, step = Path(row["target"]).stem, row["step"]
        for name in ("accuracy", "tpr", "eer", "auc", "threshold", "xnorm"):
            self.board.add_scalar(f"{target}/{name}", float(row[name]), global_step=step)
        self.board.add_histogram(f"{target}/embedding", embeddings.astype(np.float32), global_step=step, bins=64)
        if roc is not None:
            self.board.add_image(f"{target}/roc", roc, global_step=step)

    def close(self) -> None:
        """Flush and close every file."""
        self.board.close()
        self._metrics.flush()
        os.fsync(self._metrics.fileno())
        self._metrics.close()
        logging.getLogger().removeHandler(self._handler)
        self._handler.close()


def write_config(folder: Path, config: Config, resolved: dict[str, Any]) -> None:
    """RUN/config.json: the configuration, what was resolved from it, package versions and the git commit."""
    content = {**config.as_dict(), "resolved": resolved, "versions": versions(), "git_commit": git_commit(),
               "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    write_atomic(folder / "config.json", json.dumps(content, indent=1) + "\n")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that matter for a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # a GPU wheel has another name; mxnet's own module tells its version
    if "mxnet" not in found:
        import mxnet
        found["mxnet"] = mxnet.__version__
    return found


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
