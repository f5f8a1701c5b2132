"""Text from elsewhere reaches terminal and log as escapes."""
from __future__ import annotations

import io
import logging
import subprocess
import sys

import pytest

from common.foreign import ShownFormatter, ShownStream, listed, shown
from common.standard_streams import open_missing_streams

HOSTILE = "a\x1b]0;owned\x07b\x9b2J\r\u202ec"
ESCAPED = r"a\x1b]0;owned\x07b\x9b2J\r\u202ec"


def test_one_line():
    assert shown(HOSTILE) == ESCAPED and shown("a\nb\tc") == r"a\nb\tc"
    assert shown("Zoë 李.jpg") == "Zoë 李.jpg" and shown("\udcff") == r"\xff"


def test_the_log():
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s: %d of %.1f\nour line",
                               (HOSTILE + "\nforged", 3, 2.5), None)
    assert ShownFormatter("%(message)s").format(record) == ESCAPED + r"\nforged: 3 of 2.5" + "\nour line"
    assert record.args[0].endswith("\nforged")
    plain = logging.LogRecord("x", logging.INFO, "", 0, "%(a)s " + HOSTILE, ({"a": 1},), None)
    assert ShownFormatter("%(message)s").format(plain) == "1 " + ESCAPED


def test_the_output():
    stream = io.StringIO()
    print(HOSTILE, file=ShownStream(stream))
    assert stream.getvalue() == ESCAPED + "\n" and not ShownStream(stream).isatty()


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # the latter where the locale is C
def test_names_that_the_terminal_cannot_show_are_escaped(monkeypatch, errors):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii", errors))
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    open_missing_streams()
    print("J\u00f6rg", flush=True)
    assert raw.getvalue() == b"J\\xf6rg\n"


@pytest.mark.parametrize("argv", [["check", "no\x1b[2Jthing"], ["check", "x", "--no\x1b[2Jflag"]])
def test_a_command(argv):
    done = subprocess.run([sys.executable, "-m", "recordio_tools", *argv], capture_output=True)
    assert done.returncode in (1, 2) and b"\x1b" not in done.stdout + done.stderr
    assert rb"\x1b[2J" in done.stdout + done.stderr


@pytest.mark.parametrize("count, said", [(0, ""), (2, "0, 1"), (3, "0, 1, 2"), (5, "0, 1, 2 and 2 more")])
def test_a_list_names_the_first_and_counts_the_rest(count, said):
    assert listed(range(count), 3) == said


def test_a_list_is_escaped():
    assert listed(["a\x1b[2J"]) == "a\\x1b[2J"
