"""train_softmax.py with the short network of `short_network`."""
from __future__ import annotations

from common.cli import run


def main(argv):
    from common.environment import check_environment
    check_environment()
    from short_network import shorten

    import train_softmax
    shorten()
    return train_softmax.main(argv)


if __name__ == "__main__":
    run(main, "train_softmax.py")
