"""The commands that kill and watch whole runs, on a small scale; and that they notice what they are there for."""
import numpy as np
import pytest

from common.errors import RunError
from stress.endurance import combinations, compare, small_run, soak, torture
from training.arguments import parse_config


@pytest.mark.slow
def test_runs_that_were_killed_end_as_the_uninterrupted_one(capsys):
    assert torture.main(["--kills", "2", "--steps", "14", "--devices", "cpu:0,cpu:1", "--seed", "5",
                         "--at-rows"]) == 0
    told = capsys.readouterr().out.strip().splitlines()
    assert told[-1].startswith("2 ends (") and "bit for bit" in told[-1]


@pytest.mark.slow
def test_a_run_that_ends_otherwise_is_noticed(monkeypatch):
    monkeypatch.setattr(compare, "progress", lambda folder: str(folder))
    with pytest.raises(RunError, match="differs from the uninterrupted one: progress"):
        torture.main(["--kills", "1", "--steps", "4", "--devices", "cpu:0", "--at-rows"])


@pytest.mark.slow
def test_a_combination_of_flags_ends_as_the_uninterrupted_one(capsys):
    assert combinations.main(["--runs", "1", "--first", "7"]) == 0
    assert "finished, and equal bit for bit" in capsys.readouterr().out


def test_combinations_are_of_the_seed_and_the_number_alone_and_are_flags_of_training():
    drawn = [combinations.draw(0, number) for number in range(60)]
    assert drawn == [combinations.draw(0, number) for number in range(60)]
    assert combinations.draw(1, 0) != drawn[0] != drawn[1]
    assert {flag for _, flags in drawn for flag in flags} >= {
        flag for line in combinations.ALTERNATIVES for alternative in line for flag in alternative if flag[:2] == "--"}
    for devices, flags in drawn:
        parse_config([*small_run.FLAGS, "--data-dir", "data", "--devices", devices, "--max-steps", "9", *flags])


def curve(rise=0.0, jump=0.0, jumps=(), steps=5000):
    """Samples of a run that fills its memory for 1,000 steps, then rises by so many bytes a step, and in jumps."""
    random = np.random.RandomState(0)
    step = np.arange(0, steps, 10.0)
    memory = np.where(step < 1000, 1e8 + 1e5 * step, 2e8 + rise * step) + random.normal(0, 1e4, len(step))
    return np.stack([step, memory + jump * (step[:, None] > np.array(jumps)[None]).sum(1)], 1)


def test_growth_is_distinguished_from_a_single_step_of_the_curve():
    rise, error = soak.growth(curve(300), 1000)
    assert rise == pytest.approx(300, abs=4 * error) and 0 < error < 10
    bound = 0.2 * soak.MIB / 1000
    for place in range(1000, 5000, 90):  # one step of 2 MiB, wherever it comes
        assert abs(soak.growth(curve(0, 2 * soak.MIB, [place]), 1000)[0]) < bound / 5
    assert soak.growth(curve(0, 2 * soak.MIB, [1500, 2500, 3500]), 1000)[0] > 4 * bound
    with pytest.raises(RunError, match="more --steps"):
        soak.growth(curve(300), 4700)


@pytest.mark.slow
def test_soak_samples_a_run_and_judges_it(capsys):
    flags = ["--steps", "60", "--warm-up", "20", "--", "--frequent", "1", "--target", "none"]
    assert soak.main(["--bound", "1e6", *flags]) == 0
    assert "below the bound" in capsys.readouterr().out
