"""Prepares the folder of a run: locks it, and protects files of another run or of other origin."""
from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from common.errors import UserError
from common.foreign import listed
from common.run_files import LOG, METRICS
from training.saving.lock import RunLock
from training.saving.names import STATE, is_own_event_file
from training.saving.overwrite import Replaced, is_replacing, recover
from training.saving.ownership import FolderScan, scan_folder
from training.saving.plain_files import is_folder, kind
from training.saving.progress import Progress
from training.saving.state import Arrays, States
from training.specs import SavingSpec

log = logging.getLogger(__name__)


def bring_back(prefix: str) -> None:
    """Restore the run that another one was replacing when it was killed, before anything of it is read."""
    folder = Path(prefix).parent
    if folder.is_dir() and is_replacing(folder):
        with RunLock(folder):
            recover(folder)


def prepare_folder(spec: SavingSpec, states: States, closing: contextlib.ExitStack) -> tuple[Progress, Arrays] | None:
    """The state to resume, after checking that nothing is overwritten; `closing` then releases the folder.

    UserError naming conflicting files. A run that `overwrite` discards is set aside until `states` has saved a step of
    the new one, and restored by `closing` otherwise.
    """
    folder, name = Path(spec.prefix).parent, Path(spec.prefix).name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"`prefix` {spec.prefix}: the folder {folder} cannot be made ({error.strerror})") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"`prefix` {spec.prefix}: the folder {folder} is not writable")
    closing.enter_context(RunLock(folder))
    recover(folder)
    found = scan_folder(folder, name)
    going_on = spec.resume and found.states
    if not (spec.resume and not is_folder(states.folder) and os.path.lexists(states.folder)):  # which loading reports
        _check_nothing_is_in_the_way(spec.prefix, found, going_on)
    if going_on or spec.overwrite:
        _check_permissions(spec, found)
    if spec.resume:
        state = states.load()
        if state is not None:
            return state
        log.info("`resume`: no state in %s yet, so a new run starts", folder)
    if found.states or found.rows or found.checkpoints:
        if not spec.overwrite:
            raise UserError(f"`prefix` {spec.prefix}: {folder} holds {_what(found)}, `overwrite` discards it, "
                            "another `prefix` leaves it alone")
        replaced = Replaced(folder, name, found.own)
        closing.callback(replaced.close)
        states.on_step_saved = replaced.keep_new
        return None
    for left in found.own:  # by a run that ended before its first state
        if not is_folder(folder / left):
            (folder / left).unlink()
    return None


def _check_nothing_is_in_the_way(prefix: str, found: FolderScan, going_on: bool) -> None:
    others = [f"{name} ({what})" for name, what in found.foreign.items() if what] + ([] if going_on else found.in_state)
    folder, rest = Path(prefix).parent, [name for name, what in found.foreign.items() if not what]
    if others:
        raise UserError(f"`prefix` {prefix}: {folder} holds files that this run would overwrite and that are not known "
                        f"to be a run's: {listed(others + rest)}; move it away, or give another `prefix`")
    if rest:
        raise UserError(f"`prefix` {prefix}: {folder} holds {listed(rest)} and no state of the run that saved it; "
                        "move it away, or give another `prefix`: `pretrained` starts from a checkpoint")


def _check_permissions(spec: SavingSpec, found: FolderScan) -> None:
    """UserError where this user may not write what the run continues, or move what it replaces: else it would train
    until its first state is due."""
    folder, continued = Path(spec.prefix).parent, [LOG, METRICS, *filter(is_own_event_file, found.own)]
    for path in (folder / name for name in [STATE, *([] if spec.overwrite else continued)]):
        if kind(path) and not os.access(path, os.W_OK | (os.X_OK if is_folder(path) else 0)):
            raise UserError(f"`prefix` {spec.prefix}: {path} is not writable; change its permissions, or give another "
                            "`prefix`")


def _what(found: FolderScan) -> str:
    if found.states:
        return "another run; `resume` continues it"
    if found.checkpoints:
        return f"{found.checkpoints[-1]} and no state to resume from; `pretrained` starts from it"
    return "the rows of another run and no state to resume from"
