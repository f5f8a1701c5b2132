"""The commands of a study: `run` trains and scores, `score` scores one run, `table` and `plot` show the finished."""
from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from common.arguments import at_least
from common.environment import check_environment
from common.errors import RunError, UserError
from common.files import write_atomic
from common.foreign import listed
from eval.arguments import check_outputs
from study.plan import PLANS, Run

if TYPE_CHECKING:
    from study.differences import Scores

log = logging.getLogger(__name__)
RESULTS, WORK, FIGURES = "docs/study", "study-work", "docs/figures"
DESCRIPTION = """\
Train the paper's systems on the same faces and score them on all frontal-profile pairs.

  make study                               the real faces of ../shared/data: hours; resumable after Ctrl-C
  make study FAST=1                        the whole pipeline on synthetic faces, in minutes
  python -m study run drawn                thousands of synthetic identities with known yaw: the controlled experiment
  python -m study run drawn-long           the same with twice the steps of ArcFace
  python -m study table real               the tables of the finished runs
  python -m study plot real                their figures, in docs/figures

A run that has its file in --results is finished; an interrupted one resumes from its last state in --work."""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the commands."""
    runs = commands.add_parser("run", help="train and score the runs that are not finished", description=DESCRIPTION)
    runs.add_argument("plan", choices=tuple(PLANS), help="the plan: systems and faces")
    runs.add_argument("--data", default="../shared/data", metavar="DIR", help="the real faces")
    runs.add_argument("--jobs", type=at_least(1, 64), default=2, metavar="N",
                      help="trainings in parallel, one thread each")
    runs.add_argument("--only", default="", metavar="NAME,NAME",
                      help="of the plan's systems or runs: gnap-fasterfc, or real-gnap-fasterfc-2 for its second seed")
    _add_places(runs)
    runs.set_defaults(run=run)
    score = commands.add_parser("score", help="score one trained run; `run` calls it")
    score.add_argument("plan", choices=tuple(PLANS), help="the plan")
    score.add_argument("name", metavar="RUN", help="the run, by the name of its folder")
    score.add_argument("--sets", required=True, metavar="DIR", help="folder with cfp_fp.bin")
    score.add_argument("--data", required=True, metavar="DIR", help="the real faces")
    _add_places(score)
    score.set_defaults(run=score_one)
    tables = commands.add_parser("table", help="the tables of the finished runs, in Markdown")
    tables.add_argument("plan", choices=tuple(PLANS), help="the plan")
    tables.add_argument("--reference", default="", metavar="SYSTEM",
                        help="the reference of differences of its network's systems (default: every network's GNAP)")
    tables.add_argument("--results", default=RESULTS, metavar="DIR", help="the files of scores")
    tables.set_defaults(run=print_tables)
    plots = commands.add_parser("plot", help="figures of the finished runs, as SVG")
    plots.add_argument("plan", choices=tuple(PLANS), help="the plan")
    plots.add_argument("--results", default=RESULTS, metavar="DIR", help="the files of scores")
    plots.add_argument("--out", default=FIGURES, metavar="DIR", help="where to write them (default: docs/figures)")
    plots.set_defaults(run=draw)


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work", default=WORK, metavar="DIR",
                        help="checkpoints and logs (default: study-work)")
    parser.add_argument("--results", default=RESULTS, metavar="DIR",
                        help="a small JSON of scores for each finished run (default: docs/study)")


def run(args: argparse.Namespace) -> int:
    """Make the sets, train, score."""
    check_outputs(args, (), ("work", "results"))
    plan = PLANS[args.plan]
    chosen = [name.strip() for name in args.only.split(",") if name.strip()]
    systems = {system.name for system in plan.systems}
    unknown = sorted(set(chosen) - systems - {item.name for item in plan.runs()})
    if unknown:
        raise UserError(f"--only {args.only}: {unknown[0]} is neither a system nor a run of the plan {plan.name}; its "
                        f"systems are {', '.join(sorted(systems))}")
    from study.runner import Places, Runner
    from study.synthetic_set import make_synthetic_sets
    from study.training_set import make_real_sets
    from study.yaw import make_yaw
    work, data = Path(args.work).resolve(), Path(args.data).resolve()
    sets = work / f"sets-{plan.sets or plan.name}"
    if plan.data == "drawn":
        make_synthetic_sets(plan, sets)
    else:
        make_real_sets(data, sets)
    places = Places(work, sets, data, Path(args.results).resolve())
    runs = [item for item in plan.runs() if not chosen or {item.system.name, item.name} & set(chosen)]
    left = [item for item in runs if not places.scores(item).exists()]
    make_yaw(plan, data, sets, training=any(item.system.dream for item in left))
    log.info("plan %s: %d runs, %d of them finished; scores in %s", plan.name, len(runs), len(runs) - len(left),
             places.results)
    failed = Runner(places, args.jobs).go_through(left)
    if failed:
        raise RunError(f"{len(failed)} of {len(runs)} runs failed: {', '.join(item.name for item in failed)}; "
                       f"see train.out and score.out in {places.work}")
    log.info("all %d runs are finished; python -m study table %s%s prints the tables", len(runs), plan.name,
             _results(args))
    return 0


def score_one(args: argparse.Namespace) -> int:
    """Score a trained run and write its file."""
    check_outputs(args, (), ("results",))
    check_environment()
    from study.runner import all_flags, is_made_by, training_of
    from study.scoring import score_run
    from study.yaw import faces_with_yaw
    plan = PLANS[args.plan]
    item = _find(plan.runs(), args.name)
    known = faces_with_yaw(plan, Path(args.data), Path(args.sets))
    folder = Path(args.work) / item.name
    if not is_made_by(folder, all_flags(item)):
        raise UserError(f"{folder}: was trained with other flags than the plan {plan.name} has now; python -m study "
                        f"run {plan.name}{_places(args)} trains it again")
    result = {"run": item.name, "system": item.system.name, "seed": item.seed, "plan": plan.name,
              "flags": item.flags(), "first_flags": item.first_flags(), "training": training_of(folder),
              "scores": score_run(str(folder / "model"), 1, plan, known, Path(args.sets) / "cfp_fp.bin",
                                  item.system.dream)}
    Path(args.results).mkdir(parents=True, exist_ok=True)
    write_atomic(Path(args.results) / f"{item.name}.json", json.dumps(result) + "\n")
    return 0


def _results(args: argparse.Namespace) -> str:
    """The flag to repeat where it is not at its default."""
    return "" if args.results == RESULTS else f" --results {args.results}"


def _places(args: argparse.Namespace) -> str:
    return ("" if args.work == WORK else f" --work {args.work}") + _results(args)


def _find(runs: list[Run], name: str) -> Run:
    for item in runs:
        if item.name == name:
            return item
    raise UserError(f"{name}: is not a run of the plan; it has {', '.join(item.name for item in runs)}")


def print_tables(args: argparse.Namespace) -> int:
    """Print the tables of a plan's finished runs."""
    from study.tables import INVALID, all_tables, references
    plan = PLANS[args.plan]
    if args.reference and args.reference not in references(plan):
        raise UserError(f"--reference {args.reference}: is not a system of the plan {plan.name}; its systems are "
                        f"{', '.join(sorted(system.name for system in plan.systems))}")
    results = _read(args)
    if args.reference and args.reference not in results:
        raise UserError(f"--reference {args.reference}: has no finished run in {args.results}; python -m study run "
                        f"{plan.name}{_results(args)} makes them")
    try:
        parts = all_tables(results, plan, args.reference)
    except INVALID:
        raise UserError(_unlike(args)) from None
    print("\n\n".join(parts))
    return 0


