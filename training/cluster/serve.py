"""The scheduler's or a server's process: `train_softmax.py` runs it where DMLC_ROLE is set so."""
from __future__ import annotations

import logging
import os
import signal
from typing import Callable

from common.environment import load_mxnet
from common.errors import UserError
from common.signals import left_to_system
from training.cluster import heartbeat, variables

log = logging.getLogger(__name__)
ROLES = ("scheduler", "server")


def role() -> str:
    """`scheduler` or `server` where the environment makes this process one, else nothing. UserError for other
    values."""
    value = os.environ.get("DMLC_ROLE", "")
    if value not in ("", "worker", *ROLES):
        raise UserError(f"DMLC_ROLE={value}: must be scheduler, server or worker")
    return value if value in ROLES else ""


def serve(role: str) -> int:
    """Run the scheduler or a server until the workers are done; the exit status. UserError where it cannot start.

    `import mxnet` would do so by itself, and never return; here the failure of others ends it too, and nothing that it
    receives is unpickled.
    """
    kept = variables.prepare()
    del os.environ["DMLC_ROLE"]
    load_mxnet()
    import mxnet as mx

    from common import mxnet_compat
    os.environ["DMLC_ROLE"] = role
    left_to_system((signal.SIGINT, signal.SIGTERM))
    store = mx.kv.create("dist")
    if role == "scheduler":
        life = heartbeat.Heartbeat(store, mxnet_compat.SERVERS_AND_WORKERS, "scheduler: a server or worker has failed")
    else:
        life = heartbeat.Heartbeat(store, mxnet_compat.SCHEDULER, "server: the scheduler has failed")
    mxnet_compat.serve_until_done(store, refusing())
    life.close()
    if kept:
        kept.close()
    return 0


def refusing() -> Callable[[int, int | None, int | None], None]:
    """MXNet's callback for a command to this server: it does nothing, and logs so once.

    This project's workers send none: synchronous mode and the end are handled inside MXNet. MXNet's own function
    unpickles an optimizer here, which would run arbitrary code of a sender.
    """
    said: list[int] = []

    def refuse(command: int, body: int | None, _: int | None) -> None:
        if not said:
            said.append(command)
            log.warning("server: a command (%d) that no worker sends was refused; is this port open to others?",
                        command)
    return refuse
