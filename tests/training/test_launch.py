"""The launcher: roles and variables, hosts behind ssh, and that nothing it started outlives it."""
import os
import signal
import subprocess
import sys

import pytest
from repository import REPO
from waiting import HANG, alive, read_until, wait_until

from common.errors import UserError
from training.cluster.hosts import Host, read_hosts
from training.cluster.roles import plan

LAUNCH = [sys.executable, "-m", "training.launch"]
# What a role of these tests runs: it notes its process and that of a child, which must not outlive it either.
NOTE = 'echo $DMLC_ROLE$DMLC_WORKER_ID $$ >> "$NOTES"; '
WAIT = 'while [ ! -e "$NOTES".go ]; do sleep 0.05; done; '
FOREVER = "while :; do sleep 0.1; done"
CHILD = 'sleep 300 & echo child $! >> "$NOTES"; '


def start(folder, *flags, script, first="", **variables):
    """The launcher; its roles run `first` (traps), note themselves, and run `script`."""
    environment = {**os.environ, "NOTES": str(folder / "notes"), **variables}
    return subprocess.Popen([*LAUNCH, *flags, "--", "sh", "-c", first + NOTE + script], cwd=REPO, env=environment,
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process):
    stdout, stderr = process.communicate(timeout=HANG)
    return process.returncode, stdout, stderr


def notes(folder, count, process):
    """(name, process) of each role, once `count` of them have written theirs."""
    path = folder / "notes"
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count, process)
    noted = [(line.split()[0], int(line.split()[1])) for line in path.read_text().splitlines()]
    assert len(noted) == count, noted
    return noted


def go(folder):
    (folder / "notes.go").touch()


def all_gone(noted):
    return wait_until(lambda: not any(alive(process) for _, process in noted))


def test_roles_variables_and_prefixes(tmp_path):
    script = ('echo "$DMLC_NUM_WORKER $DMLC_NUM_SERVER $DMLC_PS_ROOT_URI $DMLC_NODE_HOST ${DMLC_RANK-none} $X"; '
              'echo E >&2')
    process = start(tmp_path, "-n", "2", "-s", "2", "--env", "X=a 'b", script=script, DMLC_RANK="7")
    status, stdout, stderr = finish(process)
    assert status == 0
    names = ["scheduler", "server 0", "server 1", "worker 0", "worker 1"]
    assert sorted(stdout.splitlines()) == [f"[{name}] 2 2 127.0.0.1 127.0.0.1 none a 'b" for name in names]
    assert sorted(stderr.splitlines()) == [f"[{name}] E" for name in names]
    assert sorted(name for name, _ in notes(tmp_path, 5, process)) == ["scheduler", "server", "server", "worker0",
                                                                       "worker1"]


@pytest.mark.parametrize("role, end, status, words", [
    ("worker1", "exit 3", 3, "worker 1 failed with exit status 3"),
    ("worker0", "kill -9 $$", 137, "worker 0 was killed by SIGKILL"),
    ("server", "exit 4", 4, "server 0 failed with exit status 4"),
    ("scheduler", "kill -6 $$", 134, "scheduler was killed by SIGABRT")])
def test_the_first_that_fails_ends_all(tmp_path, role, end, status, words):
    process = start(tmp_path, "-n", "2", script=f"{CHILD}if [ $DMLC_ROLE$DMLC_WORKER_ID = {role} ]; then "
                                                f"{WAIT}{end}; fi; wait")
    noted = notes(tmp_path, 8, process)
    go(tmp_path)
    got, _, stderr = finish(process)
    assert got == status
    said = [line for line in stderr.splitlines() if line.startswith("[launch]")]
    assert len(said) == 1 and said[0].startswith(f"[launch] {words}")
    assert all_gone(noted)


def test_one_that_ignores_sigterm_is_killed(tmp_path):
    process = start(tmp_path, "-n", "2", first="trap '' TERM; " + CHILD,
                    script=f"[ \"$DMLC_WORKER_ID\" = 1 ] && {{ {WAIT} exit 5; }}; {FOREVER}")
    noted = notes(tmp_path, 8, process)
    go(tmp_path)
    assert finish(process)[0] == 5 and all_gone(noted)


