"""Huge pages for a process that computes on CPUs, where Linux gives them on request and glibc can request them.

A step moves hundreds of megabytes, and translating their addresses takes longer with pages of 4 KiB than with those of
2 MiB (`python -m benchmarks.huge_pages`). malloc reads the setting when a process starts, so a command starts again.
GLIBC_TUNABLES=glibc.malloc.hugetlb=0 in the environment declines it.
"""
from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path

LINUX = Path("/sys/kernel/mm/transparent_hugepage/enabled")
SETTINGS, SETTING = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
STARTED_AGAIN = "FACES_STARTED_AGAIN"  # a system may withhold SETTINGS, and a process must not start for ever
FIRST_GLIBC = (2, 35)  # the first with the setting


def start_with_huge_pages() -> None:
    """Start this command again with huge pages where that changes something, as the first thing that it does.

    Not where a debugger or a coverage tool follows it.
    """
    if sys.executable and sys.gettrace() is None and request_huge_pages():
        with contextlib.suppress(OSError):  # without them, then
            start_again()


def request_huge_pages() -> bool:
    """Request them in the environment; whether a process that starts with it differs from this one."""
    settings = os.environ.get(SETTINGS, "")
    if SETTING in settings or STARTED_AGAIN in os.environ or not _are_on_request() or _glibc() < FIRST_GLIBC:
        return False
    os.environ[SETTINGS] = f"{settings}:{SETTING}=1" if settings else f"{SETTING}=1"
    return True


def start_again() -> None:
    """Replace this process by one of the same command in the environment as it is now; OSError where it cannot be."""
    os.environ[STARTED_AGAIN] = "1"
    module = sys.modules["__main__"].__spec__
    command = ["-m", module.name, *sys.argv[1:]] if module else sys.argv
    os.execv(sys.executable, [sys.executable, *(sys.orig_argv[1:] if hasattr(sys, "orig_argv") else command)])


def _are_on_request() -> bool:
    try:
        return "[madvise]" in LINUX.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def _glibc() -> tuple[int, ...]:
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):  # another system, or another C library
        version = ""
    return tuple(map(int, re.findall(r"\d{1,9}", version)))