def draw(args: argparse.Namespace) -> int:
    """Draw the figures of a plan's finished runs."""
    from study.plots import draw_plots
    from study.tables import INVALID
    check_outputs(args, (), ("out",))
    results = _read(args)
    Path(args.out).mkdir(parents=True, exist_ok=True)
    try:
        drawn = draw_plots(results, PLANS[args.plan], Path(args.out))
    except INVALID:
        raise UserError(_unlike(args)) from None
    for path in drawn:
        print(path)
    return 0


def _read(args: argparse.Namespace) -> dict[str, list[Scores]]:
    """The finished runs by system; warns of those of other flags."""
    from study.tables import read_results, runs_of_other_flags
    plan = PLANS[args.plan]
    try:
        results = read_results(Path(args.results), plan)
    except ValueError as error:
        raise UserError(str(error)) from None
    if not results:
        raise UserError(f"{args.results}: holds no scores of the plan {plan.name}; python -m study run {plan.name}"
                        f"{_results(args)} makes them")
    other = runs_of_other_flags(results, plan)
    if other:
        log.warning("%s: %s had other flags than the plan has now, and the tables average over all; move their files "
                    "away, and python -m study run %s%s makes them again", args.results, listed(other), plan.name,
                    _results(args))
    return results


def _unlike(args: argparse.Namespace) -> str:
    return (f"{args.results}: its score files cannot be compared, as after a change of the plan; move those away that "
            f"it did not make, and python -m study run {args.plan}{_results(args)} makes them again")
