"""How many cores reading takes at the rate of eight fast GPUs, 16,000 images/s.

    python -m benchmarks.reading_cores                      # of ../shared/data/train, or of synthetic images
    python -m benchmarks.reading_cores --rate 40000 --threads 1 2 4 --data DIR

Everything is read by the loader of train_softmax.py: record, decoding, mirror, augmentation, batches of 128.

1. As fast as it goes: processor time of the whole process for an image, with each number of threads. The cores at a
   rate are computed from it. A machine with as many cores takes as much only if threads do not wait more for
   each other's Python there, which 3 and 4 are about.
2. Paced: batches are taken at a rate that two cores reach; processor seconds for each second on the clock.
3. Python's part: with calls in place of reading, decoding and mirroring that do nothing. All of it is under the GIL,
   one thread at a time, so its inverse is the limit of one process, whatever the number of cores.
4. Cores that are not here: each image is one sleep of a millisecond in place of decoding, by more threads than
   there are cores, which ask for the GIL as often as decoding threads of that many slow cores would.

Times on the clock (images/s) depend on what else the machine does; processor times much less.
"""
from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from types import SimpleNamespace
from typing import Callable, Iterator
from unittest import mock

import cv2
import mxnet as mx
import numpy as np

from benchmarks.harness import machine, run_benchmark
from benchmarks.reading import DATA, data_folder, open_checked
from common import cli
from common.devices import put
from recordio_tools.records.dataset import FaceDataset
from recordio_tools.records.raw import RawFile
from training.data import decode
from training.data.augmentation import Augmentation
from training.data.loader import BatchLoader
from training.specs import LoaderSpec

BATCH, WARM_UP = 128, 4  # images of a batch; batches before the time counts
RATE = 16000
ASLEEP = 1e-3  # seconds, in place of decoding an image
SLEEPERS = (8, 16, 32)  # threads that sleep
AUGMENTATIONS = {"mirrored": Augmentation(), "--cutoff 56": Augmentation(cutoff=56), "--color 1": Augmentation(color=1),
                 "--color 2 (JPEG artefacts)": Augmentation(color=2)}


def main(argv: list[str]) -> int:
    """Measure and print."""
    parser = cli.Parser(prog="python -m benchmarks.reading_cores", description=__doc__)
    parser.add_argument("--rate", type=cli.at_least(1), default=RATE, help=f"images/s to compute cores for ({RATE})")
    parser.add_argument("--threads", type=cli.at_least(1), nargs="+", default=[1, 2], metavar="N",
                        help="threads of the loader (1 2)")
    parser.add_argument("--paced", type=cli.at_least(1), nargs="*", default=[1000, 2000], metavar="RATE",
                        help="rates at which batches are taken (1000 2000)")
    parser.add_argument("--batches", type=cli.at_least(1), default=24, help=f"batches of {BATCH} in a turn (24)")
    parser.add_argument("--repeats", type=cli.at_least(1), default=5, help="turns, of which the median counts (5)")
    parser.add_argument("--data", metavar="DIR", help=f"a packed set of 112x112 images (default: {DATA}, or synthetic "
                        "images where there is none)")
    arguments = parser.parse_args(argv)
    with data_folder(arguments.data) as folder:
        dataset = open_checked(folder)
        print(f"{machine()}\n{len(dataset)} images; medians of {arguments.repeats} turns of "
              f"{arguments.batches * BATCH} images", flush=True)
        for lines in (_fast, _paced, _python, _asleep):
            print()
            for line in lines(dataset, arguments):
                print(line, flush=True)
    return 0


def _fast(dataset: FaceDataset, arguments: argparse.Namespace) -> Iterator[str]:
    yield (f"| images | threads | processor time, us an image | cores at {arguments.rate} images/s "
           "| reached, images/s |")
    yield "|---|---|---|---|---|"
    kinds: list[tuple[str, Augmentation, Callable | None]] = [(name, one, None) for name, one in AUGMENTATIONS.items()]
    kinds.append(("mirrored, and put on a device as a step does", Augmentation(), _put))
    sides = {(name, count): (spec, use) for name, spec, use in kinds for count in arguments.threads}
    found: dict[tuple[str, int], list[tuple[float, float]]] = {side: [] for side in sides}
    for _ in range(arguments.repeats):
        for (name, count), (augmentation, use) in sides.items():
            found[name, count].append(read(dataset, augmentation, count, arguments.batches, use=use))
    for (name, count), turns in found.items():
        spent, rate = (statistics.median(values) for values in zip(*turns))
        yield f"| {name} | {count} | {spent * 1e6:.1f} | {spent * arguments.rate:.2f} | {rate:,.0f} |"


