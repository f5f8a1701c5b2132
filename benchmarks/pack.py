"""`pack` against its lower bound, on the same cores, interleaved.

    python -m benchmarks.pack                       # 40,000 synthetic JPEGs of 112x112; then 3,000 of 250x250, resized
    python -m benchmarks.pack --images 10000 --photographs 500
    python -m benchmarks.pack --parts               # processor time of a copied image, by part

copy: `pack` of JPEGs of the right size, which lists the folders, validates every file and compares it with the others,
against processes that read the same files and write their bytes into one file, each at precomputed offsets.
resize: `pack --resize` of larger JPEGs against processes that read, decode (cv2.imdecode), crop 112x112 pixels and
encode them (cv2.imencode), with no scaling at all. Both sides flush what they wrote to the disk. "cold" starts with
files that are not in memory, as those of a large set are (only where the system lets them be dropped).
"""
from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Callable, Sequence

import cv2
import numpy as np

from benchmarks.harness import in_processes, machine, run_benchmark, speed_ratio, take_turns
from common import cli
from common.environment import usable_cores
from images.prepare import Wanted
from images.selection import Selection
from images.sources import from_folder
from recordio_tools.pack.batches import Preparer
from recordio_tools.pack.packing import pack

BATCH = 64  # files that the bare side reads before it writes


def main(argv: list[str]) -> None:
    """Print times and ratios."""
    parser = cli.Parser(prog="python -m benchmarks.pack", description=__doc__)
    parser.add_argument("--images", type=cli.at_least(1), default=40000, metavar="N", help="to copy")
    parser.add_argument("--photographs", type=cli.at_least(1), default=3000, metavar="N", help="to resize")
    parser.add_argument("--workers", type=cli.at_least(1), default=usable_cores(), metavar="N")
    parser.add_argument("--repeats", type=cli.at_least(1), default=5, metavar="N")
    parser.add_argument("--dir", metavar="DIR", help="where to write the files (default: the system's)")
    parser.add_argument("--parts", action="store_true", help="print where the time of a copied image goes, and stop")
    args = parser.parse_args(argv)
    print(machine(("numpy", "opencv-python-headless")))
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        folder = Path(name)
        if args.parts:
            draw(folder / "copy", args.images, 112)
            print_parts(folder / "copy", folder, args.repeats)
            return
        for what, count, size, bare in (("copy", args.images, 112, copy_share),
                                        ("resize", args.photographs, 250, resize_share)):
            draw(folder / what, count, size)
            files = [str(path) for path in sorted((folder / what).glob("*/*.jpg"))]
            measure(what, files, folder, bare, args.workers, args.repeats)


def measure(what: str, files: list[str], folder: Path, bare: Callable, workers: int, repeats: int) -> None:
    """Time one kind of work, warm and cold."""
    offsets = np.concatenate([[0], np.cumsum([os.stat(path).st_size for path in files])]).tolist()

    def loop() -> None:
        share_out(bare, files, offsets, folder / "bare.rec", workers)

    def ours() -> None:
        source = from_folder(folder / what)
        report = pack(source, folder / "out", Wanted(112, 112, resize=what == "resize"), Selection(), workers, True)
        if report.images != len(files):
            raise SystemExit(f"pack took {report.images} of {len(files)} images, so the sides are not comparable")

    def drop() -> None:
        for path in files:
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)

    os.sync()
    sides = {"warm": {"bare": loop, "pack": ours}}
    if hasattr(os, "posix_fadvise"):
        sides["cold"] = {"drop": drop, "bare": loop, "drop again": drop, "pack": ours}
    for state, functions in sides.items():
        seconds = take_turns(functions, repeats)
        rate = {side: len(files) / statistics.median(seconds[side]) for side in ("bare", "pack")}
        print(f"{what}, {state}: {len(files)} files, {workers} processes: bare {rate['bare']:,.0f} images/s, pack "
              f"{rate['pack']:,.0f}: {speed_ratio(seconds, 'pack', 'bare'):.2f}x the time")


def print_parts(faces: Path, folder: Path, repeats: int) -> None:
    """Microseconds of processor time per image, from memory: the minimum of each part over the repeats."""
    files = [str(path) for path in sorted(faces.glob("*/*.jpg"))]
    source, wanted = from_folder(faces), Wanted(112, 112)
    offsets = np.concatenate([[0], np.cumsum([os.stat(path).st_size for path in files])]).tolist()
    tasks = [[os.fsencode(path) for path in files[first:first + BATCH]] for first in range(0, len(files), BATCH)]

    def bare() -> None:
        with open(folder / "bare.rec", "wb") as out:
            copy_share(files, offsets, out.fileno())

    def each(function: Callable) -> None:
        for task in tasks:
            function(task)

    parts = {"bare: open, read, close": lambda: each(read_all), "bare: that, and write": bare,
             "pack: list and sort": lambda: from_folder(faces),
             "pack, worker: read, compare, frame": lambda: each(Preparer(wanted)),
             "pack, main process: number, index, write": lambda: pack(source, folder / "out", wanted, Selection(),
                                                                             2, True)}
    for what, part in parts.items():
        spent = []
        for _ in range(repeats + 1):
            began = time.process_time()
            part()
            spent.append(time.process_time() - began)
        print(f"{what:<42}{1e6 * min(spent) / len(files):6.1f} us")


def share_out(function: Callable, files: list[str], offsets: list[int], out: Path, workers: int) -> None:
    """Run function(files, offsets, handle) in processes, each with its part, and flush the file."""
    handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    in_processes(lambda first, last: function(files[first:last], offsets[first:last], handle), len(files), workers)
    os.fsync(handle)
    os.close(handle)


def copy_share(files: list[str], offsets: list[int], out: int) -> None:
    """Read files and write them one after another."""
    for first in range(0, len(files), BATCH):
        os.pwrite(out, b"".join(read_all(files[first:first + BATCH])), offsets[first])


def read_all(files: Sequence[str | bytes]) -> list[bytes]:
    """The contents of small files."""
    contents = []
    for path in files:
        handle = os.open(path, os.O_RDONLY)
        contents.append(os.read(handle, 1 << 16))
        os.close(handle)
    return contents


def resize_share(files: list[str], offsets: list[int], out: int) -> None:
    """Read, decode, encode 112x112 pixels, write."""
    for path, offset in zip(files, offsets):
        handle = os.open(path, os.O_RDONLY)
        data = os.read(handle, 1 << 20)
        os.close(handle)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        crop = np.ascontiguousarray(image[69:181, 69:181])
        done, encoded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 95])
        os.pwrite(out, encoded.data, offset)


def draw(folder: Path, count: int, size: int) -> None:
    """folder/person<i>/<j>.jpg: smooth images with a little noise, of the file size of faces."""
    random = np.random.RandomState(0)
    smooth = [cv2.resize(random.randint(0, 256, (12, 12, 3)).astype(np.float32), (size, size),
                         interpolation=cv2.INTER_CUBIC) + random.normal(0, 3, (size, size, 3)) for _ in range(64)]
    for number in range(count):
        path = folder / f"person{number // 30}" / f"{number % 30}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.roll(smooth[number % 64], number // 64 % size, 0) + number // (64 * size)
        path.write_bytes(cv2.imencode(".jpg", np.clip(image, 0, 255).astype(np.uint8),
                                      [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())


if __name__ == "__main__":
    run_benchmark(main)
