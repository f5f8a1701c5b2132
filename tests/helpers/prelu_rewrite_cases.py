"""What tests of several files use of prelu rewrite."""
import mxnet as mx
import numpy as np

from symbols.graph import prelu_slopes

SHAPE = (1, 3, 112, 112)


def drawn(symbol, data, seed=0):
    """Values at random for every argument and state; slopes of both signs and above 1."""
    random = np.random.RandomState(seed)
    arguments, _, states = symbol.infer_shape(data=data)
    names = [*symbol.list_arguments(), *symbol.list_auxiliary_states()]
    slopes = prelu_slopes(symbol)
    values = {}
    for name, shape in sorted(zip(names, [*arguments, *states])):
        if name in slopes:
            values[name] = random.uniform(-0.5, 1.5, shape)
        elif name.endswith(("gamma", "var")):
            values[name] = random.uniform(0.5, 1.5, shape)
        elif name == "data" or len(shape) == 1:
            values[name] = random.normal(0, 1 if name == "data" else 0.1, shape)
        else:
            values[name] = random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
    return values


def infer(symbol, values, passes=1):
    """The outputs of passes in inference mode."""
    arrays = {name: mx.nd.array(value) for name, value in values.items()}
    states = {name: arrays[name] for name in symbol.list_auxiliary_states()}
    bound = symbol.bind(mx.cpu(), {name: arrays[name] for name in symbol.list_arguments()}, aux_states=states,
                        grad_req="null")
    return [bound.forward(is_train=False)[0].asnumpy() for _ in range(passes)]


def turned_symbol(fix_gamma=False, also=None, grouped=False, channels=6):
    """A PReLU between a BatchNorm and two convolutions, one with a bias; `also` takes one more use of a map. grouped:
    the convolution without bias has two groups, not one for each channel."""
    data = mx.sym.Variable("data")
    convolved = mx.sym.Convolution(data, num_filter=channels, kernel=(3, 3), name="conv")
    norm = mx.sym.BatchNorm(convolved, fix_gamma=fix_gamma, name="norm")
    relu = mx.sym.LeakyReLU(norm, act_type="prelu", name="relu")
    dense = mx.sym.Convolution(relu, num_filter=4 if channels % 16 else 16, kernel=(3, 3), pad=(1, 1), name="dense")
    deep = mx.sym.Convolution(relu, num_filter=channels, num_group=2 if grouped else channels, kernel=(1, 1),
                              no_bias=True, name="deep")
    body = mx.sym.concat(dense, deep, *{None: [], "norm": [norm], "relu": [relu]}[also], dim=1)
    return mx.sym.Flatten(mx.sym.Pooling(body, kernel=(2, 2), global_pool=True, pool_type="avg"))
