"""Progress bars of long work: on stderr, with the time left; plain lines where stderr is not a terminal."""
from __future__ import annotations

import sys
from typing import Iterable, Iterator, TypeVar

from tqdm import tqdm

from common.foreign import shown

Item = TypeVar("Item")
tqdm.disable = True  # of a bar that an interrupt left half made, which its end asks for


def progress(items: Iterable[Item], total: int, what: str, unit: str = "images") -> Iterator[Item]:
    """Pass `items` on and show how many of `total` are done.

    Short work shows no bar; where stderr is no terminal a line comes every half minute.
    """
    return iter(tqdm(items, total=total, desc=shown(what), unit=f" {unit}", **_manner()))


def meter(total: int, what: str, unit: str) -> tqdm:
    """The same bar for work that is not a sequence of items: a context whose `update(n)` adds n."""
    return tqdm(total=total, desc=shown(what), unit=unit, unit_scale=True, **_manner())


def _manner() -> dict:
    watched = sys.stderr.isatty()
    return {"file": sys.stderr, "dynamic_ncols": True, "delay": 0.5 if watched else 30,
            "mininterval": 0.1 if watched else 30, "leave": watched}
