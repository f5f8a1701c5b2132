"""python -m eval COMMAND: evaluation of face recognition models."""
from __future__ import annotations

if __name__ == "__main__":  # before the other imports
    from common.interrupt import end_quietly
    end_quietly()

from common import cli
from common.environment import check_environment
from common.huge_pages import start_with_huge_pages
from common.quiet import silence_libraries

PROG = "python -m eval"
COMMANDS = ("eval.verify", "eval.allpairs", "eval.robustness", "eval.templates.ijb", "eval.templates.identify",
            "eval.report.command", "eval.table")
DESCRIPTION = """\
Measure face recognition models: on sets of pairs, all pairs of a labelled set, templates, galleries.

  python -m eval verify --model runs/a/model,3 --bins data/lfw.bin data/cfp_fp.bin
  python -m eval allpairs --model runs/a/model,3 --set cfp/Data/Images --between frontal,profile
  python -m eval report --model runs/a/model,3 --bins data/cfp_fp.bin --out report/
  python -m eval table runs/a runs/b

COMMAND --help describes each."""


def main(argv: list[str]) -> int | None:
    """Run one command; returns its exit status."""
    check_environment(mxnet=False)  # which is imported where a network is opened
    return cli.run_command(PROG, DESCRIPTION, COMMANDS, argv)


if __name__ == "__main__":
    start_with_huge_pages()
    silence_libraries()
    cli.run(main, PROG)
