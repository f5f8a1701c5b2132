"""What tests of several files use of training faults."""
import mxnet as mx
import numpy as np


def poison(monkeypatch, steps, where):
    """Make the loss (a NaN in an image's embedding) or only the gradient of these steps, from 1, not finite."""
    from training import step as module
    compute = module.compute
    made = []

    def poisoned(model, batch, step, *more):
        result = compute(model, batch, step, *more)
        made.append(batch)
        if len(made) in steps and where == "loss":
            bad = np.where(np.arange(len(result.losses[0])) == 2, np.inf, 0)
            result.losses[0][:] = result.losses[0] + mx.nd.array(bad)
            for name in ("conv_1_conv2d_weight", "bn1_moving_mean"):
                for parameter in [p for p in model.net_parameters.values() if p.name == name]:
                    (parameter.list_grad() if parameter.grad_req != "null" else parameter.list_data())[0][:] = np.nan
        elif len(made) in steps:
            model.net_parameters["pre_fc1_weight"].list_grad()[0][3, 3] = np.inf
        return result
    monkeypatch.setattr(module, "compute", poisoned)
    return made
