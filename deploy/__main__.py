"""python -m deploy COMMAND: deployment of a trained model."""
from __future__ import annotations

if __name__ == "__main__":  # before the other imports
    from common.interrupt import end_quietly
    end_quietly()

from common import cli
from common.environment import check_versions
from common.huge_pages import start_with_huge_pages
from common.quiet import silence_libraries

PROG = "python -m deploy"
DESCRIPTION = """\
Deploy a trained model: export it, embed photographs with it, compare and search them.

  python -m deploy export --model runs/a/model,3 --out a.onnx --bins data/lfw.bin
  python -m deploy embed --model runs/a/model,3 photographs/ --out gallery.npz --detector mtcnn/
  python -m deploy compare --model runs/a/model,3 one.jpg other.jpg --detector mtcnn/

COMMAND --help describes each."""


def main(argv: list[str]) -> int | None:
    """Run one command; returns its exit status."""
    check_versions()  # before the flags, which take numpy; the libraries are loaded when a command runs
    return cli.run_command(PROG, DESCRIPTION, ["deploy.parsers"], argv)


if __name__ == "__main__":
    start_with_huge_pages()
    silence_libraries()
    cli.run(main, PROG)
