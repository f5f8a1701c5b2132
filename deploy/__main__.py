"""python -m deploy COMMAND: a trained model where it is used."""
from __future__ import annotations

import importlib

from common import cli
from common.environment import check_environment
from common.quiet import silence_libraries

PROG = "python -m deploy"
COMMANDS = ("export", "embed", "compare", "search", "card")  # each a module of this folder
DESCRIPTION = """\
Take a trained model to where it is used: export it, embed photographs with it, compare and search them.

  python -m deploy export --model runs/a/model,3 --out a.onnx --bins data/lfw.bin
  python -m deploy embed --model runs/a/model,3 photographs/ --out gallery.npz --detector mtcnn/
  python -m deploy compare --model runs/a/model,3 one.jpg other.jpg --detector mtcnn/

COMMAND --help tells more of each."""


def build_parser() -> cli.Parser:
    """The parser of all commands; each leaves its function in `run`."""
    parser = cli.Parser(prog=PROG, description=DESCRIPTION)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"deploy.{name}").add_parser(subparsers)
    return parser


def main(argv: list[str]) -> int | None:
    """Run one command; returns its exit status."""
    check_environment()
    args = build_parser().parse_args(argv)
    cli.setup_logging()
    return args.run(args)


if __name__ == "__main__":
    silence_libraries()
    cli.run(main, PROG)
