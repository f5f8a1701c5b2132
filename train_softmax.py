#!/usr/bin/env python
"""Train a face embedding. The exact commands:

    python train_softmax.py --preset mobilefacenet++ --data-dir data/faces_webface --prefix runs/mfpp/model
    python train_softmax.py --preset lresnet18e-gnap --data-dir data/faces_webface --prefix runs/gnap/model \
        --devices gpu:0,gpu:1,gpu:2,gpu:3 --per-batch-size 128
    python -m training.launch -n 2 --hosts hosts -- python train_softmax.py --kvstore dist_sync ...

--help lists every flag, --dry-run prints what would be done.
"""
from __future__ import annotations

if __name__ == "__main__":  # before the other imports
    from common.interrupt import end_quietly
    end_quietly()

from common.cli import run, setup_logging
from common.huge_pages import start_with_huge_pages
from common.settings import settings_as_flags


def main(argv: list[str]) -> int:
    """Parse the flags and train; the exit status."""
    from training.cluster.serve import role, serve
    if role():  # a scheduler or a server of distributed training
        with settings_as_flags(("kvstore",)):
            return serve(role())
    from training.arguments import parse_config  # before MXNet is loaded: --help and wrong flags return at once
    config = parse_config(argv)
    from common.environment import check_environment
    check_environment()
    setup_logging()
    from training.run import run as train
    return train(config)


if __name__ == "__main__":
    start_with_huge_pages()
    run(main, "train_softmax.py")
