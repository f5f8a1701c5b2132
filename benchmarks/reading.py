"""Reading an InsightFace rec into shuffled, mirrored batches: `training/data/` against a Python loop and bare decoding.

The loop is the usual one of MXNet scripts: MXIndexedRecordIO, mx.recordio.unpack, mx.image.imdecode into an NDArray,
mx.nd.flip for half of the images, transposed into the batch's NDArray. The bare side is cv2.imdecode in as many threads
as cores, over bytes that are in memory already, and nothing else; processes instead of threads are no faster. The
processor time an image takes stands beside, since training needs the same cores.

`wait` trains MobileFaceNet for real (train_softmax.py, batch 32) and reads `data_wait` of its metrics.jsonl.
"""
from __future__ import annotations

import concurrent.futures
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Iterator

import cv2
import mxnet as mx
import numpy as np

from benchmarks.harness import speed_ratios, take_turns
from benchmarks.scaling import write_data
from benchmarks.table import SIDE, Row
from common.environment import usable_cores
from common.errors import UserError
from recordio_tools.records.dataset import FaceDataset, open_dataset
from training.data.loader import BatchLoader
from training.specs import LoaderSpec

DATA = "../shared/data/train"
BATCH, BATCHES, LOOPED = 128, 96, 4  # batches per turn, and of the slow loop, whose time is scaled up
LOOP, OURS, BARE = "loop", "ours", "bare"
STEPS = 60


def loop(data: str, dataset: FaceDataset) -> Callable[[], None]:
    """The usual Python loop over LOOPED batches per call."""
    record = mx.recordio.MXIndexedRecordIO(str(Path(data) / "train.idx"), str(dataset.record_file.rec_path), "r")
    random = np.random.RandomState(0)

    def read() -> None:
        keys = np.resize(random.permutation(dataset.keys), BATCH * LOOPED).tolist()
        for first in range(0, len(keys), BATCH):
            batch, labels = mx.nd.empty((BATCH, 3, SIDE, SIDE)), mx.nd.empty((BATCH,))
            for row, key in enumerate(keys[first:first + BATCH]):
                header, content = mx.recordio.unpack(record.read_idx(key))
                image = mx.image.imdecode(content)
                if random.randint(2):
                    image = mx.nd.flip(image, axis=1)
                batch[row][:] = mx.nd.transpose(image, axes=(2, 0, 1))
                labels[row][:] = header.label if np.isscalar(header.label) else header.label[0]
            mx.nd.waitall()
    return read


def bare(dataset: FaceDataset) -> Callable[[], None]:
    """cv2.imdecode of BATCHES batches over all cores."""
    keys = np.resize(np.random.RandomState(0).permutation(dataset.keys), BATCH * BATCHES).tolist()
    contents = [np.frombuffer(dataset.record_file.read(key).content, np.uint8) for key in keys]
    cores = usable_cores()

    def decode(part: list[np.ndarray]) -> None:
        for content in part:
            cv2.imdecode(content, cv2.IMREAD_COLOR)

    def read() -> None:
        with concurrent.futures.ThreadPoolExecutor(cores) as pool:
            list(pool.map(decode, [contents[first::cores] for first in range(cores)]))
    return read


def rows(repeats: int, data: str) -> list[Row]:
    """The reader against the loop, and against bare decoding."""
    dataset = open_checked(data)
    cpu: dict[str, list[float]] = {OURS: [], BARE: []}
    seconds = take_turns({LOOP: loop(data, dataset), OURS: _noting_cpu(lambda: _read_from_cold(dataset), cpu[OURS]),
                          BARE: _noting_cpu(bare(dataset), cpu[BARE])}, repeats)
    seconds[LOOP] = [value * BATCHES / LOOPED for value in seconds[LOOP]]
    rate = {name: BATCH * BATCHES / statistics.median(values) for name, values in seconds.items()}
    spent = {name: statistics.median(values[1:]) / (BATCH * BATCHES) * 1e6 for name, values in cpu.items()}
    return [Row("reading, of the Python loop", speed_ratios(seconds, LOOP, OURS), 4.0, None,
                f"{rate[OURS]:.0f} against {rate[LOOP]:.0f} images/s"),
            Row("reading, of bare cv2.imdecode", speed_ratios(seconds, BARE, OURS), None, 0.9,
                f"{rate[OURS]:.0f} against {rate[BARE]:.0f} images/s; {spent[OURS]:.1f} against {spent[BARE]:.1f} us "
                "of processor time an image")]


def _noting_cpu(function: Callable[[], None], spent: list[float]) -> Callable[[], None]:
    """`function`, each call of which appends its processor time, in seconds over all threads."""
    def call() -> None:
        began = time.process_time()
        function()
        spent.append(time.process_time() - began)
    return call


def _read_from_cold(dataset: FaceDataset) -> None:
    """A loader without prefetching, so that all decoding is inside the measured time."""
    loader = BatchLoader(dataset, np.arange(len(dataset)), LoaderSpec(BATCH, ahead=1))
    for _ in range(BATCHES):
        loader.next()
    loader.close()


def wait(data: str) -> list[Row]:
    """The fraction of a MobileFaceNet step spent waiting for data, over the steps after the first ten."""
    open_checked(data)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "train_softmax.py", "--preset=mobilefacenet", f"--data-dir={data}",
                   f"--prefix={folder}/run/model", "--per-batch-size=32", f"--max-steps={STEPS}", "--frequent=10",
                   "--target=none", "--ckpt=0", "--devices=cpu:0", "--lr=0.01"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["the training run failed"])[-1])
        found = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()]
    trained = [row for row in found if row["kind"] == "train"][1:]
    rate = statistics.median(row["samples_per_s"] for row in trained)
    return [Row("waiting for data, MobileFaceNet", [statistics.mean(row["data_wait"] for row in trained)], 0.03, None,
                f"share of {STEPS - 10} steps at {rate:.1f} images/s (train_softmax.py, batch 32)", least=True,
                negligible=0.003)]


def open_checked(data: str) -> FaceDataset:
    """The set in folder `data`; UserError naming --data where there is none, or none of images of SIDE x SIDE."""
    try:
        dataset = open_dataset(data)
    except UserError as error:
        raise UserError(f"--data: {error}") from None
    if (dataset.height, dataset.width) != (SIDE, SIDE):
        raise UserError(f"--data {data}: images of {dataset.height}x{dataset.width}; name a set of {SIDE}x{SIDE}, "
                        "or leave --data out")
    return dataset


@contextlib.contextmanager
def data_folder(given: str | None, needed: bool = True) -> Iterator[str]:
    """The folder of the set to read: `given`, checked, DATA, or synthetic images; UserError where it is not usable."""
    path = DATA if given is None else given
    if given is None and needed and not Path(DATA).is_dir():
        with tempfile.TemporaryDirectory() as folder:
            write_data(Path(folder))
            yield folder
        return
    if needed or given is not None:
        open_checked(path).record_file.close()
    yield path
