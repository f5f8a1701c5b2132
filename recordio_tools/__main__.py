"""python -m recordio_tools COMMAND: make, check and describe training and verification sets."""
from __future__ import annotations

import importlib

from common import cli
from common.environment import limit_images
from common.errors import UserError
from common.quiet import silence_libraries

PROG = "python -m recordio_tools"
COMMANDS = {"pack": "recordio_tools.pack", "align": "align", "pairs": "recordio_tools.pairs",
            "check": "recordio_tools.check", "info": "recordio_tools.info", "unpack": "recordio_tools.unpack",
            "merge": "recordio_tools.merge", "synth": "synth"}
DESCRIPTION = """\
Make, check, join and describe training sets (.rec) and verification sets (.bin).

  python -m recordio_tools pack faces/ data/
  python -m recordio_tools pairs lfw --images lfw/ --pairs pairs.txt --out data/lfw.bin
  python -m recordio_tools check data/ data/lfw.bin
  python -m recordio_tools merge clean/ data/ more/ --exclude-names-of lfw/

COMMAND --help tells more of each."""


def build_parser() -> cli.Parser:
    """The parser of all commands; each leaves its function in `run`."""
    parser = cli.Parser(prog=PROG, description=DESCRIPTION)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for room in COMMANDS.values():
        importlib.import_module(f"{room}.command").add_parser(subparsers)
    return parser


def main(argv: list[str]) -> int | None:
    """Run one command; returns its exit status."""
    _check_libraries()
    args = build_parser().parse_args(argv)
    cli.setup_logging()
    return args.run(args)


def _check_libraries() -> None:
    """numpy, OpenCV and tqdm are all that these commands need: they run where MXNet does not."""
    limit_images()
    for name in ("numpy", "cv2", "tqdm"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(f"{name} does not load ({error}); run `make venv` and use .venv/bin/python") from None


if __name__ == "__main__":
    silence_libraries()
    cli.run(main, PROG)
