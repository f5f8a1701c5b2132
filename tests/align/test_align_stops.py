"""align: whatever stops it leaves whole crops, and the same command continues from them to what it would have made."""
from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
from recordio_cases import command, picture, write_image
from repository import REPO

from align.landmark_table import COLUMNS, read_table

POINTS = np.array([(160, 170), (310, 168), (236, 250), (164, 330), (304, 328)], float) / 2


COUNT = 160
# The command sends itself a signal with the crop of this number: some are there then, and more are still to be made.
STOPPED = """
import itertools, os
from common import cli
from recordio_tools import __main__
from align import aligning
encode, numbers = aligning.encode_jpeg, itertools.count(1)
def encode_and_stop(*arguments):
    if next(numbers) == 31:
        os.kill(os.getpid(), {number})
    return encode(*arguments)
aligning.encode_jpeg = encode_and_stop
cli.run(__main__.main, "python -m recordio_tools")
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """COUNT names of four pictures, and the command that aligns them by a table of landmarks."""
    folder = tmp_path_factory.mktemp("align")
    for number in range(4):
        write_image(folder / f"src/{number}.png", picture(number, 300, 250))
    for number in range(4, COUNT):
        (folder / "src" / str(number // 100)).mkdir(exist_ok=True)
        os.link(folder / f"src/{number % 4}.png", folder / f"src/{number // 100}/{number}.png")
    names = sorted(str(path.relative_to(folder / "src")) for path in (folder / "src").rglob("*.png"))
    with open(folder / "points.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS[:11], *([name, *POINTS.ravel() + number % 7]
                                                      for number, name in enumerate(names))])
    return "align", folder / "src", "--landmarks", folder / "points.csv"


@pytest.fixture(scope="module")
def whole(work, tmp_path_factory):
    """What a run that nothing stops makes."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert command(*work, out) == (0, "") and len(crops(out)) == COUNT
    return out


def crops(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.jpg")}


def check_half_way(out, whole):
    """Some crops are there, those of the whole run, and nothing half made."""
    made, expected = crops(out), crops(whole)
    assert 0 < len(made) < COUNT and all(expected[name] == data for name, data in made.items())
    assert not list(out.rglob(".*"))
    return len(made)


def check_end(out, whole):
    assert crops(out) == crops(whole)
    assert (out / "landmarks.csv").read_bytes() == (whole / "landmarks.csv").read_bytes()


@pytest.mark.parametrize("number, workers", [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_an_align_that_is_stopped_continues(tmp_path, work, whole, number, workers):
    out = tmp_path / "out"
    argv = [sys.executable, "-c", STOPPED.format(number=int(number)), *map(str, work), str(out), "--workers",
            str(workers)]
    process = subprocess.run(argv, capture_output=True, text=True, cwd=REPO)
    said = process.stderr
    assert process.returncode == 130 and "Traceback" not in said
    assert said.splitlines()[-2:] == [f"{out}: the crops there are whole, and the same command continues from them",
                                      "python -m recordio_tools: interrupted"]
    assert not (out / "align-report.json").exists()
    check_half_way(out, whole)
    rows = len(read_table(out / "landmarks.csv", work[1]))
    assert 0 < rows < COUNT
    assert command(*work, out) == (0, "")
    assert json.loads((out / "align-report.json").read_text())["done_before"] == rows
    check_end(out, whole)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_full_disk_is_reported_and_the_crops_there_are_whole(tmp_path, work, whole):
    mount = ["mount", "-t", "tmpfs", "-o", "size=240k", "none", str(tmp_path)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no file system can be mounted here")
    out = tmp_path / "out"
    try:
        for _ in range(2):
            status, line = command(*work, out)
            assert status == 1 and line == (f"{out}: the disk is full; the crops there are whole, and the same command "
                                            "continues from them")
            before = check_half_way(out, whole)
        subprocess.run(["mount", "-o", "remount,size=9m", str(tmp_path)], check=True)
        assert command(*work, out) == (0, "")
        assert json.loads((out / "align-report.json").read_text())["done_before"] > before / 2
        check_end(out, whole)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_limit_on_the_size_of_files_is_reported(tmp_path, work, whole):
    """The table of landmarks grows longer than a crop is."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10000, limits[1]))
    try:
        status, line = command(*work, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert status == 1 and "out: cannot be written (File too large); the crops there are whole" in line
    check_half_way(tmp_path / "out", whole)
    assert command(*work, tmp_path / "out") == (0, "")
    check_end(tmp_path / "out", whole)
