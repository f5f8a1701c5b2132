"""The commands that kill and watch whole runs, on a small scale; and that they notice what they are there for."""
import numpy as np
import pytest

from common.errors import RunError
from endurance import compare, soak, torture


def test_runs_that_were_killed_end_as_the_one_left_alone(capsys):
    assert torture.main(["--kills", "2", "--steps", "24", "--devices", "cpu:0,cpu:1", "--seed", "5"]) == 0
    told = capsys.readouterr().out.strip().splitlines()
    assert told[-1].startswith("2 ends (") and "to the last bit" in told[-1]


def test_a_run_that_ends_otherwise_is_noticed(monkeypatch):
    monkeypatch.setattr(compare, "progress", lambda folder: str(folder))
    with pytest.raises(RunError, match="not the one left alone: progress"):
        torture.main(["--kills", "1", "--steps", "3", "--devices", "cpu:0"])


def test_the_line_through_the_samples():
    random = np.random.RandomState(0)
    steps = np.arange(0, 5000, 10.0)
    memory = np.where(steps < 1000, 1e8 + 1e5 * steps, 2e8 + 300 * steps) + random.normal(0, 1e4, len(steps))
    rise, error = soak.slope(np.stack([steps, memory], 1), 1000)
    assert rise == pytest.approx(300, abs=3 * error) and 0 < error < 5
    with pytest.raises(RunError, match="more --steps"):
        soak.slope(np.stack([steps, memory], 1), 4950)


def test_soak_samples_a_run_and_judges_it(capsys):
    flags = ["--steps", "150", "--warm-up", "40", "--", "--frequent", "2", "--target", "none"]
    assert soak.main(["--bound", "1e6", *flags]) == 0
    assert "below the bound" in capsys.readouterr().out
