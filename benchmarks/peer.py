"""Comparison with the same networks in PyTorch, interleaved in one run: training step, embedding, peak memory.

    python -m benchmarks peer --torch-python .venv-torch/bin/python

PyTorch needs another numpy than MXNet, so it runs in a Python of its own (requirements-torch.txt) as a process that
waits while ours computes. Both sides get one checkpoint, the same images as bytes and the same labels, and are compared
first: embeddings, and the loss and the gradients of a step. PyTorch's is in channels last, and compiled.
"""
from __future__ import annotations

import contextlib
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterator, Mapping

import mxnet as mx
import numpy as np

from benchmarks.frontend import GluonSide, draw_batches, make_config
from benchmarks.harness import peak_memory, set_threads_first, speed_ratios, take_turns
from benchmarks.table import SIDE, Row
from common import huge_pages
from common.environment import threads
from common.errors import UserError
from inference.embedder import Embedder
from training.step import compute

REPO = Path(__file__).resolve().parent.parent
NETWORKS = {"MobileFaceNet": ("y1", 128), "LResNet18E": ("r18", 512)}  # network, emb_size; the head is GNAP
BATCH, CLASSES, MEMORY_STEPS = 32, 1000, 3
OURS, THEIRS = "ours", "PyTorch"
AIMS = {"MobileFaceNet": (1.15, 1.1), "LResNet18E": (1.2, 1.1)}  # of the step, and of embedding
# Largest relative differences. Where the input of one PReLU lies nearer to 0 than rounding, it takes the other slope,
# and all gradients before it differ by some 5e-3 with four images. Against float64, layer by layer, both sides do that,
# each from a different layer on; after it ours differ by 5e-5 and PyTorch's float32 by 6e-5.
CLOSE = {"embeddings": 1e-4, "loss": 1e-4, "gradients": 1e-2}


class TorchSide:
    """The worker process with a checkpoint. RuntimeError, with its last line, where it ends."""

    def __init__(self, python: str, network: str, checkpoint: Path, how: str = "compiled") -> None:
        self._errors = tempfile.TemporaryFile("w+")
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads()), "PYTHONPATH": str(REPO)}
        environment.pop(huge_pages.SETTINGS, None)  # PyTorch as it comes
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.torch_side.worker", network, str(checkpoint), how], cwd=REPO, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment)

    def ask(self, do: str, **more: str) -> dict[str, Any]:
        """The worker's answer."""
        asked, answers = self._process.stdin, self._process.stdout
        assert asked and answers  # both are pipes
        try:
            asked.write(json.dumps({"do": do, **more}) + "\n")
            asked.flush()
            answer = answers.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._errors.seek(0)
            raise RuntimeError(f"PyTorch's process: {(self._errors.read().strip().splitlines() or ['ended'])[-1]}")
        return json.loads(answer)

    def __enter__(self) -> TorchSide:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def check_python(python: str | None) -> str:
    """The Python that has PyTorch; UserError where it has none."""
    python = python or sys.executable
    try:
        done = subprocess.run([python, "-c", "import torch, numpy; print(torch.__version__)"], capture_output=True,
                              text=True)
    except OSError as error:
        raise UserError(f"--torch-python {python}: {error.strerror}") from None
    if done.returncode:
        raise UserError(f"--torch-python {python}: has no PyTorch; make an environment with requirements-torch.txt and "
                        "name its Python")
    return python


def make_side(network: str, classes: int = CLASSES, batch: int = BATCH) -> tuple[GluonSide, Any]:
    """Our model, initialised by the seed, with the running statistics of one pass; and the batch of the steps."""
    name, emb_size = NETWORKS[network]
    config = make_config(name, batch, emb_size=emb_size, lr=0.01, fc7_lr_mult=1.0, emb_wd_mult=1.0)
    side = GluonSide(config, (SIDE, SIDE), classes, [mx.cpu()])
    one = draw_batches(1, batch, (SIDE, SIDE), classes)[0]
    side.step(one)  # so that statistics and slopes are not round numbers
    return side, one


