"""The study's tables from its files of scores: a row per system, the spread over seeds, differences with intervals."""
from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from common.files import read_regular
from common.foreign import shown
from eval.bootstrap import Interval, interval, share_of_other_sign
from eval.operating_points import allowed
from study.differences import Scores, differences, tpr_on_all_pairs
from study.norm_maps import HEAD, positions_rows
from study.plan import Plan, Run

DREAM = "-dream"  # after the name of the system whose embeddings DREAM was trained on
MOST_BYTES = 64 << 20  # of a score file
INVALID = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError)
KEYS = ("run", "system", "seed", "plan", "training", "scores")


def read_results(folder: Path, plan: Plan) -> dict[str, list[Scores]]:
    """By system, in the plan's order, the runs that are finished, by seed; ValueError naming an invalid file."""
    found: dict[str, list[Scores]] = defaultdict(list)
    first: dict[tuple[str, int], Path] = {}
    for path in sorted(folder.glob(f"{plan.name}-*.json")):
        try:
            result = json.loads(read_regular(path, MOST_BYTES).decode("utf-8"))
            if any(key not in result for key in KEYS) or type(result["seed"]) is not int or not all(
                    isinstance(result[key], str) for key in ("system", "plan")):
                raise ValueError("lacks an entry")
            if result["plan"] == plan.name:
                twice = {"itself": [result], "reference": [result]}
                _tables(twice, plan, {"reference": twice})
        except INVALID:
            raise ValueError(f"{path}: is not a score file of the study, or is damaged; move it away, and `python -m "
                             f"study run {plan.name}` makes it again") from None
        if result["plan"] == plan.name:
            if first.setdefault((result["system"], result["seed"]), path) != path:  # a copy is not one more seed
                raise ValueError(f"{path}: is of the system and seed of {first[result['system'], result['seed']]} too; "
                                 "move one of them away")
            found[result["system"]].append(result)
            if "dream" in result["scores"]:
                name = result["system"] + DREAM
                found[name].append({**result, "system": name, "scores": result["scores"]["dream"]})
    return {name: sorted(found[name], key=lambda result: result["seed"]) for name in references(plan) if found[name]}


def runs_of_other_flags(results: Mapping[str, Sequence[Scores]], plan: Plan) -> list[str]:
    """The names of runs trained with other flags than the plan has now: the tables average them with those of it."""
    systems = {system.name: system for system in plan.systems}
    other = []
    for result in (result for name, runs in results.items() if name in systems for result in runs):
        now = Run(plan, systems[result["system"]], result["seed"])
        if (result.get("flags"), result.get("first_flags")) != (now.flags(), now.first_flags()):
            other.append(now.name)
    return other


def all_tables(results: Mapping[str, Sequence[Scores]], plan: Plan, reference: str = "") -> list[str]:
    """Every table that has a row, as a section of Markdown. Differences are from the reference, of the systems of its
    network; by default those of every network from its own."""
    return _tables(results, plan, by_reference(results, plan, reference))


def by_reference(results: Mapping[str, Sequence[Scores]], plan: Plan,
                 reference: str = "") -> dict[str, dict[str, Sequence[Scores]]]:
    """The runs of each network by its reference, or by the given one of its systems."""
    own = references(plan)
    return {name: {system: runs for system, runs in results.items() if own[system] == own[name]}
            for name in ([reference] if reference else dict.fromkeys(own.values()))}


def references(plan: Plan) -> dict[str, str]:
    """The reference of every system that a table may have, in the order of their rows."""
    return {system.name + suffix: system.reference for system in plan.systems for suffix in ("", DREAM)}


