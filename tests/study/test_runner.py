"""The study's runner: what is finished stays, what was stopped goes on, what fails is told."""
import signal
import sys
import threading

import pytest
from waiting import wait_until

from study import runner
from study.plan import Plan, System
from study.runner import Places, Runner

PLAN = Plan("tiny", (System("a", (), 2), System("b", (), 1)), ())
TWO = Plan("two", PLAN.systems[1:], ("--margin-m", "0.3"), first=("--loss-type", "0"))


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Trainings and scorings that are scripts of a line."""
    made = Places(tmp_path / "work", tmp_path / "sets", tmp_path / "images", tmp_path / "results")
    made.results.mkdir()
    monkeypatch.setattr(runner, "_is_trained", lambda folder: (folder / "trained").exists())
    monkeypatch.setattr(runner, "score_command", lambda run, places: [
        sys.executable, "-c", f"open({str(places.scores(run))!r}, 'w').close()"])
    return made


def training(code):
    return lambda run, places, folder: [sys.executable, "-c", code.format(name=run.name, folder=folder)]


def test_each_run_is_trained_once_and_scored(places, monkeypatch):
    monkeypatch.setattr(runner, "train_command", training("open(r'{folder}/count', 'a').write('x')"))
    assert Runner(places).go_through(PLAN.runs()) == []
    assert sorted(path.stem for path in places.results.iterdir()) == ["tiny-a-1", "tiny-a-2", "tiny-b-1"]
    places.scores(PLAN.runs()[0]).unlink()
    assert Runner(places).go_through(PLAN.runs()) == []
    assert [path.read_text() for path in sorted(places.work.glob("*/count"))] == ["x"] * 3  # scored anew, not trained


def test_a_run_that_fails_is_returned_and_the_others_continue(places, monkeypatch, caplog):
    monkeypatch.setattr(runner, "train_command", training("import sys; sys.exit('bad' if '-b-' in '{name}' else 0)"))
    failed = Runner(places).go_through(PLAN.runs())
    assert [run.name for run in failed] == ["tiny-b-1"]
    assert "tiny-b-1: ended with exit status 1" in caplog.text and "train.out" in caplog.text
    assert (places.work / "tiny-b-1" / "train.out").read_text().strip() == "bad"
    assert places.scores(PLAN.runs()[2]).exists()


def test_a_stop_reaches_every_training_and_the_same_command_continues(places, monkeypatch):
    code = ("import signal, sys; "
            "signal.signal(signal.SIGTERM, lambda *_: (open(r'{folder}/saved', 'w'), sys.exit(130))); "
            "open(r'{folder}/began', 'w').close(); signal.pause()")
    monkeypatch.setattr(runner, "train_command", training(code))

    def interrupt():
        assert wait_until(lambda: len(list(places.work.glob("*/began"))) == 2)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        Runner(places, 2).go_through(PLAN.runs())
    thread.join()
    assert len(list(places.work.glob("*/saved"))) == 2 and not list(places.results.iterdir())
    monkeypatch.setattr(runner, "train_command", training("pass"))
    assert Runner(places).go_through(PLAN.runs()) == [] and len(list(places.results.iterdir())) == 3


def test_a_run_with_a_state_is_resumed(tmp_path):
    places = Places(tmp_path, tmp_path, tmp_path, tmp_path)
    run = PLAN.runs()[0]
    assert runner.train_command(run, places, tmp_path)[-1] == "--overwrite"
    (tmp_path / "state" / "00000001").mkdir(parents=True)
    assert runner.train_command(run, places, tmp_path)[-1] == "--resume"


def test_a_training_before_it_is_continued_from(tmp_path):
    places = Places(tmp_path, tmp_path, tmp_path, tmp_path)
    run = TWO.runs()[0]
    first = runner.first_command(run, places, tmp_path / "first")
    assert first[first.index("--loss-type") + 1] == "0"
    assert first[first.index("--prefix") + 1] == tmp_path / "first" / "model"
    then = runner.train_command(run, places, tmp_path)
    assert then[then.index("--pretrained") + 1] == f"{tmp_path}/first/model,1" and "--loss-type" not in then
    assert runner.first_command(PLAN.runs()[0], places, tmp_path) == []


def test_both_trainings_are_made_once(places, monkeypatch):
    for name in ("first_command", "train_command"):
        monkeypatch.setattr(runner, name, training("open(r'{folder}/count', 'a').write('x')"))
    assert Runner(places).go_through(TWO.runs()) == []
    places.scores(TWO.runs()[0]).unlink()
    assert Runner(places).go_through(TWO.runs()) == []
    counts = sorted(places.work.rglob("count"))
    assert [str(path.parent.relative_to(places.work)) for path in counts] == ["two-b-1", "two-b-1/first"]
    assert [path.read_text() for path in counts] == ["x", "x"]
