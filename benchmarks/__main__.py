"""python -m benchmarks: the table of speed and memory (benchmarks/command.py)."""
from __future__ import annotations

from common import cli
from common.environment import set_threads
from common.huge_pages import start_with_huge_pages


def main(argv: list[str]) -> int:
    """Run the command, whose modules load MXNet: it reads the threads then, and Ctrl-C meanwhile is one line."""
    set_threads()
    from benchmarks import command
    return command.main(argv)


if __name__ == "__main__":
    start_with_huge_pages()
    cli.run(main, "benchmarks")
