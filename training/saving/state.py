"""The state of a run, what `--resume` reads: two generations, each written whole or not at all.

RUN/state/STEP/ holds net.params, head.params, momentum.params and state.json. A generation is made in a temporary
folder, flushed, and renamed, so a kill at any moment leaves the one before it. The newest that reads well is resumed.
"""
from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict

import mxnet as mx

from common.errors import UserError
from common.files import fsync, write_atomic
from training.config import FREE_ON_RESUME, Config
from training.saving.arrays import file_digest, write_arrays

log = logging.getLogger(__name__)
TOTAL_BATCH = "total batch"  # of an identity: no flag, but what some flags make together
SAME_IN_TOTAL = {"devices", "per_batch_size", "accumulate", "mirror_memory"}  # may change where that stays
ARRAYS = ("net", "head", "momentum")
NAME = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)
Arrays = Dict[str, Dict[str, mx.nd.NDArray]]


@dataclass
class Progress:
    """What a run knows about itself beside its arrays.

    step: updates made or skipped; position: images taken from the endless order; bad: keys of the records that do not
    decode; skipped: steps whose update was not finite, skipped_in_row: those since the last good one.
    saves: checkpoints written (NNNN of the newest); replaced: the one that --ckpt 3 then removes; best: the best value
    so far of best_of, a metric of a target; best_number: the checkpoint it is in; verified_step: the newest
    verification's.
    lengths: of the files with rows, by name; window: the sums since the last row; warned: warnings already given;
    symptoms: for how many rows each has lasted.
    """

    step: int = 0
    position: int = 0
    bad: list[int] = field(default_factory=list)
    skipped: int = 0
    skipped_in_row: int = 0
    saves: int = 0
    replaced: int = 0
    best: float | None = None
    best_of: str = ""
    best_number: int = 0
    verified_step: int = -1
    lengths: dict[str, int] = field(default_factory=dict)
    window: dict[str, float] = field(default_factory=dict)
    warned: list[str] = field(default_factory=list)
    symptoms: dict[str, int] = field(default_factory=dict)


class States:
    """The generations of a run in `folder`.

    identity: what must be the same for a run to go on: the configuration and the `fingerprint` of the data. newest: the
    generation that was written whole or read well last.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder, self.identity = folder, identity
        self.newest: Path | None = None

    def save(self, progress: Progress, arrays: Arrays) -> Path:
        """Write a generation of `arrays` (by the names in ARRAYS); the one before it stays, what is older goes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        final = self._free_name(progress.step)
        temporary = self.folder / f".{final.name}.tmp"
        self._sweep(keep=[])
        temporary.mkdir()
        try:
            digests = {f"{name}.params": write_arrays(temporary / f"{name}.params", arrays[name]) for name in ARRAYS}
            header = {"progress": asdict(progress), "identity": self.identity, "sha256": digests}
            write_atomic(temporary / "state.json", json.dumps(header, indent=1))
            os.replace(temporary, final)
            fsync(self.folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        before, self.newest = self.newest, final
        self._sweep(keep=[final, before])
        return final

    def load(self) -> tuple[Progress, Arrays] | None:
        """The newest generation that reads well, or None where there is no state at all.

        A damaged generation is passed over with a warning. UserError where the state is of another configuration or
        of other data, naming what differs, or where every generation is damaged.
        """
        found = generations(self.folder)
        for path in reversed(found):
            try:
                header = json.loads((path / "state.json").read_text(encoding="utf-8"))
                for name, digest in header["sha256"].items():
                    if file_digest(path / name) != digest:
                        raise ValueError(f"{name} is damaged")
                progress, identity = Progress(**header["progress"]), dict(header["identity"])
                with mx.Context("cpu", 0):
                    arrays = {name: _dictionary(mx.nd.load(str(path / f"{name}.params"))) for name in ARRAYS}
            except (OSError, ValueError, KeyError, TypeError, mx.MXNetError) as error:
                log.warning("state %s cannot be used (%s: %s); trying the one before it", path, type(error).__name__,
                            str(error).splitlines()[0] if str(error) else "")
                continue
            self._check_identity(identity, path)
            self.newest = path
            return progress, arrays
        if found:
            raise UserError(f"--resume: every state in {self.folder} is damaged; begin anew with --overwrite, with "
                            "--pretrained and the newest checkpoint if there is one")
        return None

    def _free_name(self, step: int) -> Path:
        # A second one of the same step must not take the place of the first before it is whole.
        taken = [repeat for there, repeat in map(_number, generations(self.folder)) if there == step]
        return self.folder / (f"{step:09d}-{max(taken) + 1}" if taken else f"{step:09d}")

    def _sweep(self, keep: list[Path | None]) -> None:
        """Remove all generations but those in `keep` (none: all stay), and halves of any, which a kill left."""
        for path in generations(self.folder) if keep else []:
            if path not in keep:
                with contextlib.suppress(OSError):  # renamed, so that a kill does not leave half of it under its name
                    os.replace(path, path.with_name(f".{path.name}.old"))
        for path in self.folder.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)

    def _check_identity(self, theirs: dict[str, Any], path: Path) -> None:
        defaults = {item.name: item.default for item in fields(Config)}
        there = {name: theirs.get(name, defaults.get(name)) for name in self.identity}
        names = [name for name, value in self.identity.items() if name not in FREE_ON_RESUME and there[name] != value]
        if TOTAL_BATCH not in names and set(names) <= SAME_IN_TOTAL:
            for name in names:
                log.warning("--resume: %s %s in the state, %s here; the total batch is the same, so the run goes on, "
                            "though not to the last bit", _title(name), there[name], self.identity[name])
            return
        different = [f"{_title(name)} {there[name]} there, {self.identity[name]} here" for name in names
                     if name != TOTAL_BATCH]
        if different:
            raise UserError(f"--resume: the state {path} is of another run: {'; '.join(different)}")


def generations(folder: Path) -> list[Path]:
    """The state folders of a run, oldest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if NAME.fullmatch(path.name)), key=_number)


def _number(path: Path) -> tuple[int, int]:
    step, repeat = NAME.fullmatch(path.name).groups()
    return int(step), int(repeat or 0)


def _title(name: str) -> str:
    return "data of" if name == "data" else "--" + name.replace("_", "-")


def _dictionary(arrays: Any) -> dict[str, mx.nd.NDArray]:
    return arrays if isinstance(arrays, dict) else {}
