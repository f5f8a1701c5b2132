"""`overwrite`: the old run is set aside in its folder, and removed only once the new one has saved something.

RUN/.replaced-run holds the files of the old run and manifest.json, which names them, and is there from before the first
file moves to after the last has gone back; RUN/.discarded-run is what it is renamed to when the new run has saved.
After a kill at any point, the next start restores the old run, or finishes removing it.
"""
from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path

from common.errors import UserError
from common.files import fsync
from common.foreign import listed
from common.run_files import CONFIG, LOG, METRICS
from training.saving.names import EVENT_FILE, STATE, is_own_event_file
from training.saving.ownership import scan_folder
from training.saving.plain_files import is_folder, kind, read_plain
from training.saving.state import remove_states

log = logging.getLogger(__name__)
ASIDE, DISCARDED, MANIFEST = ".replaced-run", ".discarded-run", "manifest.json"
MOST_BYTES = 16 << 20


class Replaced:
    """A run of `folder` whose files `names` are set aside while another one, with checkpoints named `prefix`, starts.

    `keep_new` when that has saved; `close` restores the old run unless it was called.
    """

    def __init__(self, folder: Path, prefix: str, names: list[str]) -> None:
        self.folder, self._open = folder, True
        making = folder / f"{ASIDE}.tmp"
        making.mkdir()
        with open(making / MANIFEST, "x", encoding="ascii") as stream:
            json.dump({"prefix": prefix, "files": names}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(making, folder / ASIDE)
        fsync(folder)
        try:
            for name in names:
                os.rename(folder / name, folder / ASIDE / name)
            fsync(folder)
        except BaseException:
            self.close()
            raise

    def keep_new(self) -> None:
        """The new run has saved: remove the old one."""
        if self._open:
            self._open = False
            os.rename(self.folder / ASIDE, self.folder / DISCARDED)
            fsync(self.folder)
            _discard(self.folder)
            log.info("the run that was in %s before is discarded", self.folder)

    def close(self) -> None:
        """Restore the old run, if the new one has saved nothing."""
        if self._open:
            self._open = False
            _restore(self.folder, *_read_manifest(self.folder))
            log.warning("the new run has saved nothing, so the run that was in %s before is restored", self.folder)


def recover(folder: Path) -> None:
    """Finish a replacement in `folder` that was killed. UserError where its files are not a run's."""
    _discard(folder)
    for name in (f"{ASIDE}.tmp", DISCARDED, ASIDE):  # before the first file was moved, after the last was removed
        _remove_empty(folder / name, with_manifest=name.endswith(".tmp"))
    for name in (f"{ASIDE}.tmp", DISCARDED):
        if kind(folder / name):
            raise UserError(f"`prefix`: {folder / name} is not what a run set aside; move it, or give another `prefix`")
    if kind(folder / ASIDE):
        prefix, names = _read_manifest(folder)
        _check_new_run(folder, prefix, names)
        _restore(folder, prefix, names)
        log.warning("a run with `overwrite` was ended before it saved anything: the run that was in %s before is back",
                    folder)


def is_replacing(folder: Path) -> bool:
    """Whether a replacement in `folder` was not finished."""
    return bool(kind(folder / ASIDE))


def _remove_empty(path: Path, with_manifest: bool) -> None:
    with contextlib.suppress(OSError):
        there = [item.name for item in path.iterdir()] if is_folder(path) else [""]
        if with_manifest and there == [MANIFEST]:
            (path / MANIFEST).unlink()
            there = []
        if not there:
            path.rmdir()


def _check_new_run(folder: Path, prefix: str, names: list[str]) -> None:
    """UserError where restoring would remove a file that no run wrote: the manifest may come from anyone."""
    found, going = scan_folder(folder, prefix), set(_going(folder, prefix, names))
    foreign = [*(name for name in found.foreign if name in going), *(found.in_state if STATE in going else [])]
    if foreign:
        raise UserError(f"`prefix`: {folder / ASIDE} holds a run that another one was replacing, and {folder} files in "
                        f"their place that are not known to be a run's: {listed(foreign)}; move them away, or give "
                        "another `prefix`")


def _going(folder: Path, prefix: str, names: list[str]) -> list[str]:
    """The files of the new run. Those that tell whose the others are come last: a kill may leave the last alone."""
    of_new = {STATE, CONFIG, LOG, METRICS, f"{prefix}-symbol.json", f"{prefix}-0001.params",
              *(path.name for path in folder.iterdir() if is_own_event_file(path.name))}
    moved = {name for name in names if kind(folder / ASIDE / name)}  # the others never were, or are restored
    return sorted(of_new - set(names) | moved, key=lambda name: (name == CONFIG, name == STATE, name))


def _restore(folder: Path, prefix: str, names: list[str]) -> None:
    for name in _going(folder, prefix, names):
        _remove(folder / name)
        if name in names:
            os.rename(folder / ASIDE / name, folder / name)
    fsync(folder)
    (folder / ASIDE / MANIFEST).unlink()
    (folder / ASIDE).rmdir()


def _discard(folder: Path) -> None:
    aside = folder / DISCARDED
    if not is_folder(aside) or kind(aside / MANIFEST) != "a file":
        return
    _, names = _read_manifest(folder, DISCARDED)
    for name in names:
        _remove(aside / name)
    with contextlib.suppress(OSError):
        (aside / MANIFEST).unlink()
        aside.rmdir()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.name == STATE:
            remove_states(path)
        else:
            path.unlink()


def _read_manifest(folder: Path, name: str = ASIDE) -> tuple[str, list[str]]:
    try:
        if not is_folder(folder / name):
            raise ValueError("no folder")
        content = json.loads(read_plain(folder / name / MANIFEST, MOST_BYTES))
        prefix, names = content["prefix"], content["files"]
        there = {path.name for path in (folder / name).iterdir()} - {MANIFEST}
        if not all(_is_of_run(prefix, item) for item in (f"{prefix}-symbol.json", *names)) or not there <= set(names):
            raise ValueError("a name that no run has")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"`prefix`: {folder / name} is not what a run set aside; move it, or give another "
                        "`prefix`") from None
    return prefix, names


def _is_of_run(prefix: object, name: object) -> bool:
    if not isinstance(prefix, str) or not isinstance(name, str) or not prefix or set("/\0") & set(prefix + name):
        return False
    number = name[len(prefix) + 1:-len(".params")]
    checkpoint = name == f"{prefix}-{number}.params" and number.isascii() and number.isdigit()
    return (name in (STATE, CONFIG, LOG, METRICS, f"{prefix}-symbol.json") or checkpoint
            or bool(EVENT_FILE.fullmatch(name)))
