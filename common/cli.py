"""Entry point of every command: one line for an error, a documented exit status, no traceback."""
from __future__ import annotations

import argparse
import errno
import importlib
import logging
import os
import re
import sys
import traceback
from typing import Any, Callable, Iterable, NoReturn, Sequence

from common.cuda_libraries import explain
from common.errors import RunError, UserError
from common.foreign import ShownFormatter, shown
from common.settings import settings_as_flags
from common.signals import stoppable
from common.standard_streams import open_missing_streams, text_apart

INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """ArgumentParser whose errors are one line and whose help shows the defaults.

    A flag that takes several values may be repeated, and accumulates them. names: of the settings that the flags of all
    parsers which have parsed stand for.
    """

    names: set[str] = set()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse does; a command's parser calls that of its subcommand."""
        self.names.update(action.dest for action in self._actions if action.option_strings)
        return super().parse_known_args(args, namespace)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", HelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        self.register("action", "several", Several)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """As argparse does, but a repeated flag with several values keeps all of them."""
        several = args and args[0].startswith("-") and kwargs.get("nargs") in ("+", "*")
        return super().add_argument(*args, **{**({"action": "several"} if several else {}), **kwargs})

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """As argparse does, but an empty argument is an error: as a path it would be the current folder."""
        given = sys.argv[1:] if args is None else list(args)
        for before, word in zip(["", *given], given):
            flag, equals, value = word.partition("=")
            if flag.startswith("--") and equals and not value.strip():
                self.error(f"{flag} is empty; is a variable of the shell unset?")
            if not word.strip():
                name = before if before.startswith("-") else "an argument"
                self.error(f"{name} is empty; is a variable of the shell unset?")
        return super().parse_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {shown(message)} (--help lists the flags)\n")


class Several(argparse.Action):
    """The values of every occurrence of a flag; they replace its default."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, [*([] if before is self.default else before or []), *values])


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults are shown, a number is written N or X, and a description keeps its line breaks."""

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return {int: "N", float: "X"}.get(type(action.default)) or super()._get_default_metavar_for_optional(action)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        unset = action.default is None or action.default is False or action.default in ("", [])  # 0 is shown
        if unset or "default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def run(main: Callable[[list[str]], int | None], prog: str) -> NoReturn:
    """Call `main(argv)` and exit with its status.

    UserError gives exit status 2, RunError and a failing disk, memory or MXNet 1, Ctrl-C 130, each after one line on
    stderr.
    FACES_TRACEBACK=1 in the environment shows the traceback of an error as well. Settings that library code names are
    shown as flags, those of the parsers that have parsed.
    """
    open_missing_streams()
    try:
        with stoppable(), settings_as_flags(Parser.names):  # SIGTERM and SIGHUP end every command as Ctrl-C does
            status = main(sys.argv[1:]) or 0
    except (UserError, RunError) as error:
        status = _tell(prog, error, error.exit_status)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:
        # MXNet's GPU wheel is loaded at its first import, which does not always follow the environment's check.
        unloadable = explain(str(error)) if error.errno is None else None
        unusable = unloadable or error.errno in (errno.ENAMETOOLONG, errno.ELOOP)  # a path that cannot exist
        status = _tell(prog, UserError(unloadable) if unloadable else system_failure(error), 2 if unusable else 1)
    except MemoryError:
        status = _tell(prog, RunError("out of memory; a smaller batch needs less"), 1)
    except Exception as error:
        if type(error).__name__ != "MXNetError":  # by name: MXNet is not loaded for --help
            raise
        status = _tell(prog, RunError(engine_failure(error)), 1)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        status = INTERRUPTED
    sys.exit(status)


def run_command(prog: str, description: str, modules: Iterable[str], argv: list[str]) -> int | None:
    """Run the command that `argv` names, and return its exit status.

    modules: of the commands, in the order of --help; the `add_parser(subparsers)` of each leaves its function in `run`.
    Only the module with the command's name is imported, as `a.check` or `a.check.command`, where there is one.
    """
    modules = list(modules)
    parser = Parser(prog=prog, description=description)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in [module for module in modules if argv and _command_of(module) == argv[0]] or modules:
        importlib.import_module(module).add_parser(subparsers)
    args = parser.parse_args(argv)
    setup_logging()
    with stoppable(), settings_as_flags(Parser.names), text_apart(vars(args).values()):
        return args.run(args)


def _command_of(module: str) -> str:
    *_, folder, name = module.split(".")
    return folder if name == "command" else name


def at_least(least: int, most: int = 1 << 40) -> Callable[[str], int]:
    """The argparse type of integers from `least` to `most`."""
    def whole_number(text: str) -> int:
        whole = re.fullmatch(r"-?\d+", text.strip())
        value = int(whole[0][:20]) if whole else None  # which is out of range as all of thousands of digits is
        if value is None or not least <= value <= most:
            upper = f" to {most}" if most < 1 << 40 or value is not None and value > most else ""
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}{upper}")
        return value
    return whole_number


def fraction(text: str) -> float:
    """The argparse type of a number above 0, up to 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, up to 1")
    return value


def parse_checkpoint_name(text: str, flag: str) -> tuple[str, int]:
    """`runs/a/model,3` as (`runs/a/model`, 3)."""
    prefix, comma, number = text.rpartition(",")
    if not comma or not prefix.strip() or not re.fullmatch("[0-9]{1,9}", number.strip()):
        raise UserError(f"{flag} {text}: expected PREFIX,EPOCH as in runs/a/model,3 for runs/a/model-symbol.json and "
                        "runs/a/model-0003.params")
    return prefix.strip(), int(number)


def setup_logging(verbose: bool = False) -> None:
    """Log to stderr, one line a message, without time stamps, for a terminal."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format="%(message)s",
                        stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        if type(handler.formatter) is logging.Formatter and type(handler) is logging.StreamHandler:
            handler.setFormatter(ShownFormatter("%(message)s"))
    logging.getLogger("matplotlib").setLevel(logging.WARNING)


def engine_failure(error: Exception) -> str:
    """An MXNet error's message, without its C++ stack frames."""
    lines = [line.strip() for line in str(error).split("Stack trace")[0].splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if "rror" in line or "ailed" in line), lines[-1] if lines else "")
    hint = "; a smaller batch needs less" if "memory" in reason.lower() else ""
    if any(word in str(error) for word in ("NVRTC", "nvrtc", "MXNET_USE_FUSION", "unsupported toolchain")):
        hint = "; fused operators could not be compiled for this GPU: set MXNET_USE_FUSION=0 in the environment"
    if "no kernel image" in str(error):
        hint = "; MXNet's wheels run on Maxwell to Ada, not on Hopper or Blackwell: --devices cpu:0 runs anywhere"
    return f"MXNet: {reason[:300]}{hint}"


def system_failure(error: OSError) -> RunError:
    """An OSError's message, with its file."""
    if error.errno is None or not error.strerror:
        return RunError(str(error))
    why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
    return RunError(f"{os.fsdecode(error.filename)}: {why}" if isinstance(error.filename, (str, bytes)) else why)


def _tell(prog: str, error: BaseException, status: int) -> int:
    if os.environ.get("FACES_TRACEBACK"):
        traceback.print_exc()
    line = re.sub(r"\s*\n\s*", " ", str(error).strip())  # other spaces stay: they may be a file name's
    print(f"{prog}: {shown(line)}", file=sys.stderr)
    return status
