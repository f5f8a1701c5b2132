"""The benchmark harness: the sides are interleaved, and a ratio is the median of the ratios within the turns.

So other load of the machine affects both sides. Each side is the best of its kind, both compute the same thing (which a
benchmark checks before it measures), and the machine and the versions are printed with the result.
"""
from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib import metadata
from typing import Any, Callable, Mapping, NoReturn, Sequence

import symbols
from common import cli
from common.environment import processor, set_threads, usable_cores
from common.errors import RunError, UserError
from common.huge_pages import request_huge_pages, start_again


def set_threads_first() -> None:
    """Set MXNet's threads and request huge pages as every command of the project does, where a benchmark's process
    starts.

    MXNet reads the threads where it is loaded, which importing a benchmark does, and malloc its settings before that:
    so the process starts again with them, unless they were set.
    """
    before = dict(os.environ)
    try:
        set_threads()
    except UserError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    request_huge_pages()
    if os.environ != before:
        if sys.modules["__main__"].__spec__ is None:
            sys.exit("benchmarks: run one as python -m benchmarks.NAME")
        start_again()


def run_benchmark(main: Callable[[list[str]], int | None]) -> NoReturn:
    """Run the `main` of a single benchmark, `python -m benchmarks.NAME`, as a command of the project."""
    def measured(argv: list[str]) -> int | None:
        try:
            return main(argv)
        except RuntimeError as error:
            raise as_run_error(error) from None
    set_threads_first()
    module = sys.modules["__main__"].__spec__
    cli.run(measured, module.name if module else "benchmarks")


def as_run_error(error: Exception, name: str = "") -> Exception:
    """`error` as a RunError, of the benchmark `name`; MXNet's own stays, which the command line reports."""
    if type(error).__name__ == "MXNetError":
        return error
    return RunError(f"{name}: {error}" if name else str(error))


def network_name(text: str) -> str:
    """The argparse type of a network: y1, r18 and so on."""
    try:
        symbols.build(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def comma_separated(item: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """The argparse type of values between commas, each of the type `item`."""
    def values(text: str) -> list[Any]:
        return [item(part) for part in text.split(",")]
    return values


def take_turns(sides: Mapping[str, Callable[[], object]], repeats: int = 7, warm_up: int = 1) -> dict[str, list[float]]:
    """Call every side once in each repeat, in order; the seconds of each, without those of the first `warm_up`."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + warm_up):
        for name, function in sides.items():
            began = time.perf_counter()
            function()
            spent = time.perf_counter() - began
            if repeat >= warm_up:
                seconds[name].append(spent)
    return seconds


def speed_ratios(seconds: Mapping[str, Sequence[float]], slow: str, fast: str) -> list[float]:
    """The speed of `fast` relative to `slow`, within each repeat."""
    return [a / b for a, b in zip(seconds[slow], seconds[fast])]


def speed_ratio(seconds: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """The median of `speed_ratios`."""
    return statistics.median(speed_ratios(seconds, slow, fast))


def in_processes(share: Callable[[int, int], None], count: int, workers: int) -> None:
    """Run share(first, last) in `workers` processes, which partition the numbers 0 to count - 1."""
    bounds = [count * number // workers for number in range(workers + 1)]
    processes = [multiprocessing.get_context("fork").Process(target=share, args=span)
                 for span in zip(bounds, bounds[1:])]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise SystemExit("the bare side failed")


def machine(packages: Sequence[str] = ("mxnet", "numpy", "opencv-python-headless")) -> str:
    """One line: processor, cores this process may use, threads, versions."""
    return (f"{processor()}, {usable_cores()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}, "
            f"Python {platform.python_version()}, " + ", ".join(f"{name} {_version(name)}" for name in packages))


def run_side(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """The output of `python arguments...` run as a process of its own; RunError with its last line where it fails."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RunError(f"a side failed: {(done.stderr.strip().splitlines() or ['without a message'])[-1]}")
    return done.stdout


def peak_memory(arguments: Sequence[str]) -> int:
    """The peak resident memory, in bytes, of `python arguments...` run as a process of its own.

    RuntimeError with the last line of its output where it fails. Linux and macOS.
    """
    code = ("import resource, subprocess, sys; status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, "
            "stderr=subprocess.PIPE, text=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); "
            "sys.stderr.write(status.stderr[-2000:]); sys.exit(status.returncode)")
    done = subprocess.run([sys.executable, "-c", code, sys.executable, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
