"""The state of a run: whole generations, two of them, a damaged one passed over, a kill at any moment survived."""
import builtins
import hashlib
import os
import shutil

import mxnet as mx
import numpy as np
import pytest
from killing import Killed, killed_at
from state_cases import CONFIG, arrays, names, save  # noqa: F401

from common.errors import UserError
from inference.param_writer import write_arrays
from training.saving.changes import change_lines
from training.saving.state import Progress, States, generations


def load(folder, identity=CONFIG):
    return States(folder, identity).load()


def test_what_was_saved_comes_back(tmp_path):
    progress = Progress(step=7, position=70, bad=[3], skipped=2, saves=2, best=0.1 + 0.2, best_of="eer of lfw",
                        best_on="ab12", best_number=1, lengths={"metrics.jsonl": 123},
                        window={"loss": 1 / 3, "norm": float("inf")}, warned=["stuck"], symptoms={"stuck": 2})
    States(tmp_path, CONFIG).save(progress, arrays(3.5))
    got, loaded = load(tmp_path)
    assert got == progress
    for part, expected in arrays(3.5).items():
        for name, value in expected.items():
            np.testing.assert_array_equal(loaded[part][name].asnumpy(), value.asnumpy())


def test_two_generations_are_kept_and_the_newest_is_read(tmp_path):
    save(tmp_path, 9, 10, 100)  # as text, 100 sorts before 9
    assert names(tmp_path) == ["000000010", "000000100"]
    assert load(tmp_path)[0].step == 100


