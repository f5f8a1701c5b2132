"""The paper's seven systems (Tables 1 and 2), as differences from the defaults of `Config`.

LResNet18E follows ArcFace's recipe on CASIA-WebFace (arXiv:1801.07698: batch 512, learning rate 0.1, a tenth at 20k and
28k steps, end at 32k, weight decay 5e-4), MobileFaceNet its own (arXiv:1804.07573: a tenth at 36k, 52k and 58k, end at
60k, weight decay 4e-5, and 4e-4 for the layers after the global operator, 128-d). FasterFC: the last FC has 10 times
the learning rate, and every weight decay is 5e-4.
"""
from __future__ import annotations

import difflib
from types import MappingProxyType
from typing import Any, Mapping

from common.errors import UserError

ARCFACE = dict(loss_type=4, margin_s=64.0, margin_m=0.5, lr=0.1, mom=0.9)
FASTER_FC = dict(fc7_lr_mult=10.0, wd=5e-4, emb_wd_mult=1.0, fc7_wd_mult=1.0)
LRESNET18E = dict(ARCFACE, network="r18", version_output="E", version_input=1, version_unit=3, version_se=0,
                  version_act="prelu", emb_size=512, wd=5e-4, lr_steps="20000,28000", total_steps=32000)
MOBILEFACENET = dict(ARCFACE, network="y1", version_output="GDC", version_act="prelu", emb_size=128, wd=4e-5,
                     emb_wd_mult=10.0, fc7_wd_mult=10.0, lr_steps="36000,52000,58000", total_steps=60000)

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "lresnet18e": LRESNET18E,
    "lresnet18e-fasterfc": dict(LRESNET18E, **FASTER_FC),
    "lresnet18e-gap": dict(LRESNET18E, version_output="GAP", **FASTER_FC),
    "lresnet18e-gnap": dict(LRESNET18E, version_output="GNAP", **FASTER_FC),
    "mobilefacenet": MOBILEFACENET,
    "mobilefacenet+": dict(MOBILEFACENET, version_output="GNAP"),
    "mobilefacenet++": dict(MOBILEFACENET, version_output="GNAP", **FASTER_FC),
})


def preset(name: str) -> Mapping[str, Any]:
    """The fields that the preset `name` sets; UserError with the closest name for an unknown one."""
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name.lower(), PRESETS, n=1, cutoff=0.0)
    raise UserError(f"`preset` {name}: no such preset; did you mean {near[0]}? Known are {', '.join(PRESETS)}")
