"""python -m eval COMMAND: what a model is worth."""
from __future__ import annotations

from common import cli
from common.environment import check_environment
from common.signals import stoppable

PROG = "python -m eval"
DESCRIPTION = """\
Measure face recognition models: on sets of pairs, all pairs of a labelled set, templates, galleries.

  python -m eval verify --model runs/a/model,3 --bins data/lfw.bin data/cfp_fp.bin
  python -m eval allpairs --model runs/a/model,3 --set cfp/Data/Images --between frontal,profile
  python -m eval report --model runs/a/model,3 --bins data/cfp_fp.bin --out report/
  python -m eval table runs/a runs/b

COMMAND --help tells more of each."""


def main(argv: list[str]) -> int | None:
    """Run one command; returns its exit status."""
    check_environment()
    from eval import allpairs, robustness, table, verify  # mxnet, which the line above has made sure of
    from eval.report import command as report
    from eval.templates import identify, ijb

    parser = cli.Parser(prog=PROG, description=DESCRIPTION)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    verify.add_parser(subparsers)
    allpairs.add_parser(subparsers)
    robustness.add_parser(subparsers)
    ijb.add_parser(subparsers)
    identify.add_parser(subparsers)
    report.add_parser(subparsers)
    table.add_parser(subparsers)
    args = parser.parse_args(argv)
    cli.setup_logging()
    with stoppable():
        return args.run(args)


if __name__ == "__main__":
    cli.run(main, PROG)