@pytest.mark.parametrize("name", ["net.params", "momentum.params", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_newest_state_falls_back_to_the_one_before(tmp_path, name, damage, caplog):
    save(tmp_path, 1, 2)
    path = generations(tmp_path)[-1] / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        changed = bytes([content[middle] ^ 0xff])
        path.write_bytes(content[:middle] if damage == "cut" else content[:middle] + changed + content[middle + 1:])
    progress, loaded = load(tmp_path)
    assert progress.step == 1 and loaded["net"]["w"].asnumpy()[0, 0] == 1
    assert "000000002 cannot be used" in caplog.text


def test_after_falling_back_the_good_state_is_kept_until_two_good_ones_are_there(tmp_path):
    save(tmp_path, 1, 2)
    (generations(tmp_path)[-1] / "head.params").write_bytes(b"")
    save(tmp_path, 2)
    assert names(tmp_path) == ["000000001", "000000002-1"] and load(tmp_path)[0].step == 2
    save(tmp_path, 3)
    assert names(tmp_path) == ["000000002-1", "000000003"]


def test_all_damaged_is_an_error_that_names_the_remedy(tmp_path):
    save(tmp_path, 1)
    (generations(tmp_path)[0] / "net.params").write_bytes(b"")
    with pytest.raises(UserError, match="`overwrite`"):
        load(tmp_path)


def test_half_a_generation_is_not_a_generation_and_goes_with_the_next(tmp_path):
    save(tmp_path, 1)
    (tmp_path / ".000000002.tmp").mkdir()  # what a kill in the middle of writing leaves
    assert load(tmp_path)[0].step == 1
    save(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000001", "000000003"]


def test_no_state_is_none(tmp_path):
    assert load(tmp_path / "state") is None


@pytest.mark.parametrize("change, words", [
    ({"network": "y1"}, "`network` r50 there, y1 here"), ({"emb_size": 64}, "`emb_size` 512 there, 64 here"),
    ({"version_output": "GNAP"}, "`version_output` E there, GNAP here; continue with `version_output` E, or begin"),
    ({"data": {"images": 9, "digest": "aa"}}, "data of {'images': 8, 'digest': 'aa'} there, {'images': 9")])
def test_another_run_is_refused_naming_the_difference(tmp_path, change, words):
    save(tmp_path, 1)
    with pytest.raises(UserError) as caught:
        load(tmp_path, {**CONFIG, **change})
    assert words in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_paths_are_not_a_change(tmp_path):
    save(tmp_path, 1)
    states = States(tmp_path, {**CONFIG, "data_dir": "elsewhere", "prefix": "there/model", "resume": True})
    assert states.load()[0].step == 1 and states.changes == []


@pytest.mark.parametrize("change, line", [
    ({"lr": 0.2}, "`lr` 0.1 up to step 1, 0.2 from there"), ({"margin_m": 0.3}, "`margin_m` 0.5 up to step 1, 0.3"),
    ({"lr_steps": "7"}, "`lr_steps` not given up to step 1, 7 from there"), ({"color": 1}, "`color` 0 up to"),
    ({"loss_type": 0}, "`loss_type` 4 up to"), ({"seed": 3}, "`seed` 0 up to"), ({"fc7_parallel": True}, "`fc7_para")])
def test_other_settings_may_change_and_are_logged(tmp_path, change, line):
    save(tmp_path, 1)
    states = States(tmp_path, {**CONFIG, **change})
    assert states.load()[0].step == 1
    lines = change_lines(states.changes, 1, same_rates=False)
    assert line in lines[0] and "to the last bit" in lines[1] and len(lines) == 2


def test_what_changes_no_parameter_is_logged_as_well(tmp_path):
    save(tmp_path, 1)
    states = States(tmp_path, {**CONFIG, "max_steps": 5})
    assert states.load()
    assert change_lines(states.changes, 1, True) == ["`resume`: `max_steps` 0 up to step 1, 5 from there"]
    States(tmp_path, {**CONFIG, "on_nan": "a\nb"}).save(Progress(step=1), arrays(1))  # by whoever wrote the state
    assert states.load() and "\n" not in "".join(change_lines(states.changes, 1, True))


def test_what_is_over_changes_nothing_and_is_said_to(tmp_path):
    save(tmp_path, 7)
    states = States(tmp_path, {**CONFIG, "lr_steps": "5", "warmup": 7, "margin_warmup": 5})
    same = "without effect: the learning rates ahead are the same"
    assert states.load() and change_lines(states.changes, 7, same_rates=True) == [
        "`resume`: `margin_warmup` 0 up to step 7, 5 from there, without effect: it is over",
        f"`resume`: `lr_steps` not given up to step 7, 5 from there, {same}",
        f"`resume`: `warmup` 0 up to step 7, 7 from there, {same}"]
    lines = change_lines(states.changes, 4, same_rates=False)
    assert "without effect" not in "".join(lines) and "to the last bit" in lines[3]


def test_a_flag_that_a_state_does_not_know_counts_as_its_default(tmp_path):
    older = {name: value for name, value in CONFIG.items() if name != "wd"}
    States(tmp_path, older).save(Progress(step=1), arrays(1))
    assert load(tmp_path)[0].step == 1
    states = States(tmp_path, {**CONFIG, "wd": 0.1})
    assert states.load() and "`wd` 0.0005 up to step 1, 0.1 from" in change_lines(states.changes, 1, False)[0]


WRITES = [(os, "replace"), (os, "fsync"), (os, "unlink"), (os, "mkdir"), (os, "rmdir"), (builtins, "open")]


def test_a_kill_at_any_moment_of_saving_leaves_a_state_that_reads(tmp_path, monkeypatch):
    seen = set()
    for count in range(1000):
        folder = tmp_path / "state"
        shutil.rmtree(folder, ignore_errors=True)
        save(folder, 1, 2)
        states = States(folder, CONFIG)
        states.load()
        with monkeypatch.context() as patched:
            killed_at(patched, count, WRITES)
            try:
                states.save(Progress(step=3), arrays(3))
                done = True
            except Killed:
                done = False
        progress, loaded = load(folder)
        assert progress.step in (2, 3)
        assert loaded["net"]["w"].asnumpy()[0, 0] == loaded["head"]["fc7_weight"].asnumpy()[0] == progress.step
        seen.add(progress.step)
        save(folder, 4)  # and the next one is written, whatever the kill left
        assert load(folder)[0].step == 4
        assert not list(folder.glob(".*")) and len(names(folder)) == 2
        if done:
            break
    assert seen == {2, 3} and done and count > 20


def test_saving_a_step_twice_never_leaves_less_than_the_first(tmp_path):
    states = save(tmp_path, 5)
    states.save(Progress(step=5, verified_step=5), arrays(6))
    assert names(tmp_path) == ["000000005", "000000005-1"]
    progress, loaded = load(tmp_path)
    assert progress.verified_step == 5 and loaded["net"]["w"].asnumpy()[0, 0] == 6


def test_array_files_are_those_of_mxnet(tmp_path):
    random = np.random.RandomState(0)
    given = {"a_weight": mx.nd.array(random.rand(3, 4, 2)), "längere": mx.nd.array([1, 2], dtype="int32"),
             "h": mx.nd.array(random.rand(5), dtype="float16"), "one": mx.nd.ones((1,), dtype="float64")}
    digest = write_arrays(tmp_path / "ours", given)
    mx.nd.save(str(tmp_path / "theirs"), given)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert digest == hashlib.sha256((tmp_path / "theirs").read_bytes()).hexdigest()
    write_arrays(tmp_path / "empty", {})
    assert not mx.nd.load(str(tmp_path / "empty"))
