"""Lines of text files of any origin: with a byte order mark or without, UTF-8 or UTF-16, any line ends."""
from __future__ import annotations

import contextlib
import io
import os
import stat
from typing import IO, Iterator

from common.errors import UserError
from common.files import PathLike
from common.foreign_files import HEAD, foreign_kind

LONGEST = 1 << 16  # characters of a line
MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@contextlib.contextmanager
def open_text(path: PathLike, newline: str | None = None) -> Iterator[IO[str]]:
    """The file as text, every line end as a newline (as it is, where `newline` is ""); UserError where it cannot be
    read, is not a regular file, or is of another kind: an archive, a workbook, a web page.

    UTF-8 unless a byte order mark, or the zero bytes of the first two letters, show UTF-16. Bytes that are not UTF-8
    are kept as surrogates, so that file names are unchanged.
    """
    try:
        with open(path, "rb", 1 << 20, opener=_regular) as raw:
            head = raw.read(HEAD)
            raw.seek(0)
            foreign = foreign_kind(head, "a text file", text=False)
            if foreign:
                raise UserError(f"{path}: is {foreign}")
            encoding = encoding_of(head[:4])
            errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
            with io.TextIOWrapper(raw, encoding, errors, newline) as stream:
                yield stream
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def encoding_of(head: bytes) -> str:
    """The encoding, by the first four bytes of a file."""
    encoding = next((name for mark, name in MARKS if head.startswith(mark)), "utf-8")
    if encoding == "utf-8" and len(head) == 4 and head.count(b"\0") == 2:
        encoding = "utf-16-le" if head[1::2] == b"\0\0" else "utf-16-be" if head[::2] == b"\0\0" else encoding
    return encoding


def decode_text(content: bytes) -> str:
    """The text of a whole file, in the encodings of `open_text`; ValueError for any other bytes."""
    return content.decode(encoding_of(content[:4]))


def read_lines(path: PathLike, what: str = "list", blank: bool = False,
               with_ends: bool = False) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end, or with it as it is); lines of white space only where `blank`. UserError
    for a line that is longer than any line of a `what`."""
    with open_text(path, "" if with_ends else None) as stream:
        number = 0
        while True:
            line = stream.readline(LONGEST)
            if not line:
                return
            number += 1
            if len(line) == LONGEST and line[-1] not in "\r\n":
                raise UserError(f"{path}: line {number} is longer than {LONGEST} characters; this is not a {what}")
            if blank or line.strip():
                yield number, line if with_ends else line.rstrip("\n")


def _regular(path: PathLike, flags: int) -> int:
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe without a writer must not hang
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "not a regular file")
    return handle
