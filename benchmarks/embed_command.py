"""`deploy embed`: its speed relative to the bare network, and its peak memory, which must hardly grow with the set.

    python -m benchmarks.embed_command                             # a minute or two
    python -m benchmarks.embed_command --numbers 10000,100000      # memory of 100,000 images

Speed, with mirror images: MobileFaceNet over synthetic JPEGs on the disk, journal and file written, against the
Embedder alone on the decoded images in memory; both are interleaved, and give the same embeddings. Memory: a process of
its own for each number of images, with a network that computes next to nothing, 512-d; the names are hard links to a
few JPEGs.
"""
from __future__ import annotations

import contextlib
import io
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Callable

import mxnet as mx
import numpy as np

import symbols
from benchmarks.embed import draw_parameters
from benchmarks.harness import comma_separated, machine, peak_memory, run_benchmark, speed_ratio, take_turns
from benchmarks.table import NETWORKS, SIDE
from common import cli
from deploy.__main__ import main as deploy
from eval.embedding_file import load_embeddings
from images.codec import decode, encode_jpeg
from inference.embedder import Embedder

BATCH = 64
FILES = 200  # different JPEGs
FOLDER = 1000  # images of an identity, in the measurement of memory
COMMAND, BARE = "embed", "the network alone"


def main(argv: list[str]) -> None:
    """Print the ratio and the figures of memory."""
    parser = cli.Parser(prog="python -m benchmarks.embed_command", description=__doc__)
    parser.add_argument("--images", type=cli.at_least(1), default=256, metavar="N", help="images of a turn")
    parser.add_argument("--repeats", type=cli.at_least(1), default=5, help="turns that count, after one of warm-up")
    parser.add_argument("--numbers", type=comma_separated(cli.at_least(1)), default="2000,20000", metavar="N,M",
                        help="images for memory (2000,20000)")
    args = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    print(machine(), f"load {os.getloadavg()[0]:.1f}", sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        speed(folder, args.images, args.repeats)
        for number in args.numbers:
            memory(folder, number)


def speed(folder: Path, count: int, repeats: int) -> None:
    """Print images a second of both sides; RuntimeError where they do not give the same embeddings."""
    symbol = symbols.build(*NETWORKS["MobileFaceNet"])
    arguments, auxiliary = draw_parameters(symbol)
    mx.model.save_checkpoint(str(folder / "model"), 1, symbol, arguments, auxiliary)
    files = draw_files(folder / "faces/p", count)
    images = np.stack([decode(file.read_bytes()) for file in files])
    embedder = Embedder(symbol, arguments, auxiliary, [mx.cpu()], BATCH, (SIDE, SIDE))

    def command() -> None:
        argv = ["embed", "--model", f"{folder}/model,1", str(folder / "faces"), "--out", str(folder / "x.npz"),
                "--devices", "cpu:0", "--batch-size", str(BATCH), "--overwrite"]
        with contextlib.redirect_stdout(io.StringIO()):
            if deploy(argv):
                raise RuntimeError("embed failed")

    def bare() -> np.ndarray:
        return np.concatenate([views.sum(axis=0) for views in embedder.embed(
            (images[first:first + BATCH] for first in range(0, count, BATCH)), True)])
    spent: dict[str, list[float]] = {COMMAND: [], BARE: []}

    def counted(name: str, function: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            began = time.process_time()
            function()
            spent[name].append(time.process_time() - began)
        return run
    seconds = take_turns({name: counted(name, function) for name, function in ((COMMAND, command), (BARE, bare))},
                         repeats)
    expected = bare()
    made = load_embeddings(folder / "x.npz").embeddings
    if np.abs(made - expected / np.linalg.norm(expected, axis=1)[:, None]).max() > 1e-5:
        raise RuntimeError("the two sides do not give the same embeddings")
    rates = {name: count / statistics.median(values) for name, values in seconds.items()}
    print(f"MobileFaceNet, {count} images: {rates[COMMAND]:.1f} images/s from files to file, {rates[BARE]:.1f} by the "
          f"network alone: {speed_ratio(seconds, BARE, COMMAND):.2f} of it, loading the model included; by the time on "
          f"processors, which other work disturbs less, {speed_ratio(spent, BARE, COMMAND):.2f}", flush=True)


def memory(folder: Path, number: int) -> None:
    """Print the peak memory of a process that embeds so many images."""
    save_small_model(folder / "small")
    files, source = draw_files(folder / "jpegs", FILES), folder / f"set{number}"
    for place in range(number):
        person = source / f"p{place // FOLDER}"
        person.mkdir(parents=True, exist_ok=True)
        os.link(files[place % FILES], person / f"{place}.jpg")
    began = time.perf_counter()
    peak = peak_memory(["-m", "deploy", "embed", "--model", f"{folder}/small,1", str(source), "--out",
                        str(folder / f"{number}.npz"), "--devices", "cpu:0"])
    size = (folder / f"{number}.npz").stat().st_size
    print(f"{number} images, 512-d: peak memory {peak >> 20} MiB, a file of {size >> 20} MiB, "
          f"{number / (time.perf_counter() - began):.0f} images/s with next to no network", flush=True)


def save_small_model(prefix: Path) -> None:
    """A checkpoint of a network that averages patches and multiplies them by a matrix."""
    data = (mx.sym.Variable("data") - 127.5) * 0.0078125
    pooled = mx.sym.Pooling(data, kernel=(28, 28), stride=(28, 28), pool_type="avg", name="pool")
    symbol = mx.sym.FullyConnected(mx.sym.Flatten(pooled), num_hidden=512, name="fc1")
    random = np.random.RandomState(0)
    mx.model.save_checkpoint(str(prefix), 1, symbol, {"fc1_weight": mx.nd.array(random.normal(0, 1, (512, 48))),
                                                      "fc1_bias": mx.nd.zeros(512)}, {})


def draw_files(folder: Path, count: int) -> list[Path]:
    """JPEGs of smooth noise, of the size of crops."""
    folder.mkdir(parents=True, exist_ok=True)
    random, files = np.random.RandomState(0), []
    for number in range(count):
        coarse = random.randint(0, 256, (14, 14, 3)).astype(np.uint8)
        files.append(folder / f"{number}.jpg")
        if not files[-1].exists():
            files[-1].write_bytes(encode_jpeg(coarse.repeat(8, axis=0).repeat(8, axis=1)))
    return files


if __name__ == "__main__":
    run_benchmark(main)
