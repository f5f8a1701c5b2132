"""The training loop: update, watch, log, verify, save."""
from __future__ import annotations

import contextlib
import logging
import math
import signal
import sys
import time
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from common.errors import RunError
from eval.verification import VerificationResult, VerificationSet
from training.checkpoint import checkpoint_path, save_checkpoint
from training.config import Config
from training.data import BatchLoader
from training.model import Model, momentum_arrays
from training.pictures import roc_picture
from training.runlog import RunLog
from training.schedule import Schedule
from training.state import Progress, save_state
from training.step import StepResult, update
from training.validation import result_row, verify
from training.watch import Symptoms, Watch
from training.window import Window

log = logging.getLogger(__name__)
SAVE_EVERY_SECONDS = 600.0  # the most that a kill can cost


class _VerificationStopped(Exception):
    """A signal came while verifying, which can take minutes."""


class Loop:
    """Runs a model over a loader until the schedule ends or a signal comes; returns the exit status."""

    def __init__(self, config: Config, schedule: Schedule, model: Model, trainer: mx.gluon.Trainer, loader: BatchLoader,
                 targets: list[VerificationSet], progress: Progress, runlog: RunLog) -> None:
        self.config, self.schedule, self.model, self.trainer = config, schedule, model, trainer
        self.loader, self.targets, self.progress, self.runlog = loader, targets, progress, runlog
        self.folder = Path(config.prefix).parent
        self.rate = schedule.scheduler()
        self.watch = Watch(progress.warned)
        self.window = Window()
        self.stopped = self._verifying = False
        self._saved = time.monotonic()

    def run(self) -> int:
        """Train to the end of the schedule. 0 when done, 130 when stopped by a signal, the state saved either way."""
        progress = self.progress
        handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        bar = tqdm(total=self.schedule.end, initial=progress.step, unit="step", dynamic_ncols=True, smoothing=0.05,
                   disable=not sys.stderr.isatty())
        try:
            with logging_redirect_tqdm():  # lines of the log go above the bar
                return self._until_the_end(bar)
        finally:
            bar.close()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _until_the_end(self, bar: tqdm) -> int:
        progress = self.progress
        self.window.start()
        while not self.stopped:
            if self._verification_is_due():
                with contextlib.suppress(_VerificationStopped):  # a resumed run verifies this step first
                    self._verify_and_save()
            elif progress.step >= self.schedule.end:
                return 0
            else:
                self._step(bar)
                if time.monotonic() - self._saved > SAVE_EVERY_SECONDS:
                    self.save_state()
        self._flush_window(bar)
        self.save_state()
        log.info("stopped at step %d; the state is saved, --resume goes on from there", progress.step)
        return 130

    def _stop(self, number: int, frame: object) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        log.warning("%s: finishing this step and saving; once more to leave at once", signal.Signals(number).name)
        if self._verifying:
            raise _VerificationStopped

    def _verification_is_due(self) -> bool:
        step, every = self.progress.step, self.config.verbose
        if self.progress.verified_step == step:
            return False
        return step >= self.schedule.end or bool(every and step and step % every == 0)

    def _step(self, bar: tqdm) -> None:
        progress = self.progress
        self.trainer.set_learning_rate(self.rate(progress.step))
        if self.model.has_dropout:
            mx.random.seed((self.config.seed * 1000003 + progress.step) % 2 ** 31)
        began = time.perf_counter()
        batch = self.loader.next()
        waited = time.perf_counter() - began
        result = update(self.model, self.trainer, batch, progress.step)
        loss, cosine, hit = result.read()
        self._check_finite(loss, cosine, result)
        progress.step += 1
        progress.position += len(batch.labels)
        self.window.add(loss, cosine, hit, waited, result)
        bar.update()
        if progress.step % self.config.frequent == 0:
            self._flush_window(bar)

    def _check_finite(self, loss: np.ndarray, cosine: np.ndarray, result: StepResult) -> None:
        if math.isfinite(float(loss.sum())):
            return
        rows = np.flatnonzero(~np.isfinite(loss))[:10]
        raise RunError(
            f"the loss is {loss[rows[0]]} at step {self.progress.step + 1}, learning rate "
            f"{self.trainer.learning_rate:g}, largest cosine "
            f"{np.nanmax(np.abs(cosine)) if np.isfinite(cosine).any() else math.nan:.4f}, records "
            f"{', '.join(str(key) for key in result.keys[rows])}; the last good state is kept: a lower --lr or a "
            "--warmup usually mends it")

    def _flush_window(self, bar: tqdm) -> None:
        if not self.window.steps:
            return
        progress, summary = self.progress, self.window.summary()
        epoch = progress.step / self.schedule.steps_per_epoch
        row = {"kind": "train", "step": progress.step, "epoch": epoch, "loss": summary["loss"],
               "accuracy": summary["accuracy"], "cosine": summary["cosine"], "lr": self.trainer.learning_rate,
               "samples_per_s": summary["samples_per_s"], "data_wait": summary["data_wait"], "time": time.time()}
        self.runlog.train(row, summary["norm"])
        bar.set_postfix_str(f"loss {row['loss']:.3f} acc {row['accuracy']:.3f} cos {row['cosine']:.3f}")
        left = (self.schedule.end - progress.step) * summary["seconds_per_step"]
        log.info("%s", f"step {progress.step}/{self.schedule.end} epoch {epoch:.2f} loss {row['loss']:.4f} accuracy "
                f"{row['accuracy']:.4f} cosine {row['cosine']:.4f} lr {row['lr']:g} {row['samples_per_s']:.1f} "
                f"images/s waiting {row['data_wait']:.0%} left {duration(left)}")
        symptoms = Symptoms(epoch, row["cosine"], summary["similarity"], row["data_wait"], self.config.loss_type != 0)
        for warning in self.watch.look(symptoms):
            log.warning("warning: %s", warning)
        self.window.start()

    def _verify_and_save(self) -> None:
        progress, config = self.progress, self.config
        last = progress.step >= self.schedule.end
        self._flush_window(tqdm(disable=True))
        arguments, auxiliary = self.model.network_arrays()
        self._verifying = True
        results = verify(self.model.symbol, arguments, auxiliary, self.targets, self.model.devices,
                         min(config.per_batch_size, 64))
        self._verifying = False
        for result in results:
            self._log_result(result)
        progress.verified_step = progress.step
        better = self._is_best(results)
        if config.ckpt in (2, 3) or (config.ckpt == 1 and (better or last)):
            self._save_checkpoint(arguments, auxiliary, better)
        self.save_state()
        self.window.start()

    def _is_best(self, results: list[VerificationResult]) -> bool:
        if not results:
            return False
        value = getattr(results[-1], self.config.best_metric)
        value = -value if self.config.best_metric == "eer" else value
        if self.progress.best is not None and value <= self.progress.best:
            return False
        self.progress.best = float(value)
        return True

    def _save_checkpoint(self, arguments: dict[str, Any], auxiliary: dict[str, Any], better: bool) -> None:
        progress, prefix = self.progress, self.config.prefix
        progress.saves += 1
        path = save_checkpoint(prefix, progress.saves, self.model.symbol, arguments, auxiliary)
        if self.config.ckpt == 3 and progress.saves > 1:
            checkpoint_path(prefix, progress.saves - 1).unlink(missing_ok=True)
        if better:
            progress.best_number = progress.saves
        log.info("saved %s%s", path, ", the best so far" if better else "")

    def _log_result(self, result: VerificationResult) -> None:
        self.runlog.verification(result_row(result, self.progress.step), roc_picture(result), result.embeddings)
        log.info("step %d %s: accuracy %.4f +- %.4f, TPR at FPR 0.1%% %.4f, EER %.4f, AUC %.4f, XNorm %.3f (%d pairs, "
                 "%.1f s)", self.progress.step, result.name, result.accuracy, result.accuracy_std, result.tpr,
                 result.eer, result.auc, result.xnorm, result.pairs, result.seconds)

    def save_state(self) -> None:
        """Write a generation of RUN/state/."""
        self.progress.metrics_bytes = self.runlog.metrics_bytes
        save_state(self.folder / "state", self.progress, self.config.as_dict(),
                   {"net": self.model.state_arrays(), "head": self.model.head_arrays(),
                    "momentum": momentum_arrays(self.trainer)})
        self._saved = time.monotonic()


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"
