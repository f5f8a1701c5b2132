"""The study's plan: what is trained alike, and what is not."""
import dataclasses

import pytest

from study.plan import MAIN, PLANS
from training.arguments import parse_config


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_run_has_a_name_of_its_own_and_flags_that_training_takes(plan):
    runs = plan.runs()
    assert len({run.name for run in runs}) == len(runs) == sum(system.seeds for system in plan.systems)
    for run in runs:
        config = parse_config([*run.flags(), "--data-dir", "x"])
        assert config.seed == run.seed and config.max_steps > 0
        if plan.first:
            first = parse_config([*run.first_flags(), "--data-dir", "x"])
            assert (first.loss_type, first.network, first.version_output, first.emb_size) == (
                0, config.network, config.version_output, config.emb_size)


def test_first_seeds_come_first():
    seeds = [run.seed for run in PLANS["real"].runs()]
    assert seeds == sorted(seeds) and seeds[:len(PLANS["real"].systems)] == [1] * len(PLANS["real"].systems)


def test_the_main_systems_differ_in_the_global_operator_alone():
    configs = [dataclasses.asdict(parse_config([*PLANS["real"].flags, *system.flags, "--data-dir", "x"]))
               for system in MAIN]
    assert [config["version_output"] for config in configs] == ["GDC", "FC", "GAP", "GNAP"]
    assert {name for name in configs[0] if len({config[name] for config in configs}) > 1} == {"version_output"}
    assert configs[0]["fc7_lr_mult"] == 10 and configs[0]["wd"] == 5e-4 and configs[0]["emb_wd_mult"] == 1
