"""At which addresses processes listen for TCP connections, as the system tells."""
from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

LISTEN = "0A"


def addresses(pid):
    """Each address that the process listens at, of IPv4 or IPv6."""
    inodes = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(handle))
    found = set()
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and f"socket:[{fields[9]}]" in inodes:
                words = bytes.fromhex(fields[1].partition(":")[0])
                number = b"".join(words[start:start + 4][::-1] for start in range(0, len(words), 4))
                found.add(socket.inet_ntop(family, number))
    return found
