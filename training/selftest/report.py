"""A row of the self-test's table, and what is above and below the rows."""
from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from typing import Callable, Iterable, Iterator

import mxnet as mx

from common.cli import engine_failure
from common.devices import device_name
from common.environment import processor, usable_cores

HOLDS = {True: "yes", False: "NO", None: "-"}
VARIABLES = ("MXNET_", "CUDA_", "NVIDIA_TF32", "OMP_NUM", "NCCL_")
NO_COLUMNS = str.maketrans("|\n", "/ ")


@dataclass(frozen=True)
class Row:
    """One test; holds: None where it cannot be run here, or is a measurement; detail says how well, or why not."""

    what: str
    holds: bool | None
    detail: str

    def line(self) -> str:
        """The row in Markdown."""
        return f"| {self.what} | {HOLDS[self.holds]} | {self.detail.translate(NO_COLUMNS)} |"

    def to_json(self) -> str:
        """One line that `from_json` reads."""
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def from_json(text: str) -> Row:
        """What `to_json` wrote."""
        return Row(**json.loads(text))


def guarded(what: str, check: Callable[[], Row | tuple[bool | None, str]]) -> Row:
    """The row of `check`, whatever it raises."""
    try:
        found = check()
    except Exception as error:  # any exception: a traceback would be the least informative result
        message = engine_failure(error) if isinstance(error, mx.MXNetError) else f"{type(error).__name__}: {error}"
        return Row(what, False, message[:400])
    return found if isinstance(found, Row) else Row(what, *found)


def head(devices: Iterable[mx.Context], quick: bool) -> Iterator[str]:
    """The machine, then the table's first two lines."""
    named = ", ".join(map(device_name, devices))
    yield f"python -m training.selftest on {named}{' (--quick)' if quick else ''}"
    yield ""
    for line in machine():
        yield f"- {line}"
    yield ""
    yield "| tried | holds | |"
    yield "|---|---|---|"


def machine() -> list[str]:
    """Processor, GPUs with their driver, versions, and the variables that MXNet and CUDA read."""
    lines = [f"{processor()}, {usable_cores()} cores, {platform.system()} {platform.release()}"]
    lines += _gpus() or ["no GPU that nvidia-smi lists"]
    packages = sorted({(item.metadata["Name"], item.version) for item in metadata.distributions()
                       if (item.metadata["Name"] or "").startswith(("mxnet", "nvidia-", "numpy", "opencv"))})
    lines.append(f"Python {platform.python_version()}, " + ", ".join(f"{name} {version}" for name, version in packages))
    variables = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)]
    return [*lines, " ".join(variables) or "no variables of MXNet or CUDA are set"]


def verdict(rows: list[Row], seconds: float) -> str:
    """The last line."""
    holding, failing = (sum(row.holds is wanted for row in rows) for wanted in (True, False))
    return (f"{holding} hold, {failing} do not, {len(rows) - holding - failing} are figures or cannot be tried here; "
            f"{seconds / 60:.1f} minutes")


def _gpus() -> list[str]:
    fields = "index,name,compute_cap,driver_version,memory.total"
    for query in (fields, fields.replace("compute_cap,", "")):  # which older drivers do not know
        try:
            done = subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True,
                                  text=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            return []
        if done.returncode == 0:
            return [f"GPU {line.strip()} ({query.replace('index,', '')})" for line in done.stdout.splitlines()]
    return []