@pytest.mark.parametrize("number, said", [(signal.SIGINT, "saved"), (signal.SIGTERM, "termed")])
def test_a_signal_goes_to_the_workers_and_the_servers_serve_on(tmp_path, number, said):
    traps = ("if [ $DMLC_ROLE = worker ]; then trap 'echo saved; exit 130' INT; trap 'echo termed; exit 130' TERM; "
             "else trap 'echo hurt' INT TERM; fi; ")
    process = start(tmp_path, "-n", "2", first=traps,
                    script=f"if [ $DMLC_ROLE = worker ]; then {FOREVER}; fi; {WAIT} echo served")
    noted = notes(tmp_path, 4, process)
    process.send_signal(number)
    assert all_gone([(name, pid) for name, pid in noted if name.startswith("worker")])
    go(tmp_path)
    status, stdout, stderr = finish(process)
    assert status == 130 and all_gone(noted)
    assert stdout.count(said) == 2 and stdout.count("served") == 2 and "hurt" not in stdout
    assert "the workers finish this step" in stderr


@pytest.mark.parametrize("flags, again", [(["--grace", "0.5"], False), ([], True)])
def test_workers_that_do_not_stop_are_ended(tmp_path, flags, again):
    process = start(tmp_path, "-n", "2", *flags, first="trap '' INT; " + CHILD, script=FOREVER)
    noted = notes(tmp_path, 8, process)
    process.send_signal(signal.SIGINT)
    if again:  # once the first has been taken
        read_until(process.stderr, "the workers finish this step")
        process.send_signal(signal.SIGINT)
    read_until(process.stderr, "ending worker 0, worker 1 without waiting")
    assert finish(process)[0] == 130 and all_gone(noted)


def test_a_worker_stopped_by_itself_stops_the_others(tmp_path):
    process = start(tmp_path, "-n", "2", first="trap 'exit 130' TERM; ",
                    script=f"[ \"$DMLC_WORKER_ID\" = 0 ] && {FOREVER}; {WAIT} [ $DMLC_ROLE = worker ] && exit 130; :")
    noted = notes(tmp_path, 4, process)
    go(tmp_path)
    assert finish(process)[0] == 130 and all_gone(noted)


def test_killing_the_launcher_ends_what_it_started(tmp_path):
    process = start(tmp_path, "-n", "2", first=CHILD, script=FOREVER)
    noted = notes(tmp_path, 8, process)
    process.kill()
    process.wait()
    assert all_gone(noted)
    process.stdout.close()
    process.stderr.close()


@pytest.fixture
def fake_ssh(tmp_path):
    """A command that takes ssh's arguments, notes them, and runs what it is given on this machine, elsewhere."""
    path = tmp_path / "fake ssh"
    path.write_text(f'#!/bin/sh\nwhile [ $# -gt 1 ]; do host=$1; flags="$flags $1"; shift; done\n'
                    f'echo "$flags" >> "{tmp_path}/calls"; cd /; exec env -i PATH="$PATH" HOST="$host" sh -c "$1"\n')
    path.chmod(0o755)
    return path


def test_hosts_are_reached_by_ssh_with_folder_and_variables(tmp_path, fake_ssh):
    (tmp_path / "hosts").write_text("# two machines\nalpha slots=2 address=127.0.0.1\nbeta address=127.0.0.1  # one\n")
    process = start(tmp_path, "-n", "3", "--hosts", str(tmp_path / "hosts"), "--ssh", f"'{fake_ssh}' -x",
                    "--ssh-port", "2222", "--env", f"NOTES={tmp_path}/notes", "--port", "9123",
                    script='echo "$HOST $PWD $MXNET_A $DMLC_PS_ROOT_URI:$DMLC_PS_ROOT_PORT"', MXNET_A="it's $b")
    status, stdout, _ = finish(process)
    assert status == 0
    where = {"scheduler": "alpha", "server 0": "alpha", "server 1": "beta", "worker 0": "alpha", "worker 1": "alpha",
             "worker 2": "beta"}
    assert sorted(stdout.splitlines()) == [f"[{name}] {host} {REPO} it's $b 127.0.0.1:9123"
                                           for name, host in sorted(where.items())]
    assert sorted((tmp_path / "calls").read_text().splitlines()) == sorted(f" -x -p 2222 {h}" for h in where.values())


