"""pack with processes: the same bytes for any number of them, in memory that the number of images does not decide."""
import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from recordio_cases import command, picture, write_image

from recordio_tools.pack import packing
from recordio_tools.records.framing import MAGIC_BYTES
from recordio_tools.records.recordio import RecordFile

SIZE = "--image-size", "48,48"


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder of 300 identities with 8 files each, a few of them odd, and files that hold the magic word."""
    folder = tmp_path_factory.mktemp("many")
    random = np.random.RandomState(0)
    images = [write_image(folder / "one.jpg", picture(number, 48, 48)).read_bytes() for number in range(20)]
    for number in range(2400):
        path = folder / f"faces/person{number // 8}/{number % 8}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = images[number % 20]
        comment = bytes(random.randint(0, 255, 6, np.uint8)) + (MAGIC_BYTES * 3 if number % 500 == 3 else b"")
        data = data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]
        path.write_bytes(data if number % 97 else data[:-9])
    return folder / "faces"


@pytest.mark.parametrize("flags", [[], ["--min-images", 8, "--max-images", 8, "--shuffle", "--seed", 3]])
def test_the_same_bytes_for_any_number_of_processes(many, tmp_path, flags, monkeypatch):
    found = []
    for workers, few in ((1, 2000), (2, 10), (5, 10), (3, 1 << 40)):
        monkeypatch.setattr(packing, "FEW", few)
        assert command("pack", many, tmp_path / "out", *SIZE, "--workers", workers, "--overwrite", *flags)[0] == 0
        found.append({path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()})
    assert all(other == found[0] for other in found[1:])
    report = json.loads(found[0]["pack-report.json"])
    assert report["images_skipped"] == {"truncated": 25} and report["images_found"] == 2400
    assert report["images"] == (2400 - 25 if not flags else 2400 - 8 * 25)
    assert command("check", tmp_path / "out")[0] == 0
    with open(tmp_path / "out/identities.csv", encoding="utf-8") as stream:
        name = list(csv.DictReader(stream))[1]["identity"]
    label_one = [key for key in range(1, 40) if RecordFile(tmp_path / "out/train.rec").read(key).label[0] == 1]
    contents = {RecordFile(tmp_path / "out/train.rec").read(key).content for key in label_one}
    assert contents <= {path.read_bytes() for path in (many / name).iterdir()} and len(contents) in (7, 8)


TRACED = """
import sys, tracemalloc
from recordio_tools.__main__ import main
tracemalloc.start()
main(sys.argv[1:])
print(tracemalloc.get_traced_memory()[1])
"""


def test_memory_does_not_grow_with_the_list(tmp_path):
    """What the writing process allocates, counted byte by byte: neither the system nor other processes change it."""
    for number in range(50):
        write_image(tmp_path / f"{number}.jpg", picture(number, 48, 48))
    peaks = []
    for count in (1000, 5000):
        (tmp_path / "a.lst").write_text("".join(f"1\t{line % 50}.jpg\t{line // 50}\n" for line in range(count)))
        done = subprocess.run([sys.executable, "-c", TRACED, "pack", str(tmp_path / "a.lst"),
                               str(tmp_path / f"out{count}"), *SIZE, "--workers", "2"], capture_output=True, text=True)
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] - peaks[0] < 4000 * 150  # bytes an image, with its path; its file has 1,000


def test_the_set_of_processes_is_what_one_reads_elsewhere(many, tmp_path):
    """By a process that knows MXNet and nothing of this project."""
    assert command("pack", many, tmp_path / "out", *SIZE, "--workers", 2)[0] == 0
    code = """
import sys, os, mxnet as mx
out, faces = sys.argv[1:]
rec = mx.recordio.MXIndexedRecordIO(out + "/train.idx", out + "/train.rec", "r")
last, end = (int(value) for value in mx.recordio.unpack(rec.read_idx(0))[0].label)
files = {open(os.path.join(base, name), "rb").read(): os.path.basename(base)
         for base, _, names in os.walk(faces) for name in names}
labels = {}
for key in range(1, last):
    header, image = mx.recordio.unpack(rec.read_idx(key))
    assert header.id == key and labels.setdefault(header.label, files[image]) == files[image]
assert end - last == len(labels) == 300 and last == 2376
for key in range(last, end):
    header, rest = mx.recordio.unpack(rec.read_idx(key))
    assert rest == b"" and mx.recordio.unpack(rec.read_idx(int(header.label[0])))[0].label == key - last
print("read", last - 1)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out"), str(many)], capture_output=True,
                          text=True, cwd=tmp_path)
    assert done.stdout == "read 2375\n", done.stderr
