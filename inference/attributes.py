"""Validators of operator attributes: each takes the text in a graph and returns it in a normal form, or None where it
does not affect the result and is left out. ValueError where the text is invalid or out of bounds."""
from __future__ import annotations

import math
import re
from typing import Callable, TypeVar

Rule = Callable[[str], "str | None"]
Number = TypeVar("Number", int, float)
WHOLE = re.compile(r"-?\d{1,12}L?", re.ASCII)
LARGEST = 1 << 24
SPLIT_AXIS = -4  # of Reshape: the next two numbers are the axes into which one is split


def integer(least: int, most: int) -> Rule:
    """An integer."""
    def rule(text: str) -> str:
        return str(_within(_whole(text), least, most))
    return rule


def integers(length: int | None, least: int, most: int, empty: bool = False) -> Rule:
    """A tuple of `length` integers (None: of 1 to 8); empty: may be empty."""
    def rule(text: str) -> str | None:
        found = _tuple(text)
        if not found and empty:
            return None
        if len(found) != length and (length is not None or not 1 <= len(found) <= 8):
            raise ValueError(f"has {len(found)} numbers")
        return _written([_within(value, least, most) for value in found])
    return rule


def number(least: float = -1e30, most: float = 1e30) -> Rule:
    """A finite number."""
    def rule(text: str) -> str:
        if not (len(text) < 64 and text.isascii() and math.isfinite(float(text)) and "_" not in text):
            raise ValueError("is not a number")
        _within(float(text), least, most)
        return text.strip()
    return rule


def among(*texts: str) -> Rule:
    """One of some words."""
    def rule(text: str) -> str:
        if text not in texts:
            raise ValueError("is none of " + ", ".join(texts))
        return text
    return rule


def exactly(*texts: str) -> Rule:
    """The default alone, which is left out."""
    def rule(text: str) -> None:
        if text.replace(" ", "") not in texts:
            raise ValueError("is not " + texts[0])
    return rule


def dropped(text: str) -> None:
    """Ignored."""


def flag(text: str) -> str | None:
    """A boolean."""
    return among("True", "False", "true", "false", "1", "0")(text)


def axes(text: str) -> str | None:
    """Axes: a number, several, or none."""
    if text in ("None", "()", "[]"):
        return None if text == "None" else text
    return _written(_distinct([_within(value, -6, 6) for value in _tuple(text)]))


def permutation(text: str) -> str:
    """A permutation of axes."""
    found = _distinct(_tuple(text))
    if sorted(found) != list(range(len(found))):
        raise ValueError("is not a permutation of axes")
    return _written(found)


def reshaping(text: str) -> str:
    """Reshape's lengths with its special numbers."""
    found, at = _tuple(text), 0
    if not 1 <= len(found) <= 8:
        raise ValueError(f"has {len(found)} numbers")
    while at < len(found):
        _within(found[at], SPLIT_AXIS, LARGEST)
        if found[at] == SPLIT_AXIS:
            two = found[at + 1:at + 3]
            if len(two) < 2 or any(value == 0 or value < -1 for value in two) or two == [-1, -1]:
                raise ValueError("splits an axis into what it cannot")
            at += 2
        at += 1
    if found.count(-1) > 1 and SPLIT_AXIS not in found:
        raise ValueError("leaves two lengths open")
    return _written(found)


def size(text: str) -> str:
    """An index on an axis, or None: its end."""
    return text if text == "None" else str(_within(_whole(text), -LARGEST, LARGEST))


def places(text: str) -> str:
    """Indices on several axes, each an integer or None."""
    inner = text.strip().strip("()[]")
    words = [word.strip() for word in inner.split(",") if word.strip()]
    if not 1 <= len(words) <= 8:
        raise ValueError(f"has {len(words)} numbers")
    return f"({', '.join(size(word) for word in words)},)"


def _whole(text: str) -> int:
    if not WHOLE.fullmatch(text.strip()):
        raise ValueError("is not a whole number")
    return int(text.strip().rstrip("L"))


def _within(value: Number, least: float, most: float) -> Number:
    if not least <= value <= most:
        raise ValueError(f"is not from {least:g} to {most:g}")
    return value


def _tuple(text: str) -> list[int]:
    inner = text.strip()
    if inner[:1] + inner[-1:] in ("()", "[]"):
        inner = inner[1:-1]
    if len(inner) > 200:
        raise ValueError("is too long")
    return [_whole(word) for word in inner.split(",") if word.strip()]


def _distinct(values: list[int]) -> list[int]:
    if not values or len(set(values)) < len(values):
        raise ValueError("names an axis twice, or none")
    return values


def _written(values: list[int]) -> str:
    return f"({', '.join(map(str, values))}{',' if len(values) == 1 else ''})"
