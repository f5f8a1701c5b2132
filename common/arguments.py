"""Argument types and flags that several commands share."""
from __future__ import annotations

import argparse
import contextlib
import re
from typing import Iterator

from common.cli import at_least
from common.environment import usable_cores
from common.errors import UserError

DEVICES = "cpu:0 or gpu:0,gpu:1 (default: all visible GPUs, else the CPU)"  # the help of --devices
LAYER = "the layer whose output is the embedding (default: fc1, else the network's only output)"  # of --layer


def image_size(text: str) -> tuple[int, int]:
    """`112,112` (height,width) as a pair."""
    found = re.fullmatch(r"(\d{1,5})[,x](\d{1,5})", text.strip())
    if not found or min(map(int, found.groups())) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not height,width, e.g. 112,112")
    return int(found.group(1)), int(found.group(2))


@contextlib.contextmanager
def of_flag(flag: str) -> Iterator[None]:
    """A UserError in the block, about what the flag names, begins with the flag."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{flag} {error}") from None


def add_workers(parser: argparse.ArgumentParser) -> None:
    """The flag --workers."""
    parser.add_argument("--workers", type=at_least(1, 256), default=usable_cores(), metavar="N",
                        help="threads or processes that read and decode; the output does not depend on it (default: "
                             "the cores this process may use)")
