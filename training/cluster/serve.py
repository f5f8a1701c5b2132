"""The process of a scheduler or a server: what `train_softmax.py` is where DMLC_ROLE says so."""
from __future__ import annotations

import logging
import os
import signal
from typing import Callable

from common.errors import UserError
from common.signals import left_to_system
from training.cluster import heartbeat, variables

log = logging.getLogger(__name__)
ROLES = ("scheduler", "server")


def role() -> str:
    """`scheduler` or `server` where the environment makes this process one, else nothing. UserError for nonsense."""
    value = os.environ.get("DMLC_ROLE", "")
    if value not in ("", "worker", *ROLES):
        raise UserError(f"DMLC_ROLE={value}: must be scheduler, server or worker")
    return value if value in ROLES else ""


def serve(role: str) -> int:
    """Be the scheduler or a server until the workers are done; the exit status. UserError where it cannot begin.

    `import mxnet` would do so by itself, and never return; here others that are gone end it too, and nothing that a
    peer sends is unpickled.
    """
    kept = variables.prepare()
    del os.environ["DMLC_ROLE"]
    import mxnet as mx

    from common import mxnet_compat
    os.environ["DMLC_ROLE"] = role
    left_to_system((signal.SIGINT, signal.SIGTERM))
    store = mx.kv.create("dist")
    if role == "scheduler":
        life = heartbeat.Heartbeat(store, mxnet_compat.SERVERS_AND_WORKERS, "scheduler: a server or a worker is gone")
    else:
        life = heartbeat.Heartbeat(store, mxnet_compat.SCHEDULER, "server: the scheduler is gone")
    mxnet_compat.serve_until_done(store, refusing())
    life.close()
    if kept:
        kept.close()
    return 0


def refusing() -> Callable[[int, int | None, int | None], None]:
    """What MXNet calls for a command to this server: it does nothing, and says so once.

    Our workers send none: that sums are to wait for all, and the end, are handled inside MXNet. MXNet's own function
    unpickles an optimizer here, that is, runs what a peer wants to be run.
    """
    said: list[int] = []

    def refuse(command: int, body: int | None, _: int | None) -> None:
        if not said:
            said.append(command)
            log.warning("server: a command (%d) that no worker of ours sends was refused; is this port open to others?",
                        command)
    return refuse
