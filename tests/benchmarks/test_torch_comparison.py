"""The PyTorch side computes what ours does: embeddings, loss and gradients of one checkpoint on both.

Needs PyTorch, in the Python that TORCH_PYTHON names or in .venv-torch (requirements-torch.txt).
"""
import os

import numpy as np
import pytest
from repository import REPO

from benchmarks import command, peer
from common.errors import UserError


@pytest.fixture(scope="module")
def torch_python():
    python = os.environ.get("TORCH_PYTHON", str(REPO / ".venv-torch/bin/python"))
    try:
        return peer.check_python(python)
    except UserError as error:
        pytest.skip(f"no PyTorch, which requirements-torch.txt installs: {error}")


@pytest.mark.parametrize("network", list(peer.NETWORKS))
def test_both_sides_compute_the_same(torch_python, tmp_path, network):
    side, batch = peer.make_side(network, classes=50, batch=4)
    found = {}
    for name in ("right", "wrong"):
        peer.write_checkpoint(side, batch, tmp_path / "checkpoint.npz")
        with peer.TorchSide(torch_python, network, tmp_path / "checkpoint.npz", "eager") as torch_side:
            torch_side.ask("check", path=str(tmp_path / f"{name}.npz"))
        found[name] = dict(np.load(tmp_path / f"{name}.npz"))
        weight = side.model.net_parameters["fc1_beta"]
        weight.set_data(weight.data() + 0.1)  # as a wrong value the second time
    weight.set_data(weight.data() - 0.2)
    seen = peer.differences(side, batch, found["right"])
    # Gradients before a PReLU whose input is nearer to 0 than rounding differ by some 5e-3: see benchmarks/peer.py.
    assert seen["embeddings"] < 1e-4 and seen["loss"] < 1e-4 and seen["gradients"] < 1e-2
    assert peer.differences(side, batch, found["wrong"])["embeddings"] > 1e-3
    with pytest.raises(RuntimeError, match="loss differ"):
        peer.check(network, {**seen, "gradients": 0.0, "loss": 1e-3})


def test_a_worker_that_ends_is_reported_in_one_line(torch_python, tmp_path):
    with peer.TorchSide(torch_python, "MobileFaceNet", tmp_path / "nowhere.npz") as torch_side:
        with pytest.raises(RuntimeError, match="PyTorch's process: .*nowhere.npz"):
            torch_side.ask("step")


@pytest.mark.parametrize("python", ["/nowhere/python", "false"])
def test_a_python_without_pytorch_is_reported_first(python):
    with pytest.raises(UserError, match="--torch-python"):
        command.main(["peer", "--torch-python", python])
