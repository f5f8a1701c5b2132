"""python -m training.selftest, on CPU contexts: its table, its exit status, and that it sees what is wrong."""
import re

import mxnet as mx
import pytest
from small_models import SIDE, SIZE, tiny_symbol

import symbols
import training.model
import training.selftest.networks as networks
from training.selftest import __main__ as command
from training.selftest import runs, speed, updates
from training.selftest.report import Row, guarded

TWO = [mx.cpu(0), mx.cpu(1)]


def table(text):
    """(what, holds, detail) of every row."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [tuple(part.strip() for part in line.strip("|").split("|")) for line in lines[1:]]


@pytest.mark.slow
def test_the_updates_the_run_and_the_speeds_hold_on_two_cpu_contexts(monkeypatch, capsys):
    monkeypatch.setattr(command, "PARTS", ("updates", "runs", "speed"))
    monkeypatch.setattr(speed, "CLASSES", 100)
    assert command.main(["--devices", "cpu:0,cpu:1", "--quick"]) == 0
    said = capsys.readouterr().out
    rows = {what.split(",")[0] if what.startswith("-") else what: (holds, detail)
            for what, holds, detail in table(said)}
    for what in ("one update, cpu:0", "one update, the same on cpu:0, cpu:1",
                 "one update, 1200 classes, cpu:0, cpu:1", "--kvstore local", "--fc7-parallel", "--partial-fc 0.5",
                 "--accumulate 2", "--mirror-memory",
                 "stop and resume, with a verification, cpu:0,cpu:1"):
        assert rows[what][0] == "yes", what
    assert rows["--dtype float16"][0] == "-" and "not possible on CPUs" in rows["--dtype float16"][1]
    assert rows["stop and resume, with a verification, cpu:0,cpu:1"][1] == "bit for bit"
    assert all(re.match(r"[\d.]+ images/s", detail) for what, (_, detail) in rows.items()
               if what.startswith(("mobilefacenet++", "reading alone")))
    assert re.search(r"^9 hold, 0 do not, 3 are figures", said, re.M) and "mxnet 1.9.1" in said


def test_every_network_and_head_holds_on_the_cpu(monkeypatch):
    tried = []
    monkeypatch.setattr(networks, "forward_backward",
                        lambda name, device, quick, *more: tried.append((name, more)) or Row(name, True, ""))
    list(networks.rows(TWO, False))
    assert {name for name, _ in tried} >= {f"{family}, {head}" for family in ("LResNet18", "MobileFaceNet")
                                           for head in ("E", "FC", "GDC", "GAP", "GNAP")}
    monkeypatch.undo()
    for _, more in tried:  # all can be built; the small ones are computed
        symbols.build(more[0], more[1], more[2], **more[3])
    for network, head in (("y1", "GNAP"), ("y1", "E"), ("r18", "GNAP")):
        row = networks.forward_backward(network, mx.cpu(1), True, network, 512 if network == "r18" else 128, head, {})
        assert row.holds, row


def test_a_device_whose_slopes_are_wrong_and_not_stepped_around_does_not_hold(monkeypatch, capsys):
    right = list(networks.slopes(mx.cpu(0)))
    assert [row.holds for row in right] == [None, True] and "not used" in right[0].detail
    monkeypatch.setattr(networks, "for_training", lambda symbol, *more: symbol)
    monkeypatch.setattr(networks, "NETWORKS", {})
    assert command.main(["--devices", "cpu:0", "--quick", "--part", "networks"]) == 1
    (_, own), (what, holds) = [row[:2] for row in table(capsys.readouterr().out)]
    assert own == "-" and "as trained" in what and holds == "NO"


@pytest.mark.parametrize("fault", [mx.MXNetError("x\nMXNetError: Check failed: NVRTC Compilation failed"),
                                   KeyError("odd | and\nlong")])
def test_whatever_goes_wrong_is_a_row(fault):
    def check():
        raise fault
    line = guarded("tried", check).line()
    assert line.startswith("| tried | NO | ") and line.count("|") == 4 and "\n" not in line
    assert "MXNET_USE_FUSION=0" in line or "KeyError" in line


def test_updates_that_differ_from_the_cpu_s_fail(monkeypatch):
    def moved(spec, *more):
        found = real(spec, *more)
        return {**found, "fc7": found["fc7"] * 1.1} if spec.head.fc7_parallel else found
    real = updates.moved
    monkeypatch.setattr(updates, "moved", moved)
    monkeypatch.setattr(updates, "SIDE", SIDE)
    monkeypatch.setattr(updates, "preset", lambda name: {"emb_size": SIZE})
    monkeypatch.setattr(training.model, "build_symbol", lambda spec: tiny_symbol(False))
    monkeypatch.setattr(updates, "MANY_CLASSES", updates.CLASSES)
    rows = {row.what.split(",")[0]: row for row in updates.rows([mx.cpu(0)], False) if row.what[0] == "-"}
    assert {"--loss-type 0 (softmax)", "--loss-type 2 (CosFace)", "--loss-type 5 (combined)"} <= set(rows)
    assert rows["--fc7-parallel"].holds is False and "fc7" in rows["--fc7-parallel"].detail
    assert rows["--accumulate 2"].holds and rows["--mirror-memory"].holds


def test_a_resumed_run_that_ends_elsewhere_does_not_hold(monkeypatch, tmp_path):
    def train(data, folder, devices, steps, *more):
        real(data, folder, devices, steps, *more, *(["--seed", "1"] if folder.name == "parts" else []))
    real = runs._train
    monkeypatch.setattr(runs, "_train", train)
    holds, detail = runs.stop_and_resume(tmp_path, "cpu:0", exact=True)
    assert not holds and "not bit for bit" in detail


@pytest.mark.parametrize("holds", [True, False])
def test_the_cost_of_stepping_around_is_measured_on_gpus_that_need_it(monkeypatch, holds):
    def train(name, devices, quick, dtype="float32", form=None):
        asked.append((dtype, bool(form) and form("plain", (), [])))
        return None, "1.0 images/s"
    asked = []
    monkeypatch.setattr(speed, "training", train)
    monkeypatch.setattr(speed, "reading", lambda quick: (None, ""))
    monkeypatch.setattr(speed, "slope_gradients_hold", lambda device: holds)
    rows = list(speed.rows([mx.gpu(0)], True))
    assert asked == [("float32", False), ("float16", False)] + ([] if holds else [("float32", "plain")])
    assert any("own PReLU" in row.what for row in rows) != holds


PROCESS = """#!/bin/sh
echo "$NVIDIA_TF32_OVERRIDE $*" >> {folder}/asked
echo 'some library says something'
echo '{{"what": "first", "holds": true, "detail": "fine"}}'
{ending}
"""


@pytest.mark.parametrize("ending, holds", [("exit 0", [True]), ("kill -SEGV $$", [True, False])])
def test_on_gpus_a_part_that_crashes_is_a_row(monkeypatch, tmp_path, ending, holds):
    script = tmp_path / "python"
    script.write_text(PROCESS.format(folder=tmp_path, ending=ending))
    script.chmod(0o755)
    monkeypatch.setattr(command.sys, "executable", str(script))
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    rows = list(command.in_own_process("updates", [mx.gpu(0), mx.gpu(1)], True))
    assert [row.holds for row in rows] == holds
    assert rows[-1].detail in ("fine", "the process ended with signal 11 after: first")
    list(command.in_own_process("speed", [mx.gpu(0)], False))
    first, second = (tmp_path / "asked").read_text().splitlines()
    assert first == "0 -m training.selftest --rows --part updates --devices gpu:0,gpu:1 --quick"
    assert second == " -m training.selftest --rows --part speed --devices gpu:0"


def test_rows_go_from_process_to_process(monkeypatch, capsys):
    monkeypatch.setattr(networks, "NETWORKS", {})
    assert command.main(["--rows", "--part", "networks", "--devices", "cpu:0", "--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(Row.from_json(line).holds is not False for line in lines)
