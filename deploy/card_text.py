"""A model card as Markdown. Names and texts in it are untrusted and are escaped."""
from __future__ import annotations

import re
from typing import Any, Iterator

from common.foreign import is_finite, shown
from eval.arguments import FOLDS

SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~&!$])")
LONGEST = 300  # characters of a name


def escaped(text: object) -> str:
    """Text that Markdown shows literally: in one line, no markup, no links, no HTML."""
    return re.sub(r"(?i)(https?|ftp|mailto|www)([:.])", r"\1\\\2", SPECIAL.sub(r"\\\1", shown(text)[:LONGEST]))


def as_markdown(card: dict[str, Any]) -> str:
    """The whole card."""
    parts = [f"# {escaped(card['model'])}", "A face recognition model: an image of a face to an embedding. Faces of "
             "one person have embeddings that are near each other.",
             _table(["file", "bytes", "sha256"], [[escaped(one["file"]), str(one["bytes"]), one["sha256"]]
                                                  for one in card["files"]]),
             f"sha256 of the model, as embeddings files name it: {card['sha256']}",
             "## Network", _table(["", ""], _network(card)),
             "## Training", *_training(card["training"]),
             "## Scores", *_scores(card["scores"]), *_list(card["conventions"]),
             "## Limits", *_list(card["limits"]),
             "## Consent and terms", *_list(card["consent"]),
             f"Terms of this model, as stated by its distributor: {escaped(card['terms'])}." if card["terms"] else
             "**No terms were stated** for this model. Those of its training data apply to what is made of them: many "
             "face data sets are for research only. Ask the model's author before you use it.",
             *_inherited(card["training"])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _network(card: dict[str, Any]) -> Iterator[list[str]]:
    names = {"network": "network", "version_output": "head", "emb_size": "dimensions"}
    network = card["network"]
    for name, what in names.items():
        if name in network:
            yield [what, escaped(network[name])]
    yield ["parameters", f"{network['parameters']:,}"]
    yield ["multiply-adds an image", f"{network['multiply_adds'] / 1e6:,.0f} million"]
    given, made = card["input"], card["output"]
    length = "of length 1" if made["normalised"] else "not normalised"
    yield ["input", f"`{given['name']}`, {given['type']} {_shape(given['shape'])}, {given['colour']}, 0 to 255; "
           f"normalisation: {given['normalisation']}"]
    yield ["alignment", given["alignment"]]
    yield ["output", f"{escaped(made['name'])}, {made['type']} {_shape(made['shape'])}, "
           f"{length}: add that of the mirror image, then divide by the length"]


def _training(told: dict[str, Any]) -> Iterator[str]:
    if told["data"]:
        yield f"Data: {escaped(told['data'])}"
    if not told["known"]:
        yield "There is no run folder beside the checkpoint, so **how and on what it was trained is not known here**."
        return
    rows = [["data folder", told["data_dir"]], ["images", told["images"]], ["identities", told["identities"]],
            ["images in a step", told["total_batch"]], *([name.replace("_", " "), value]
                                                         for name, value in told["settings"].items()),
            ["versions", ", ".join(f"{name} {version}" for name, version in told["versions"].items())]]
    yield _table(["", ""], [[escaped(name), escaped(value)] for name, value in rows if value not in (None, "")])
    if told["command"]:
        yield "The command, with every flag that the run's configuration has set:"
        yield "    " + shown(told["command"])


def _scores(told: dict[str, Any]) -> Iterator[str]:
    if not told["rows"]:
        yield "**None were given.** `python -m eval verify --json` makes them, and `--scores` includes them here."
        return
    source = ", ".join(map(escaped, told["source"]))
    if told["step"] is None:
        yield f"Of {source}."
    elif told["of_this_checkpoint"]:
        yield f"Of the run's verification at step {told['step']}, when this checkpoint was saved ({source})."
    else:
        yield (f"Of the run's last verification, at step {told['step']} ({source}); **whether it was of this "
               "checkpoint is not known**.")
    rows = []
    for name, row in told["rows"].items():
        rows.append([escaped(name), _count(row.get("pairs")), _percent(row.get("accuracy")) + (
            f" +- {_percent(row['accuracy_std'])}" if "accuracy_std" in row else ""), _tprs(row),
            _percent(row.get("eer")) + _interval(row, "eer"), _percent(row.get("auc")) + _interval(row, "auc")])
    yield _table(["set", "pairs", "accuracy %", "TPR %", "EER %", "AUC %"], rows)
    for name, row in told["rows"].items():
        otherwise = ", ".join(_otherwise(row))
        if otherwise:
            yield f"{escaped(name)} was scored {otherwise}, unlike what the conventions below say."
    if told["chosen_on"]:
        yield (f"The checkpoint may have been chosen as the best of its run on "
               f"{escaped(told['chosen_on'])}: its score there is then optimistic.")


def _otherwise(row: dict[str, Any]) -> Iterator[str]:
    """In what a row of `verify --json` was made differently from the card's conventions."""
    if row.get("flip") is False:
        yield "without mirror images"
    if row.get("pca"):
        yield f"after a projection on {_count(row['pca'])} principal components"
    if row.get("folds", FOLDS) != FOLDS:
        yield f"over {_count(row['folds'])} folds"


def _tprs(row: dict[str, Any]) -> str:
    given = row.get("tpr_at_fpr")
    if not isinstance(given, dict):
        given = {f"{row.get('fpr_target', 1e-3):g}": row.get("tpr")}
    parts = []
    for rate, value in given.items():
        accepts = row.get("false_accepts")
        accepts = accepts.get(rate) if isinstance(accepts, dict) else accepts
        points = row.get("thresholds")
        point = points.get(rate) if isinstance(points, dict) else None
        if type(accepts) is int and accepts == 0 or isinstance(point, dict) and point.get("tpr", value) is None:
            parts.append(f"not given at FPR {escaped(rate)} (no false accept behind it)")
            continue
        few = type(accepts) is int and accepts < 10
        behind = f" (false accepts: {accepts})" if type(accepts) is int else ""
        parts.append(f"{'~' if few else ''}{_percent(value)}{_interval(row, rate)} at FPR {escaped(rate)}{behind}")
    return "; ".join(parts)


def _interval(row: dict[str, Any], name: str) -> str:
    every = row.get("interval")
    limits = every.get(name) if isinstance(every, dict) else None
    if not isinstance(limits, list) or len(limits) != 2:
        return ""
    return f" [{_percent(limits[0])}, {_percent(limits[1])}]"


def _percent(value: Any) -> str:
    return f"{100 * value:.2f}" if is_finite(value) else "-"


def _count(value: Any) -> str:
    return str(int(value)) if is_finite(value) else "-"


def _inherited(training: dict[str, Any]) -> Iterator[str]:
    start = training["settings"].get("pretrained")
    if start:
        yield (f"It was initialised from the checkpoint {escaped(start)}: the data, consent and terms of that one "
               "apply to it as well.")


def _shape(shape: list) -> str:
    return "(" + ", ".join(str(length) for length in shape) + ")"


def _list(points: list[str]) -> Iterator[str]:
    yield "\n".join(f"- {point}" for point in points)


def _table(head: list[str], rows: Any) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