def _tables(results: Mapping[str, Sequence[Scores]], plan: Plan,
            compared: Mapping[str, Mapping[str, Sequence[Scores]]]) -> list[str]:
    """Each with its heading and what its numbers are. compared: by reference, what has differences from it."""
    first = f"{plan.fpr[0]:g}"
    sections = (
        ("Rates", "Percent: the mean over seeds and, in brackets, their range. FP: all pairs of a frontal and a "
         "profile image; FF: of two frontal images; protocol: the pairs of the set's protocol. `-dream`: DREAM on the "
         "embeddings of those runs.", rates_table(results, plan)),
        ("Every run", "The same for each training, with the loss and accuracy at its end.", runs_table(results, plan)),
        *((f"Differences from {reference}", "Points of TPR on all FP pairs: the mean of the seeds that both systems "
           "have, its interval over identities on the same resamples, and how many of these have the other sign. Last: "
           "how many pairs of runs the protocol's own pairs order otherwise.", differences_table(some, plan, reference))
          for reference, some in compared.items()),
        *((f"Random protocols, against {reference}", "Draws of the protocol's structure from the same images, the same "
           "for every system.", random_protocols_table(some, reference)) for reference, some in compared.items()),
        ("By yaw", f"TPR (FPR) in percent, at the one threshold that gives all FP pairs together FPR {first}.",
         yaw_table(results, plan)),
        ("Misaligned", f"Both images of a pair moved: TPR at FPR {first} in percent, what it is of the aligned one, "
         "and the FPR at the threshold of aligned images.", misalignment_table(results, plan)),
        ("Norms of local features", "Before the global operator: the effective number of positions, 1 / sum p^2 of the "
         "norms' shares p; the correlation of norm and distance from the centre; the largest of the mean map, over the "
         "image's mean norm, and its row from the top.", markdown(HEAD, positions_rows(results))))
    return [f"## {title}\n\n{legend}\n\n{table}" for title, legend, table in sections
            if len(table.splitlines()) > 2]


def rates_table(results: Mapping[str, Sequence[Scores]], plan: Plan) -> str:
    """Markdown: all frontal-profile pairs, frontal-frontal, the protocol's pairs; mean over seeds and their range."""
    rates = [f"{rate:g}" for rate in plan.fpr]
    rows = []
    for name, runs in results.items():
        columns = zip(*(_rates_of(run["scores"], rates) for run in runs))
        rows.append([name, str(len(runs)), *(_spread(list(column)) for column in columns)])
    return markdown(["system", "seeds", *_rates_head(rates)], rows)


def _rates_head(rates: Sequence[str]) -> list[str]:
    """What the numbers of `_rates_of` are."""
    return [*(f"FP TPR at {rate}" for rate in rates), "FP EER", f"FF TPR at {rates[0]}",
            f"protocol TPR at {rates[0]}", "protocol accuracy"]


def _rates_of(scores: Mapping[str, Any], rates: Sequence[str]) -> list[float | None]:
    """A run's numbers for a row of `rates_table`; None for the protocol's of DREAM, which needs the images' yaw."""
    across, protocol = scores["frontal-profile"], scores.get("protocol")
    return [*(across["tpr"][rate] for rate in rates), across["eer"], scores["frontal-frontal"]["tpr"][rates[0]],
            *((protocol["tpr"][rates[0]], protocol["accuracy"]) if protocol else (None, None))]


def runs_table(results: Mapping[str, Sequence[Scores]], plan: Plan) -> str:
    """Markdown: the numbers of `rates_table` of each training, and the loss and accuracy at its end."""
    rates = [f"{rate:g}" for rate in plan.fpr]
    rows = []
    for run in (run for runs in results.values() for run in runs if "protocol" in run["scores"]):
        end = run["training"]
        rows.append([f"{run['system']}-{run['seed']}", f"{end['loss']:.2f}", _spread([end["accuracy"]]),
                     *(_spread([value]) for value in _rates_of(run["scores"], rates))])
    return markdown(["run", "training loss", "training accuracy", *_rates_head(rates)], rows)


