"""What tests of several files use of state."""
import mxnet as mx

from training.config import Config
from training.saving.state import Progress, States, generations

CONFIG = {**Config(data_dir="d", lr=0.1).as_dict(), "data": {"images": 8, "digest": "aa"}}


def arrays(value):
    return {"net": {"w": mx.nd.full((3, 2), value)}, "head": {"fc7_weight": mx.nd.full((4,), value)},
            "momentum": {"w": mx.nd.full((3, 2), -value)}}


def save(folder, *steps):
    states = States(folder, CONFIG)
    states.load()
    for step in steps:
        states.save(Progress(step=step), arrays(step))
    return states


def names(folder):
    return [path.name for path in generations(folder)]
