"""Differences between a state and the run that resumes it: allowed and refused ones."""
from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from shlex import quote
from typing import Any, Mapping, Sequence

from common.errors import UserError
from common.foreign import shown
from training.config import Config
from training.option import CHANGES, ELSEWHERE, REFUSED, TRUNK, flags
from training.saving.checkpoint import checkpoint_path
from training.saving.header import SCHEDULE

# What another value of a setting means: for flags it is defined with them, for the rest of an identity here.
MEANING = {**{item.name: ELSEWHERE for item in fields(Config)},
           **{name: flag.on_resume for name, flag in flags(Config).items()}, "data": REFUSED}
SHARES = {"devices", "per_batch_size", "accumulate"}  # how a total batch is distributed
FOR_PEOPLE = ("names of identities", "whole set", SCHEDULE)  # of an identity, but compared by other entries


@dataclass(frozen=True)
class Change:
    """A setting by its name or title, in the state and here."""

    name: str
    there: Any
    here: Any

    @property
    def meaning(self) -> str:
        """One of those in training.option."""
        return MEANING.get(self.name, CHANGES)

    def title(self) -> str:
        """The setting's name or title."""
        return {"data": "data of", "total batch": "total batch"}.get(self.name, f"`{self.name}`")


def differences(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> list[Change]:
    """Every setting that differs between two identities; one that an older state lacks is at its default."""
    defaults = {item.name: item.default for item in fields(Config)}
    there = {name: theirs.get(name, defaults.get(name)) for name in mine}
    return [Change(name, there[name], value) for name, value in mine.items()
            if there[name] != value and name not in FOR_PEOPLE and MEANING.get(name) != ELSEWHERE]


def check_same_run(theirs: Mapping[str, Any], mine: Mapping[str, Any], path: Path, saves: int) -> list[Change]:
    """The changes of settings on resume, all allowed.

    UserError, with a remedy, where the state at `path`, of `saves` checkpoints, is of another network, of other data,
    or of a run whose checkpoints have another name in the same folder.
    """
    there, here = (Path(str(one.get("prefix", ""))).name for one in (theirs, mine))
    if there and here and there != here:
        own = Path(str(mine["prefix"])).with_name(shown(there))
        raise UserError(f"`resume`: the state {path} is of the run whose checkpoints are {own.name}-NNNN.params; "
                        f"continue it with `prefix` {quote(str(own))}, or begin a new run with a `prefix` in a folder "
                        "of its own")
    found = differences(theirs, mine)
    refused = [change for change in found if change.meaning in (TRUNK, REFUSED)]
    if refused:
        what = "; ".join(f"{change.title()} {_shown(change.there)} there, {_shown(change.here)} here"
                         for change in refused)
        raise UserError(f"`resume`: the state {path} is of another run: {what}; {_way_out(refused, mine, saves)}")
    return found


def change_lines(changes: Sequence[Change], step: int, same_rates: bool) -> list[str]:
    """A line for the log of each change at `step`; same_rates: the learning rates from there on are the same."""
    over = {change.name: "the learning rates ahead are the same" for change in changes
            if change.name in ("lr_steps", "warmup") and same_rates}
    over.update({change.name: "it is over" for change in changes
                 if change.name == "margin_warmup" and max(change.there, change.here) <= step})
    lines = [f"`resume`: {change.title()} {_shown(change.there)} up to step {step}, {_shown(change.here)} from there"
             + (f", without effect: {over[change.name]}" if change.name in over else "") for change in changes]
    names = {change.name for change in changes}
    if any(change.meaning == CHANGES and change.name not in over for change in changes):
        same = "the total batch is the same, but " if names & SHARES and "total batch" not in names else ""
        lines.append(f"`resume`: {same}from there on the run is not, to the last bit, the one that was never changed")
    return lines


def _way_out(refused: list[Change], mine: Mapping[str, Any], saves: int) -> str:
    names = {change.name for change in refused}
    flags = " ".join(f"{change.title()} {shown(change.there)}" for change in refused if change.name != "data")
    data = "the data it was started with" if "data" in names else ""
    back = f"continue with {' and '.join(filter(None, [flags, data]))}, or begin a new run with another `prefix`"
    prefix = str(mine.get("prefix", ""))
    newest = f"`pretrained` {quote(f'{prefix},{saves}')}"
    if any(change.meaning == TRUNK for change in refused) or not saves or not checkpoint_path(prefix, saves).is_file():
        return back
    if "emb_size" in names:
        return f"{back}, from this one's newest checkpoint: {newest} `pretrained_partial`"
    return (f"{back}, from this one's newest checkpoint: {newest} takes the classification layer too where the "
            "identities are the same")


def _shown(value: Any) -> str:
    return "not given" if value == "" else shown(value)
