"""What `eval table`, `deploy card`, `eval --failures` and `--groups` read, mutated: the rows, configuration and log of
a run, scores by `verify --json`, reports of align, tables of images; and the list of hosts for `training.launch`."""
from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from common.files import json_text
from deploy.card_text import as_markdown
from deploy.model_card import make_card
from eval import __main__ as evaluation
from eval.face_sets import read_groups
from eval.failures import lost_faces, pairs_readings, read_failures
from eval.pose import read_yaw
from stress.fuzzing import checkpoints
from stress.fuzzing.mutations import mutate_text
from stress.fuzzing.run_folders import VALUES
from training.cluster.hosts import read_hosts
from training.config import Config

SCORES = "scores.json"
DEEP = "@deep"  # stands for lists within lists that no writer of JSON would make
NESTED = "[" * 50_000 + "]" * 50_000
ODD: tuple[Any, ...] = (*VALUES, 10 ** 400, -10 ** 400, "1e400", [1, 2], [[1, 2], 3], {"0.001": 10 ** 400}, DEEP)
NAMES = [f"person{number // 3}/{number % 3}.jpg" for number in range(12)]
LABELS = np.arange(12) // 3
PEOPLE = [f"person{number}" for number in range(4)]


def _row(step: int) -> dict[str, Any]:
    return {"kind": "verification", "step": step, "target": "lfw", "pairs": 40, "accuracy": 0.9, "accuracy_std": 0.01,
            "tpr": 0.8, "fpr_target": 0.001, "eer": 0.1, "auc": 0.97, "threshold": 1.4, "xnorm": 20.5, "seconds": 1.5,
            "false_accepts": 0, "interval": {"accuracy": [0.8, 0.95], "eer": [0.05, 0.2], "tpr": [0.6, 0.9]}}


def _of_verify() -> dict[str, Any]:
    """As `eval verify --json` writes it."""
    row = {**_row(2), "tpr_at_fpr": {"0.001": 0.8, "0.1": 0.9}, "false_accepts": {"0.001": 0, "0.1": 2},
           "thresholds": {"0.001": {"score": 1.2, "tpr": 0.8}, "0.1": {"score": 1.4, "tpr": 0.9}},
           "set": {"path": "lfw.bin", "sha256": "1" * 64}, "flip": True, "pca": None, "folds": 10}
    return {"x,1": {"lfw": row, "cfp_fp": dict(row)}}


def of_run(chance: random.Random) -> dict[str, bytes]:
    """The files of a run with its checkpoint, and scores of it: values replaced, or some of the text damaged."""
    config = {**Config(data_dir="d", prefix="x").as_dict(), "versions": {"mxnet": "1.9.1"}, "git_commit": "a" * 40,
              "resolved": {"image_size": [16, 16], "num_classes": 9, "images": 90, "devices": ["cpu:0"],
                           "total_batch": 8, "targets": ["lfw.bin"]}}
    content: dict[str, Any] = {"config.json": config, SCORES: _of_verify(), "metrics.jsonl": [
        {"kind": "train", "step": 1, "loss": 2.5}, _row(1), _row(2)]}
    for name in chance.sample(sorted(content), chance.choice((1, 1, 2, 3))):
        for _ in range(chance.randint(1, 3)):
            replace_some(content[name], chance)
    made = {name: as_text(value) for name, value in content.items()}
    made["log.txt"] = b"2026-01-01 00:00:00 step 2/9: loss 2.5\n2026-01-01 00:00:01 saved x-0001.params\n"
    if chance.random() < 0.3:
        name = chance.choice(sorted(made))
        made[name] = mutate_text(made[name], chance)
    return {**made, **checkpoints.sound()}


def tables(chance: random.Random) -> dict[str, bytes]:
    """Groups, failures as a list, tables and a report, landmarks, and hosts: all, or some of them, damaged."""
    columns = ",".join(f"{axis}{number}" for number in range(1, 6) for axis in "xy")
    report = {"files_not_found": NAMES[:2], "files_skipped": {"cut off": NAMES[2:3]}, "not_found": 2, "skipped": 1}
    if chance.random() < 0.4:
        replace_some(report, chance)
    made = {"groups.csv": "path,group\n" + "".join(f"{name},{'ab'[at % 2]}\n" for at, name in enumerate(NAMES)),
            "failures.txt": "\n".join([*NAMES[:3], "person1/9.jpg", ""]), "positions.txt": "0\n3\n7\n",
            "images.csv": "path,label\n" + "".join(f"{name},person9\n" for name in NAMES[:3]),
            "pairs.csv": "left,right,same\na.jpg,b.jpg,1\nb.jpg,c.jpg,0\n",
            "align-report.json": as_text(report).decode(),
            "yaw.csv": f"path,{columns}\n" + "".join(f"{name},38,52,74,51,56,72,42,92,71,92\n" for name in NAMES),
            "hosts": "localhost slots=2\n"}
    files = {name: text.encode() for name, text in made.items()}
    for name in chance.sample(sorted(files), chance.choice((1, 2, len(files)))):
        files[name] = mutate_text(files[name], chance)
    return files


def read_table_of_runs(folder: Path) -> int | None:
    """`eval table` on the run and on the scores."""
    return evaluation.main(["table", str(folder), str(folder / SCORES), "--format", "csv"])


def read_card(folder: Path) -> None:
    """`deploy card`, with the run's own verifications and with scores."""
    for scores in ([], [str(folder / SCORES)]):
        card = make_card(str(folder / "x"), 1, image_size=(16, 16), scores=scores)
        as_markdown(card)
        json_text(card)


def read_lists(folder: Path, name: str) -> None:
    """One of the `tables`, as its commands do."""
    path = folder / name
    if name == "groups.csv":
        read_groups(path, NAMES)
    elif name == "yaw.csv":
        read_yaw(path, NAMES)
    elif name == "hosts":
        read_hosts(str(path))
    else:
        found = read_failures(path)
        if name in ("pairs.csv", "positions.txt"):
            same = np.arange(40) % 2 == 0
            pairs_readings(found, np.linspace(0, 4, 40), same, [0.1], 2)
        else:
            lost_faces(found, NAMES, LABELS, PEOPLE)


LISTS = ("groups.csv", "failures.txt", "positions.txt", "images.csv", "pairs.csv", "align-report.json", "yaw.csv",
         "hosts")


def as_text(value: Any) -> bytes:
    """JSON, a line each where it is a list of rows; DEEP becomes what it stands for."""
    lines = [json.dumps(row) for row in value] if isinstance(value, list) else [json.dumps(value)]
    return "\n".join([*lines, ""]).replace(f'"{DEEP}"', NESTED).encode()


def replace_some(value: Any, chance: random.Random) -> None:
    """Another value, or another key, somewhere below `value`, an object or a list."""
    while True:
        key = chance.choice(sorted(value)) if isinstance(value, dict) else chance.randrange(len(value))
        if not isinstance(value[key], (dict, list)) or not value[key] or chance.random() < 0.2:
            break
        value = value[key]
    if isinstance(value, dict) and chance.random() < 0.2:
        value[str(chance.choice(ODD))] = value.pop(key)
    else:
        value[key] = chance.choice(ODD)
