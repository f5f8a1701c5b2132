"""Workers on machines that are apart, by name: addresses of loopback that differ, and networks that differ."""
import contextlib
import os
import subprocess
import sys

import pytest
from launched_runs import Launched
from listening import addresses
from repository import REPO
from waiting import wait_until

PYTHONPATH = f"{REPO}/tests/helpers/named:{REPO}:{REPO}/tests/helpers"
CASES = "tests/helpers/worker_cases.py"


def fake_ssh(folder, run):
    """A command that takes ssh's arguments and runs what it is given by `run`, which knows $host."""
    path = folder / "ssh"
    path.write_text(f'#!/bin/sh\nwhile [ $# -gt 1 ]; do host=$1; shift; done\ncd /; exec {run} "$1"\n')
    path.chmod(0o755)
    return str(path)


def launch(folder, hosts, ssh, names, case="meet"):
    (folder / "hosts").write_text(hosts)
    (folder / "met").mkdir()
    start = [sys.executable, "-m", "training.launch", "-n", "2", "--hosts", str(folder / "hosts"), "--ssh", ssh]
    for name in ("MET", "GO", "NAMES"):
        start += ["--env", f"{name}={variables(folder, names)[name]}"]
    return Launched([case, "dist_sync"], [*start, "--"], CASES, **variables(folder, names), PYTHONPATH=PYTHONPATH)


def variables(folder, names):
    return {"MET": str(folder / "met"), "GO": str(folder / "go"), "NAMES": names}


def met(folder, run):
    assert wait_until(lambda: len(list((folder / "met").iterdir())) == 2, run.process), run.finish()


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def networks():
    """Two network namespaces with a cable between them: machines as far as the network goes. Their names."""
    names = [f"faces{os.getpid()}{side}" for side in "ab"]
    cable = [f"fc{os.getpid() % 100000}{side}" for side in "ab"]
    with contextlib.ExitStack() as undo:
        try:
            for name in names:
                ip("netns", "add", name)
                undo.callback(ip, "netns", "del", name)
            ip("link", "add", cable[0], "netns", names[0], "type", "veth", "peer", "name", cable[1], "netns", names[1])
            for number, (name, end) in enumerate(zip(names, cable), 1):
                ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", end)
                ip("-n", name, "link", "set", end, "up")
                ip("-n", name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"network namespaces need root and iproute2 ({error})")
        yield names


@pytest.fixture
def places(request):
    """(name, address) of two machines, and how a command runs at $host: machines apart, or addresses of loopback where
    there can be none."""
    try:
        first, second = request.getfixturevalue("networks")
    except pytest.skip.Exception:
        return ("alpha", "127.0.0.2"), ("beta", "127.0.0.3"), "sh -c"
    return (first, "10.77.0.1"), (second, "10.77.0.2"), 'ip netns exec "$host" sh -c'


def test_hosts_by_name_listen_at_their_own_addresses_alone(tmp_path, places):
    (first, one), (second, two), how = places
    run = launch(tmp_path, f"{first}\n{second}\n", fake_ssh(tmp_path, how), f"{first}={one} {second}={two}")
    met(tmp_path, run)
    listening = {}
    for pid, (command, environment) in run.processes().items():
        role = dict(item.split(b"=", 1) for item in environment if b"=" in item)
        if command.split(b"\0")[1:2] == [CASES.encode()]:
            listening.setdefault(role[b"DMLC_NODE_HOST"], set()).update(addresses(pid))
    (tmp_path / "go").touch()
    status, said = run.finish()
    assert status == 0, said
    assert listening == {one.encode(): {one}, two.encode(): {two}}


def test_machines_apart_started_by_hand_where_a_name_is_loopback_at_its_own_machine(tmp_path, networks):
    """The name of the first machine is 127.0.1.1 there, as Debian writes it, and its address at the other."""
    own = os.uname().nodename
    (tmp_path / "met").mkdir()
    roles = [(0, "scheduler", {}), (0, "server", {}), (0, "worker", {"DMLC_WORKER_ID": "0"}),
             (1, "worker", {"DMLC_WORKER_ID": "1"})]
    processes = []
    try:
        for machine, role, more in roles:
            environment = {**os.environ, **variables(tmp_path, f"{own}={['127.0.1.1', '10.77.0.1'][machine]}"), **more,
                           "DMLC_ROLE": role, "DMLC_PS_ROOT_URI": own, "DMLC_PS_ROOT_PORT": "9191",
                           "DMLC_NUM_SERVER": "1", "DMLC_NUM_WORKER": "2", "OMP_NUM_THREADS": "1",
                           "PYTHONPATH": PYTHONPATH}
            processes.append(subprocess.Popen(["ip", "netns", "exec", networks[machine], sys.executable, CASES, "meet",
                                               "dist_sync"], cwd=REPO, env=environment))
        assert wait_until(lambda: len(list((tmp_path / "met").iterdir())) == 2, processes[-1])
        assert [addresses(process.pid) for process in processes] == [{"10.77.0.1"}] * 3 + [{"10.77.0.2"}]
        (tmp_path / "go").touch()
        assert [process.wait() for process in processes] == [0] * 4
    finally:
        for process in processes:
            process.kill()
            process.wait()
