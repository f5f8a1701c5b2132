"""Ends a process of the parameter server when another one has failed, so that none waits forever.

MXNet itself waits indefinitely for gradients that will never come. ps-lite can send heartbeats, but only between the
scheduler and the rest: so the scheduler watches servers and workers and exits when one of them is silent, and they
watch the scheduler.
"""
from __future__ import annotations

import os
import threading
import time
from typing import Any

DEFAULT_TIMEOUT = 60
SETTLE = 3  # heartbeats that may still come: a node that has just joined counts as silent until its first


def silence_allowed() -> int:
    """Seconds without a heartbeat after which a node counts as dead: PS_HEARTBEAT_TIMEOUT, or a minute."""
    return int(os.environ.get("PS_HEARTBEAT_TIMEOUT", DEFAULT_TIMEOUT))


class Heartbeat:
    """A thread that ends this process, with `message` and exit status 1, once a node of `group` is silent.

    store: the KVStore, made after variables.prepare has checked the numbers that are read here. The thread works
    while the rest of the process waits inside MXNet.
    """

    def __init__(self, store: Any, group: int, message: str) -> None:
        self._store, self._group, self._message = store, group, message
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; to be called before the KVStore is destroyed."""
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        from common.mxnet_compat import silent_nodes
        allowed, silent_since = silence_allowed(), None
        settle = SETTLE * int(os.environ["PS_HEARTBEAT_INTERVAL"])
        while not self._done.wait(settle if silent_since is None else 1):
            if not silent_nodes(self._store, self._group, allowed):
                silent_since = None
                continue
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > settle:
                os.write(2, f"{self._message} (no heartbeat for {allowed} s)\n".encode())
                os._exit(1)  # the main thread waits in MXNet, where no exception reaches it
