"""Every command of deploy teaches, by --help, what it takes and how it ends."""
from __future__ import annotations

import re
import subprocess
import sys

import pytest

from deploy.__main__ import main

COMMANDS = ("export", "embed", "compare", "search", "card")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    out = capsys.readouterr().out
    assert caught.value.code == 0 and f"python -m deploy {command}" in out and "--model" in out
    if command != "export":
        told = out.split("Exit status:")[1].split("options:")[0]
        assert {"0", "1", "2"} <= set(re.findall(r"\b\d+\b", told))


@pytest.mark.parametrize("words", [["deploy", "--help"], ["deploy", "search", "--help"], ["deploy", "card", "--modle"],
                                   ["train_softmax", "--help"]])
def test_flags_are_read_without_mxnet_which_takes_seconds_to_load(words):
    code = (f"import sys, {words[0]}.__main__ as command\n" if words[0] == "deploy" else
            f"import sys, {words[0]} as command\n") + (
            f"try:\n    command.main({words[1:]})\nexcept SystemExit as end:\n"
            "    print(end.code, [name for name in ('mxnet', 'cv2', 'scipy') if name in sys.modules], file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stderr.splitlines()[-1] == f"{2 if '--modle' in words else 0} []"


def test_a_python_without_the_packages_is_told_what_to_do():
    done = subprocess.run([sys.executable, "-S", "-m", "deploy", "--help"], text=True, capture_output=True)
    assert done.returncode == 2
    assert re.fullmatch(r"python -m deploy: the package numpy is not installed; .*`make venv`.*\n", done.stderr)
