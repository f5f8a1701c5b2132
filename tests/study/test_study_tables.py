"""The study's tables against numbers by hand."""
import json

import pytest

from common.errors import UserError
from study.__main__ import main
from study.plan import PLANS
from study.tables import differences_table, misalignment_table, random_protocols_table, rates_table, read_results

PLAN = PLANS["fast"]


def write(folder, system, seed, tpr, protocol, draws, moved=0.1, random_protocols=None):
    rates = {"0.1": tpr, "0.01": None}
    pairs = {"tpr": rates, "eer": 0.25, "false_accepts": {}, "draws": {"0.1": draws}}
    positions = {"layer": "bn1", "effective_positions": 3.0, "centre_correlation": 0.1}
    scores = {"frontal-profile": pairs, "frontal-frontal": pairs,
              "protocol": {"tpr": {"0.1": protocol}, "accuracy": 0.6},
              "misaligned": [{"shift": 0, "rotate": 0, "tpr": tpr}, {"shift": 2, "rotate": 0, "tpr": moved}],
              "positions": {"frontal": positions, "profile": positions}}
    if random_protocols:
        tprs, accuracies = random_protocols
        scores["random_protocols"] = {"tpr": {"0.1": tprs}, "accuracy": accuracies}
    (folder / f"fast-{system}-{seed}.json").write_text(json.dumps(
        {"run": "x", "system": system, "seed": seed, "plan": "fast", "training": {}, "scores": scores}))


@pytest.fixture
def results(tmp_path):
    write(tmp_path, "gnap-fasterfc", 1, 0.4, 0.3, [0.4, 0.4, 0.4, 0.4])
    write(tmp_path, "gap-fasterfc", 1, 0.3, 0.35, [0.3, 0.3, 0.3, 0.5], moved=0.15)
    write(tmp_path, "gap-fasterfc", 2, 0.5, 0.5, [0.5] * 4)
    return read_results(tmp_path, PLAN)


def test_runs_are_in_the_plans_order_and_spread_over_seeds(results):
    assert list(results) == ["gap-fasterfc", "gnap-fasterfc"]
    row = rates_table(results, PLAN).splitlines()[2].split(" | ")
    assert row[:4] == ["| gap-fasterfc", "2", "40.00 (30.00 to 50.00)", "-"]


def test_differences_are_of_the_same_seed_and_the_same_resamples(results):
    row = differences_table(results, PLAN, "gnap-fasterfc").splitlines()[2].split(" | ")
    assert row[1] == "-10.00" and row[3] == "25.0%" and row[4] == "-10.00"
    assert row[5] == "2 of 2 |"  # 35 and 50 against 30, where all pairs say less


def test_random_protocols_are_compared_on_the_same_pairs_and_with_all_pairs_of_the_same_runs(tmp_path):
    write(tmp_path, "gnap-fasterfc", 1, 0.4, 0.3, [0.4], random_protocols=([0.3, 0.3, 0.3, 0.3], [0.6, 0.6, 0.6, 0.6]))
    write(tmp_path, "gnap-fasterfc", 2, 0.4, 0.3, [0.4], random_protocols=([0.3, 0.3, 0.3, 0.3], [0.6, 0.6, 0.6, 0.6]))
    write(tmp_path, "gap-fasterfc", 1, 0.3, 0.3, [0.3], random_protocols=([0.4, 0.2, 0.3, 0.2], [0.7, 0.7, 0.7, 0.5]))
    write(tmp_path, "gap-fasterfc", 2, 0.5, 0.3, [0.3], random_protocols=([0.2, 0.4, 0.4, 0.4], [0.7, 0.7, 0.7, 0.5]))
    write(tmp_path, "gap-fasterfc", 3, 0.5, 0.3, [0.3], random_protocols=([0.9] * 4, [0.9] * 4))
    head, _, row = random_protocols_table(read_results(tmp_path, PLAN), "gnap-fasterfc").splitlines()
    assert "accuracy minus gnap-fasterfc's, 95% of protocols | other order than TPR at 0.1 of all pairs" in head
    # less than GNAP by all pairs with seed 1, more with seed 2: a wrong one and a tie of four, one of four
    assert row == "| gap-fasterfc | -10.00 to +10.00 | 31.2% | -10.00 to +10.00 | 50.0% |"


def test_runs_without_random_protocols_are_left_out(results):
    assert len(random_protocols_table(results, "gnap-fasterfc").splitlines()) == 2


def test_what_is_left_when_crops_move_is_of_the_aligned_rate(results):
    assert misalignment_table(results, PLAN).splitlines()[2].split(" | ")[1:] == ["40.00 (30.00 to 50.00)",
                                                                                "35% left |"]


@pytest.mark.parametrize("damage", [lambda text: "{}", lambda text: text[:-9], lambda text: text.replace("0.25", '"x"'),
                                    lambda text: text.replace('"seed": 1', '"seed": "1"'),
                                    lambda text: text.replace("[0.4,", "[[1],"), lambda text: "[" * 99999])
def test_a_file_that_is_not_a_result_is_reported(tmp_path, damage):
    write(tmp_path, "gnap-fasterfc", 1, 0.4, 0.3, [0.4, 0.4, 0.4, 0.4])
    path = tmp_path / "fast-gnap-fasterfc-1.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match="fast-gnap-fasterfc-1.json: is not a score file.*move it away") as caught:
        read_results(tmp_path, PLAN)
    assert len(str(caught.value).splitlines()) == 1


def test_files_that_do_not_fit_together_are_reported(tmp_path):
    write(tmp_path, "gnap-fasterfc", 1, 0.4, 0.3, [0.4, 0.4, 0.4, 0.4])
    write(tmp_path, "gap-fasterfc", 1, 0.4, 0.3, [0.4, 0.4, 0.4])
    with pytest.raises(UserError, match="cannot be compared"):
        main(["table", "fast", "--results", str(tmp_path)])


def test_a_reference_that_is_no_system_is_reported(tmp_path):
    write(tmp_path, "gnap-fasterfc", 1, 0.4, 0.3, [0.4, 0.4, 0.4, 0.4])
    with pytest.raises(UserError, match="--reference gnap: is not a system of the plan fast; its systems are fc-fast"):
        main(["table", "fast", "--results", str(tmp_path), "--reference", "gnap"])
