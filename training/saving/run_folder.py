"""Prepares the folder of a run: locks it, and protects files of another run or of other origin."""
from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from common.errors import UserError
from common.foreign import listed
from common.run_files import LOG, METRICS
from training.saving.lock import RunLock, check_lock
from training.saving.names import STATE, is_own_event_file
from training.saving.overwrite import Replaced, is_replacing, recover
from training.saving.ownership import FolderScan, scan_folder
from training.saving.plain_files import is_folder, kind
from training.saving.progress import Progress
from training.saving.state import Arrays, States
from training.specs import SavingSpec

log = logging.getLogger(__name__)
NO_STATE = "`resume`: no state in %s yet, so a new run starts"


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
    _check_access(spec)
    closing.enter_context(RunLock(folder))
    recover(folder)
    found = _check_contents(spec, states)
    if spec.resume:
        state = states.load()
        if state is not None:
            return state
        log.info(NO_STATE, folder)
    if _is_of_run(found):
        replaced = Replaced(folder, name, found.own)
        closing.callback(replaced.close)
        states.on_step_saved = replaced.keep_new
        return None
    for left in found.own:  # by a run that ended before its first state
        if not is_folder(folder / left):
            (folder / left).unlink()
    return None


def folder_line(spec: SavingSpec, states: States) -> str:
    """What `prepare_folder` would do about what is in the folder, a refusal as a warning; "" where there is nothing to
    tell. Nothing is changed."""
    try:
        return _plan(spec, states)
    except UserError as error:
        return f"warning: without `dry_run` this is refused: {error}"


def _plan(spec: SavingSpec, states: States) -> str:
    folder = Path(spec.prefix).parent
    if not folder.is_dir():
        above = next(path for path in folder.absolute().parents if path.exists())
        if not os.access(above, os.W_OK | os.X_OK):
            raise UserError(f"`prefix` {spec.prefix}: the folder {folder} cannot be made ({above} is not writable)")
        return NO_STATE % folder if spec.resume else ""
    _check_access(spec)
    check_lock(folder)
    if is_replacing(folder):
        return (f"warning: a run with `overwrite` was ended before it saved anything: the run that was in {folder} "
                "before is restored first, and only then looked at")
    found = _check_contents(spec, states)
    if spec.resume and not found.states:
        return NO_STATE % folder
    return f"`overwrite`: discards the run in {folder}" if spec.overwrite and _is_of_run(found) else ""


def _check_access(spec: SavingSpec) -> None:
    folder = Path(spec.prefix).parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"`prefix` {spec.prefix}: the folder {folder} is not writable")


def _check_contents(spec: SavingSpec, states: States) -> FolderScan:
    """What is in the folder; UserError where the run would overwrite what it may not."""
    folder = Path(spec.prefix).parent
    found = scan_folder(folder, Path(spec.prefix).name)
    going_on = spec.resume and found.states
    if spec.resume and not is_folder(states.folder) and os.path.lexists(states.folder):
        return found  # which loading reports
    _check_nothing_is_in_the_way(spec.prefix, found, going_on)
    if going_on or spec.overwrite:
        _check_permissions(spec, found)
    if _is_of_run(found) and not going_on and not spec.overwrite:
        raise UserError(f"`prefix` {spec.prefix}: {folder} holds {_what(found)}, `overwrite` discards it, "
                        "another `prefix` leaves it alone")
    return found


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


def _is_of_run(found: FolderScan) -> bool:
    return found.states or found.rows or bool(found.checkpoints)


def _what(found: FolderScan) -> str:
    if found.states:
        return "another run; `resume` continues it"
    if found.checkpoints:
        return f"{found.checkpoints[-1]} and no state to resume from; `pretrained` starts from it"
    return "the rows of another run and no state to resume from"
