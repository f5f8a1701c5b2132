"""The training loop: update, check, log, verify, save."""
from __future__ import annotations

import copy
import logging
import sys
import time
from pathlib import Path
from typing import Any

import mxnet as mx
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from common.cli import engine_failure
from common.errors import RunError, UserError
from common.mxnet_compat import momentum_arrays
from common.signals import Signals, Stopped
from eval.models import Diverged
from eval.verification import VerificationResult, VerificationSet
from training.data.loader import BatchLoader
from training.errors import NotFinite
from training.model import TrainingModel
from training.non_finite_guard import NonFiniteGuard, check_finite
from training.pending import PendingSteps
from training.reporting.meter import Meter
from training.reporting.roc_picture import roc_picture
from training.reporting.runlog import RunLog
from training.reporting.training_rows import TrainingRows
from training.saving.background import BackgroundWriter
from training.saving.kept_checkpoints import KeptCheckpoints
from training.saving.state import Progress, States
from training.schedule import Schedule
from training.specs import LoopSpec
from training.step import update
from training.validation import result_row, result_text, verify

log = logging.getLogger(__name__)


class Loop:
    """Runs a model over a loader until the schedule ends or a signal comes; returns the exit status.

    Several workers run it in lockstep, and stop, save and log together. runlog: worker 0's, who alone verifies and
    writes; None at the others.
    """

    def __init__(self, spec: LoopSpec, schedule: Schedule, model: TrainingModel, trainer: mx.gluon.Trainer,
                 loader: BatchLoader, targets: list[VerificationSet], progress: Progress, runlog: RunLog | None,
                 states: States, signals: Signals) -> None:
        self.spec, self.saving = spec, spec.saving
        self.schedule, self.model, self.trainer = schedule, model, trainer
        self.loader, self.targets, self.progress, self.runlog = loader, targets, progress, runlog
        self.states, self.signals, self.communicator = states, signals, model.communicator
        self.first, self.writer = self.communicator.rank == 0, BackgroundWriter()
        self.lr, states.may_go_on = schedule.scheduler(), self.writer.may_go_on

        self.rows = None
        if runlog:
            self.rows = TrainingRows(spec, schedule, progress, model.head.layer, model.spec.network.emb_size, runlog)
        self.checkpoints = KeptCheckpoints(spec.saving, progress, model.symbol)
        self.meter = Meter()
        self.pending = PendingSteps(NonFiniteGuard(progress, spec.skip_non_finite), self.meter)
        self._saved_at, self._saved_step = time.monotonic(), progress.step
        self.failure = ""  # of a verification: the run ends with it, after its state is saved
        self._changed = states.newest is None  # the state at step 0 also shows at once whether there is space for one

    def run(self) -> int:
        """Train to the end of the schedule. 0 when done, 130 when stopped by a signal, the state saved either way."""
        progress = self.progress
        bar = tqdm(total=self.schedule.end, initial=progress.step, unit="step", dynamic_ncols=True, smoothing=0.05,
                   disable=not (self.first and sys.stderr.isatty()))
        try:
            with logging_redirect_tqdm():  # lines of the log go above the bar
                return self._until_the_end(bar)
        except NotFinite as error:
            raise RunError(f"{error}; {self._remedy(error)}") from None
        except OSError as error:
            self.writer.close()
            where = error.filename or Path(self.saving.prefix).parent
            raise RunError(f"{where}: {error.strerror or error}; {self._what_is_left()}") from None
        finally:
            # A failed run still has its last good state written; one that must exit at once does not wait for it.
            self.writer.close(give_up=isinstance(sys.exc_info()[1], KeyboardInterrupt))
            bar.close()

    def _remedy(self, error: NotFinite) -> str:
        if self.saving.overwrite and not self.first:  # only the first worker knows what is saved
            return f"a new start, or `resume` once a state is saved, with {error.remedy} usually fixes it"
        if self.states.remain:
            return f"the last good state is kept: `resume` with {error.remedy} usually fixes it"
        return f"nothing of this run is kept, the same command with {error.remedy} usually fixes it"

    def _what_is_left(self) -> str:
        if not self.states.remain:
            return "nothing of this run is kept, so it has to start over"
        if self.states.newest is not None and not self.states.newest.is_dir():
            return f"the state of step {self._saved_step} is lost as well, so the run has to start over"
        return f"the state of step {self._saved_step} is kept: when that is fixed, `resume` continues from there"

    def _until_the_end(self, bar: tqdm) -> int:
        progress = self.progress
        self.meter.start(progress.window if self.first else {"steps": progress.window.get("steps", 0)})
        self.save_state()
        self.writer.wait()
        self.signals.orderly()
        while True:
            self.writer.check()
            stop, save = self.communicator.any(self.signals.asked or bool(self.failure), self._save_is_due())
            if stop or save:
                self.save_state()
            if stop:
                self.writer.wait()
                break
            if self._verification_is_due():
                self._verify_and_save()
            elif progress.step >= self.schedule.end:
                self.writer.wait()
                self._tell_what_was_left_out()
                return 0
            else:
                self._step(bar)
        if self.failure:
            raise RunError(f"step {progress.step} cannot be verified: {self.failure}; {self._what_is_left()}")
        if self.first:
            what = "the state is saved, `resume` continues from there" if self.states.remain else "nothing is saved yet"
            log.info("stopped at step %d; %s", progress.step, what)
        return 130

    def _save_is_due(self) -> bool:
        every = self.saving.save_every
        return self.first and bool(every) and time.monotonic() - self._saved_at > every

    def _verification_is_due(self) -> bool:
        step, every = self.progress.step, self.spec.verify_every
        if self.progress.verified_step == step:
            due = self.first and step >= self.schedule.end and self.checkpoints.lacks_end(bool(self.targets))
            return any(self.communicator.any(due))
        return step >= self.schedule.end or bool(every and step and step % every == 0)

    def _step(self, bar: tqdm) -> None:
        progress = self.progress
        self.trainer.set_learning_rate(self.lr(progress.step))
        if self.model.has_dropout:
            seed = self.spec.seed * 1000003 + self.communicator.rank * 998244353 + progress.step
            mx.random.seed(seed % 2 ** 31)
        began = time.perf_counter()
        batch = self.loader.next()
        waited = time.perf_counter() - began
        result = update(self.model, self.trainer, batch, progress.step, self.spec.skip_non_finite)
        progress.step += 1
        self.pending.add(progress.step, result, self.trainer.learning_rate, waited)
        progress.position += len(batch.labels) * self.communicator.size
        progress.bad += batch.bad
        self._changed = True
        bar.update()
        if progress.step % self.spec.log_every == 0:
            self._flush_meter(bar)

    def _flush_meter(self, bar: tqdm) -> None:
        self.pending.settle()
        if not self.meter.sums["steps"]:
            return
        self.meter.reduce(self.communicator)
        if self.rows:  # after `resume` the trainer has the learning rate of no step yet
            bar.set_postfix_str(self.rows.add(self.meter.summary(), self.lr(self.progress.step - 1)))
        self.meter.start()
        self._changed = True

    def _verify_and_save(self) -> None:
        progress = self.progress
        last = progress.step >= self.schedule.end
        self._flush_meter(tqdm(disable=True))
        arguments, auxiliary = self.model.network_arrays()
        results = self._verify(arguments, auxiliary) if self.runlog else []
        self.meter.start()  # its time is that of no step, in the state neither
        stopped = any(self.communicator.any(results is None))  # the other workers have waited for it
        if stopped or results is None:
            return  # by a signal: a resumed run verifies this step first
        self.writer.wait()  # a checkpoint belongs to the state that follows it, and no earlier write may still fail
        progress.verified_step = progress.step
        better = self.checkpoints.is_best(results, self.targets)
        if self.runlog:
            for result in results:
                self._log_result(result, self.runlog)
            if self.checkpoints.keeps(better, last, bool(self.targets)):
                self.runlog.check()
                self.checkpoints.save(arguments, auxiliary, better)
        self._changed = True
        self.save_state()
        self.meter.start()

    def _verify(self, arguments: dict[str, Any], auxiliary: dict[str, Any]) -> list[VerificationResult] | None:
        """The results; None where a signal came, or the verification failed, which `failure` says then."""
        check_finite({**arguments, **auxiliary}, self.progress.step)
        try:
            with self.signals.interruptible():
                return verify(self.model.symbol, arguments, auxiliary, self.targets, self.model.devices,
                              self.spec.verification_batch)
        except Stopped:
            return None
        except Diverged as error:  # nor is its state saved, from which a resumed run would not recover
            raise NotFinite(f"step {self.progress.step} cannot be verified: {error}") from None
        except (UserError, RunError) as error:
            self.failure = str(error)
        except mx.MXNetError as error:
            self.failure = engine_failure(error)
        except MemoryError:
            self.failure = "out of memory"
        return None

    def _log_result(self, result: VerificationResult, runlog: RunLog) -> None:
        row = result_row(result, self.progress.step)
        runlog.verification(row, roc_picture(result), result.embeddings)
        log.info("step %d %s: %s", self.progress.step, result.name, result_text(row))

    def _tell_what_was_left_out(self) -> None:
        if self.progress.skipped:
            log.warning("%d steps were skipped, because their loss or gradient was not finite", self.progress.skipped)
        if self.progress.bad:
            log.warning("%d records that do not decode were left out", len(self.progress.bad))

    def save_state(self) -> None:
        """Start writing a generation of RUN/state/, unless the newest one is up to date.

        Its contents are copied now; a thread writes them while training continues, once the previous write has ended.
        """
        if not self._changed:
            return
        self.pending.settle()
        self.writer.wait()
        net = self.model.state_arrays()
        self.meter.reduce(self.communicator)
        if self.runlog:
            self._write_state({"net": net, "head": self.model.head_arrays(),
                               "momentum": momentum_arrays(self.trainer)}, self.runlog)
        self._saved_at, self._changed = time.monotonic(), False

    def _write_state(self, arrays: dict[str, dict[str, mx.nd.NDArray]], runlog: RunLog) -> None:
        self.progress.lengths, flush_rows = runlog.mark()
        self.progress.window = self.meter.state()
        progress = copy.deepcopy(self.progress)

        def write() -> None:
            for part in arrays.values():
                check_finite(part, progress.step)
            flush_rows()
            self.states.save(progress, arrays)
            self._saved_step = progress.step
        self.writer.begin(write)
