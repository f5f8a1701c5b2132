"""Settings that library code names are flags where a command shows them, in errors and in the log."""
import logging

import pytest
from repository import REPO

from common.errors import DataError, RunError
from common.settings import as_flags, settings_as_flags


def test_only_settings_of_the_command_become_flags():
    text = "`lr_steps` 5,3: must rise; `property` and `make venv` stay, and so does lr_steps"
    assert as_flags(text, {"lr_steps", "lr"}) == "--" + text.replace("`lr_steps`", "lr-steps", 1)


@pytest.mark.parametrize("kind", [DataError, RunError])
def test_an_error_keeps_its_kind_and_names_the_flag(kind):
    with pytest.raises(kind, match="^--on-nan skip, `other` stays$"), settings_as_flags({"on_nan"}):
        raise kind("`on_nan` skip, `other` stays")
    with pytest.raises(ValueError, match="^`on_nan`$"), settings_as_flags({"on_nan"}):
        raise ValueError("`on_nan`")


def test_the_log_names_flags_inside_alone(caplog):
    log = logging.getLogger("some.library")
    with caplog.at_level(logging.INFO), settings_as_flags({"resume"}):
        log.info("stopped at step %d; `resume` goes on, %s", 3, "as `resume` does, 5% of it")
        log.info("%s", "no setting, 5%")
    log.warning("`resume`")
    assert caplog.messages == ["stopped at step 3; --resume goes on, as --resume does, 5% of it", "no setting, 5%",
                               "`resume`"]


def test_no_library_code_of_training_names_a_flag():
    """The command's own modules do; what lies below them names settings."""
    import ast
    import re
    own = {"arguments", "config", "option", "description", "image_size", "launch", "run"}
    found = []
    for path in sorted(path for room in ("training", "symbols", "inference") for path in REPO.glob(f"{room}/**/*.py")):
        if path.stem in own or "selftest" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(
                    r"(?<![\w-])--(?!help|porcelain)[a-z]", node.value):
                found.append(f"{path.relative_to(REPO)}:{node.lineno} {node.value[:60]}")
    assert not found


def test_a_command_shows_the_settings_of_its_own_flags(capsys, monkeypatch):
    from common.cli import Parser, run
    from common.errors import UserError

    def main(argv):
        parser = Parser(prog="tool")
        command = parser.add_subparsers(dest="command").add_parser("go")
        command.add_argument("--epoch-of", type=int)
        options = parser.parse_args(argv)
        raise UserError(f"`epoch_of` {options.epoch_of}: `property` has no such thing")
    monkeypatch.setattr("sys.argv", ["tool", "go", "--epoch-of", "3"])
    with pytest.raises(SystemExit) as caught:
        run(main, "tool")
    assert caught.value.code == 2 and capsys.readouterr().err == "tool: --epoch-of 3: `property` has no such thing\n"
