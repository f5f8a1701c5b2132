"""The study's tables from its files of scores: a row per system, the spread over seeds, differences with intervals."""
from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from common.files import read_regular
from common.foreign import shown
from eval.bootstrap import interval, share_of_other_sign
from study.plan import Plan

Scores = Mapping[str, Any]
DREAM = "-dream"  # after the name of the system whose embeddings DREAM was trained on
MOST_BYTES = 64 << 20  # of a score file
INVALID = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError)
KEYS = ("run", "system", "seed", "plan", "training", "scores")


def read_results(folder: Path, plan: Plan) -> dict[str, list[Scores]]:
    """By system, in the plan's order, the runs that are finished, by seed; ValueError naming an invalid file."""
    found: dict[str, list[Scores]] = defaultdict(list)
    for path in sorted(folder.glob(f"{plan.name}-*.json")):
        try:
            result = json.loads(read_regular(path, MOST_BYTES).decode("utf-8"))
            if any(key not in result for key in KEYS) or type(result["seed"]) is not int or not all(
                    isinstance(result[key], str) for key in ("system", "plan")):
                raise ValueError("lacks an entry")
            if result["plan"] == plan.name:
                all_tables({"itself": [result], "reference": [result]}, plan, "reference")
        except INVALID:
            raise ValueError(f"{path}: is not a score file of the study, or is damaged; move it away, and `python -m "
                             f"study run {plan.name}` makes it again") from None
        if result["plan"] == plan.name:
            found[result["system"]].append(result)
            if "dream" in result["scores"]:
                name = result["system"] + DREAM
                found[name].append({**result, "system": name, "scores": result["scores"]["dream"]})
    order = [name for system in plan.systems for name in (system.name, system.name + DREAM)]
    return {name: sorted(found[name], key=lambda result: result["seed"]) for name in order if found[name]}


def all_tables(results: Mapping[str, Sequence[Scores]], plan: Plan, reference: str) -> list[str]:
    """Every table that has a row, as Markdown."""
    tables = (rates_table(results, plan), differences_table(results, plan, reference),
              random_protocols_table(results, reference), yaw_table(results, plan), misalignment_table(results, plan),
              positions_table(results))
    return [table for table in tables if len(table.splitlines()) > 2]


def rates_table(results: Mapping[str, Sequence[Scores]], plan: Plan) -> str:
    """Markdown: all frontal-profile pairs, frontal-frontal, the protocol's pairs; mean over seeds and their range."""
    rates = [f"{rate:g}" for rate in plan.fpr]
    head = ["system", "seeds", *(f"FP TPR at {rate}" for rate in rates), "FP EER", f"FF TPR at {rates[0]}",
            f"protocol TPR at {rates[0]}", "protocol accuracy"]
    rows = []
    for name, runs in results.items():
        columns = zip(*(_rates_of(run["scores"], rates) for run in runs))
        rows.append([name, str(len(runs)), *(_spread(list(column)) for column in columns)])
    return markdown(head, rows)


def _rates_of(scores: Mapping[str, Any], rates: Sequence[str]) -> list[float | None]:
    """A run's numbers for a row of `rates_table`; None for the protocol's of DREAM, which needs the images' yaw."""
    across, protocol = scores["frontal-profile"], scores.get("protocol")
    return [*(across["tpr"][rate] for rate in rates), across["eer"], scores["frontal-frontal"]["tpr"][rates[0]],
            *((protocol["tpr"][rates[0]], protocol["accuracy"]) if protocol else (None, None))]


