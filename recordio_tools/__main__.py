"""python -m recordio_tools COMMAND: make, check and describe training and verification sets."""
from __future__ import annotations

if __name__ == "__main__":  # before the other imports
    from common.interrupt import end_quietly
    end_quietly()

import importlib

from common import cli
from common.environment import limit_images
from common.errors import UserError
from common.quiet import silence_libraries

PROG = "python -m recordio_tools"
COMMANDS = ("recordio_tools.pack.command", "align.command", "recordio_tools.pairs.command",
            "recordio_tools.check.command", "recordio_tools.info.command", "recordio_tools.unpack.command",
            "recordio_tools.merge.command", "synth.command")
DESCRIPTION = """\
Make, check, merge and describe training sets (.rec) and verification sets (.bin).

  python -m recordio_tools pack faces/ data/
  python -m recordio_tools pairs lfw --images lfw/ --pairs pairs.txt --out data/lfw.bin
  python -m recordio_tools check data/ data/lfw.bin
  python -m recordio_tools merge clean/ data/ more/ --exclude-names-of lfw/

COMMAND --help describes each."""


def main(argv: list[str]) -> int | None:
    """Run one command; returns its exit status."""
    limit_images()
    for name in ("numpy", "cv2", "tqdm"):  # all that these commands need: they run where MXNet does not
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(f"{name} does not load ({error}); run `make venv` and use .venv/bin/python") from None
    return cli.run_command(PROG, DESCRIPTION, COMMANDS, argv)


if __name__ == "__main__":
    silence_libraries()
    cli.run(main, PROG)
