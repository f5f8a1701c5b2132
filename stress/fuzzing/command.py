"""The command: its flags, the cases that it runs, and the table of what became of them."""
from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Callable, Iterator

from common import cli
from common.environment import usable_cores
from common.errors import UserError
from common.progress import progress
from common.signals import stoppable
from stress.fuzzing.cases import KINDS, Case, load_corpus, make_case
from stress.fuzzing.runner import Limits, Outcome, Ticket, run_all

PROG = "python -m stress.fuzzing"
DESCRIPTION = """\
Feed mutated files to every reader: .rec, .idx, property, identities.csv, .bin, .lst, CSV and protocol files, images,
checkpoints (model), the states of runs (run), embeddings (npz, gallery), scores, IJB's lists (ijb), ONNX files (onnx),
MATLAB's lists (mat), the journals of deploy embed (journal), rows and scores of runs (results), tables of groups,
failures and hosts (tables), what align (crops) and --overwrite (aside) left behind, the figures of an earlier run of
the benchmarks (against) and the scores of the study (study).
Each must end with a result, a skip or an error in one line: never with another exception, a crash, a
hang, much memory, or a pickle that was executed.

  python -m stress.fuzzing
  python -m stress.fuzzing --cases 100000 --seed 7 --kind bin,image
  python -m stress.fuzzing --replay fuzz-failures/bin-0-123

A case is its kind, seed and number. A failing one is kept with its outcome. Real files are mutated where
--data holds some, else synthetic ones."""


def main(argv: list[str]) -> int:
    """Run the cases and print the table; 1 where one failed."""
    parser = cli.Parser(prog=PROG, description=DESCRIPTION)
    parser.add_argument("--cases", type=cli.at_least(1), default=10_000, metavar="N", help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the cases")
    parser.add_argument("--kind", default=",".join(KINDS), metavar="KINDS",
                        help="the kinds to run, separated by commas (default: all)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), metavar="DIR", help="real data to mutate")
    parser.add_argument("--workers", type=cli.at_least(1, 1024), default=usable_cores(), metavar="N", help="processes")
    parser.add_argument("--seconds", type=cli.at_least(1), default=20, metavar="T", help="limit of a case")
    parser.add_argument("--memory", type=cli.at_least(64, 1 << 20), default=1024, metavar="MIB", help="limit of a case")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), metavar="DIR",
                        help="where cases that fail are kept")
    parser.add_argument("--replay", type=Path, metavar="DIR", help="run a kept case again and print what it does")
    args = parser.parse_args(argv)
    kinds = args.kind.split(",")
    if not set(kinds) <= set(KINDS):
        raise UserError(f"--kind {args.kind}: the kinds are {','.join(KINDS)}")
    corpus = load_corpus(args.data)
    limits = Limits(args.seconds, args.memory)
    tickets = list(itertools.islice(((kind, args.seed, number) for number in itertools.count() for kind in kinds),
                                    args.cases))
    replayed = _kept(args.replay) if args.replay else None
    memory = Path("/dev/shm")
    scratch = Path(tempfile.mkdtemp(prefix="fuzzing-", dir=memory if os.access(memory, os.W_OK) else None))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        stack.enter_context(stoppable())
        outcomes = stack.enter_context(contextlib.closing(run_all(
            corpus, tickets if replayed is None else [("replay", 0, 0)], scratch, args.workers, limits,
            None if replayed is None else lambda ticket: replayed)))
        if replayed is not None:
            return _print_replay(next(outcomes))
        print(f"{args.cases} cases, seed {args.seed}, from {'real' if corpus.real else 'synthetic'} files")
        return _report(progress(outcomes, args.cases, "fuzz", "cases"),
                       args.failures, lambda ticket: make_case(corpus, *ticket))


def _report(outcomes: Iterator[Outcome], folder: Path, make: Callable[[Ticket], Case]) -> int:
    seconds: dict[str, list[float]] = collections.defaultdict(list)
    rows: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    failed: dict[str, list[Path]] = collections.defaultdict(list)
    for outcome in outcomes:
        row = rows[outcome.ticket[0]]
        row["cases"] += 1
        seconds[outcome.ticket[0]].append(outcome.seconds)
        row["peak"] = max(row["peak"], outcome.memory)
        row.update(outcome.ends.values())
        row["failed"] += bool(outcome.failures)
        for what, _ in outcome.failures:
            failed[what].append(_keep(folder, outcome, make(outcome.ticket)))
    print(f"{'kind':<8}{'cases':>8}{'read':>9}{'refused':>9}{'failed':>8}{'seconds':>9}{'slowest':>9}{'peak MiB':>10}")
    for kind in (kind for kind in KINDS if kind in rows):
        row = rows[kind]
        print(f"{kind:<8}{row['cases']:>8}{row['read']:>9}{row['refused']:>9}{row['failed']:>8}"
              f"{sum(seconds[kind]):>9.1f}{max(seconds[kind]):>9.2f}{row['peak']:>10}")
    for what, kept in sorted(failed.items(), key=lambda item: -len(item[1])):
        print(f"{len(kept):>6}  {what}; {PROG} --replay {kept[0]}")
    if not failed:
        print("no crash, no hang, no executed pickle, no exception but the errors for users, memory within bounds")
    return 1 if failed else 0


def _keep(folder: Path, outcome: Outcome, case: Case) -> Path:
    place = folder / "-".join(map(str, outcome.ticket))
    for name, data in case.files.items():
        path = place / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    told = {"case": outcome.ticket, "reader": case.reader, "failures": outcome.failures}
    (place / "case.json").write_text(json.dumps(told, indent=1))
    return place


def _kept(place: Path) -> Case:
    try:
        told = json.loads((place / "case.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"--replay {place}: holds no case ({error})") from None
    files = place / "files"
    return Case(told["reader"], {str(path.relative_to(files)): path.read_bytes()
                                 for path in sorted(files.rglob("*")) if path.is_file()})


def _print_replay(outcome: Outcome) -> int:
    for name, end in outcome.ends.items():
        print(f"{name}: {end}")
    for what, details in outcome.failures:
        print(f"{what}\n{details}")
    return 1 if outcome.failures else 0
