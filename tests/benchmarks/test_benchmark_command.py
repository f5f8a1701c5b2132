"""`python -m benchmarks` looks at what it is given first, prints as it measures, and sees what is slower."""
import json
import math

import pytest
from small_sets import write_training_set

from benchmarks import (
    align_memory,
    command,
    earlier,
    frontend,
    head_memory,
    huge_pages,
    scaling,
    similarity,
    start,
    step_overhead,
)
from benchmarks.table import Row
from common.errors import RunError, UserError


@pytest.fixture
def measured(monkeypatch):
    """Rows one to three instead of the real ones; which of them were measured."""
    done = []

    def rows(name, turns, least=False):
        def measure(repeats, data):
            done.append(name)
            yield Row(f"{name} of it", turns, 1.0, None, "so much", least)
        return measure
    monkeypatch.setattr(command, "ROWS", {"one": rows("one", [2.0, 2.1, 1.9]), "two": rows("two", [0.5], True),
                                          "reading": rows("reading", [1.0, 1.0])})
    return done


@pytest.mark.parametrize("flags, named", [
    (["--data", "nowhere"], "--data"), (["--against", "nowhere.json"], "--against"), (["--json", "."], "--json")])
def test_what_is_not_usable_is_reported_before_anything_is_measured(measured, tmp_path, monkeypatch, flags, named):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=named):
        command.main([*flags])
    assert not measured


def test_a_set_of_another_image_size_is_reported_before_anything_is_measured(measured, tmp_path):
    folder = tmp_path / "set"
    write_training_set(folder, 2, 2, 32)
    with pytest.raises(UserError, match="--data.*112x112"):
        command.main(["--data", str(folder)])
    assert not measured


def earlier_run(**changes):
    row = {"row": "one", "what": "one", "turns": [1.0, 2.0], "least": False, **changes}
    return json.dumps({"machine": "m", "load": 0.5, "rows": [row]})


@pytest.mark.parametrize("text", [
    "", "{}", "[1]", '{"rows": [{}]}', earlier_run(turns=[-1]), earlier_run(turns=[]), earlier_run(turns=[math.inf]),
    earlier_run(turns=[10 ** 400]), earlier_run(turns=[True]), earlier_run(what=[1]), earlier_run(least=2),
    earlier_run().replace("0.5", '"x"'), "[" * 99999])
def test_an_earlier_run_that_is_none_is_reported(measured, tmp_path, text):
    (tmp_path / "before.json").write_text(text)
    with pytest.raises(UserError, match="--against"):
        command.main(["one", "--against", str(tmp_path / "before.json")])
    assert not measured


def test_rows_come_as_they_are_measured_and_ctrl_c_leaves_the_table_so_far(measured, monkeypatch, tmp_path, capsys):
    seen = []

    def interrupted(repeats, data):
        seen.append(capsys.readouterr().out)
        raise KeyboardInterrupt
    monkeypatch.setitem(command.ROWS, "two", interrupted)
    path = tmp_path / "now.json"
    with pytest.raises(KeyboardInterrupt):  # which `cli.run` turns into 130
        command.main(["one", "two", "--json", str(path)])
    assert "one of it: 2, so much" in seen[0]
    assert "| one of it | 2x | 1x | yes |" in capsys.readouterr().out
    run = json.loads(path.read_text())
    assert [row["what"] for row in run["rows"]] == ["one of it"] and not run["whole"]


def test_a_failure_leaves_the_table_so_far(measured, monkeypatch, capsys):
    def failing(repeats, data):
        raise RuntimeError("the two sides do not agree")
    monkeypatch.setitem(command.ROWS, "two", failing)
    with pytest.raises(RunError, match="two: the two sides do not agree"):
        command.main(["one", "two"])
    assert "| one of it |" in capsys.readouterr().out


def test_json_alone_is_all_of_standard_output(measured, capsys):
    assert command.main(["one", "two", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [row["turns"] for row in json.loads(out)["rows"]] == [[2.0, 2.1, 1.9], [0.5]] and "| one of it |" in err


@pytest.mark.parametrize("name, factor, status", [("one", 1.0, 0), ("one", 1.5, 1), ("one", 0.5, 0), ("one", 1.1, 0),
                                                  ("two", 0.5, 1), ("two", 1.5, 0), ("two", 0.97, 0)])
def test_slower_than_before_by_more_than_the_spread_ends_with_1(measured, tmp_path, name, factor, status, capsys):
    path = tmp_path / "before.json"
    command.main(["one", "two", "--json", str(path)])
    run = json.loads(path.read_text())
    for row in run["rows"]:
        if row["row"] == name:
            row["turns"] = [turn * factor for turn in row["turns"]]
    path.write_text(json.dumps(run))
    capsys.readouterr()
    assert command.main(["one", "two", "--against", str(path)]) == status
    assert capsys.readouterr().out.count("| slower |" if name == "one" else "| worse |") == status


def test_the_tolerance_is_twice_the_spread_of_both_and_never_below_the_least():
    before, now = [1.0, 1.1, 1.21], [2.0, 2.0 * 1.2, 2.0 * 1.44]
    spreads = [1.4826 * math.log(1.1), 1.4826 * math.log(1.2)]
    assert earlier.tolerance(before, now) == pytest.approx(2 * math.sqrt(spreads[0] ** 2 + spreads[1] ** 2))
    assert earlier.tolerance([1.0], [1.0, 1.0]) == pytest.approx(math.log(1.05))


def test_a_negligible_difference_is_not_a_change():
    before = {"rows": [{"what": "wait", "turns": [1e-4]}]}
    for now, told in ((5e-4, "the same"), (0.02, "worse")):
        (line, worse), = earlier.compare(before, [Row("wait", [now], 0.03, None, "", True, negligible=0.003)])
        assert told in line and worse == (told == "worse")


@pytest.mark.parametrize("module, flags", [(step_overhead, ["--devices", "0"]), (step_overhead, ["--partial-fc", "2"]),
                                           (head_memory, ["--classes", "-1"]), (head_memory, ["--partial-fc", "x"]),
                                           (huge_pages, ["--network", "r19"]), (frontend, ["--network", "y3"]),
                                           (frontend, ["--steps", "0"]), (scaling, ["--network", ""]),
                                           (similarity, ["--thresholds", "0.4,2"]), (similarity, ["--repeats", "0"]),
                                           (start, ["--repeats", "0"]),
                                           (align_memory, ["--numbers", "50,"])])
def test_values_that_cannot_be_are_one_line(module, flags, capsys):
    with pytest.raises(SystemExit) as caught:
        module.main(flags)
    said = capsys.readouterr().err
    assert caught.value.code == 2 and len(said.splitlines()) == 1 and flags[0] in said
