"""What a person types is in steps of the run; presets stretch from a total batch of 512."""
import math

import pytest

from common.errors import UserError
from training.arguments import parse_config
from training.config import Config
from training.parts import schedule_spec
from training.schedule import Clock, resolve_schedule

DATA = ["--data-dir", "x"]
E = "--preset", "lresnet18e"  # falls at 20000 and 28000, ends at 32000


def resolve(*flags, batch=512, images=490000, **clock):
    return resolve_schedule(schedule_spec(parse_config([*DATA, *map(str, flags)])), images, Clock(batch, **clock))


@pytest.mark.parametrize("batch, milestones", [(512, (20000, 28000)), (256, (40000, 56000)), (1024, (10000, 14000)),
                                          (100, (102400, 143360))])
def test_a_presets_schedule_stretches_with_the_batch(batch, milestones):
    schedule = resolve(*E, batch=batch)
    assert schedule.milestones == milestones and schedule.end == int(32000 * 512 / batch)


def test_the_ecosystems_default_schedules_stretch_as_well():
    assert resolve("--loss-type", 0, batch=256).milestones == (80000, 120000, 160000)
    assert resolve("--loss-type", 4, batch=128).milestones == (400000, 560000, 640000)


@pytest.mark.parametrize("batch", [8, 512, 4096])
def test_what_is_typed_is_in_steps_of_the_run(batch):
    schedule = resolve(*E, "--lr-steps", "20,30", "--warmup", 5, "--max-steps", 40, batch=batch)
    assert (schedule.milestones, schedule.warmup, schedule.end) == ((20, 30), 5, 40)
    schedule = resolve("--lr-steps", "20,30", "--total-steps", 50, batch=batch)
    assert (schedule.milestones, schedule.end) == ((20, 30), 50)


def test_a_typed_value_that_is_the_presets_is_typed_all_the_same():
    assert resolve(*E, "--lr-steps", "20000,28000", batch=256).milestones == (20000, 28000)


def test_a_typed_length_wins_over_the_presets_and_the_earliest_of_several_counts():
    assert resolve(*E, "--max-steps", 10 ** 6).end == 10 ** 6
    assert resolve(*E, "--end-epoch", 2, images=5120).end == 20
    assert resolve(*E, "--max-steps", 50, "--total-steps", 10).end == 10
    assert resolve("--max-steps", 50, "--end-epoch", 3, images=5120).end == 30
    assert resolve(*E, "--end-epoch", Config.end_epoch, images=5120).end == 10 * Config.end_epoch  # given, if as usual


def test_a_resumed_run_is_told_of_what_is_ahead_alone():
    before, after = (resolve("--warmup", warmup, "--lr-steps", "30", "--max-steps", 40) for warmup in (5, 9))
    assert after.changes(before.lr_summary(), 9) == [] and after.warnings(False, 50, step=40) == [
        "note: no step is left to train, at step 40 of 40; a later end (`max_steps`, `end_epoch`) continues the "
        "training"]
    assert "warm-up over 9 steps to 0.1, 0.01 from step 30 from there" in after.changes(before.lr_summary(), 8)[0]
    before, after = (resolve("--warmup", warmup, "--lr-mode", "cosine", "--max-steps", 40) for warmup in (5, 9))
    assert before.scheduler()(20) != after.scheduler()(20) and after.changes(before.lr_summary(), 20)


def test_drops_that_are_past_are_no_change():
    before = resolve("--lr-steps", "5,10,30", "--max-steps", 40)
    for steps, alike in (("6,9,30", 10), ("5,9,30", 10), ("5,30", None), ("5,10,29", 29 + 1), ("10", None)):
        after = resolve("--lr-steps", steps, "--max-steps", 40)
        rates = [[schedule.scheduler()(step) for step in range(45)] for schedule in (before, after)]
        for step in range(45):
            assert after.continues(before.lr_summary(), step) == (rates[0][step:] == rates[1][step:])
            assert bool(after.changes(before.lr_summary(), step)) == (alike is None or step < alike)


def test_the_rate_falls_to_a_tenth_at_the_step_itself():
    rate = resolve("--lr", 0.1, "--lr-steps", "10,20", "--max-steps", 100).scheduler()
    assert [rate(step) for step in (0, 9, 10, 19, 20, 99)] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert rate(5) == pytest.approx(0.1)  # asked again for an earlier step: no state


@pytest.mark.parametrize("warmup", [1, 2, 3, 10])
@pytest.mark.parametrize("mode", ["step", "cosine", "poly"])
def test_warm_up_rises_linearly_to_the_base_rate(warmup, mode):
    rate = resolve("--lr", 0.2, "--lr-steps", "100", "--warmup", warmup, "--max-steps", 200, "--lr-mode",
                   mode).scheduler()
    assert [rate(step) for step in range(warmup)] == pytest.approx([0.2 * (i + 1) / warmup for i in range(warmup)])
    assert rate(warmup) == pytest.approx(0.2)
    assert rate(150) < 0.08


@pytest.mark.parametrize("mode, form", [("cosine", lambda t: (1 + math.cos(math.pi * t)) / 2),
                                        ("poly", lambda t: (1 - t) ** 2)])
def test_cosine_and_poly_fall_to_0_over_the_training(mode, form):
    rate = resolve("--lr", 0.2, "--max-steps", 101, "--lr-mode", mode).scheduler()
    assert [rate(step) for step in (0, 25, 50, 100)] == pytest.approx([0.2 * form(t) for t in (0, 0.25, 0.5, 1)])


@pytest.mark.parametrize("mode", ["step", "cosine", "poly"])
@pytest.mark.parametrize("warmup, end", [(0, 1), (0, 2), (1, 2), (2, 3)])
def test_the_shortest_trainings_have_a_rate(mode, warmup, end):
    rate = resolve("--max-steps", end, "--warmup", warmup, "--lr-mode", mode).scheduler()
    assert all(0 <= rate(step) <= 0.1 for step in range(end)) and rate(0) > 0


def test_a_warm_up_that_does_not_end_in_time_is_refused():
    with pytest.raises(UserError, match="`warmup` 100: must end before.*100"):
        resolve("--lr-steps", 100, "--warmup", 100)
    with pytest.raises(UserError, match="`warmup` 100"):
        resolve("--max-steps", 100, "--warmup", 100, "--lr-mode", "cosine")


def test_another_batch_from_some_step_on_keeps_the_images_between_the_falls():
    later = resolve(*E, batch=256, step=1000, position=512000)
    assert later.milestones == (1000 + 2 * 19000, 1000 + 2 * 27000) and later.end == 1000 + 2 * 31000
    assert resolve(*E, batch=100, step=7, position=700) == resolve(*E, batch=100)
    assert resolve("--end-epoch", 3, images=5120, batch=256, step=10, position=5120).end == 50


def test_a_fall_is_never_stretched_to_step_0():
    assert Clock(4096).stretch(1) == 1 and Clock(64).stretch(0) == 0


def test_the_linear_rule_begins_from_the_presets_rate():
    assert Config.linear_rate(512) == 0.1 and Config.linear_rate(64) == 0.0125
