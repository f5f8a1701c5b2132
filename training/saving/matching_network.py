"""Identifies the network of a checkpoint by the names and shapes of its parameters."""
from __future__ import annotations

import itertools
import re
from typing import Any, Iterable, Iterator, Mapping

import symbols
from symbols.fresnet import UNITS
from symbols.shapes import infer_shapes, parameter_names

# Layers after the last feature map, in all heads here and in InsightFace.
HEAD = ("bn1_", "pre_fc1_", "fc1_", "fc7_", "conv_6dw7_7_", "convx_", "bn6f_", "bn6w_")
LAST_CONVOLUTIONS = ("conv_6sep_conv2d_weight", "stage4_unit1_conv2_weight")  # of MobileFaceNet and LResNet
WIDEST = 512  # their channels at the full width
USUAL = {"version_se": 0, "version_unit": 3, "version_input": 1, "version_act": "prelu", "net_multiplier": 1.0}
LIKE = 0.8  # fraction of the parameters that must be the same for a match
FACE = (112, 112)
Shapes = Mapping[str, "tuple[int, ...]"]


def trunk(names: Iterable[str]) -> set[str]:
    """The parameters that are not the head's, of `names`."""
    return {name for name in names if not name.startswith(HEAD)}


def looks_like(given: Shapes, here: Shapes) -> str:
    """The settings of the network whose trunk is most similar to that of `given`, as far as they are unusual or may
    differ from those of the network `here`; empty where no network is similar."""
    theirs, ours = _most_similar(given), _most_similar(here)
    if not theirs:
        return ""
    settings = {"network": "", **{name: USUAL[name] for name in ours if name in USUAL}, **theirs}
    return " ".join(f"`{name}` {value}" for name, value in settings.items())


def _most_similar(given: Shapes) -> dict[str, Any]:
    """The network whose trunk is most similar to that of `given`, and its unusual settings; {} where none is."""
    best, likely = 0.0, {}
    for settings in _candidates(given):
        symbol = symbols.build(emb_size=128, version_output="GAP", **settings)
        shapes = infer_shapes(symbol, (1, 3, *FACE))
        names = trunk(parameter_names(symbol))
        same = sum(given.get(name) == shapes[name] for name in names)
        share = same / max(1, len(names | trunk(given)))
        if share > best:
            best, likely = share, settings
    return likely if best >= LIKE else {}


def _candidates(given: Shapes) -> Iterator[dict[str, Any]]:
    """Settings of the networks that have as many units as `given`, the usual ones first."""
    more: dict[str, Any] = {}
    if not any(name.endswith("_gamma") and "relu" in name for name in given):
        more["version_act"] = "relu"
    widest = next((given[name][0] for name in LAST_CONVOLUTIONS if name in given), WIDEST)
    if widest != WIDEST:
        more["net_multiplier"] = widest / WIDEST
    units = [len({name.split("_")[1] for name in given if re.match(rf"stage{stage}_unit\d", name)})
             for stage in (1, 2, 3, 4)]
    if not any(units):
        yield from ({"network": name, **more} for name in symbols.MOBILEFACENETS)
        return
    same = [depth for depth, there in UNITS.items() if list(there) == units]
    for depth in same[-1:]:  # r49 and r50 are the same network
        for squeeze, unit, first in itertools.product((0, 1), (3, 1, 2), (1, 0)):
            options = {"version_se": squeeze, "version_unit": unit, "version_input": first}
            yield {"network": f"r{depth}", **{name: value for name, value in options.items() if value != USUAL[name]},
                   **more}
