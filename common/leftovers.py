"""Names for what is written beside its place, by which the next write there removes what killed processes left.

For files, and folders that are moved aside: they hold no lock that would tell, as those of `folders.work_folder` do.
"""
from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from pathlib import Path


def _mark() -> str:
    """Of this boot of this machine and these process numbers, which no other machine or container has; "" where the
    system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
        return hashlib.sha256(boot + os.readlink("/proc/self/ns/pid").encode()).hexdigest()[:12]
    except OSError:
        return ""


MARK = _mark()


def aside(path: Path, end: str, name: str = "") -> Path:
    """A new hidden name beside `path` for this process, which ends in `end`; name: instead of that of `path`."""
    return path.with_name(f".{name or path.name}.{MARK or 'x'}-{os.getpid()}-{secrets.token_hex(4)}{end}")


def remove_leftovers(path: Path, end: str, name: str = "") -> None:
    """Remove the files, or for `.old` the folders, that `aside` named so for processes of this user that no longer
    live. What may be of a living one stays: of another machine or container, or from before this one was started."""
    pattern = re.compile(rf"\.{re.escape(name or path.name)}\.{MARK}-(\d{{1,10}})-[0-9a-f]{{8}}{re.escape(end)}")
    with contextlib.suppress(OSError):  # a folder that this user may not list
        for found in filter(None, map(pattern.fullmatch, os.listdir(path.parent) if MARK else [])):
            left = path.with_name(found[0])
            with contextlib.suppress(OSError):
                if not _is_alive(int(found[1])) and left.lstat().st_uid == os.geteuid():
                    shutil.rmtree(left) if end == ".old" else left.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        pass
    return True
