"""From the command line to a Config: the parser is made from Config's fields."""
from __future__ import annotations

import argparse
import dataclasses
import math

from common.cli import Parser, parse_checkpoint_name
from common.errors import UserError
from training.config import Config
from training.presets import PRESETS, preset

DESCRIPTION = """Train a face embedding on packed records, verify as it goes, and keep what is best.

  python train_softmax.py --preset mobilefacenet++ --data-dir data/faces_webface --prefix runs/mfpp/model
  python train_softmax.py --preset lresnet18e-gnap --data-dir data/faces_webface --prefix runs/gnap/model \\
      --devices gpu:0,gpu:1,gpu:2,gpu:3 --per-batch-size 128
  python train_softmax.py --resume ...the same flags...   goes on where the run was stopped"""

POSITIVE = ("emb_size", "per_batch_size", "accumulate", "frequent", "end_epoch", "lr", "margin_s", "margin_a", "bn_mom")
NOT_NEGATIVE = ("max_steps", "total_steps", "clip_gradient", "margin_warmup", "verbose", "wd", "mom",
                "workers", "warmup", "images_filter", "cutoff", "fc7_lr_mult", "fc7_wd_mult", "emb_wd_mult", "margin_m",
                "margin_b", "save_every")


def flag_fields() -> list[dataclasses.Field]:
    """The fields of Config that are flags: all but those that say where others came from."""
    return [item for item in dataclasses.fields(Config) if item.metadata.get("flag", True)]


def build_parser() -> argparse.ArgumentParser:
    """The parser of train_softmax.py: a flag for each field of Config, grouped, defaults shown."""
    parser = Parser(prog="train_softmax.py", description=DESCRIPTION)
    groups: dict[str, argparse._ArgumentGroup] = {}
    for item in flag_fields():
        settings = dict(item.metadata)
        help_text, group_name = settings.pop("help"), settings.pop("group", None)
        flag = "--" + item.name.replace("_", "-")
        if item.name == "preset":
            parser.add_argument(flag, default=argparse.SUPPRESS, metavar="NAME",
                                help=f"{help_text}: {', '.join(PRESETS)}")
            continue
        if group_name not in groups:
            groups[group_name] = parser.add_argument_group(group_name)
        if isinstance(item.default, bool):
            settings["action"] = "store_true"
        else:
            settings["type"] = type(item.default)
            if item.default != "":
                help_text += f" [{item.default}]"
            if "choices" not in settings:
                settings.setdefault("metavar", {int: "N", float: "X", str: "TEXT"}[settings["type"]])
        groups[group_name].add_argument(flag, default=argparse.SUPPRESS, help=help_text, **settings)
    return parser


def parse_config(argv: list[str]) -> Config:
    """The configuration of `argv`: defaults, then the preset, then the flags given. UserError for bad values."""
    given = vars(build_parser().parse_args(argv))
    brought = dict(preset(given["preset"])) if given.get("preset") else {}
    config = Config(**{**brought, **given, "from_preset": ",".join(name for name in brought if name not in given)})
    _check(config)
    return config


def _check(config: Config) -> None:
    if not config.data_dir:
        raise UserError("--data-dir is missing: name the folder that holds train.rec, train.idx and property")
    for name in POSITIVE + NOT_NEGATIVE:
        value, flag = getattr(config, name), "--" + name.replace("_", "-")
        if not math.isfinite(value) or value < 0 or (value == 0 and name in POSITIVE):
            raise UserError(f"{flag} {value}: must be {'above 0' if name in POSITIVE else '0 or more'}")
    if not 0 <= config.seed < 2 ** 31:
        raise UserError(f"--seed {config.seed}: must be from 0 to {2 ** 31 - 1}")
    if config.bn_mom >= 1 or config.mom >= 1:
        raise UserError("--bn-mom and --mom must be below 1")
    if not 0 < config.partial_fc <= 1:
        raise UserError(f"--partial-fc {config.partial_fc}: the share of the classes is above 0 and at most 1")
    try:
        steps = config.lr_step_list()
    except ValueError:
        raise UserError(f"--lr-steps {config.lr_steps}: not a list of whole numbers; for example 20000,28000") from None
    if any(step <= 0 for step in steps) or sorted(set(steps)) != steps:
        raise UserError(f"--lr-steps {config.lr_steps}: the steps must be above 0 and rise")
    if config.network[:1] not in ("r", "y"):
        raise UserError(f"--network {config.network}: no such network; r18, r34, r50, r100 ... or y1, y2")
    if config.resume and config.overwrite:
        raise UserError("--resume goes on with the run in the folder of --prefix, --overwrite discards it: give one")
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
