"""The CPU's streams: how many, how wide their workers are, and that embeddings do not depend on them."""
import ctypes
import os
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest
from mxnet.base import _LIB
from small_nets import draw_parameters, forward, small_symbol

from common import mxnet_compat
from inference.embedder import Embedder
from inference.streams import open_streams

SIZE = (20, 28)
IMAGES = np.random.RandomState(5).randint(0, 256, (19, *SIZE, 3)).astype(np.uint8)
NAIVE = """
import ctypes, os
os.environ["MXNET_ENGINE_TYPE"] = "NaiveEngine"
os.environ["OMP_NUM_THREADS"] = "3"
from mxnet.base import _LIB
from inference.streams import open_streams
open_streams(3)
print(_LIB.omp_get_max_threads())
"""


def width_of(device):
    """The threads that operators of `device` may open, as its worker says."""
    found = []
    ask = mxnet_compat._IN_WORKER(lambda _context, _argument: found.append(_LIB.omp_get_max_threads()))
    place = mxnet_compat._Device(1, device.device_id)
    _LIB.MXEnginePushSync(ask, None, None, ctypes.byref(place), None, 0, None, 0, None, 0, b"ask")
    mx.nd.waitall()
    return found[0]


@pytest.mark.parametrize("cores, images, expected", [
    (1, 1, [1]), (1, 64, [1]), (2, 1, [2]), (2, 2, [1, 1]), (2, 64, [1, 1]), (4, 3, [1, 1, 1]), (5, 2, [2, 2]),
    (12, 64, [1] * 8), (16, 64, [2] * 8), (3, 0, [3])])
def test_streams_share_the_cores(monkeypatch, cores, images, expected):
    before = width_of(mx.cpu(0))
    monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
    opened = open_streams(images)
    assert [width_of(stream) for stream in opened] == expected and len(set(opened)) == len(opened)
    assert width_of(mx.cpu(0)) == before  # where a training runs


def test_streams_opened_after_a_fork_have_their_width(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for _ in range(2):
        assert [width_of(stream) for stream in open_streams(1)] == [3]
        child = os.fork()  # MXNet ends its workers here, and begins others in both processes
        if not child:
            os._exit(0)
        os.waitpid(child, 0)


@pytest.mark.parametrize("cores", [1, 2, 3, 16])
@pytest.mark.parametrize("batch_size", [1, 7, 19])
def test_embeddings_are_the_plain_ones_on_any_streams(monkeypatch, cores, batch_size):
    symbol = small_symbol()
    parameters = draw_parameters(symbol, SIZE)
    monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
    batches = [IMAGES[first:first + batch_size] for first in range(0, len(IMAGES), batch_size)]
    found = [np.concatenate(list(Embedder(symbol, *parameters, [mx.cpu(0)], batch_size, SIZE).embed(batches)), axis=1)
             for _ in range(2)]
    assert np.array_equal(*found)
    assert np.allclose(found[0][0], forward(symbol, *parameters, IMAGES), rtol=1e-4, atol=1e-5)


def test_the_numbers_of_cpu_devices_change_nothing():
    symbol = small_symbol()
    parameters = draw_parameters(symbol, SIZE)
    one, two = (next(Embedder(symbol, *parameters, [mx.cpu(number) for number in numbers], 8, SIZE).embed([IMAGES[:8]]))
                for numbers in ([0], [0, 1]))
    assert np.array_equal(one, two)


def test_without_workers_the_callers_threads_stay():
    done = subprocess.run([sys.executable, "-c", NAIVE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"
