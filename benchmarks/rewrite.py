"""`unpack` and `merge` against reading and writing the same bytes on the same cores, interleaved.

    python -m benchmarks.rewrite                    # a synthetic set of 40,000 JPEGs of 112x112
    python -m benchmarks.rewrite --images 10000 --repeats 3

unpack: against processes that read each image at a known offset and write it to a file of its own. merge: against
processes that copy the `.rec` in blocks of a megabyte, which is less than any merge can do, as it gives every image a
new label. Both sides flush what they wrote to the disk. "cold" starts with a `.rec` that is not in memory (only where
the system lets it be dropped).
"""
from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Callable, Sequence

from benchmarks.harness import in_processes, machine, run_benchmark, speed_ratio, take_turns
from benchmarks.pack import draw
from common import cli
from common.environment import usable_cores
from images.prepare import Wanted
from images.selection import Selection
from images.sources import from_folder
from recordio_tools.__main__ import main as tools
from recordio_tools.pack.packing import pack
from recordio_tools.records.dataset import open_dataset
from recordio_tools.records.framing import FRAME, HEADER

BLOCK = 1 << 20
HEAD = FRAME.size + HEADER.size  # in front of each image of a set that `pack` wrote
PER_FOLDER = 30  # as benchmarks.pack makes them


def main(argv: list[str]) -> None:
    """Print times and ratios."""
    parser = cli.Parser(prog="python -m benchmarks.rewrite", description=__doc__)
    parser.add_argument("--images", type=cli.at_least(1), default=40000, metavar="N")
    parser.add_argument("--workers", type=cli.at_least(1), default=usable_cores(), metavar="N")
    parser.add_argument("--repeats", type=cli.at_least(1), default=5, metavar="N")
    parser.add_argument("--dir", metavar="DIR", help="where to write the files (default: the system's)")
    args = parser.parse_args(argv)
    print(machine(("numpy",)))
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        folder = Path(name)
        draw(folder / "faces", args.images, 112)
        pack(from_folder(folder / "faces"), folder / "set", Wanted(112, 112), Selection(), args.workers)
        shutil.rmtree(folder / "faces")
        os.sync()
        with open_dataset(folder / "set").record_file as file:
            places = [(int(offset), len(file.read(key).content)) for key, offset in zip(file.keys, file.offsets)]
        images = [(offset + HEAD, length) for offset, length in places if length]
        measure("unpack", folder, args, lambda: unpack_bare(folder, images, args.workers))
        measure("merge", folder, args, lambda: merge_bare(folder, args.workers))


def measure(command: str, folder: Path, args: argparse.Namespace, bare: Callable[[], None]) -> None:
    """Time a command, warm and cold, against its bare side."""
    words = {"unpack": [str(folder / "set"), str(folder / "out")],
             "merge": [str(folder / "out"), str(folder / "set"), "--overwrite"]}[command]

    def ours() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            tools([command, *words, "--workers", str(args.workers)])

    def clear() -> None:
        for name in ("bare", "out"):
            shutil.rmtree(folder / name, ignore_errors=True)
        os.sync()

    def drop() -> None:
        clear()
        handle = os.open(folder / "set/train.rec", os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)

    sides = {"warm": clear, **({"cold": drop} if hasattr(os, "posix_fadvise") else {})}
    for state, before in sides.items():
        seconds = take_turns({"before": before, "bare": bare, "before again": before, command: ours}, args.repeats)
        rate = {side: args.images / statistics.median(seconds[side]) for side in ("bare", command)}
        print(f"{command}, {state}: {args.images} images, {args.workers} workers: bare {rate['bare']:,.0f} images/s, "
              f"{command} {rate[command]:,.0f}: {speed_ratio(seconds, command, 'bare'):.2f}x the time")
    clear()


def unpack_bare(folder: Path, images: Sequence[tuple[int, int]], workers: int) -> None:
    """Every image, (its place in the `.rec`, length), to a file of its own, by processes; all flushed at the end."""
    for number in range(-(-len(images) // PER_FOLDER)):
        (folder / f"bare/{number}").mkdir(parents=True)

    def share(first: int, last: int) -> None:
        source = os.open(folder / "set/train.rec", os.O_RDONLY)
        for number in range(first, last):
            place, length = images[number]
            handle = os.open(f"{folder}/bare/{number // PER_FOLDER}/{number}.jpg", os.O_WRONLY | os.O_CREAT)
            os.write(handle, os.pread(source, length, place))
            os.close(handle)

    in_processes(share, len(images), workers)
    os.sync()


def merge_bare(folder: Path, workers: int) -> None:
    """The bytes of the `.rec` to another file, in blocks, by processes; flushed at the end."""
    (folder / "bare").mkdir()
    source = os.open(folder / "set/train.rec", os.O_RDONLY)
    out = os.open(folder / "bare/train.rec", os.O_WRONLY | os.O_CREAT)

    def share(first: int, last: int) -> None:
        for number in range(first, last):
            os.pwrite(out, os.pread(source, BLOCK, number * BLOCK), number * BLOCK)

    in_processes(share, -(-os.fstat(source).st_size // BLOCK), workers)
    os.fsync(out)
    os.close(source)
    os.close(out)


if __name__ == "__main__":
    run_benchmark(main)
