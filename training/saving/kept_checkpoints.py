"""The policy of checkpoints (`ckpt`): all, the best so far, the last; and the selection of the best."""
from __future__ import annotations

import logging
from typing import Any, Mapping, Sequence

import mxnet as mx

from eval.verification import VerificationResult, VerificationSet
from training.saving.checkpoint import checkpoint_path, save_checkpoint
from training.saving.progress import Progress
from training.specs import SavingSpec

log = logging.getLogger(__name__)


class KeptCheckpoints:
    """Compares results and writes checkpoints of `symbol`; updates `progress`."""

    def __init__(self, spec: SavingSpec, progress: Progress, symbol: mx.sym.Symbol) -> None:
        self._spec, self._progress, self._symbol = spec, progress, symbol

    def is_best(self, results: Sequence[VerificationResult], targets: Sequence[VerificationSet]) -> bool:
        """Whether the last of the results, of the last of the targets, is better than all before it, which is
        remembered."""
        if not results:
            return False
        progress, metric = self._progress, self._spec.best_metric
        value = getattr(results[-1], metric) * (-1 if metric == "eer" else 1)
        best_of, best_on = _best_of(self._spec, targets)
        kept = progress.best_number > 0 or self._spec.ckpt in (0, 2)  # a best that no checkpoint has is none to keep
        alike = _chosen_by(progress, best_of, best_on)
        if progress.best is not None and alike and kept and value <= progress.best:
            return False
        progress.best, progress.best_of, progress.best_on = float(value), best_of, best_on
        return True

    def keeps(self, better: bool, last: bool, verified: bool) -> bool:
        """Whether `ckpt` keeps a checkpoint: of the best so far, of the end; verified: there is something to be best
        at."""
        ckpt = self._spec.ckpt
        at_the_end = last and (ckpt in (1, 2) or (ckpt == 3 and not verified))
        return at_the_end or ckpt == 2 or (ckpt in (1, 3) and better)

    def lacks_end(self, verified: bool) -> bool:
        """Whether `ckpt` keeps the end of the training, and no checkpoint is of this step: a run that was stopped after
        a verification which kept nothing may be resumed to end there. False for a state that does not say."""
        progress = self._progress
        known = progress.saved_step >= 0 or not progress.saves
        return self.keeps(False, True, verified) and known and max(progress.saved_step, progress.saves) < progress.step

    def save(self, arguments: dict[str, Any], auxiliary: dict[str, Any], better: bool) -> None:
        """Write one."""
        progress = self._progress
        number = 1 if self._spec.ckpt == 3 else progress.saves + 1
        path = save_checkpoint(self._spec.prefix, number, self._symbol, arguments, auxiliary)
        progress.saves, progress.replaced, progress.saved_step = max(progress.saves, number), 0, progress.step
        if better:
            progress.best_number = number
        log.info("saved %s%s", path, ", the best so far" if better else "")


def chosen_otherwise(spec: SavingSpec, progress: Progress, targets: Sequence[VerificationSet]) -> list[str]:
    """A warning, on resume, where the best checkpoint so far was chosen by another set or metric than from there on:
    the sets in the data folder may be others, or have other pairs, whatever the settings."""
    now, on = _best_of(spec, targets)
    if spec.ckpt not in (1, 3) or not progress.best_number or _chosen_by(progress, now, on):
        return []
    other = " with other pairs than it has now" if progress.best_of == now else ""
    replaced = ", whose checkpoint replaces it" if spec.ckpt == 3 and progress.best_number == 1 else ""
    what = f"the best is chosen by {now}" if now else "nothing is verified, and the end counts"
    return [f"warning: `resume`: checkpoint {progress.best_number} is the best so far by {progress.best_of}{other}; "
            f"from there {what}{replaced}: to go on by the same, that set has to be the last of `target`, and "
            "`best_metric` as before"]


def numbered_otherwise(spec: SavingSpec, progress: Progress, before: Mapping[str, Any]) -> list[str]:
    """A warning, on resume, where `ckpt` 3 will replace the first of several checkpoints that another `ckpt` kept;
    before: the settings of the state."""
    first = checkpoint_path(spec.prefix, 1)
    if spec.ckpt != 3 or before.get("ckpt") in (None, 3) or progress.saves < 2 or not first.is_file():
        return []
    return [f"warning: `resume`: `ckpt` 3 saves the best as number 1, so {first}, which was kept before, is replaced "
            "by the next best: copy it to keep it, or go on with `ckpt` 1"]


def _chosen_by(progress: Progress, best_of: str, best_on: str) -> bool:
    """Whether the best so far was chosen by this metric on these pairs, which older states do not tell."""
    return progress.best_of == best_of and progress.best_on in ("", best_on)


def _best_of(spec: SavingSpec, targets: Sequence[VerificationSet]) -> tuple[str, str]:
    """What chooses the best: the metric of the last set, and the digest of that set's pairs; empty without sets."""
    if not targets:
        return "", ""
    return f"{spec.best_metric} of {targets[-1].name}", targets[-1].digest_of_pairs
