"""The settings of a classification layer, independent of its storage: size, loss, multipliers of its parameters."""
from __future__ import annotations

import math
from dataclasses import dataclass

from common.errors import UserError
from training.head.margins import SOFTMAX, make_margin

BIAS_LR_MULT = 2.0  # InsightFace's, whatever `fc7_lr_mult` of the weight is


@dataclass(frozen=True)
class ArraySpec:
    """A parameter: its shape, and its factors on the learning rate and the weight decay."""

    shape: tuple[int, ...]
    lr_mult: float
    wd_mult: float


class Layer:
    """Class weights, the margin on the target cosine, and softmax cross-entropy, as settings only.

    Loss types 2 CosFace, 4 ArcFace and 5 combined compare directions: logits are margin_s times the cosines of the
    embedding to every class's weight, the target's with the margin. 0 is plain softmax: a fully connected layer, with a
    bias unless no_bias. `arrays`, by the ecosystem's names: fc7_weight (num_classes, emb_size), and fc7_bias
    (num_classes,), whose learning rate is twice the optimizer's and which does not decay: fc7_lr_mult and fc7_wd_mult
    are the weight's. margin_warmup: the steps over which margin and scale become what they are to be; `start_step` sets
    them. UserError for an invalid loss type, margin or scale.
    """

    def __init__(self, num_classes: int, emb_size: int, loss_type: int = 4, margin_s: float = 64.0,
                 margin_m: float = 0.5, margin_a: float = 1.0, margin_b: float = 0.0, easy_margin: bool = False,
                 no_bias: bool = False, fc7_lr_mult: float = 1.0, fc7_wd_mult: float = 1.0,
                 margin_warmup: int = 0) -> None:
        if not (margin_s > 0 and math.isfinite(margin_s)):
            raise UserError(f"`margin_s` {margin_s:g}: the scale of the cosines is a number above 0 (64 is usual)")
        self.num_classes, self.shape, self.scale = num_classes, (num_classes, emb_size), margin_s
        self.normal = loss_type != SOFTMAX
        self.margin = make_margin(loss_type, margin_m, margin_a, margin_b, easy_margin)
        self._full = (loss_type, margin_m, margin_a, margin_b, easy_margin, margin_s)
        self._warmup = margin_warmup if self.normal else 0
        self._share = 1.0  # of the full margin, which scale and margin have now
        self.arrays = {"fc7_weight": ArraySpec(self.shape, fc7_lr_mult, fc7_wd_mult)}
        if not self.normal and not no_bias:
            self.arrays["fc7_bias"] = ArraySpec((num_classes,), BIAS_LR_MULT, 0.0)

    def start_step(self, step: int) -> None:
        """Set margin and scale for `step`, counted from 0: pure functions of it.

        The margin grows in equal steps from none; the scale from AdaCos's sqrt(2) ln(classes - 1) (Zhang et al. 2019),
        at which the softmax is not yet saturated for small differences of cosines.
        """
        share = min(step / self._warmup, 1.0) if self._warmup else 1.0
        if share == self._share:
            return
        loss_type, m, a, b, easy_margin, scale = self._full
        if share == 1:
            self.scale, self.margin = scale, make_margin(loss_type, m, a, b, easy_margin)
        else:
            first = math.sqrt(2) * math.log(self.num_classes - 1) if self.num_classes > 2 else 1.0
            self.scale = first + (scale - first) * share
            self.margin = make_margin(loss_type, m * share, 1 + (a - 1) * share, b * share, easy_margin)
        self._share = share
