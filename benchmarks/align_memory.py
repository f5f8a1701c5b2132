"""`align` of large photographs: its peak memory, which must not grow with the folder, and its speed.

    python -m benchmarks.align_memory              # 50 and 200 names of 12-megapixel JPEGs; a minute
    python -m benchmarks.align_memory --photographs DIR --numbers 500,5000     # of real photographs

The names are hard links, so that the disk holds each photograph once. Each run is a process of its own.
"""
from __future__ import annotations

import os
import tempfile
from pathlib import Path

import cv2
import numpy as np

from align.photographs import list_photographs
from benchmarks.harness import comma_separated, machine, peak_memory, run_benchmark
from common import cli
from common.environment import usable_cores

SIZES = ((4000, 3000), (3000, 4000))  # width, height


def main(argv: list[str]) -> None:
    """Print megabytes and photographs a second for each number of names."""
    data = "../shared/data"
    parser = cli.Parser(prog="python -m benchmarks.align_memory", description=__doc__)
    parser.add_argument("--detector", default=f"{data}/weights/mtcnn", metavar="DIR", help=f"({data}/weights/mtcnn)")
    parser.add_argument("--face", default=f"{data}/cfp_raw/Images/003/frontal/02.jpg", metavar="FILE",
                        help="a photograph to embed in the synthetic large ones")
    parser.add_argument("--photographs", metavar="DIR", help="use these instead of synthetic ones")
    parser.add_argument("--numbers", type=comma_separated(cli.at_least(1)), default="50,200", metavar="N,M",
                        help="of names (50,200)")
    parser.add_argument("--workers", type=cli.at_least(1), default=usable_cores(), metavar="N")
    parser.add_argument("--dir", metavar="DIR", help="where to write, on the disk of --photographs")
    args = parser.parse_args(argv)
    print(machine())
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        folder = Path(name)
        if args.photographs:
            files = [Path(args.photographs) / image for image in list_photographs(args.photographs, folder).images]
        else:
            files = draw(cv2.imread(args.face), folder)
        for number in args.numbers:
            source = folder / str(number)
            source.mkdir()
            for place in range(number):
                os.link(files[place % len(files)], source / f"{place}.jpg")
            out, began = folder / f"out{number}", _processor_seconds()
            peak = peak_memory(["-m", "recordio_tools", "align", str(source), str(out), "--detector", args.detector,
                                "--workers", str(args.workers)])
            spent = _processor_seconds() - began
            print(f"{number} names of {len(files)} photographs, {args.workers} workers: peak memory {peak >> 20} MiB, "
                  f"{1000 * spent / number:.0f} ms of a core for each", flush=True)


def _processor_seconds() -> float:
    """The sum over all child processes that were waited for."""
    times = os.times()
    return times.children_user + times.children_system


def draw(face: np.ndarray, folder: Path) -> list[Path]:
    """Large JPEGs, a face's photograph on a background with a camera's noise; one of each of SIZES."""
    random, files = np.random.RandomState(0), []
    for width, height in SIZES:
        smooth = cv2.resize(random.randint(0, 256, (60, 80, 3)).astype(np.uint8), (width, height),
                            interpolation=cv2.INTER_CUBIC)
        scaled = cv2.resize(face, None, fx=height / 2 / face.shape[0], fy=height / 2 / face.shape[0])
        smooth[height // 4:, width // 4:][:scaled.shape[0], :scaled.shape[1]] = scaled[:, :width * 3 // 4]
        noisy = np.clip(smooth + random.normal(0, 5, smooth.shape), 0, 255).astype(np.uint8)
        files.append(folder / f"{width}.jpg")
        cv2.imwrite(str(files[-1]), noisy, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return files


if __name__ == "__main__":
    run_benchmark(main)
