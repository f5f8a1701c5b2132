"""python -m stress.fuzzing: mutated files for every reader; exit status 1 where one fails."""
from __future__ import annotations

from common import cli
from common.environment import limit_images


def main(argv: list[str]) -> int:
    """Run the cases; the exit status."""
    limit_images()  # before `command` loads OpenCV
    from stress.fuzzing.command import main as fuzz
    return fuzz(argv)


if __name__ == "__main__":
    cli.run(main, "python -m stress.fuzzing")
