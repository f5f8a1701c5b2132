"""Folders that an earlier command left, mutated: what `align` continues, and a run that `--overwrite` set aside."""
from __future__ import annotations

import json
import random
from pathlib import Path

from recordio_tools import __main__ as tools
from stress.fuzzing.mutations import mutate_text
from stress.fuzzing.run_folders import VALUES
from training.saving.overwrite import ASIDE, DISCARDED, MANIFEST, recover

COLUMNS = ",".join(f"{axis}{number}" for number in range(1, 6) for axis in "xy")
POINTS = "38.3,51.7,73.5,51.5,56.0,71.7,41.5,92.4,70.7,92.2"
TABLE, CROPS, REPORT = "landmarks.csv", "align-crops.txt", "align-report.json"
MINE = "thesis.txt"  # somebody's own file, beside what a run left


def crops(chance: random.Random) -> dict[str, bytes]:
    """OUT of an align that was stopped, its table, list and report damaged, some or all of them."""
    names = [f"person{number}/0.jpg" for number in range(3)]
    texts = {TABLE: f"path,{COLUMNS},score,found,made_of\n" + "".join(f"{name},{POINTS},1,given,\n" for name in names),
             CROPS: "\n".join(json.dumps(name) for name in [*names, "person3/0.jpg", ""]),
             REPORT: json.dumps({"centre_crops": 1, "crops": 3})}
    files = {name: text.encode() for name, text in texts.items()}
    for name in chance.sample(sorted(files), chance.randint(1, 3)):
        way = chance.randrange(8)
        files[name] = (b"[" * 99_999 if way == 0 else b'{"centre_crops": Infinity}' if way == 1 and name == REPORT
                       else mutate_text(files[name], chance))
    if chance.random() < 0.3:
        del files[chance.choice((CROPS, REPORT))]
    given = f"path,{COLUMNS}\n" + "".join(f"{name},{POINTS}\n" for name in names)
    return {**{f"out/{name}": data for name, data in files.items()}, "given.csv": given.encode(), MINE: b"mine",
            "out/person0/0.jpg": b"mine"}


def aside(chance: random.Random) -> dict[str, bytes]:
    """A run folder with another that was set aside, or is about to be removed, its manifest damaged."""
    names = ["x-symbol.json", "x-0001.params", "metrics.jsonl", "log.txt", "config.json"]
    manifest = {"prefix": "x", "files": names}
    way, place = chance.randrange(4), chance.choice((ASIDE, DISCARDED))
    if way == 0:
        manifest[chance.choice(("prefix", "files"))] = chance.choice(VALUES)
    elif way == 1:
        names[chance.randrange(len(names))] = str(chance.choice((*VALUES, f"../{MINE}", MINE, "state", ".", "..")))
    text = json.dumps(manifest).encode()
    if way == 2:
        text = b"[" * 99_999 if chance.random() < 0.2 else mutate_text(text, chance)
    inside = chance.sample(["x-symbol.json", "metrics.jsonl", "log.txt"], chance.randint(1, 3))
    if chance.random() < 0.2:
        inside.append(MINE)
    old = {f"{place}/{name}": b"%d" % chance.randrange(10 ** 6) for name in inside}
    return {f"{place}/{MANIFEST}": text, **old, MINE: b"mine",
            "metrics.jsonl": b"", "log.txt": b""}


def read_crops(folder: Path) -> str | int | None:
    """`align` goes on in OUT; a file that it did not write stays as it is."""
    faces = folder.parent / "faces"
    try:
        return tools.main(["align", str(faces), str(folder / "out"), "--landmarks", str(folder / "given.csv"),
                           "--workers", "1"])
    finally:
        _check_mine(folder)


def read_aside(folder: Path) -> None:
    """The next start of a training in the folder."""
    try:
        recover(folder)
    finally:
        _check_mine(folder)


def _check_mine(folder: Path) -> None:
    if (folder / MINE).read_bytes() != b"mine":
        raise RuntimeError(f"{MINE} was changed")
