"""Schedules are given for a total batch of 512, stretch to the real one, and know nothing but the step."""
import pytest

from training.config import Config
from training.schedule import resolve_schedule, scale_steps


@pytest.mark.parametrize("batch, falls", [(512, (20000, 28000)), (256, (40000, 56000)), (1024, (10000, 14000)),
                                          (100, (102400, 143360))])
def test_falls_stretch_with_the_batch(batch, falls):
    config = Config(lr_steps="20000,28000", total_steps=32000)
    schedule = resolve_schedule(config, 490000, batch)
    assert schedule.falls == falls
    assert schedule.end == int(32000 * 512 / batch)


def test_the_rate_falls_to_a_tenth_at_the_step_itself():
    rate = resolve_schedule(Config(lr=0.1, lr_steps="10,20", max_steps=100), 10000, 512).scheduler()
    assert [rate(step) for step in (0, 9, 10, 19, 20, 99)] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert rate(5) == pytest.approx(0.1)  # asked again for an earlier step: no state


def test_warm_up_rises_linearly_to_the_base_rate():
    rate = resolve_schedule(Config(lr=0.2, lr_steps="100", warmup=5, max_steps=200), 10000, 256).scheduler()
    values = [rate(step) for step in range(12)]
    assert values[10:] == pytest.approx([0.2, 0.2])
    assert values[0] > 0
    steps = [b - a for a, b in zip(values[:9], values[1:10])]
    assert steps == pytest.approx([steps[0]] * 9)
    assert rate(200) == pytest.approx(0.02)


def test_the_earliest_end_counts():
    assert resolve_schedule(Config(max_steps=50, total_steps=10, end_epoch=1000), 5120, 512).end == 10
    assert resolve_schedule(Config(max_steps=50, total_steps=1000, end_epoch=1000), 5120, 512).end == 50
    assert resolve_schedule(Config(end_epoch=3), 5120, 512).end == 30


def test_the_ecosystems_default_schedules():
    assert Config(loss_type=0).lr_step_list() == [40000, 60000, 80000]
    assert Config(loss_type=4).lr_step_list() == [100000, 140000, 160000]


def test_a_fall_is_never_scaled_to_step_0():
    assert scale_steps(1, 4096) == 1 and scale_steps(0, 64) == 0
