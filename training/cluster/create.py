"""Which workers `kvstore` means, met at the beginning of a run and parted from at its end."""
from __future__ import annotations

import contextlib
from typing import Iterator

from training.cluster.allreduce import Horovod
from training.cluster.communicator import Workers
from training.cluster.parameter_server import ParameterServer


@contextlib.contextmanager
def join(kvstore: str) -> Iterator[Workers]:
    """The workers that `kvstore` means, met and parted from. UserError where they cannot be met."""
    if kvstore.startswith("dist"):
        workers: Workers = ParameterServer(kvstore)
    elif kvstore == "horovod":
        workers = Horovod()
    else:
        workers = Workers(kvstore)
    try:
        yield workers
    except BaseException:
        workers.leave(failed=True)
        raise
    workers.leave(failed=False)
