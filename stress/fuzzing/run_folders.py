"""Run folders to mutate: a state of a few arrays, its state.json and .params; and reading it as `--resume` does."""
from __future__ import annotations

import functools
import hashlib
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import mxnet as mx

from stress.fuzzing.mutations import NUMBERS, mutate
from training.config import Config
from training.saving.names import ARRAYS, HEADER
from training.saving.progress import Progress
from training.saving.state import States

STEP = "state/000000007"
IDENTITY = {**Config(data_dir="d").as_dict(), "data": {"images": 8, "identities": 2, "bytes": 9, "digest": "aa"}}
VALUES: tuple[Any, ...] = (*NUMBERS, -1, 0.5, 1e308, float("nan"), float("inf"), 1 << 70, None, True, "", "\u00b2",
                           "\x1b[2J", "../../thesis.txt", "/etc/passwd", "x" * 9999,
                           [], {}, [[]], {"a": {}}, ["metrics.jsonl"])


@functools.lru_cache(maxsize=1)
def sound() -> dict[str, bytes]:
    """The files of a sound run folder, of which `--resume` reads the state."""
    arrays = {part: {"w": mx.nd.ones((3, 2))} for part in ARRAYS}
    progress = Progress(step=7, position=70, bad=[3], saves=2, best=0.3, best_of="eer of lfw", best_number=1,
                        lengths={"metrics.jsonl": 123}, window={"loss": 1.0}, warned=["stuck"], symptoms={"stuck": 2})
    with tempfile.TemporaryDirectory() as folder:
        States(Path(folder) / "state", IDENTITY).save(progress, arrays)
        return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def mutated(chance: random.Random) -> dict[str, bytes]:
    """The files of a mutated run folder; often with matching digests."""
    files, way = dict(sound()), chance.randrange(4)
    name = f"{STEP}/{HEADER}"
    if way == 0:
        files[name] = mutate(files[name], chance)
        return files
    header = json.loads(files[name])
    if way == 1:
        part = f"{chance.choice(ARRAYS)}.params"
        files[f"{STEP}/{part}"] = mutate(files[f"{STEP}/{part}"], chance)
        header["sha256"][part] = hashlib.sha256(files[f"{STEP}/{part}"]).hexdigest()
    else:
        for _ in range(chance.randint(1, 3)):
            _change(header, chance)
    files[name] = json.dumps(header).encode()
    return files


def read(folder: Path) -> None:
    """Load the newest state."""
    States(folder / "state", IDENTITY).load()


def _change(value: dict, chance: random.Random) -> None:
    """Another value, or another key, somewhere below `value`."""
    while True:
        key = chance.choice(sorted(value))
        if not isinstance(value[key], dict) or not value[key] or chance.random() < 0.2:
            break
        value = value[key]
    if chance.random() < 0.2:
        value[str(chance.choice(VALUES))] = value.pop(key)
    else:
        value[key] = chance.choice(VALUES)
