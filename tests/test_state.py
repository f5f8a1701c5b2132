"""The state of a run: whole generations, two of them, a damaged one passed over."""
import mxnet as mx
import numpy as np
import pytest

from common.errors import UserError
from training.config import Config
from training.state import Progress, generations, load_state, save_state

CONFIG = Config(data_dir="d", lr=0.1).as_dict()


def arrays(value):
    return {"net": {"w": mx.nd.full((3, 2), value)}, "head": {"fc7_weight": mx.nd.full((4,), value)},
            "momentum": {"w": mx.nd.full((3, 2), -value)}}


def test_what_was_saved_comes_back(tmp_path):
    progress = Progress(step=7, position=70, saves=2, best=0.9, best_number=1, metrics_bytes=123, warned=["stuck"])
    save_state(tmp_path, progress, CONFIG, arrays(3.5))
    got, loaded = load_state(tmp_path, CONFIG)
    assert got == progress
    for part, expected in arrays(3.5).items():
        for name, value in expected.items():
            np.testing.assert_array_equal(loaded[part][name].asnumpy(), value.asnumpy())


def test_two_generations_are_kept_and_the_newest_is_read(tmp_path):
    for step in (9, 10, 100):  # as text, 100 sorts before 9
        save_state(tmp_path, Progress(step=step), CONFIG, arrays(step))
    assert [int(path.name) for path in generations(tmp_path)] == [10, 100]
    assert load_state(tmp_path, CONFIG)[0].step == 100


@pytest.mark.parametrize("name", ["net.params", "momentum.params", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_newest_state_falls_back_to_the_one_before(tmp_path, name, damage, caplog):
    for step in (1, 2):
        save_state(tmp_path, Progress(step=step), CONFIG, arrays(step))
    path = generations(tmp_path)[-1] / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        changed = bytes([content[middle] ^ 0xff])
        path.write_bytes(content[:middle] if damage == "cut" else content[:middle] + changed + content[middle + 1:])
    progress, loaded = load_state(tmp_path, CONFIG)
    assert progress.step == 1 and loaded["net"]["w"].asnumpy()[0, 0] == 1
    assert "cannot be used" in caplog.text


def test_all_damaged_is_an_error_that_names_the_way_out(tmp_path):
    save_state(tmp_path, Progress(step=1), CONFIG, arrays(1))
    (generations(tmp_path)[0] / "net.params").write_bytes(b"")
    with pytest.raises(UserError, match="--overwrite"):
        load_state(tmp_path, CONFIG)


def test_half_a_generation_is_no_generation(tmp_path):
    save_state(tmp_path, Progress(step=1), CONFIG, arrays(1))
    (tmp_path / ".000000002.tmp").mkdir()  # what a kill in the middle of writing leaves
    assert load_state(tmp_path, CONFIG)[0].step == 1


def test_no_state_is_none(tmp_path):
    assert load_state(tmp_path / "state", CONFIG) is None


def test_another_configuration_is_refused_naming_the_difference(tmp_path):
    save_state(tmp_path, Progress(step=1), CONFIG, arrays(1))
    with pytest.raises(UserError, match=r"--lr 0.1 there, 0.2 here"):
        load_state(tmp_path, Config(data_dir="d", lr=0.2).as_dict())
    assert load_state(tmp_path, Config(data_dir="elsewhere", max_steps=5, verbose=1).as_dict())[0].step == 1


def test_saving_the_same_step_twice_is_safe(tmp_path):
    for value in (1, 2):
        save_state(tmp_path, Progress(step=5), CONFIG, arrays(value))
    assert load_state(tmp_path, CONFIG)[1]["net"]["w"].asnumpy()[0, 0] == 2
