"""python -m study COMMAND: the paper's systems on real faces, all trained under equal conditions and scored on all
pairs."""
from __future__ import annotations

if __name__ == "__main__":  # before the other imports
    from common.interrupt import end_quietly
    end_quietly()

from common import cli
from common.huge_pages import start_with_huge_pages
from common.quiet import silence_libraries
from study.command import DESCRIPTION

PROG = "python -m study"


def main(argv: list[str]) -> int | None:
    """Run one command; returns its exit status."""
    return cli.run_command(PROG, DESCRIPTION, ("study.command",), argv)


if __name__ == "__main__":
    start_with_huge_pages()
    silence_libraries()
    cli.run(main, PROG)