def test_a_failure_behind_ssh_names_its_host_and_ends_all(tmp_path, fake_ssh):
    (tmp_path / "hosts").write_text("alpha address=127.0.0.2\nbeta address=127.0.0.3\n")
    process = start(tmp_path, "-n", "2", "--hosts", str(tmp_path / "hosts"), "--ssh", f"'{fake_ssh}'",
                    "--env", f"NOTES={tmp_path}/notes", first=CHILD,
                    script=f"[ \"$DMLC_WORKER_ID\" = 1 ] && {{ {WAIT} kill -9 $$; }}; {FOREVER}")
    noted = notes(tmp_path, 10, process)
    go(tmp_path)
    status, _, stderr = finish(process)
    assert status == 137 and "worker 1 on beta was killed by SIGKILL" in stderr
    assert all_gone(noted)


@pytest.mark.parametrize("text, words", [
    ("", "names no host"), ("alpha slots=none", "line 1"), ("alpha\nbeta gpus=2", "line 2"),
    ("alpha slots=0", "line 1"), ("al\x1b[31mpha", "line 1"), ("alpha\0", "line 1"), ("alpha slots=²", "line 1"),
    ("alpha address=", "line 1"), ("-oProxyCommand=x", "line 1"), ("localhost\nbeta", "cannot reach localhost")])
def test_a_bad_hosts_file_is_named(tmp_path, text, words):
    (tmp_path / "hosts").write_text(text)
    with pytest.raises(UserError, match=words):
        read_hosts(str(tmp_path / "hosts"))


def test_more_workers_than_slots():
    with pytest.raises(UserError, match="-n 3: the hosts have 2 slots"):
        plan(["true"], [Host("alpha"), Host("beta")], 3, 1, 9000, ["ssh"], {})
    with pytest.raises(UserError, match="-n 3: the hosts have 1 slot;"):  # this machine, named in a file
        plan(["true"], [Host()], 3, 1, 9000, [], {})


@pytest.mark.parametrize("flags, words", [
    (["-n", "0", "--", "true"], "must be at least 1"), (["-n", "99999999", "--", "true"], "must be at most 4096"),
    (["-n", "1", "-s", "99999999", "--", "true"], "must be at most 4096"), (["-n", "2"], "no command"),
    (["-n", "2", "--hosts", "nowhere", "--", "true"], "--hosts nowhere"),
    (["-n", "2", "--env", "A", "--", "true"], "NAME=VALUE"), (["-n", "2", "--env", "é=1", "--", "true"], "NAME=VALUE"),
    (["-n", "2", "--hosts", "/dev/zero", "--", "true"], "is not a regular file"),
    (["-n", "2", "--grace", "nan", "--", "true"], "--grace nan"),
    (["-n", "2", "--ssh-port", "-1", "--", "true"], "65535"),
    (["-n", "1", "--hosts", "HOSTS", "--ssh", "'x", "--", "true"], "--ssh 'x: No closing quotation"),
    (["-n", "1", "--hosts", "HOSTS", "--ssh", "/no/ssh", "--", "true"], "--ssh /no/ssh: there is no such command"),
    (["-n", "1", "--env", "PS_VERBOSE=x", "--", "true"], "PS_VERBOSE=x: must be a whole number")])
def test_wrong_flags_are_one_line_and_2(tmp_path, flags, words):
    (tmp_path / "hosts").write_text("alpha address=127.0.0.2\n")
    flags = [str(tmp_path / "hosts") if flag == "HOSTS" else flag for flag in flags]
    done = subprocess.run([*LAUNCH, *flags], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1
