"""The process of a scheduler or a server: what `train_softmax.py` is where DMLC_ROLE says so."""
from __future__ import annotations

import os
import signal

from common.errors import UserError
from training.cluster import heartbeat

ROLES = ("scheduler", "server")


def role() -> str:
    """`scheduler` or `server` where the environment makes this process one, else nothing. UserError for nonsense."""
    value = os.environ.get("DMLC_ROLE", "")
    if value not in ("", "worker", *ROLES):
        raise UserError(f"DMLC_ROLE={value}: must be scheduler, server or worker")
    return value if value in ROLES else ""


def serve(role: str) -> int:
    """Be the scheduler or a server until the workers are done; the exit status. UserError where it cannot begin.

    `import mxnet` would do so by itself, and never return; here others that are gone end it too.
    """
    heartbeat.prepare()
    del os.environ["DMLC_ROLE"]
    import mxnet as mx
    from mxnet.kvstore.kvstore_server import KVStoreServer
    os.environ["DMLC_ROLE"] = role
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # Python's handlers would wait for MXNet to return
    store = mx.kv.create("dist")
    if role == "scheduler":
        watch = heartbeat.Watch(store.handle, heartbeat.SERVERS_AND_WORKERS, "scheduler: a server or a worker is gone")
    else:
        watch = heartbeat.Watch(store.handle, heartbeat.SCHEDULER, "server: the scheduler is gone")
    KVStoreServer(store).run()
    watch.close()
    return 0
