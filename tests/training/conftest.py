"""Runs of fewer layers: most of the time of a short run goes with the number of parameters."""
import pytest

import symbols

WHOLE, SHORT = symbols.MOBILEFACENETS["y1"], (1, 1, 1, 1)  # blocks


@pytest.fixture(scope="module", autouse=True)
def short_mobilefacenet(request):
    """y1 with one block at each stride, in modules without the mark whole_network."""
    with pytest.MonkeyPatch.context() as patched:
        if not request.node.get_closest_marker("whole_network"):
            patched.setitem(symbols.MOBILEFACENETS, "y1", SHORT)
        yield


@pytest.fixture(autouse=True)
def whole_mobilefacenet(request, monkeypatch):
    """y1 as it is, in tests with the mark."""
    if request.node.get_closest_marker("whole_network"):
        monkeypatch.setitem(symbols.MOBILEFACENETS, "y1", WHOLE)
