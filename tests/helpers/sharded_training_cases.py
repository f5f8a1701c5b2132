"""What tests of several files use of sharded training."""
import pytest
from small_models import SIDE, tiny_symbol
from small_sets import write_training_set

import training.model
from training.arguments import parse_config
from training.run import run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_training_set(tmp_path_factory.mktemp("data"), identities=9, images=4, size=SIDE)


def train(monkeypatch, data, folder, *flags):
    monkeypatch.setattr(training.model, "build_symbol", lambda spec: tiny_symbol(False))
    return run(parse_config(["--data-dir", str(data), "--prefix", str(folder / "model"), "--emb-size", "6",
                             "--per-batch-size", "3", "--lr", "0.05", "--frequent", "1", "--workers", "1",
                             "--devices", "cpu:0,cpu:1", "--target", "none", *map(str, flags)]))
