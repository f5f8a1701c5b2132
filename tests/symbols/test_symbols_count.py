"""Parameters and multiply-adds of a network, counted against its published table and by hand."""

import mxnet as mx
from prelu_rewrite_cases import SHAPE

import symbols
from symbols.count import flops_and_params


def mobilefacenet_table():
    """Multiply-adds and parameters of y1 GDC 128-d, from the table of MobileFaceNet's paper with the ecosystem's
    widths: (filters, inputs of one filter, kernel, side of the output map)."""
    convolutions = [(64, 3, 3, 56), (64, 1, 3, 56)]

    def block(inner, filters, inputs, before, after):
        return [(inner, inputs, 1, before), (inner, 1, 3, after), (filters, inner, 1, after)]
    activated = 64 + 64
    for first, repeated, times, channels, inputs, side in ((128, 128, 4, 64, 64, 28), (256, 256, 6, 128, 64, 14),
                                                           (512, 256, 2, 128, 128, 7)):
        convolutions += block(first, channels, inputs, 2 * side, side)
        convolutions += times * block(repeated, channels, channels, side, side)
        activated += 2 * (first + times * repeated)
    convolutions += [(512, 128, 1, 7), (512, 1, 7, 1)]
    activated += 512
    weights = sum(filters * inputs * kernel ** 2 for filters, inputs, kernel, _ in convolutions)
    macs = sum(filters * inputs * (kernel * side) ** 2 for filters, inputs, kernel, side in convolutions)
    norms = 2 * sum(filters for filters, *_ in convolutions)  # gamma and beta
    dense, last = 512 * 128, 2 * 128
    return macs + dense, weights + norms + activated + dense + 128 + last


def test_counts_of_mobilefacenet_are_those_of_its_table():
    counted = flops_and_params(symbols.build("y1", 128, "GDC"), SHAPE)
    assert counted == mobilefacenet_table()
    assert 0.98e6 < counted[1] < 1.01e6 and 220e6 < counted[0] < 222e6  # the paper: 0.99 M and 221 M
    gnap = flops_and_params(symbols.build("y1", 128, "GNAP"), SHAPE)
    assert counted[0] - gnap[0] == 512 * 49
    assert counted[1] - gnap[1] == 512 * 49 + 2 * 512 - 2 * 2 * 512  # a depthwise layer and its BN, against two BNs


def test_counts_by_hand():
    body = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=4, kernel=(3, 3), stride=(2, 2), name="conv")
    body = mx.sym.LeakyReLU(body, act_type="prelu", name="relu")
    body = mx.sym.Convolution(body, num_filter=4, num_group=2, kernel=(2, 2), no_bias=True, name="grouped")
    body = mx.sym.FullyConnected(mx.sym.Flatten(body), num_hidden=7, name="dense")
    # (N, 3, 9, 11) to (4, 4, 5), to (4, 3, 4), to 7
    macs = 4 * 4 * 5 * 3 * 9 + 4 * 3 * 4 * 2 * 4 + 48 * 7
    assert flops_and_params(body, (5, 3, 9, 11)) == (macs, 4 * 27 + 4 + 4 + 4 * 2 * 4 + 48 * 7 + 7)
    assert flops_and_params(body, (1, 3, 9, 11)) == flops_and_params(body, (64, 3, 9, 11))
