"""Names of the files in a run folder, beside those of `common/run_files.py`."""
from __future__ import annotations

import re

from common.run_files import METRICS

LOCK, STATE = ".lock", "state"
LOG_BEGINNING = "train_softmax.py begins, "  # of the first line in log.txt
ARRAYS = ("net", "head", "momentum")
HEADER = "state.json"
GENERATION_FILES = frozenset((HEADER, *(f"{name}.params" for name in ARRAYS)))
GENERATION = re.compile(r"(\d{9,12})(?:-(\d{1,9}))?", re.ASCII)
HALF_GENERATION = re.compile(r"\.\d{9,12}(?:-\d{1,9})?\.(?:tmp|old)", re.ASCII)
EVENTS = "events.out.tfevents.*"
EVENT_MARK = ".train_softmax"  # suffix of our names: TensorBoard's other writers use the same prefix
EVENT_FILE = re.compile(r"events\.out\.tfevents\.\d{1,12}\.[\w.:+-]{1,200}")
MOST_STEPS = 2 ** 31 - 1


def is_append_only(name: str) -> bool:
    """Whether `name` can be that of a file whose length is in a state: rows, or events; a bare name."""
    return name == METRICS or bool(EVENT_FILE.fullmatch(name))


def is_own_event_file(name: str) -> bool:
    """Whether `name` is that of an event file which this program started."""
    return name.endswith(EVENT_MARK) and bool(EVENT_FILE.fullmatch(name))