def write_checkpoint(side: GluonSide, batch: Any, path: Path) -> None:
    """The worker's input: all arrays, images (N, H, W, 3) uint8 and labels (N,)."""
    np.savez(path, images=batch.images, labels=batch.labels,
             **{name: value.asnumpy() for name, value in side.arrays().items()})


def differences(side: GluonSide, batch: Any, found: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Relative differences of what the worker's check wrote from ours: embeddings, loss, gradients."""
    embeddings = _embed(side, [batch.images])
    result = compute(side.model, batch, 0, 1 / len(batch.labels))
    loss = float(np.concatenate([part.asnumpy() for part in result.losses]).mean())
    mx.nd.waitall()
    parameters = {**side.model.net_parameters, **side.model.head_parameters}
    names = [name.partition(" ")[2] for name in found if name.startswith("gradient ")]
    ours = [parameters[name].list_grad()[0].asnumpy().ravel() for name in names]
    theirs = [found[f"gradient {name}"].ravel() for name in names]
    return {"embeddings": _relative(embeddings, found["embeddings"]), "loss": abs(loss / float(found["loss"]) - 1),
            "gradients": _relative(np.concatenate(ours), np.concatenate(theirs))}


def rows(repeats: int, python: str) -> Iterator[Row]:
    """For each network: the step, embedding, and the memory of training."""
    for network in NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            side, batch = make_side(network)
            checkpoint, found = Path(folder) / "checkpoint.npz", Path(folder) / "found.npz"
            write_checkpoint(side, batch, checkpoint)
            with TorchSide(python, network, checkpoint) as torch_side:
                torch_side.ask("check", path=str(found))
                with np.load(found, allow_pickle=False) as file:
                    check(network, differences(side, batch, file))
                yield from _speed(network, side, batch, torch_side, repeats)
            del side
            yield _memory(network, python, checkpoint)


def check(network: str, found: Mapping[str, float]) -> None:
    """RuntimeError where the sides do not compute the same."""
    for name, most in CLOSE.items():
        if not found[name] < most:
            raise RuntimeError(f"{network}: {name} differ by {found[name]:.1e}, so the sides are not comparable")


def _speed(network: str, side: GluonSide, batch: Any, torch_side: TorchSide, repeats: int) -> Iterator[Row]:
    embedder = _embedder(side)
    pairs = {"training step": (lambda: side.step(batch), "step", BATCH, AIMS[network][0]),
             "embedding": (lambda: list(embedder.embed([batch.images] * 2)), "embed", 2 * BATCH, AIMS[network][1])}
    for what, (ours, do, images, aim) in pairs.items():
        seconds = take_turns({OURS: ours, THEIRS: functools.partial(torch_side.ask, do)}, repeats, warm_up=2)
        rate = {name: images / statistics.median(values) for name, values in seconds.items()}
        yield Row(f"{what}, {network}, of PyTorch compiled", speed_ratios(seconds, THEIRS, OURS), None, aim,
                  f"{rate[OURS]:.1f} against {rate[THEIRS]:.1f} images/s")


def _memory(network: str, python: str, checkpoint: Path) -> Row:
    """The peaks of training alone; PyTorch's compiled code is in its cache by now."""
    ours = peak_memory(["-m", "benchmarks.peer", network])
    with TorchSide(python, network, checkpoint) as torch_side:
        for _ in range(MEMORY_STEPS):
            torch_side.ask("step")
        theirs = torch_side.ask("memory")["peak"]
    return Row(f"peak memory of training, {network}, of PyTorch compiled", [ours / theirs], None, 1.0,
               f"{ours / 2 ** 20:.0f} against {theirs / 2 ** 20:.0f} MiB", least=True)


def _embedder(side: GluonSide) -> Embedder:
    return Embedder(side.model.symbol, *side.model.network_arrays(), [mx.cpu()], BATCH, (SIDE, SIDE))


def _embed(side: GluonSide, batches: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([part[0] for part in _embedder(side).embed(batches)])


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


if __name__ == "__main__":
    set_threads_first()
    with contextlib.suppress(KeyboardInterrupt):
        made, drawn = make_side(sys.argv[1])
        for _ in range(MEMORY_STEPS - 1):  # the first was in making it
            made.step(drawn)
