"""The small computations of a classification layer as graphs, which are bound once (`training.bound_graph`).

What works in place on arrays of (samples, classes) is not here but in `shard_pass`: a graph would need another such
array for its result.
"""
from __future__ import annotations

import mxnet as mx

from training.bound_graph import variable
from training.head.layer import Layer

EPS = 1e-10  # L2Normalization's own, added to the square of the norm


def inverse_norms(parts: int) -> mx.sym.Symbol:
    """1 / |w| of the rows of weights that come in `parts`, w0, w1 ..., of (c, emb_size) each: (1, rows).

    one0, one1 ...: (1, emb_size) ones for each part; where two products share a variable, MXNet's oneDNN backend counts
    it twice and binding fails. A matrix product adds up the squares: MXNet's own sum over rows takes ten times as long
    on CPUs.
    """
    squares = [mx.sym.FullyConnected(mx.sym.square(variable(f"w{part}")), variable(f"one{part}"), no_bias=True,
                                     num_hidden=1)
               for part in range(parts)]
    return mx.sym.reshape(mx.sym.rsqrt(mx.sym.concat(*squares, dim=0) + EPS), shape=(1, -1))


def radial_factor() -> mx.sym.Symbol:
    """From radial and inverse, (1, rows), the factor of each row in the second term of its gradient: (rows, 1)."""
    return mx.sym.reshape(variable("radial") * mx.sym.square(variable("inverse")), shape=(-1, 1))


def directions(layer: Layer) -> mx.sym.Symbol:
    """The operand of the product with the weights, (n, emb_size): unit embeddings times scale, (1, 1); for softmax the
    embeddings. The scale is applied to this small operand, so that it needs no (n, classes) array of its own."""
    embeddings = variable("embeddings")
    if not layer.normal:
        return mx.sym.identity(embeddings)
    return mx.sym.broadcast_mul(mx.sym.L2Normalization(embeddings), variable("scale"))


def target(layer: Layer) -> mx.sym.Symbol:
    """The target logits of a shard, from its logits without the margin.

    columns: (n,) int32 of each sample's class, -1 where another shard has it; numbers: 0 .. n - 1; shift: zeros, the
    gradient to which is the slope of the margin; margin: the scale and the margin's numbers, (numbers, n), so that
    `margin_warmup` changes values and no graph. Outputs, (n,) but for the places: the target cosine with the margin,
    from which the gradient is taken; (2, n) places of the logits (of column 0 where the class is not here); the logit
    there without the margin, and with it; the target's logit and plain cosine, 0 where the class is not here.
    """
    logits, columns, shift = variable("logits"), variable("columns"), variable("shift")
    here = columns >= 0
    places = mx.sym.stack(variable("numbers"), mx.sym.maximum(columns, 0))
    plain = mx.sym.gather_nd(logits, places)
    if layer.normal:
        scale, *numbers = mx.sym.split(variable("margin"), num_outputs=1 + len(layer.margin.numbers), axis=0,
                                       squeeze_axis=True)
        cosine = mx.sym.BlockGrad(plain / scale)
        moved = layer.margin(cosine + shift, numbers)
        logit = mx.sym.where(here, moved * scale, plain)
    else:
        mine = mx.sym.L2Normalization(variable("data"))
        rows = mx.sym.take(variable("weight"), mx.sym.maximum(columns, 0))
        cosine = mx.sym.sum(mine * mx.sym.L2Normalization(rows), axis=1)
        moved, logit = shift * 1, plain
    zero = mx.sym.zeros_like(plain)
    fixed = [places, plain, logit, mx.sym.where(here, logit, zero), mx.sym.where(here, cosine, zero)]
    return mx.sym.Group([moved, *(mx.sym.BlockGrad(output) for output in fixed)])


STATISTICS = ("log_sum", "largest", "is_target", "target", "cosine", "target_share", "slope", "here")


def statistics() -> mx.sym.Symbol:
    """Softmax within a shard, (n, rows), and its STATISTICS, stacked to (8, n), from its logits with the margin.

    log_sum: of exp of its logits; the largest logit; is_target: 1 where that is of the sample's class; target, cosine:
    as `target` gives them; target_share: the softmax at its places; slope: that of the margin, 1 where the class is not
    here; here: whether it is.
    """
    logits, columns = variable("logits"), variable("columns")
    share = mx.sym.softmax(logits)
    top = mx.sym.argmax(logits, axis=1)
    largest = mx.sym.pick(logits, top)
    log_sum = largest - mx.sym.log(mx.sym.pick(share, top))  # at its largest the log is exact
    here = columns >= 0
    slope = mx.sym.where(here, variable("slope"), mx.sym.ones_like(log_sum))
    values = {"log_sum": log_sum, "largest": largest, "is_target": top == mx.sym.cast(columns, dtype="float32"),
              "target": variable("target"), "cosine": variable("cosine"), "slope": slope,
              "target_share": mx.sym.gather_nd(share, variable("places")), "here": mx.sym.cast(here, dtype="float32")}
    return mx.sym.Group([share, mx.sym.stack(*(values[name] for name in STATISTICS))])


def over_shards(shards: int) -> mx.sym.Symbol:
    """One softmax from the STATISTICS of its shards, s0, s1 ..., (8, n) each.

    Outputs: loss, cosine and correct, (3, n); for each shard what its softmax is to be multiplied by to be factor,
    (1, 1), times that over all of them, and the gradient at its places: (shards, 2, n).
    """
    stacked = mx.sym.stack(*(variable(f"s{shard}") for shard in range(shards)), axis=1)  # (8, shards, n)
    values = dict(zip(STATISTICS, mx.sym.split(stacked, num_outputs=len(STATISTICS), axis=0, squeeze_axis=True)))
    log_sums, factor = values["log_sum"], variable("factor")
    top = mx.sym.max(log_sums, axis=0)
    each = mx.sym.exp(mx.sym.broadcast_sub(log_sums, mx.sym.expand_dims(top, axis=0)))
    total = top + mx.sym.log(mx.sym.sum(each, axis=0))
    correct = mx.sym.pick(values["is_target"], mx.sym.argmax(values["largest"], axis=0), axis=0)
    seen = mx.sym.stack(total - mx.sym.sum(values["target"], axis=0), mx.sym.sum(values["cosine"], axis=0), correct)
    share = mx.sym.exp(mx.sym.broadcast_sub(log_sums, mx.sym.expand_dims(total, axis=0)))
    share = mx.sym.broadcast_mul(share, factor)
    at_target = values["target_share"] * share - mx.sym.broadcast_mul(values["here"], factor)
    return mx.sym.Group([seen, mx.sym.stack(share, at_target * values["slope"], axis=1)])
