"""The real training and test sets of the study, made by this project's own commands from the folders of ../shared/data.

Training: `train/` and `more/`, at most MOST images per identity, and LFW's identities with two images or more; no
identity that is in CFP, by name or by similarity, and no duplicates. Testing: CFP's identities 001 to 250.
"""
from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import write_atomic
from common.signals import ended_with_parent
from common.tables import csv_bytes, read_table
from recordio_tools.records.dataset import open_dataset

LOWEST = 19  # niceness: other work on the machine has priority
MOST = 110
MODEL = "weights/mobilefacenet-y1-ms1m,0"


def make_real_sets(data: Path, out: Path) -> None:
    """Write `out`/train, a packed set, and `out`/cfp_fp.bin, once; UserError where `data` does not hold the faces."""
    for name in ("train", "more", "lfw/images", "lfw/in_cfp.csv", "cfp/Data/Images", "cfp/Protocol", "weights"):
        if not (data / name).exists():
            raise UserError(f"{data}: has no {name}; `data` names the folder of the study's faces")
    if not (out / "train" / "train.rec").exists():
        out.mkdir(parents=True, exist_ok=True)
        run_command("pack", data / "lfw/images", out / "lfw", "--min-images", 2, "--overwrite")
        write_atomic(out / "exclude.csv", _left_out(data))
        run_command("merge", out / "train", data / "train", data / "more", out / "lfw",
                    "--exclude", out / "exclude.csv", "--overlap-with", data / "cfp/Data/Images",
                    "--duplicates", "join", "--model", data / MODEL)
    if not (out / "cfp_fp.bin").exists():
        run_command("pairs", "cfp", "--images", data / "cfp/Data/Images", "--protocol", data / "cfp/Protocol",
                    "--kind", "FP", "--splits", "1-5", "--out", out / "cfp_fp.bin")


def run_command(*argv: object) -> None:
    """`python -m recordio_tools ...` at low priority, its output on stderr; UserError where it fails."""
    with subprocess.Popen([sys.executable, "-m", "recordio_tools", *map(str, argv)], stdout=2, start_new_session=True,
                          preexec_fn=lower_priority) as process:
        try:
            status = process.wait()
        except BaseException:  # Ctrl-C reaches this process alone: the command has a session of its own
            process.terminate()
            raise
    if status:
        raise UserError(f"recordio_tools {argv[0]} ended with exit status {status}; see its message above")


def lower_priority() -> None:
    """For a process that leads a session, before its command. Linux shares processors between sessions first, and the
    nice value counts within one; the session's own is in /proc/self/autogroup, where the kernel has it. It is ended
    with the thread that starts it, which waits for it, so that none goes on unwatched when the study is killed."""
    os.nice(LOWEST)
    ended_with_parent()
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(f"{LOWEST}")


def _left_out(data: Path) -> bytes:
    """A table for `merge --exclude`: LFW's identities that CFP has, and of every identity a random sample of the images
    beyond MOST."""
    in_cfp = read_table(data / "lfw/in_cfp.csv", {"identity": ()}, "a table with a column identity")
    rows: list[tuple] = [("", "", row["identity"], "") for row in in_cfp]
    random = np.random.default_rng(1)
    for name in ("train", "more"):
        faces = open_dataset(data / name)
        for label in range(faces.num_classes):
            keys = random.permutation(faces.keys[faces.labels == label])
            rows += [(str(data / name), label, "", key) for key in sorted(keys[MOST:].tolist())]
    return csv_bytes(("set", "label", "identity", "image"), rows)
