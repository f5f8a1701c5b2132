"""Workers over the parameter server and over Horovod: what they exchange, and that nobody waits for ever."""
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from repository import REPO
from waiting import HANG

from common.errors import UserError
from training.cluster.addresses import reserve
from training.cluster.create import create_communicator

CASES = [sys.executable, str(REPO / "tests" / "helpers" / "worker_cases.py")]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
SILENCE = "3"  # seconds that no thread of a living process is without a core, however busy the machine
SAID = {"worker 1 differs from worker 0: --lr 0.1 there, 0.2 here",
        "worker 1 differs from worker 0; see its own message"}


def run(command, **variables):
    return subprocess.run(command, cwd=REPO, env={**ENVIRONMENT, **variables}, capture_output=True, text=True,
                          timeout=HANG)


def test_everything_that_two_workers_exchange_after_a_command_that_none_of_them_sends(tmp_path):
    """The command is refused by each server, once, and the sums go on."""
    done = run([sys.executable, "-m", "training.launch", "-n", "2", "-s", "2", "--", *CASES, "strange", "dist_sync"],
               HARM=str(tmp_path / "harm"))
    assert done.returncode == 0, done.stderr
    assert {line.partition("] ")[2] for line in done.stdout.splitlines()} == SAID
    assert not (tmp_path / "harm").exists()
    assert sorted(line for line in done.stderr.splitlines() if "[server" in line) == [
        f"[server {number}] server: a command (0) that no worker sends was refused; is this port open to others?"
        for number in range(2)]


def test_everything_that_two_workers_exchange_by_horovod():
    pytest.importorskip("horovod.mxnet", reason="horovod is not installed (requirements-horovod.txt)")
    horovodrun = shutil.which("horovodrun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    done = run([horovodrun, "-np", "2", "--gloo", *CASES, "exchange", "horovod"])
    assert done.returncode == 0, done.stderr
    assert SAID <= {line.partition(">:")[2] or line.partition(">")[2] for line in done.stdout.splitlines()}


def test_without_the_launcher_all_end_when_a_worker_fails():
    kept = reserve("127.0.0.1", 0)
    variables = {**ENVIRONMENT, "DMLC_PS_ROOT_URI": "localhost", "DMLC_NUM_WORKER": "2", "DMLC_NUM_SERVER": "1",
                 "DMLC_PS_ROOT_PORT": str(kept.getsockname()[1]), "PS_HEARTBEAT_TIMEOUT": SILENCE}
    roles = {"scheduler": {"DMLC_ROLE": "scheduler"}, "server": {"DMLC_ROLE": "server"},
             "worker 0": {"DMLC_ROLE": "worker", "DMLC_WORKER_ID": "0"},
             "worker 1": {"DMLC_ROLE": "worker", "DMLC_WORKER_ID": "1"}}
    processes = {name: subprocess.Popen([*CASES, "fail", "dist_sync"], cwd=REPO, env={**variables, **own}, text=True,
                                        stderr=subprocess.PIPE) for name, own in roles.items()}
    try:
        said = {name: process.communicate(timeout=HANG)[1].strip() for name, process in processes.items()}
    finally:
        kept.close()
        for process in processes.values():
            process.kill()
    assert {name: process.returncode for name, process in processes.items()} == dict.fromkeys(roles, 1)
    assert said == {"worker 1": "case: the disk has gone",
                    "scheduler": f"scheduler: a server or worker has failed (no heartbeat for {SILENCE} s)",
                    "server": f"server: the scheduler has failed (no heartbeat for {SILENCE} s)",
                    "worker 0": "worker 0: the scheduler has exited, as it does when a server or another worker fails "
                                f"(no heartbeat for {SILENCE} s)"}


ROOT = {"DMLC_PS_ROOT_URI": "127.0.0.1", "DMLC_PS_ROOT_PORT": "9", "DMLC_NUM_SERVER": "1", "DMLC_NUM_WORKER": "2"}


@pytest.mark.parametrize("variables, words", [
    ({**ROOT, "DMLC_ROLE": "server", "PS_HEARTBEAT_INTERVAL": "0.5"},
     "PS_HEARTBEAT_INTERVAL=0.5: must be a whole number"),
    ({"DMLC_ROLE": "master"}, "DMLC_ROLE=master: must be scheduler, server or worker")])
def test_a_start_that_cannot_be_is_one_line_and_2(variables, words):
    done = run([*CASES, "exchange", "dist_sync"], **variables)
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("variables, words", [
    ({}, "start this command with python -m training.launch"),
    ({**ROOT, "DMLC_WORKER_ID": "2"}, "DMLC_WORKER_ID=2: must be 0 to 1")])
def test_a_worker_that_cannot_be_is_refused(monkeypatch, variables, words):
    monkeypatch.setattr(os, "environ", {**os.environ, "DMLC_ROLE": "worker", **variables})
    with pytest.raises(UserError, match=words) as caught, create_communicator("dist_sync"):
        pass
    assert "\n" not in str(caught.value)


def test_a_worker_that_waits_for_the_others_can_be_interrupted():
    variables = {"DMLC_PS_ROOT_URI": "127.0.0.1", "DMLC_NODE_HOST": "127.0.0.1", "DMLC_PS_ROOT_PORT": "9",
                 "DMLC_NUM_SERVER": "1", "DMLC_NUM_WORKER": "2", "PS_VERBOSE": "1"}
    process = subprocess.Popen([*CASES, "exchange", "dist_sync"], cwd=REPO, env={**ENVIRONMENT, **variables}, text=True,
                               stderr=subprocess.PIPE)
    assert "Bind to" in process.stderr.readline()  # from here on it waits
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=HANG)
    assert process.returncode == -signal.SIGINT


def test_horovod_that_is_not_installed_names_the_way_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "horovod.py").write_text("raise ImportError('no module')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "horovod", raising=False)
    with pytest.raises(UserError, match="requirements-horovod.txt") as caught, create_communicator("horovod"):
        pass
    assert "\n" not in str(caught.value)
