"""train_softmax.py, in which workers meet what FAULT says: WORKER/STEP/WHAT, several with commas.

nan-loss: an image's loss, and with it the gradient, is not a number; nan-gradient: the gradient alone; kill: the
process is gone before the step; signal: the worker makes the file FAULT_NOTE and waits until SIGINT has come. float16
is one that CPUs have: numbers are rounded, and multiplied in float32.
"""
from __future__ import annotations

import math
import os
import signal
import threading
from pathlib import Path


def spoil(compute, worker, step_wanted, what):
    """`compute` of training.step with the fault in it."""
    def faulty(model, batch, step, factor=1.0):
        mine = step == step_wanted and model.communicator.rank == worker
        if mine and what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if mine and what == "signal":
            wait_for_signal(os.environ["FAULT_NOTE"])
            mine = False
        result = compute(model, batch, step, factor)
        if mine:
            model.net_parameters["conv_1_conv2d_weight"].list_grad()[0][:] = math.nan
            if what == "nan-loss":
                result.losses[0][1] = math.nan
        return result
    return faulty


def wait_for_signal(note):
    """Wait for SIGINT, which the handler that is there sees as well."""
    came, handler = threading.Event(), signal.getsignal(signal.SIGINT)

    def handle(number, frame):
        came.set()
        handler(number, frame)
    signal.signal(signal.SIGINT, handle)
    Path(note).touch()
    came.wait()
    signal.signal(signal.SIGINT, handler)


def prepare(argv):
    """Put the fault, and a float16 that CPUs have, into the modules of training."""
    from common.environment import check_environment
    check_environment()
    from short_network import shorten

    import training.step
    if "float16" not in argv:  # whose loss scale overflows once with the whole network
        shorten()
    for fault in filter(None, os.environ.get("FAULT", "").split(",")):
        worker, step, what = fault.split("/")
        training.step.compute = spoil(training.step.compute, int(worker), int(step), what)
    if "float16" in argv:
        prepare_float16()


def prepare_float16():
    """A float16 that CPUs have, with a loss scale that overflows once."""
    import training.model
    import training.run
    from symbols.float16_graph import to_float16
    from training.precision import LossScale
    training.run.check_precision = lambda dtype, devices: None
    training.model.to_float16 = lambda symbol: to_float16(symbol, "float32")
    training.model.LossScale = lambda *state: LossScale(*(state or (512.0,)))


def main(argv):
    if os.environ.get("DMLC_ROLE", "worker") == "worker":
        prepare(argv)
    import train_softmax
    return train_softmax.main(argv)


if __name__ == "__main__":
    from common.cli import run
    run(main, "train_softmax.py")
