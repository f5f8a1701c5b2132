"""Runs of few layers: most of the time of a short run goes with the number of its arrays."""
import numpy as np
import pytest
from short_network import WHOLE, first_and_last_layers

from symbols import fmobilefacenet


@pytest.fixture(scope="module", autouse=True)
def short_mobilefacenet(request):
    """Few layers, and no drawing of curves, in modules without the mark whole_network."""
    with pytest.MonkeyPatch.context() as patched:
        if not request.node.get_closest_marker("whole_network"):
            patched.setattr(fmobilefacenet, "get_symbol", first_and_last_layers)
            patched.setattr("training.loop.roc_picture", lambda result: np.zeros((3, 4, 4), np.uint8))
        yield


@pytest.fixture(autouse=True)
def whole_mobilefacenet(request, monkeypatch):
    """y1 as it is, in tests with the mark."""
    if request.node.get_closest_marker("whole_network"):
        monkeypatch.setattr(fmobilefacenet, "get_symbol", WHOLE)