def differences_table(results: Mapping[str, Sequence[Scores]], plan: Plan, reference: str) -> str:
    """Markdown: each system's TPR on all frontal-profile pairs minus the reference's, at each FPR: the mean of the
    seeds that both have, its interval over identities on the same resamples, and the fraction of them with the other
    sign; then seed by seed. Last, how often the protocol's pairs would have given the other order, seed against
    seed."""
    head = ["system", "FPR", f"TPR minus {reference}'s", "95% over identities", "other sign", "by seed",
            "protocol's order wrong"]
    first = {run["seed"]: run for run in results.get(reference, ())}
    rows = [[apart.system, f"{apart.fpr:g}", f"{100 * apart.mean.value:+.2f}", _between(apart.mean.limits),
             f"{100 * apart.mean.other_sign:.1f}%",
             ", ".join(f"{100 * change.value:+.2f} ({_between(change.limits)})" for change in apart.by_seed),
             _protocol_wrong(results[apart.system], first, apart.fpr, apart.mean.value)]
            for apart in differences(results, plan.fpr, reference)]
    return markdown(head, rows)


def _between(limits: Interval) -> str:
    return f"{100 * limits.low:+.2f} to {100 * limits.high:+.2f}"


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
    order = [tpr_on_all_pairs(ours, all_pairs_rate) - tpr_on_all_pairs(theirs, all_pairs_rate)
             for ours, theirs in both]
    other = np.mean([share_of_other_sign(change, drawn) for change, drawn in zip(order, apart)])
    return [_between(interval(apart.ravel())), f"{100 * other:.1f}%"]


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


@dataclass(frozen=True)
class MisalignedPoint:
    """A system's rates when both images of a pair are moved as `how` says, by seed: the TPR, that of aligned images,
    and the FPR at the threshold of these."""

    how: str
    tpr: tuple[float, ...]
    aligned: tuple[float, ...]
    fpr: tuple[float, ...]

    @property
    def left(self) -> list[float]:
        """By seed, the fraction of the aligned TPR that is left."""
        return [tpr / whole if whole else 0.0 for tpr, whole in zip(self.tpr, self.aligned)]


def misaligned_of(runs: Sequence[Scores]) -> list[MisalignedPoint]:
    """Of the runs that were scored on misaligned images; [] where none was."""
    curves = [run["scores"]["misaligned"] for run in runs if "misaligned" in run["scores"]]
    aligned, *others = ([*zip(*curves)] or [()])
    return [MisalignedPoint(_moved(moved[0]), _tprs(moved), _tprs(aligned),
                            tuple(point["at_aligned_threshold"]["fpr"] for point in moved)) for moved in others]


def _tprs(points: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    return tuple(point["tpr"] or 0.0 for point in points)


def misalignment_table(results: Mapping[str, Sequence[Scores]], plan: Plan) -> str:
    """Markdown: the TPR when both images of a pair are misaligned, the fraction that it is of the aligned one (mean
    over seeds), and the FPR at the threshold of aligned images."""
    rows, head = [], ["system"]
    for name, runs in results.items():
        points = misaligned_of(runs)
        if points:
            head = ["system", f"aligned TPR at {plan.fpr[0]:g}", *(point.how for point in points)]
            rows.append([name, _spread(points[0].aligned), *(
                f"{_spread(point.tpr)}, {100 * np.mean(point.left):.0f}% left; FPR {_spread(point.fpr)}"
                for point in points)])
    return markdown(head, rows)


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


def _protocol_wrong(runs: Sequence[Scores], first: Mapping[int, Scores], fpr: float, change: float) -> str:
    """Among all pairs of a run and a reference run: how many have the other order on the protocol's pairs than
    `change`; none where a protocol of its size allows no false accept."""
    ours, theirs = ([run["scores"]["protocol"]["tpr"][f"{fpr:g}"] or 0 for run in some if "protocol" in run["scores"]
                     and allowed(fpr, run["scores"]["protocol"]["pairs"] // 2)] for some in (runs, first.values()))
    apart = [one - other for one in ours for other in theirs]
    if not apart:
        return "-"
    wrong = sum(value * change < 0 for value in apart) + sum(value == 0 for value in apart) / 2
    return f"{wrong:g} of {len(apart)}"


def _moved(point: Mapping[str, float]) -> str:
    return f"shift {point['shift']:g} px" if point["shift"] else f"rotated {point['rotate']:g} degrees"
