"""Creates the communicator for `kvstore` at the beginning of a run, and leaves it at the end."""
from __future__ import annotations

import contextlib
from typing import Iterator

from training.cluster.allreduce import Horovod
from training.cluster.communicator import Communicator
from training.cluster.parameter_server import ParameterServer


@contextlib.contextmanager
def create_communicator(kvstore: str) -> Iterator[Communicator]:
    """The communicator for `kvstore`, left at the end. UserError where the other workers cannot be reached."""
    if kvstore.startswith("dist"):
        communicator: Communicator = ParameterServer(kvstore)
    elif kvstore == "horovod":
        communicator = Horovod()
    else:
        communicator = Communicator(kvstore)
    try:
        yield communicator
    except BaseException:
        communicator.leave(failed=True)
        raise
    communicator.leave(failed=False)
