"""Escapes untrusted text for display: names of files, parameters and sets, contents of a state, messages of libraries.

Control characters move the cursor, colour or clear a terminal, and forge lines of a log; characters that turn the
direction of writing make one name look like another. They are shown as escapes, like \\x1b.
"""
from __future__ import annotations

import logging
import os
import re
import sys
from typing import Any, Sequence, TextIO

CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
LINE = re.compile(f"[\t\n{CONTROLS}\ud800-\udfff]")
MOST_LISTED = 12
TEXT = re.compile(f"[{CONTROLS}]")  # surrogates (bytes that are not valid text) are left to the stream


def shown(text: object) -> str:
    """`text` in one line, safe for a terminal or a log."""
    return LINE.sub(_escape, str(text))


def listed(items: Sequence[object], most: int = MOST_LISTED) -> str:
    """The first `most` of `items` between commas, and how many more there are."""
    more = len(items) - most
    return ", ".join(map(shown, items[:most])) + (f" and {more} more" if more > 0 else "")


def shown_lines(text: str) -> str:
    """The same for our own text of several lines, which may contain untrusted names."""
    return TEXT.sub(_escape, text)


def plotted(text: str) -> str:
    """Untrusted text as matplotlib shows it: valid, and no formula."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("$", r"\$")


def is_finite(value: object) -> bool:
    """Whether a value of untrusted JSON is a finite number that fits a float, and not True or False."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


class ShownFormatter(logging.Formatter):
    """Formats a log message in one escaped line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with a traceback behind it where there is one."""
        return shown_lines(super().format(_with_shown(record)))


class ShownStream:
    """A text stream that escapes what is written to it; all else is delegated to the stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write; the length of the text that was given."""
        self._stream.write(shown_lines(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)


def _with_shown(record: logging.LogRecord) -> logging.LogRecord:
    if not isinstance(record.args, tuple) or not record.args:
        return record
    copy = logging.makeLogRecord(record.__dict__)
    copy.args = tuple(shown(value) if isinstance(value, (str, os.PathLike, BaseException)) else value
                      for value in record.args)
    return copy


def _escape(match: re.Match) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a path that is not valid UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape").decode("ascii")
