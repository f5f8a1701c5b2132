"""The paper's tables as Markdown, CSV or LaTeX; rates in percent."""
from __future__ import annotations

import re
from typing import Callable, Sequence

from common.foreign import shown
from common.tables import csv_text
from eval.paper.figures import Column
from eval.paper.rows import Cell, Row, Table
from eval.paper.scores import Rate

SETS = {"lfw": "LFW", "cfp_fp": "CFP-FP"}
RATES = {"accuracy": "Acc", "eer": "EER", "tpr": "TPR"}
PARTS = {"accuracy": ("", "_low", "_high", "_spread", "_paper"), "eer": ("", "_low", "_high", "_paper"),
         "tpr": ("", "_low", "_high", "_false_accepts", "_paper")}  # the columns of CSV for each rate
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
         **{letter: "\\" + letter for letter in "&%$#_{}"}}
NOTE_FEW = "~: based on fewer than 10 false accepts (their number in parentheses), so unreliable."
NOTE_INTERVAL = "In brackets: 95% interval; after +-: standard deviation over the folds."


def markdown(tables: Sequence[Table]) -> str:
    """The tables, with a legend of marks and columns."""
    return "\n".join(_markdown(table) for table in tables)


def latex(tables: Sequence[Table]) -> str:
    """A `table` environment each, for a document without further packages."""
    return "\n".join(_latex(table) for table in tables)


def as_csv(tables: Sequence[Table]) -> str:
    """One table of both: a row for each model and a column for each number, empty where there is none."""
    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    rows = []
    for table in tables:
        for row in table.rows:
            cells = dict(zip(table.columns, row.cells))
            rows.append([table.number, row.system, row.name, "" if row.step is None else row.step, row.chosen,
                         f"{table.fpr:g}",
                         *(value for column in columns for value in _numbers(column, cells.get(column)))])
    return csv_text(["table", "system", "model", "step", "chosen_on", "fpr",
                     *(column.key + part for column in columns for part in PARTS[column.rate])], rows)


def _numbers(column: Column, cell: Cell | None) -> list[str]:
    cell = cell or Cell(None, None)
    rate = cell.ours or Rate(None)
    texts = {part: "" if value is None else f"{100 * value:.2f}" for part, value in (
        ("", rate.value), ("_low", rate.low), ("_high", rate.high), ("_spread", rate.spread))}
    count = "" if rate.false_accepts is None else str(rate.false_accepts)
    texts["_false_accepts"] = f"<={count}" if rate.at_most else count
    texts["_paper"] = _paper(cell)
    return [texts[part] for part in PARTS[column.rate]]


def _markdown(table: Table) -> str:
    names = [_column(column, table.fpr) for column in table.columns]
    head = ["Network", "Model", *(text for name in names for text in (name, "paper"))]
    lines = [f"**Table {table.number}.** {_caption(table)}", "", _bar(head), _bar(["---"] * len(head))]
    for row in table.rows:
        cells = [text for cell in row.cells for text in (_cell(cell.ours), _paper(cell))]
        lines.append(_bar([_markdown_text(row.system), _markdown_text(_model(row)), *cells]))
    return "\n".join([*lines, "", *(f"{note}  " for note in _notes(table)), ""])


def _latex(table: Table) -> str:
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{_escape(_caption(table))}}}",
             rf"\begin{{tabular}}{{ll{'rr' * len(table.columns)}}}", r"\hline",
             _cells(["Network", "Model", *(_escape(text) for column in table.columns
                                           for text in (_column(column, table.fpr), "paper"))]), r"\hline"]
    for row in table.rows:
        cells = [_escape(text) for cell in row.cells for text in (_cell(cell.ours), _paper(cell))]
        lines.append(_cells([_escape(row.system), _escape(_model(row)), *cells]))
    lines += [r"\hline", r"\end{tabular}", *(rf"\\ {{\footnotesize {_escape(note)}}}" for note in _notes(table)),
              r"\end{table}"]
    return "\n".join(lines) + "\n"


def _cell(rate: Rate | None) -> str:
    if rate is None:
        return ""
    if rate.value is None:
        return "-"
    text = f"{'~' if rate.few else ''}{100 * rate.value:.2f}"
    if rate.few:
        text += f" ({'<=' if rate.at_most else ''}{rate.false_accepts})"
    if rate.low is not None and rate.high is not None:
        return f"{text} [{100 * rate.low:.2f}, {100 * rate.high:.2f}]"
    return text if rate.spread is None else f"{text} +- {100 * rate.spread:.2f}"


def _paper(cell: Cell) -> str:
    return "" if cell.paper is None else f"{cell.paper:.2f}"


def _column(column: Column, fpr: float) -> str:
    at = f"@FPR={100 * fpr:g}%" if column.rate == "tpr" else ""
    return f"{RATES[column.rate]}({SETS[column.set]}){at}"


def _model(row: Row) -> str:
    step = "" if row.step is None else f", step {row.step}"
    return f"{row.name}{step}{f' (best on {row.chosen}*)' if row.chosen else ''}" if row.name else "not scored here"


def _caption(table: Table) -> str:
    return f"Percent; TPR at FPR {100 * table.fpr:g}%. Beside each figure the paper's, trained on CASIA-WebFace."


def _notes(table: Table) -> list[str]:
    cells = [cell.ours for row in table.rows for cell in row.cells if cell.ours is not None]
    notes = [NOTE_INTERVAL]
    if any(rate.few and rate.value is not None for rate in cells):
        notes.append(NOTE_FEW)
    if any(rate.value is None for rate in cells):
        notes.append("-: no false accept is behind it at that FPR, so there is no such rate.")
    for chosen in sorted({row.chosen for row in table.rows if row.chosen}):
        notes.append(f"*: the step was chosen by its accuracy on {chosen}, so its scores there are optimistic.")
    for kind, shared in table.conventions.items():
        if shared:
            said = [f"{shared['pairs']} pairs" if "pairs" in shared else "",
                    "mirror images added" if shared.get("flip") else "no mirror images" if "flip" in shared else "",
                    f"{shared['folds']} folds" if "folds" in shared else "",
                    f"{shared['pca']} principal components" if shared.get("pca") else ""]
            notes.append(f"{SETS[kind]}: {', '.join(part for part in said if part)}.")
    return notes


def _bar(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", shown(text))


def _escape(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in shown(text)).replace("+-", r"$\pm$").replace(
        "<=", r"$\leq$")


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {"markdown": markdown, "csv": as_csv, "latex": latex}
