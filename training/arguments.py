"""From the command line to a Config: the parser is made from Config's fields."""
from __future__ import annotations

import argparse
import dataclasses

from common.cli import Parser, parse_checkpoint_name
from common.errors import UserError
from common.settings import flag_name, settings_as_flags
from training.config import Config
from training.option import Flag, flags
from training.presets import PRESETS, preset
from training.saving.progress import MOST_TEXT

LARGEST_STEP = 1 << 20  # images on a device
MOST_DROPS = 100  # of the learning rate
DESCRIPTION = """Train a face embedding on packed records, with verification and checkpoints during training.

  python train_softmax.py --preset mobilefacenet++ --data-dir data/faces_webface --prefix runs/mfpp/model
  python train_softmax.py --preset lresnet18e-gnap --data-dir data/faces_webface --prefix runs/gnap/model \\
      --devices gpu:0,gpu:1,gpu:2,gpu:3 --per-batch-size 128
  python train_softmax.py --resume ...the same flags...   continues an interrupted run"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of train_softmax.py: a flag for each field of Config, grouped, defaults shown."""
    parser = Parser(prog="train_softmax.py", description=DESCRIPTION)
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, flag in flags(Config).items():
        if flag.group is None:
            parser.add_argument(flag_name(name), default=argparse.SUPPRESS, metavar="NAME",
                                help=f"{flag.text}: {', '.join(PRESETS)}")
            continue
        if flag.group not in groups:
            groups[flag.group] = parser.add_argument_group(flag.group)
        _add_flag(groups[flag.group], name, flag, getattr(Config, name))
    return parser


def _add_flag(group: argparse._ArgumentGroup, name: str, flag: Flag, default: bool | int | float | str) -> None:
    text, settings = flag.text, dict(flag.parse)
    if isinstance(default, bool):
        settings["action"] = "store_true"
    else:
        settings["type"] = type(default)
        if default != "":
            text += f" [{default}]"
        if "choices" not in settings:
            settings.setdefault("metavar", {int: "N", float: "X", str: "TEXT"}[settings["type"]])
    names = [flag_name(name), *([flag.also] if flag.also else [])]
    group.add_argument(*names, default=argparse.SUPPRESS, help=text, **settings)


def parse_config(argv: list[str]) -> Config:
    """The configuration of `argv`: defaults, then the preset, then the flags given. UserError for bad values."""
    given = vars(build_parser().parse_args(argv))
    with settings_as_flags(flags(Config)):
        brought = dict(preset(given["preset"])) if given.get("preset") else {}
    config = Config(**{**brought, **given, "from_preset": ",".join(name for name in brought if name not in given),
                       "given": ",".join(sorted(given))})
    _check(config)
    # as it is kept in states, without what int() accepts around a number
    return dataclasses.replace(config, lr_steps=",".join(map(str, config.lr_step_list())) if config.lr_steps else "")


def _check(config: Config) -> None:
    if not config.data_dir:
        raise UserError("--data-dir is missing: name the folder that holds train.rec, train.idx and property")
    for name, flag in flags(Config).items():
        fault = flag.limits and flag.limits.fault(getattr(config, name))
        if fault:
            raise UserError(f"{flag_name(name)} {getattr(config, name)}: {fault}")
        if len(str(getattr(config, name))) > MOST_TEXT:
            raise UserError(f"{flag_name(name)} {str(getattr(config, name))[:60]}...: is longer than the {MOST_TEXT} "
                            "characters that a state holds")
    if config.per_batch_size * config.accumulate > LARGEST_STEP:
        raise UserError(f"--per-batch-size {config.per_batch_size} --accumulate {config.accumulate}: is more than the "
                        f"{LARGEST_STEP} images per device and step that are possible; reduce one of them")
    try:
        steps = config.lr_step_list()
    except ValueError:
        raise UserError(f"--lr-steps {config.lr_steps}: not a list of whole numbers; for example 20000,28000") from None
    if any(step <= 0 for step in steps) or sorted(set(steps)) != steps:
        raise UserError(f"--lr-steps {config.lr_steps}: the steps must be above 0 and rise")
    if len(steps) > MOST_DROPS:
        raise UserError(f"--lr-steps {config.lr_steps[:60]}...: has {len(steps)} steps; {MOST_DROPS} are possible, "
                        "each a tenth of the learning rate before; --lr-mode cosine lowers it smoothly")
    if config.network[:1] not in ("r", "y"):
        raise UserError(f"--network {config.network}: no such network; r18, r34, r50, r100 ... or y1, y2")
    if config.resume and config.overwrite:
        raise UserError("--resume continues the run in the folder of --prefix, --overwrite discards it: give one")
    if config.image_size:
        parse_image_size(config.image_size)
    if config.pretrained:
        parse_checkpoint_name(config.pretrained, "--pretrained")


def parse_image_size(text: str) -> tuple[int, int]:
    """`H,W` as two numbers above 0."""
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--image-size {text}: not two whole numbers; for example 112,112") from None
    if height <= 0 or width <= 0:
        raise UserError(f"--image-size {text}: must be above 0")
    return height, width
