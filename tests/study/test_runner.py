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


def test_a_training_of_an_older_plan_is_made_again(places, monkeypatch):
    from dataclasses import replace
    for name in ("first_command", "train_command"):
        monkeypatch.setattr(runner, name, training("open(r'{folder}/count', 'a').write('x')"))
    assert Runner(places).go_through(TWO.runs()) == []
    longer = replace(TWO, flags=("--margin-m", "0.3", "--max-steps", "9"))
    places.scores(longer.runs()[0]).unlink()
    assert Runner(places).go_through(longer.runs()) == []
    counts = {str(path.parent.relative_to(places.work)): path.read_text() for path in places.work.rglob("count")}
    assert counts == {"two-b-1": "x", "two-b-1/first": "x"}  # that before it had the same flags
    assert "9" in (places.work / "two-b-1" / "flags.txt").read_text()
    first = replace(longer, first=("--loss-type", "0", "--max-steps", "5"))
    places.scores(first.runs()[0]).unlink()
    assert Runner(places).go_through(first.runs()) == []
    counts = {str(path.parent.relative_to(places.work)): path.read_text() for path in places.work.rglob("count")}
    assert counts == {"two-b-1": "x", "two-b-1/first": "x"}
    assert all("5" in (places.work / name / "flags.txt").read_text() for name in ("two-b-1", "two-b-1/first"))


def test_an_unfinished_training_of_an_older_plan_is_not_resumed(tmp_path, monkeypatch):
    places = Places(tmp_path, tmp_path, tmp_path, tmp_path)
    (run,) = (run for run in PLAN.runs() if run.system.name == "b")
    called = []
    monkeypatch.setattr(Runner, "_call", lambda self, command, output: called.append(command[-1]) or 1)
    (tmp_path / run.name / "state" / "000000001").mkdir(parents=True)
    Runner(places)._finish(run)
    (tmp_path / run.name / "flags.txt").write_text("--other")
    Runner(places)._finish(run)
    Runner(places)._finish(run)
    assert called == ["--resume", "--overwrite", "--overwrite"]
    assert not (tmp_path / run.name / "state").exists()  # a new run that fails early must not bring it back


def test_a_folder_that_cannot_be_written_is_a_run_that_failed(places, monkeypatch, caplog):
    monkeypatch.setattr(runner, "train_command", training("pass"))
    places.work.mkdir()
    (places.work / "tiny-a-2").write_text("a file")
    failed = Runner(places, 1).go_through(PLAN.runs())
    assert [run.name for run in failed] == ["tiny-a-2"] and "tiny-a-2: " in caplog.text
    assert len(list(places.results.iterdir())) == 2


def test_a_training_ends_with_the_study_that_started_it(tmp_path):
    import subprocess

    from repository import REPO
    code = ("import subprocess, sys, time; from study.training_set import lower_priority; "
            "child = subprocess.Popen(['sleep', '1000'], start_new_session=True, preexec_fn=lower_priority); "
            "print(child.pid, flush=True); time.sleep(1000)")
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=REPO)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()

    def gone():
        try:
            with open(f"/proc/{child}/stat") as stat:
                return stat.read().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True
    assert wait_until(gone)
