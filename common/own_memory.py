"""The peak memory of this process. It imports nothing of the project: PyTorch's process uses it as well."""
from __future__ import annotations

import re
import resource
import sys


def own_peak_memory() -> int:
    """The peak resident memory of this process so far, in bytes.

    Where there is /proc, as it says: getrusage counts a process as large as the one that started it was.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as stream:
            found = re.search(r"^VmHWM:\s+(\d+) kB$", stream.read(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
