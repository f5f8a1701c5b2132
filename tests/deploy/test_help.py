"""Every command of deploy teaches, by --help, what it takes and how it ends."""
from __future__ import annotations

import re

import pytest

from deploy.__main__ import COMMANDS, main


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    out = capsys.readouterr().out
    assert caught.value.code == 0 and f"python -m deploy {command}" in out and "--model" in out
    if command != "export":
        told = out.split("Exit status:")[1].split("options:")[0]
        assert {"0", "1", "2"} <= set(re.findall(r"\b\d+\b", told))
