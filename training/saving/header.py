"""state.json, the header of a state: read as untrusted data."""
from __future__ import annotations

import dataclasses
import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.config import Config
from training.saving.names import ARRAYS
from training.saving.plain_files import read_plain
from training.saving.progress import MOST_TEXT, Progress, is_whole, read_progress

TOTAL_BATCH, SCHEDULE = "total batch", "schedule"  # of an identity: not flags, but derived from several
MOST_BYTES = 64 << 20  # the keys of three million records that do not decode
MOST_DIGITS = 20  # digits of an integer; parsing more takes quadratic time
HEADER_BEGINNING = b'{\n "progress": {\n'  # of the JSON that `Header.to_json` gives
MOST_EPOCHS = 2 ** 32  # of which each seeds its own order
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Header:
    """progress; identity: what a run must match to resume; sha256: of each file of arrays, by name."""

    progress: Progress
    identity: dict[str, Any]
    sha256: dict[str, str]

    def to_json(self) -> str:
        """The JSON that `read_header` reads."""
        return json.dumps({"progress": asdict(self.progress), "identity": self.identity, "sha256": self.sha256},
                          indent=1)


def read_header(path: Path) -> Header:
    """The header in `path`; ValueError with the fault, or OSError where it cannot be read."""
    content = read_plain(path, MOST_BYTES)
    try:
        found = json.loads(content.decode("utf-8"), parse_int=_whole_number)
    except RecursionError:
        raise ValueError("lists within lists within lists") from None
    if not isinstance(found, dict):
        raise ValueError("no object")
    for name in ("progress", "identity", "sha256"):
        if name not in found:
            raise ValueError(f"lacks {name}")
    digests = found["sha256"]
    if not isinstance(digests, dict) or set(digests) != {f"{name}.params" for name in ARRAYS} or not all(
            isinstance(value, str) and DIGEST.fullmatch(value) for value in digests.values()):
        raise ValueError("sha256 does not name a digest for each file of arrays")
    progress, identity = read_progress(found["progress"]), _identity(found["identity"])
    images = identity["data"].get("images")
    if is_whole(images, 1) and progress.position // images >= MOST_EPOCHS:
        raise ValueError("the position in the data is beyond any epoch")
    return Header(progress, identity, digests)


def _identity(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or not _is_plain(content):
        raise ValueError("identity is not an object of plain values")
    data = content.get("data")
    if not isinstance(data, dict) or not all(_is_plain(value, depth=0) for value in data.values()):
        raise ValueError("identity does not say of which data")
    if TOTAL_BATCH in content and not is_whole(content[TOTAL_BATCH], 1):
        raise ValueError("identity has no usable total batch")
    if not isinstance(content.get(SCHEDULE, ""), str):
        raise ValueError("identity has no usable schedule")
    for item in dataclasses.fields(Config):
        if item.name in content and item.name != "devices" and not _is_like(content[item.name], item.default):
            raise ValueError(f"identity has no usable {item.name}")
    for name in ("network", "image_size", "version_output", "version_act", "devices", "lr_steps",
                 SCHEDULE):  # shown to the user
        if isinstance(content.get(name), str) and not content[name].isprintable():
            raise ValueError(f"identity has no usable {name}")
    return content


def _is_like(value: Any, default: Any) -> bool:
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)


def _is_plain(value: Any, depth: int = 4) -> bool:
    """Texts and numbers, and lists and objects of such, `depth` levels deep."""
    if isinstance(value, (dict, list)):
        inside = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain(item, depth - 1) for item in inside)
    return (value is None or isinstance(value, (bool, int)) or isinstance(value, str) and len(value) <= MOST_TEXT
            or isinstance(value, float) and math.isfinite(value))


def _whole_number(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)