def differences_table(results: Mapping[str, Sequence[Scores]], plan: Plan, reference: str) -> str:
    """Markdown: each system's TPR on all frontal-profile pairs minus the reference's, by seed and as the mean of the
    seeds that both have: interval over identities on the same resamples, and the fraction of them with the other sign.
    Last, how often the protocol's pairs would have given the other order, seed against seed."""
    rate = f"{plan.fpr[0]:g}"
    head = ["system", f"TPR at {rate} minus {reference}'s", "95% over identities", "other sign", "by seed",
            "protocol's order wrong"]
    rows = []
    first = {run["seed"]: run for run in results.get(reference, ())}
    for name, runs in results.items():
        both = [(run, first[run["seed"]]) for run in runs if run["seed"] in first]
        if name == reference or not both:
            continue
        draws = np.mean([_draws(ours, rate) - _draws(theirs, rate) for ours, theirs in both], axis=0)
        by_seed = [_tpr(ours, rate) - _tpr(theirs, rate) for ours, theirs in both]
        change, limits = float(np.mean(by_seed)), interval(draws)
        rows.append([name, f"{100 * change:+.2f}", f"{100 * limits.low:+.2f} to {100 * limits.high:+.2f}",
                     f"{100 * share_of_other_sign(change, draws):.1f}%",
                     ", ".join(f"{100 * value:+.2f}" for value in by_seed), _protocol_wrong(runs, first, rate, change)])
    return markdown(head, rows)


def random_protocols_table(results: Mapping[str, Sequence[Scores]], reference: str) -> str:
    """Markdown: on random protocols of the size of CFP-FP's, each system minus the reference, seed by seed: the range
    of 95% of the protocols, and how many give the two runs another order than all pairs do; half of those that give
    none. Accuracy is held against the TPR at the lowest FPR that a protocol can measure."""
    first = {run["seed"]: run for run in results.get(reference, ()) if "random_protocols" in run["scores"]}
    rates = sorted({rate for run in first.values() for rate in run["scores"]["random_protocols"]["tpr"]}, key=float,
                   reverse=True)
    head = ["system", *(text for rate in rates for text in (
        f"TPR at {rate} minus {reference}'s, 95% of protocols", "other order than all pairs"))]
    head += [f"accuracy minus {reference}'s, 95% of protocols",
             f"other order than TPR at {rates[-1]} of all pairs"] if rates else []
    rows = []
    for name, runs in results.items():
        both = [(run, first[run["seed"]]) for run in runs
                if run["seed"] in first and "random_protocols" in run["scores"]]
        if name == reference or not both:
            continue
        rows.append([name, *(text for rate in rates for text in _on_random_protocols(both, rate, rate)),
                     *_on_random_protocols(both, None, rates[-1])])
    return markdown(head, rows)


def _on_random_protocols(both: Sequence[tuple[Scores, Scores]], rate: str | None, all_pairs_rate: str) -> list[str]:
    """The range of the differences in TPR at `rate`, or in accuracy, and the share with another order than the TPR at
    `all_pairs_rate` of all pairs has; over all runs and protocols."""
    apart = np.stack([_on_protocols(ours, rate) - _on_protocols(theirs, rate) for ours, theirs in both])
    order = [_tpr(ours, all_pairs_rate) - _tpr(theirs, all_pairs_rate) for ours, theirs in both]
    limits = interval(apart.ravel())
    other = np.mean([share_of_other_sign(change, drawn) for change, drawn in zip(order, apart)])
    return [f"{100 * limits.low:+.2f} to {100 * limits.high:+.2f}", f"{100 * other:.1f}%"]


def _on_protocols(run: Scores, rate: str | None) -> np.ndarray:
    """(protocols,) TPR at `rate`, or accuracy."""
    found = run["scores"]["random_protocols"]
    return np.asarray(found["accuracy"] if rate is None else found["tpr"][rate], np.float64)