def _paced(dataset: FaceDataset, arguments: argparse.Namespace) -> Iterator[str]:
    yield "| demanded, images/s | threads | reached | processor seconds a second | processor time, us an image |"
    yield "|---|---|---|---|---|"
    for demanded in arguments.paced:
        turns = [read(dataset, Augmentation(), max(arguments.threads), arguments.batches, demanded)
                 for _ in range(arguments.repeats)]
        spent, rate = (statistics.median(values) for values in zip(*turns))
        yield f"| {demanded} | {max(arguments.threads)} | {rate:,.0f} | {spent * rate:.2f} | {spent * 1e6:.1f} |"


def _python(dataset: FaceDataset, arguments: argparse.Namespace) -> Iterator[str]:
    for name in ("mirrored", "--cutoff 56"):
        with calls_replaced(lambda: None):
            turns = [read(dataset, AUGMENTATIONS[name], 1, arguments.batches) for _ in range(arguments.repeats)]
        spent, rate = (statistics.median(values) for values in zip(*turns))
        yield (f"Python's part, {name}: {spent * 1e6:.1f} us an image ({rate:,.0f} images/s reached by one thread), "
               f"{spent * arguments.rate:.2f} of a core at {arguments.rate} images/s; computed: at most "
               f"{1 / spent:,.0f} images/s in one process")


def _asleep(dataset: FaceDataset, arguments: argparse.Namespace) -> Iterator[str]:
    for count in SLEEPERS:
        with calls_replaced(lambda: time.sleep(ASLEEP)):
            turns = [read(dataset, Augmentation(), count, max(arguments.batches, count)) for _ in range(3)]
        spent, rate = (statistics.median(values) for values in zip(*turns))
        yield (f"{count} threads that sleep for each image: {rate:,.0f} images/s ({count / ASLEEP:,.0f} if none waited "
               f"and a sleep took no longer), {spent * 1e6:.1f} us of processor time an image")


def read(dataset: FaceDataset, augmentation: Augmentation, threads: int, batches: int, rate: int = 0,
         use: Callable[[np.ndarray], object] | None = None) -> tuple[float, float]:
    """(processor seconds of the process for an image, images/s); rate: at which batches are taken, 0 for any."""
    loader = BatchLoader(dataset, np.arange(len(dataset)), LoaderSpec(BATCH, augmentation, threads=threads))
    try:
        for _ in range(WARM_UP):
            loader.next()
        began, spent = time.perf_counter(), time.process_time()
        for number in range(batches):
            images = loader.next().images
            if use:
                use(images)
            if rate:
                time.sleep(max(began + (number + 1) * BATCH / rate - time.perf_counter(), 0))
        return ((time.process_time() - spent) / (batches * BATCH),
                batches * BATCH / (time.perf_counter() - began))
    finally:
        loader.close()


@contextlib.contextmanager
def calls_replaced(decoding: Callable[[], None]) -> Iterator[None]:
    """In place of what releases the GIL for an image (read, decode, write to the batch): records that are kept once
    read, and the same image after `decoding`."""
    kept: dict[tuple[int, int], bytes] = {}
    pread, image = RawFile.bytes_at, np.zeros((112, 112, 3), np.uint8)

    def bytes_at(file: RawFile, offset: int, count: int) -> bytes:
        found = kept.get((id(file), offset))
        if found is None:
            found = kept[id(file), offset] = pread(file, offset, count)
        return found

    def imdecode(*_: object) -> np.ndarray:
        decoding()
        return image
    calls = SimpleNamespace(imdecode=imdecode, cvtColor=lambda *_: None, flip=lambda *_: None, error=cv2.error,
                            IMREAD_COLOR=cv2.IMREAD_COLOR, COLOR_BGR2RGB=cv2.COLOR_BGR2RGB)
    with mock.patch.object(RawFile, "bytes_at", bytes_at), mock.patch.object(decode, "cv2", calls):
        yield


def _put(images: np.ndarray) -> None:
    put(images, mx.cpu()).wait_to_read()


if __name__ == "__main__":
    run_benchmark(main)
