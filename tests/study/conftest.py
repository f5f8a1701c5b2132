"""The study's tests wait for the processes that they start, so these keep the priority of the tests."""
import pytest

from study import training_set


@pytest.fixture(autouse=True)
def normal_priority(monkeypatch):
    """On a machine busy with other work a process of the lowest priority may take minutes for nothing."""
    monkeypatch.setattr(training_set, "LOWEST", 0)