def yaw_table(results: Mapping[str, Sequence[Scores]], plan: Plan) -> str:
    """Markdown: frontal faces against the profiles of one yaw after another, TPR (and FPR) at the threshold of all of
    them together for the plan's first FPR; mean over seeds."""
    kept = {name: [{point["group"]: point for point in run["scores"]["by_yaw"]} for run in runs
                   if "by_yaw" in run["scores"]] for name, runs in results.items()}
    groups = sorted({group for runs in kept.values() for run in runs for group in run})
    images = {group: run[group]["images"] for runs in kept.values() for run in runs for group in run}
    rows = [[name, *(_at_yaw([run[group] for run in runs if group in run]) for group in groups)]
            for name, runs in kept.items() if runs]
    return markdown([f"TPR (FPR) at the threshold of {plan.fpr[0]:g}",
                     *(f"{group}, {images[group]} profiles" for group in groups)], rows)


def _at_yaw(points: Sequence[Mapping[str, Any]]) -> str:
    rates = [point["tpr"] for point in points if point["tpr"] is not None]
    return f"{100 * np.mean(rates):.2f} ({100 * np.mean([point['fpr'] for point in points]):.2f})" if rates else "-"


def misalignment_table(results: Mapping[str, Sequence[Scores]], plan: Plan) -> str:
    """Markdown: the remaining fraction of the aligned TPR, mean over seeds, as both images of a pair are misaligned."""
    rows, head = [], ["system"]
    for name, runs in results.items():
        curves = [run["scores"]["misaligned"] for run in runs if "misaligned" in run["scores"]]
        if not curves:
            continue
        head = ["system", f"aligned TPR at {plan.fpr[0]:g}", *(_moved(point) for point in curves[0][1:])]
        kept = [[(point["tpr"] or 0) / curve[0]["tpr"] if curve[0]["tpr"] else 0 for point in curve[1:]]
                for curve in curves]
        rows.append([name, _spread([curve[0]["tpr"] or 0 for curve in curves]),
                     *(f"{100 * share:.0f}% left" for share in np.mean(kept, axis=0))])
    return markdown(head, rows)


def positions_table(results: Mapping[str, Sequence[Scores]]) -> str:
    """Markdown: norms of local features before the global operator, mean over seeds."""
    rows = []
    for name, runs in results.items():
        groups = [run["scores"]["positions"] for run in runs if "positions" in run["scores"]]
        if not groups:
            continue
        rows.append([name, groups[0]["frontal"]["layer"], *(
            f"{np.mean([group[side][key] for group in groups]):.{digits}f}"
            for key, digits in (("effective_positions", 1), ("centre_correlation", 2))
            for side in ("frontal", "profile"))])
    return markdown(["system", "layer", "effective positions, frontal", "profile", "norm with distance from centre, "
                     "frontal", "profile"], rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of text cells."""
    lines = ["| " + " | ".join(map(shown, cells)) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def _spread(values: Sequence[float | None]) -> str:
    known = [100 * value for value in values if value is not None]
    if not known:
        return "-"
    mean = f"{np.mean(known):.2f}"
    return mean if len(known) == 1 else f"{mean} ({min(known):.2f} to {max(known):.2f})"


def _tpr(run: Scores, rate: str) -> float:
    return run["scores"]["frontal-profile"]["tpr"][rate] or 0.0


def _draws(run: Scores, rate: str) -> np.ndarray:
    return np.asarray(run["scores"]["frontal-profile"]["draws"][rate], np.float64)


def _protocol_wrong(runs: Sequence[Scores], first: Mapping[int, Scores], rate: str, change: float) -> str:
    """Among all pairs of a run and a reference run: how many have the other order on the protocol's pairs than
    `change`."""
    apart = [(ours["scores"]["protocol"]["tpr"][rate] or 0) - (theirs["scores"]["protocol"]["tpr"][rate] or 0)
             for ours in runs for theirs in first.values() if "protocol" in ours["scores"]]
    if not apart:
        return "-"
    wrong = sum(value * change < 0 for value in apart) + sum(value == 0 for value in apart) / 2
    return f"{wrong:g} of {len(apart)}"


def _moved(point: Mapping[str, float]) -> str:
    return f"shift {point['shift']:g} px" if point["shift"] else f"rotated {point['rotate']:g} degrees"
