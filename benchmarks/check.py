"""`check` of a training set against its lower bound: decoding the same images on the same cores.

    python -m benchmarks.check --data ../shared/data/train

The bare side is a loop of cv2.imdecode by as many threads, over bytes that are in memory already. Both sides must count
the same images first. The pass over the frames, which finds every record and reads its header, is timed apart, on the
same file and on a synthetic one of a million small records, with the memory that `check` takes for that.
"""
from __future__ import annotations

import concurrent.futures
import statistics
import tempfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness import machine, peak_memory, run_benchmark, speed_ratio, take_turns
from common import cli
from common.environment import usable_cores
from recordio_tools.check.check_rec import check_set
from recordio_tools.records import framing
from recordio_tools.records.dataset import open_dataset
from recordio_tools.records.faults import FileReport
from recordio_tools.records.raw import RawFile
from recordio_tools.records.scanning import blocks
from recordio_tools.records.writer import RecordWriter


def main(argv: list[str]) -> None:
    """Print the ratio, and records a second."""
    parser = cli.Parser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument("--data", required=True, metavar="DIR", help="a packed set; one that fits into memory")
    parser.add_argument("--workers", type=cli.at_least(1), default=usable_cores(), metavar="N")
    parser.add_argument("--repeats", type=cli.at_least(1), default=7, metavar="N")
    parser.add_argument("--records", type=cli.at_least(1), default=1_000_000, metavar="N", help="of the synthetic file")
    args = parser.parse_args(argv)
    print(machine(("numpy", "opencv-python-headless")))
    rec = Path(args.data) / "train.rec"
    with open_dataset(args.data).record_file as file:
        images = [file.read(key).content for key in file.keys.tolist()]
    images = [image for image in images if image]
    assert check_set([rec], args.workers).reports[0].holds["images"] == decode_all(images, args.workers)

    seconds = take_turns({"bare": lambda: decode_all(images, args.workers),
                          "check": lambda: check_set([rec], args.workers),
                          "frames": lambda: count_records(rec)}, args.repeats)
    rate = {name: statistics.median(spent) for name, spent in seconds.items()}
    print(f"{len(images)} images, {args.workers} threads: bare decoding {len(images) / rate['bare']:,.0f} images/s, "
          f"check {len(images) / rate['check']:,.0f}: {speed_ratio(seconds, 'check', 'bare'):.2f}x the time")
    print(f"frames and headers alone: {count_records(rec) / rate['frames']:,.0f} records/s, "
          f"{rec.stat().st_size / rate['frames'] / 1e9:.1f} GB/s")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.rec"
        with RecordWriter(path) as writer:
            image = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()[:100]
            for key in range(args.records):
                writer.write(key, framing.pack(float(key % 1000), key, image))
        spent = take_turns({"small": lambda: count_records(path)}, 3)["small"]
        print(f"{args.records} records of {path.stat().st_size // args.records} bytes: "
              f"{args.records / statistics.median(spent):,.0f} records/s")
        code = (f"from recordio_tools.check.check_rec import check_set; from pathlib import Path; "
                f"check_set([Path({str(path)!r})], {args.workers})")
        base = peak_memory(["-c", "import recordio_tools.check.check_rec"])
        print(f"check of these takes {(peak_memory(['-c', code]) - base) / args.records:.0f} bytes of memory a record")


def decode_all(images: list, workers: int) -> int:
    """The number of images that decode; each thread has an equal part of them."""
    def some(first: int) -> int:
        return sum(cv2.imdecode(np.frombuffer(images[place], np.uint8), cv2.IMREAD_COLOR) is not None
                   for place in range(first, len(images), workers))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(some, range(workers)))


def count_records(path: Path) -> int:
    """The number of sound records, from their frames and headers."""
    with RawFile(path) as raw:
        return sum(map(len, blocks(raw, None, FileReport(str(path)))))


if __name__ == "__main__":
    run_benchmark(main)
