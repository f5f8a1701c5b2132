"""Values that several commands' flags take."""
from __future__ import annotations

import argparse


def fpr_list(text: str) -> list[float]:
    """The argparse type of `1e-3,1e-4`: false positive rates between 0 and 1, each once."""
    try:
        rates = list(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        rates = [0.0]
    if not all(0 < rate < 1 for rate in rates):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of rates between 0 and 1, e.g. 1e-3,1e-4")
    return rates
