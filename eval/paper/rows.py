"""The rows of the paper's tables: the scored systems, with the paper's figures, checked to be comparable."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence

from eval.paper.figures import PAPER_FPR, TABLES, Column, PaperTable, table_of
from eval.paper.scores import ModelScores, Rate

NAMES = {"flip": "mirror images", "pca": "principal components", "folds": "folds", "pairs": "pairs",
         "set": "set (sha256)"}


@dataclass(frozen=True)
class Cell:
    """ours: None where the set was not scored; paper: percent, None where the paper has no such figure."""

    ours: Rate | None
    paper: float | None


@dataclass(frozen=True)
class Row:
    """A system of the paper that was trained here, one that was not (name empty), or a model that is none of them."""

    system: str
    name: str
    cells: tuple[Cell, ...]
    step: int | None = None
    chosen: str = ""


@dataclass(frozen=True)
class Table:
    """number: the paper's; fpr: of every TPR; conventions: that all rows share, by set."""

    number: int
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    fpr: float
    conventions: dict[str, dict[str, Any]]


def make_tables(models: Sequence[ModelScores], fpr: float, sets: dict[str, str]) -> list[Table]:
    """The paper's tables that have one of `models`; models that are none of its systems are in both.

    sets: the name that "lfw" and "cfp_fp" go by in the scores. ValueError where models were scored differently, since a
    table of such rows would compare conventions, or where no model was scored on one of the sets.
    """
    conventions = {kind: check_alike(models, name) for kind, name in sets.items()}
    if not any(name in model.sets for model in models for name in sets.values()):
        there = sorted({name for model in models for name in model.sets})
        raise ValueError(f"no run has scores of {' or '.join(sets.values())}; there are {', '.join(there)}: `lfw` NAME "
                         "and `cfp_fp` NAME select the sets to use")
    made = []
    for table in TABLES:
        ours = [model for model in models if table_of(model.system) is table]
        others = [model for model in models if table_of(model.system) is None]
        if ours or len(others) == len(models):
            made.append(_make(table, ours, others, fpr, sets, conventions))
    return made


def check_alike(models: Sequence[ModelScores], name: str) -> dict[str, Any]:
    """The conventions that all models' scores on a set share; ValueError naming two that differ, and in what."""
    shared: dict[str, tuple[Any, str]] = {}
    for model in models:
        found = model.sets.get(name)
        for key, value in found.conventions.items() if found else ():
            before, source = shared.setdefault(key, (value, model.source))
            if before != value:
                raise ValueError(f"{model.source}: {name} was scored with {NAMES[key]} {_say(value)}, in {source} with "
                                 f"{_say(before)}; a table of both would compare conventions: score them alike, with "
                                 "python -m eval verify --json")
    return {key: value for key, (value, _) in shared.items()}


def _make(table: PaperTable, ours: list[ModelScores], others: list[ModelScores], fpr: float, sets: dict[str, str],
          conventions: dict[str, dict[str, Any]]) -> Table:
    rows = []
    for system, figures in table.systems.items():
        paper = [figure if column.rate != "tpr" or abs(fpr / PAPER_FPR - 1) < 1e-6 else None
                 for column, figure in zip(table.columns, figures)]
        here = [model for model in ours if model.system == system]
        rows += [_row(system, model, table, paper, sets) for model in here]
        if not here:
            rows.append(Row(system, "", tuple(Cell(None, figure) for figure in paper)))
    rows += [_row("", model, table, [None] * len(table.columns), sets) for model in others]
    used = {column.set for column in table.columns}
    return Table(table.number, table.columns, tuple(rows), fpr, {kind: conventions[kind] for kind in sorted(used)})


def _row(system: str, model: ModelScores, table: PaperTable, paper: Sequence[float | None],
         sets: dict[str, str]) -> Row:
    cells = []
    for column, figure in zip(table.columns, paper):
        scores = model.sets.get(sets[column.set])
        cells.append(Cell(scores.rates[column.rate] if scores else None, figure))
    return Row(system, model.name, tuple(cells), model.step, model.chosen)


def _say(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
