"""Verification during training: its sets and their rows."""
from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Sequence

import mxnet as mx
import numpy as np

from common.errors import UserError
from eval.bootstrap import interval
from eval.operating_points import FEW, given
from eval.pair_statistics import statistics
from eval.verification import VerificationResult, VerificationSet, each_once, numbers, verify_set
from inference.embedder import Embedder
from training.specs import VerificationSpec

log = logging.getLogger(__name__)
DEFAULT_TARGETS = ("lfw", "cfp_fp", "agedb_30")
FPR = 0.001
RESAMPLES = 200  # resamples of intervals: a tenth of a second for 6,000 pairs
NONE = "none"
WAY_OUT = "`target` names other sets, or none for no verification"


def open_targets(spec: VerificationSpec, image_size: tuple[int, int]) -> list[VerificationSet]:
    """The verification sets of `target`, read and validated; UserError for one that does not exist or does not fit."""
    sets: list[VerificationSet] = []
    for path in _paths(spec):
        try:
            target = VerificationSet(path)
        except UserError as error:
            raise UserError(f"{error}; {WAY_OUT}") from None
        if tuple(target.image_size) != tuple(image_size):
            raise UserError(f"{path}: its images are {target.image_size[0]}x{target.image_size[1]}, the network takes "
                            f"{image_size[0]}x{image_size[1]}; {WAY_OUT}")
        sets.append(target)
    if not sets:
        log.info("no verification: %s", "`target` none" if spec.target.strip() == NONE else
                 f"{_folder(spec)} holds none of {', '.join(name + '.bin' for name in DEFAULT_TARGETS)}")
    _tell_apart(sets)
    return sets


def _folder(spec: VerificationSpec) -> Path:
    """The folder of the sets: `data_dir`, or that of the records it names."""
    path = Path(spec.data_dir)
    return path if path.is_dir() else path.parent


def _paths(spec: VerificationSpec) -> list[Path]:
    """The files of `target`, each once, in its order."""
    folder, text = _folder(spec), spec.target.strip()
    if text == NONE:
        return []
    if not text:
        return [path for path in (folder / f"{name}.bin" for name in DEFAULT_TARGETS) if path.is_file()]
    parts, found = text.split(","), []
    while parts:
        path, count = _find(parts, folder) if parts[0].strip() else (None, 1)
        found += [path] if path else []
        del parts[:count]
    if not found:
        raise UserError(f"`target` {spec.target!r}: names no set; lfw,cfp_fp for example, or none")
    return [Path(path) for path in each_once(found, "`target`")]


def _find(parts: Sequence[str], folder: Path) -> tuple[Path, int]:
    """The file of the first set in `target`, split at commas, and of how many parts its name is: the fewest, for a path
    may have commas. UserError with the existing ones."""
    for count in range(1, len(parts) + 1):
        name = ",".join(parts[:count]).strip()
        tried = [Path(name), folder / name] if name.endswith(".bin") else [folder / f"{name}.bin"]
        for path in tried:
            if os.path.isfile(path):
                return path, count
    there, name = sorted(item.stem for item in folder.glob("*.bin")), parts[0].strip()
    missing = name if name.endswith(".bin") else folder / f"{name}.bin"
    raise UserError(f"`target` {name}: there is no {missing}; "
                    + (f"{folder} holds {', '.join(there)}" if there else f"{folder} holds no .bin file"))


def _tell_apart(sets: list[VerificationSet]) -> None:
    """Give sets of one name as many folders of their paths before it as tell them apart, in rows, log and curves."""
    for name in {target.name for target in sets}:
        same = [target for target in sets if target.name == name]
        for depth in range(1, max(len(target.path.absolute().parts) for target in same) if len(same) > 1 else 0):
            titles = ["/".join((*target.path.absolute().parent.parts[-depth:], name)) for target in same]
            if len(set(titles)) == len(same):
                for target, title in zip(same, titles):
                    target.name = title
                log.info("several sets are named %s; they are listed as %s", name, ", ".join(titles))
                break


def verify(symbol: mx.sym.Symbol, arguments: dict[str, mx.nd.NDArray], auxiliary: dict[str, mx.nd.NDArray],
           targets: list[VerificationSet], devices: list[mx.Context], batch_size: int) -> list[VerificationResult]:
    """The result for each set, with embeddings of the current parameters. batch_size: images on a device at a time."""
    if not targets:
        return []
    embedder = Embedder(symbol, arguments, auxiliary, devices, batch_size * len(devices), targets[0].image_size)
    return [verify_set(embedder, target, fpr=(FPR,)) for target in targets]


def result_row(result: VerificationResult, step: int) -> dict[str, object]:
    """The `verification` row of metrics.jsonl: the metrics, the number of false accepts behind the TPR, and 95%
    intervals by bootstrap over pairs, by the names of the rates: a TPR without a false accept behind it has none.
    Every row of a set uses the same resamples."""
    row: dict[str, object] = {"kind": "verification", "step": step, **numbers(result)}
    if getattr(result, "scores", None) is None:
        return row
    found = statistics(result, (result.fpr_target,), RESAMPLES, 0, accuracy=True)
    limits = {name if name in ("accuracy", "eer", "auc") else "tpr": interval(draws)
              for name, draws in found.draws.items() if found.given(name)}
    return {**row, "false_accepts": found.points[0].false_accepts,
            "interval": {name: [one.low, one.high] for name, one in limits.items() if np.isfinite(one.low)}}


def result_text(row: dict[str, Any]) -> str:
    """A `verification` row for the log: a TPR based on few false accepts is marked ~ with their number, and not given
    where there is none."""
    limits, count = row.get("interval", {}).get("tpr"), row.get("false_accepts")
    rate = f"{row['tpr']:.4f}"
    if count is not None and given(row["tpr"], count) is None:
        rate = "not given (no false accept behind it)"
    elif limits and count is not None:
        few = count < FEW
        rate = (f"{'~' if few else ''}{rate} ({limits[0]:.4f} to {limits[1]:.4f}"
                + (f"; {count} false accept{'' if count == 1 else 's'}" if few else "") + ")")
    return (f"accuracy {row['accuracy']:.4f} +- {row['accuracy_std']:.4f}, TPR at FPR {100 * row['fpr_target']:g}% "
            f"{rate}, EER {row['eer']:.4f}, AUC {row['auc']:.4f}, XNorm {row['xnorm']:.3f} "
            f"({row['pairs']} pairs, {row['seconds']:.1f} s)")
