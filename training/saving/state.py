"""The state of a run for `resume`: two generations, each written atomically.

RUN/state/STEP/ holds net.params, head.params, momentum.params and state.json. A generation is made in a temporary
folder, flushed, and renamed, so a kill at any moment leaves the one before it. The newest valid one is resumed.
"""
from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, Mapping

import mxnet as mx

from common.errors import RunError, UserError
from common.files import fsync, write_atomic
from inference.param_writer import write_arrays
from training.saving.arrays import read_arrays
from training.saving.changes import Change, check_same_run, differences
from training.saving.contents import Contents
from training.saving.header import Header, read_header
from training.saving.names import ARRAYS, GENERATION, GENERATION_FILES, HALF_GENERATION, HEADER
from training.saving.plain_files import is_folder, kind
from training.saving.progress import Progress

log = logging.getLogger(__name__)
Arrays = Dict[str, Dict[str, mx.nd.NDArray]]
OF_DAMAGE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, None)  # of a file that is not what was written
LATER = "it stays as it is, and when that is fixed the same command continues from it"


class States:
    """The generations of a run in `folder`.

    identity: the configuration and the `fingerprint` of the data, by which it is decided whether a run can resume.
    contents: the arrays it must have, where known. newest: the generation that was last written or read successfully;
    before: the identity in the loaded one, and changes: the settings that differ from it; on_step_saved: called once,
    when one beyond step 0 was written; may_go_on: before each file, and what it raises ends the saving with nothing
    changed.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], contents: Contents | None = None) -> None:
        self.folder, self.identity, self.contents = folder, identity, contents
        self.newest: Path | None = None
        self.before: dict[str, Any] = {}
        self.changes: list[Change] = []
        self.on_step_saved: Callable[[], None] | None = None
        self.may_go_on: Callable[[], None] = lambda: None

    def save(self, progress: Progress, arrays: Arrays) -> Path:
        """Write a generation of `arrays` (by the names in ARRAYS); the previous one is kept, older ones are removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        final = self._free_name(progress.step)
        temporary = self.folder / f".{final.name}.tmp"
        self._sweep(keep=[])
        temporary.mkdir()
        try:
            digests = {}
            for name in ARRAYS:
                self.may_go_on()
                digests[f"{name}.params"] = write_arrays(temporary / f"{name}.params", arrays[name])
            self.may_go_on()
            write_atomic(temporary / HEADER, Header(progress, self.identity, digests).to_json())
            os.replace(temporary, final)
            fsync(self.folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        before, self.newest = self.newest, final
        self._sweep(keep=[final, before])
        if progress.step and self.on_step_saved:
            self.on_step_saved()
            self.on_step_saved = None
        return final

    @property
    def remain(self) -> bool:
        """Whether the states stay where the run ends now: not while the run that it replaces would be restored."""
        return self.on_step_saved is None

    def load(self) -> tuple[Progress, Arrays] | None:
        """The newest valid generation, or None where there is no state at all.

        A damaged generation is skipped with a warning. UserError where the state is of another network or of other
        data, naming what differs, or where every generation is damaged; RunError where one cannot be read now, for
        lack of memory or by a failure of the file system, which says nothing about the state.
        """
        found, damage = generations(self.folder), []
        for path in reversed(found):
            try:
                header = read_generation_header(path)
                changes = check_same_run(header.identity, self.identity, path, header.progress.saves)
                arrays = read_generation_arrays(path, header, self.contents)
            except MemoryError as error:
                raise self._unreadable(path, error or "out of memory", found) from None
            except (OSError, ValueError, mx.MXNetError) as error:
                if isinstance(error, OSError) and error.errno not in OF_DAMAGE:
                    raise self._unreadable(path, error.strerror or error, found) from None
                damage.append(f"state {path} cannot be used ({shown(error)})")
                continue
            for message in damage:
                log.warning("%s; trying the one before it", message)
            self.newest, self.before, self.changes = path, header.identity, changes
            if self._keeps_otherwise(header.identity) and header.progress.saves < header.progress.step:  # at most equal
                header.progress.verified_step = -1  # so that the step is verified, and kept, by these flags as well
            return header.progress, arrays
        if damage:
            raise UserError(f"`resume`: every state in {self.folder} is damaged: {damage[0]}; start over with "
                            "`overwrite`, with `pretrained` and the newest checkpoint if there is one")
        if kind(self.folder) not in ("", "a folder"):
            raise UserError(f"`resume`: every state in {self.folder} is damaged: it is {kind(self.folder)}, not a "
                            "plain folder; another `prefix` leaves it alone")
        return None

    def _unreadable(self, path: Path, why: object, found: list[Path]) -> RunError:
        before = "" if path == found[0] else "; if it never is, move that folder away to continue from the one before"
        return RunError(f"`resume`: {path} cannot be read now: {why}; {LATER}{before}")

    def _keeps_otherwise(self, before: Mapping[str, Any]) -> bool:
        """Whether no checkpoint was kept where one is to be now, or the best is chosen by something else."""
        changed = {change.name for change in differences(before, self.identity)}
        ckpt, target = self.identity.get("ckpt"), self.identity.get("target")
        return ckpt != 0 and ("ckpt" in changed and before.get("ckpt") == 0 or target != "none" and ckpt in (1, 3)
                              and bool(changed & {"target", "best_metric"}))

    def _free_name(self, step: int) -> Path:
        # A second one of the same step must not replace the first before it is complete.
        taken = [repeat for there, repeat in map(_number, generations(self.folder)) if there == step]
        return self.folder / (f"{step:09d}-{max(taken) + 1}" if taken else f"{step:09d}")

    def _sweep(self, keep: list[Path | None]) -> None:
        """Remove all generations but those in `keep` (none: all stay), and partial ones, which a kill left."""
        for path in generations(self.folder) if keep else []:
            if path not in keep and is_folder(path):
                # renamed, so that a kill does not leave a partial one under its name
                with contextlib.suppress(OSError):
                    os.replace(path, path.with_name(f".{path.name}.old"))
        for path in self.folder.iterdir():
            if HALF_GENERATION.fullmatch(path.name) and is_folder(path):
                remove_generation(path)


def read_generation_header(path: Path) -> Header:
    """The header of a state; ValueError or OSError where it cannot be used."""
    if not is_folder(path):
        raise ValueError(f"is {kind(path)}, not a plain folder")
    try:
        header = read_header(path / HEADER)
    except ValueError as error:
        raise ValueError(f"{HEADER}: {error}") from None
    if header.progress.step != _number(path)[0]:
        raise ValueError(f"{HEADER} is of step {header.progress.step}")
    return header


def read_generation_arrays(path: Path, header: Header, contents: Contents | None = None) -> Arrays:
    """The arrays of a state; ValueError or OSError where they are damaged or, where that is known, not `contents`."""
    most, arrays = contents.most_bytes() if contents else None, {}
    for part in ARRAYS:
        arrays[part] = read_generation_part(path, header, part, most)
    if contents:
        contents.check(arrays)
    return arrays


def read_generation_part(path: Path, header: Header, part: str, most: int | None) -> dict[str, mx.nd.NDArray]:
    """One of ARRAYS, where its file has no more than `most` bytes; ValueError or OSError where it is damaged."""
    try:
        return read_arrays(path / f"{part}.params", header.sha256[f"{part}.params"], most)
    except ValueError as error:
        raise ValueError(f"{part}.params {error}") from None


def generations(folder: Path) -> list[Path]:
    """Folders named like a state of a run, oldest first; a link to a folder of states does not count."""
    if not is_folder(folder):
        return []
    return sorted((path for path in folder.iterdir() if GENERATION.fullmatch(path.name)), key=_number)


def remove_generation(path: Path) -> None:
    """Remove the files of a state, complete or partial, and its folder if nothing else is in it; of a link, the
    link."""
    with contextlib.suppress(OSError):
        if not is_folder(path):
            path.unlink()
            return
        for item in path.iterdir():
            if item.name in GENERATION_FILES or item.name.startswith(f".{HEADER}.") and item.name.endswith(".tmp"):
                item.unlink()
        path.rmdir()


def remove_states(folder: Path) -> None:
    """Remove all states in `folder`, partial ones included, and the folder if nothing else is in it."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if GENERATION.fullmatch(path.name) or HALF_GENERATION.fullmatch(path.name):
                remove_generation(path)
        folder.rmdir()


def _number(path: Path) -> tuple[int, int]:
    found = GENERATION.fullmatch(path.name)
    if not found:
        raise ValueError("is not named like a state")
    return int(found[1]), int(found[2] or 0)


def shown(error: BaseException) -> str:
    """The fault of a state, in a line."""
    if isinstance(error, OSError):
        return f"{Path(error.filename).name if error.filename else 'a file'}: {error.strerror}"
    return " ".join(str(error).split())[:300]
