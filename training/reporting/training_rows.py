"""Reports training steps: a row for the files, a line for the log, and warnings."""
from __future__ import annotations

import logging
import time

import mxnet as mx

from training.head.layer import Layer
from training.reporting.diagnostics import Diagnostics, Symptoms
from training.reporting.meter import duration
from training.reporting.runlog import RunLog
from training.saving.progress import Progress
from training.schedule import Schedule
from training.specs import LoopSpec

log = logging.getLogger(__name__)


class TrainingRows:
    """Worker 0's reports; layer: its margin is applied to the mean cosine for the warnings."""

    def __init__(self, spec: LoopSpec, schedule: Schedule, progress: Progress, layer: Layer, emb_size: int,
                 runlog: RunLog) -> None:
        self._spec, self._schedule, self._progress = spec, schedule, progress
        self._layer, self._emb_size, self._runlog = layer, emb_size, runlog
        self._diagnostics = Diagnostics(progress.warned, progress.symptoms)

    def add(self, summary: dict[str, float], lr: float) -> str:
        """Write and log a summary of `Meter`, and warn; returns a summary for the progress bar."""
        progress, end = self._progress, self._schedule.end
        epoch = progress.position / self._schedule.images
        row = {"kind": "train", "step": progress.step, "epoch": epoch, "loss": summary["loss"],
               "accuracy": summary["accuracy"], "cosine": summary["cosine"], "lr": lr,
               "samples_per_s": summary["samples_per_s"], "data_wait": summary["data_wait"], "time": time.time()}
        self._runlog.train(row, summary["norm"])
        left = (end - progress.step) * summary["seconds_per_step"]
        log.info("%s", f"step {progress.step}/{end} epoch {epoch:.2f} loss {summary['loss']:.4f} accuracy "
                 f"{summary['accuracy']:.4f} cosine {summary['cosine']:.4f} lr {lr:g} {summary['samples_per_s']:.1f} "
                 f"images/s waiting {summary['data_wait']:.0%} left {duration(left)}")
        moved = self._layer.margin(mx.nd.array([summary["cosine"]])).asscalar()
        symptoms = Symptoms(epoch, summary["cosine"], summary["similarity"], summary["data_wait"],
                            self._spec.margin_loss, summary["accuracy"], moved, summary["norm"],
                            self._schedule.base_lr, self._spec.linear_lr, self._emb_size)
        for warning in self._diagnostics.look(symptoms):
            log.warning("warning: %s", warning)
        return f"loss {summary['loss']:.3f} acc {summary['accuracy']:.3f} cos {summary['cosine']:.3f}"
