"""Runs a plan: trains and scores the unfinished runs, and keeps the scores; resumable at any moment.

A run that has a file of scores is finished, on whatever machine that was. An interrupted one has a state in its folder,
and train_softmax.py continues from there.
"""
from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable

from common.files import write_atomic
from common.run_files import CONFIG, METRICS
from study.plan import Run
from study.training_set import lower_priority

log = logging.getLogger(__name__)
REPO = Path(__file__).resolve().parents[1]
PAUSE = 0.2  # seconds between two polls of the processes
STOPPED = 130
FIRST = "first"  # the folder, in a run's, of the training before it
FLAGS = "flags.txt"  # what a training was given
RUN_FILES = ("model-0001.params", "model-symbol.json")


@dataclass(frozen=True)
class Places:
    """work: checkpoints and logs, a folder per run. sets: with train/ and cfp_fp.bin. data: the real faces.
    results: a JSON per run, which is committed."""

    work: Path
    sets: Path
    data: Path
    results: Path

    def scores(self, run: Run) -> Path:
        """Of a finished run."""
        return self.results / f"{run.name}.json"


@dataclass
class Runner:
    """Runs several trainings in parallel, each in its own process with one thread."""

    places: Places
    jobs: int = 2
    _stopping: threading.Event = field(default_factory=threading.Event)
    _processes: set[subprocess.Popen] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def go_through(self, runs: Iterable[Run]) -> list[Run]:
        """Train and score the unfinished runs; returns those that failed. KeyboardInterrupt, after every training has
        saved its state, where a signal came."""
        waiting = [run for run in runs if not self.places.scores(run).exists()]
        failed: list[Run] = []

        def work() -> None:
            while not self._stopping.is_set():
                with self._lock:
                    if not waiting:
                        return
                    run = waiting.pop(0)
                try:
                    done = self._finish(run)
                except OSError as error:
                    log.warning("%s: %s: %s", run.name, error.filename or self.places.work, error.strerror or error)
                    done = False
                if not done and not self._stopping.is_set():
                    failed.append(run)

        threads = [threading.Thread(target=work) for _ in range(min(self.jobs, len(waiting)))]
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                time.sleep(PAUSE)
        except KeyboardInterrupt:
            self._stop()
            raise
        finally:
            for thread in threads:
                thread.join()
        return failed

    def _stop(self) -> None:
        self._stopping.set()
        with self._lock:
            for process in self._processes:
                process.terminate()
        log.info("stopping: the trainings save their states; the same command continues")

    def _finish(self, run: Run) -> bool:
        """Train, or resume training, then score; whether both succeeded."""
        folder = self.places.work / run.name
        folder.mkdir(parents=True, exist_ok=True)
        began = time.time()
        log.info("%s: %s", run.name, "resumes" if _has_state(folder) else "begins")
        first = folder / FIRST
        for command, place, flags in ((first_command(run, self.places, first), first, run.first_flags()),
                                      (train_command(run, self.places, folder), folder, all_flags(run))):
            same = is_made_by(place, flags)
            if command and not (same and _is_trained(place)):
                place.mkdir(exist_ok=True)
                if not same:  # what is there is of another plan: a new run that failed early would bring it back
                    _discard(place)
                    command = [*command[:-1], "--overwrite"] if command[-1] == "--resume" else command
                write_atomic(place / FLAGS, shlex.join(flags))
                status = self._call(command, place / "train.out")
                if status:
                    return self._failed(run, place / "train.out", status)
                write_atomic(place / "trained", "")
        status = self._call(score_command(run, self.places), folder / "score.out")
        if status:
            return self._failed(run, folder / "score.out", status)
        log.info("%s: finished, %.0f min this time; scores in %s", run.name, (time.time() - began) / 60,
                 self.places.scores(run))
        return True

    def _failed(self, run: Run, output: Path, status: int) -> bool:
        if not self._stopping.is_set():
            log.warning("%s: ended with exit status %d; see %s", run.name, status, output)
        return False

    def _call(self, command: list[object], output: Path) -> int:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
        with open(output, "ab") as stream:
            with self._lock:
                if self._stopping.is_set():
                    return STOPPED
                process = subprocess.Popen(list(map(str, command)), stdout=stream, stderr=stream, env=environment,
                                           cwd=REPO, start_new_session=True, preexec_fn=lower_priority)
                self._processes.add(process)
            try:
                return process.wait()
            finally:
                with self._lock:
                    self._processes.discard(process)


def _discard(folder: Path) -> None:
    """Remove a training, but not that before it nor what commands have printed."""
    for path in folder.iterdir():
        if path.name == FIRST or path.suffix == ".out":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def all_flags(run: Run) -> list[str]:
    """Of a run's training, and of the one that it continues."""
    return [*run.first_flags(), *run.flags()]


def is_made_by(folder: Path, flags: list[str]) -> bool:
    """Whether the training in a folder, if there is one, was given these flags; one that does not say, of an older
    version, counts."""
    file = folder / FLAGS
    return not file.exists() or file.read_text(encoding="utf-8", errors="replace") == shlex.join(flags)


def first_command(run: Run, places: Places, folder: Path) -> list[object]:
    """train_softmax.py for the training before a run; [] where its plan has none."""
    return _command(run.first_flags(), places, folder) if run.first_flags() else []


def train_command(run: Run, places: Places, folder: Path) -> list[object]:
    """train_softmax.py for a run, from the checkpoint of the training before it."""
    before = ["--pretrained", f"{folder / FIRST / 'model'},1"] if run.plan.first else []
    return _command([*run.flags(), *before], places, folder)


def _command(flags: list[str], places: Places, folder: Path) -> list[object]:
    """It resumes where its folder has a state."""
    return [sys.executable, REPO / "train_softmax.py", *flags, "--data-dir", places.sets / "train", "--prefix",
            folder / "model", "--target", "none", "--devices", "cpu:0", "--workers", "1", "--verbose", "0", "--ckpt",
            "1", "--save-every", "600", "--resume" if _has_state(folder) else "--overwrite"]


def score_command(run: Run, places: Places) -> list[object]:
    """The command that writes a trained run's file of scores, in its own process."""
    return [sys.executable, "-m", "study", "score", run.plan.name, run.name, "--work", places.work, "--sets",
            places.sets, "--data", places.data, "--results", places.results]


def training_of(folder: Path) -> dict[str, object]:
    """A training's summary from its run folder: last losses, images/s, versions, command."""
    rows = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    trained = [row for row in rows if row["kind"] == "train"]
    config = json.loads((folder / CONFIG).read_text())
    last = trained[-1]
    return {"steps": last["step"], "epochs": round(last["epoch"], 3), "loss": last["loss"],
            "accuracy": last["accuracy"], "cosine": last["cosine"],
            "images_per_s": sorted(row["samples_per_s"] for row in trained)[len(trained) // 2],
            "curve": [[row["step"], round(row["loss"], 4), round(row["accuracy"], 4), round(row["cosine"], 4)]
                      for row in trained], "versions": config["versions"],
            "num_classes": config["resolved"]["num_classes"], "images": config["resolved"]["images"]}


def _has_state(folder: Path) -> bool:
    return any((folder / "state").glob("*")) if (folder / "state").is_dir() else False


def _is_trained(folder: Path) -> bool:
    return (folder / "trained").exists() and all((folder / name).exists() for name in RUN_FILES)
