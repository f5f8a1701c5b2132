"""A state is written while the training goes on, holds what the run was at its step, and may fail."""
import os
import signal
import threading

import mxnet as mx
import numpy as np
import pytest
from killing import Killed
from overwrite_cases import fail_at
from small_runs import SIZE, train
from small_sets import write_training_set
from waiting import HANG

import training.saving.state
from common.errors import RunError
from training.saving.background import BackgroundWriter, GivenUp
from training.saving.state import ARRAYS, generations, read_generation_header

FLAGS = ["--target", "none", "--frequent", 100, "--version-output", "E"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_training_set(tmp_path_factory.mktemp("data"), identities=6, images=8, size=SIZE)


def arrays(folder, step):
    path = next(path for path in generations(folder / "state") if path.name == f"{step:09d}")
    return {(part, name): value.asnumpy() for part in ARRAYS
            for name, value in mx.nd.load(str(path / f"{part}.params")).items()}


class Slow:
    """Lets the state of step 2 end only when step 4 begins; `act` before that."""

    def __init__(self, patched, act=lambda: None):
        self.going_on, self.writing, self.most = threading.Event(), [], 0
        write = training.saving.state.write_arrays

        def slowly(path, given):
            self.writing.append(path)
            self.most = max(self.most, len({path.parent for path in self.writing}))
            if ".000000002" in str(path.parent):
                assert self.going_on.wait(HANG), "the training waits for the state"
                if path.name == "net.params":
                    act()
            digest = write(path, given)
            self.writing.remove(path)
            return digest
        patched.setattr(training.saving.state, "write_arrays", slowly)
        patched.setattr("training.loop.Loop._save_is_due", lambda loop: loop.progress.step == 2)
        fail_at(patched, 4, self.going_on.set)


def test_the_training_continues_and_the_state_is_that_of_its_step(data, tmp_path, monkeypatch):
    assert train(data, tmp_path / "short", *FLAGS, "--max-steps", 2) == 0
    with monkeypatch.context() as patched:
        slow = Slow(patched)
        assert train(data, tmp_path / "slow", *FLAGS, "--max-steps", 6) == 0
    assert slow.most == 1 and [path.name for path in generations(tmp_path / "slow/state")] == ["000000002", "000000006"]
    expected = arrays(tmp_path / "short", 2)
    for key, value in arrays(tmp_path / "slow", 2).items():
        np.testing.assert_array_equal(value, expected[key], err_msg=str(key))
    assert any((value != expected[key]).any() for key, value in arrays(tmp_path / "slow", 6).items())
    header = read_generation_header(generations(tmp_path / "slow/state")[0])
    assert header.progress.step == 2 and header.progress.position == 16


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Killed()], ids=["full", "killed"])
def test_what_fails_reaches_the_training_and_the_state_before_is_kept(data, tmp_path, monkeypatch, error):
    def act():
        raise error
    with monkeypatch.context() as patched:
        Slow(patched, act)
        with pytest.raises(Killed if isinstance(error, Killed) else RunError) as caught:
            train(data, tmp_path, *FLAGS, "--max-steps", 50)
    assert isinstance(error, Killed) or str(error.args[-1]) in str(caught.value)
    if isinstance(error, OSError):
        assert "the state of step 0 is kept" in str(caught.value)
    assert [path.name for path in generations(tmp_path / "state")] == ["000000000"]


def test_a_signal_waits_for_the_write_and_a_second_one_gives_it_up(data, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        Slow(patched, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(data, tmp_path / "once", *FLAGS, "--max-steps", 10000) == 130
    before, last = generations(tmp_path / "once/state")
    assert before.name == "000000002" and 4 <= int(last.name) < 10000
    with monkeypatch.context() as patched:
        slow = Slow(patched)

        def twice():
            os.kill(os.getpid(), signal.SIGTERM)
            slow.going_on.set()
            os.kill(os.getpid(), signal.SIGTERM)
        fail_at(patched, 3, twice)
        slow.going_on.wait = lambda seconds: loop_gives_up.wait(seconds)
        loop_gives_up = threading.Event()
        close = BackgroundWriter.close
        patched.setattr(BackgroundWriter, "close", lambda writer, give_up=False: (
            writer._given_up.set() if give_up else None, loop_gives_up.set(), close(writer, give_up)))
        with pytest.raises(KeyboardInterrupt):
            train(data, tmp_path / "twice", *FLAGS, "--max-steps", 10000)
    assert [path.name for path in (tmp_path / "twice/state").iterdir()] == ["000000000"]


def test_one_write_at_a_time_and_its_failure_is_raised_once():
    writer, free, order = BackgroundWriter(), threading.Event(), []

    def first():
        assert free.wait(HANG)
        order.append("first")
        raise ValueError("first")
    writer.begin(first)
    writer.check()  # nothing has failed yet
    free.set()
    with pytest.raises(ValueError, match="first"):
        writer.begin(lambda: order.append("second"))
    assert order == ["first"]
    writer.begin(lambda: order.append("third"))
    writer.wait()
    writer.check()
    assert order == ["first", "third"]
    writer.begin(lambda: order.append(free.wait(HANG)) or writer.may_go_on())
    free.clear()
    threading.Timer(0.01, free.set).start()
    writer.close(give_up=True)
    with pytest.raises(GivenUp):
        writer.may_go_on()
