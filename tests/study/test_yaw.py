"""Which landmarks a study finds before it trains, and at what priority."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from study import training_set, yaw
from study.plan import PLANS
from study.training_set import lower_priority


@pytest.mark.parametrize("training, found", [(False, ["test-landmarks"]),
                                             (True, ["test-landmarks", "train-landmarks"])])
def test_the_training_sets_landmarks_are_found_for_dream_alone(monkeypatch, tmp_path, training, found):
    called = []
    monkeypatch.setattr(yaw, "run_command", lambda *argv: called.append(argv))
    yaw.make_yaw(PLANS["real"], Path("data"), tmp_path, training)
    assert [argv[2].name for argv in called if argv[0] == "align"] == found
    assert ("unpack" in [argv[0] for argv in called]) == training


def test_landmarks_that_are_there_are_not_found_again(monkeypatch, tmp_path):
    called = []
    monkeypatch.setattr(yaw, "run_command", lambda *argv: called.append(argv))
    (tmp_path / "test-landmarks").mkdir()
    (tmp_path / "test-landmarks" / "align-report.json").write_text("{}")
    yaw.make_yaw(PLANS["real"], Path("data"), tmp_path, training=False)
    yaw.make_yaw(PLANS["fast"], Path("data"), tmp_path, training=True)  # synthetic: their yaw is known
    assert not called


def test_processes_of_a_study_have_the_lowest_priority(monkeypatch):
    """Within their session, and as a session."""
    monkeypatch.setattr(training_set, "LOWEST", 19)
    code = ("import os, pathlib; group = pathlib.Path('/proc/self/autogroup'); "
            "print(os.nice(0), group.read_text().split()[-1] if group.exists() else 'none')")
    done = subprocess.run([sys.executable, "-c", code], preexec_fn=lower_priority, start_new_session=True,
                          stdout=subprocess.PIPE, check=True, text=True)
    value, session = done.stdout.split()
    assert int(value) == 19 and session in ("19", "none")
