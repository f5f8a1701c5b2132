"""Work in processes: order, bounds, errors at their turn, and nothing left running."""
import itertools
import os
import signal
import subprocess
import sys

import pytest
from waiting import alive, wait_until

from common.errors import RunError, UserError
from common.workers import AHEAD, process_map


def square(number):
    if number == 7:
        raise UserError("seven")
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid(), number * number


def large(number):
    return bytes([number]) * (1 << 20)


def test_order_bounds_and_errors():
    taken = []
    tasks = (taken.append(number) or number for number in itertools.count(8))
    results = process_map(square, tasks, 3)
    pids = set()
    for number in range(8, 60):
        pid, value = next(results)
        pids.add(pid)
        assert value == number * number and len(taken) <= number - 8 + 1 + 3 * AHEAD
    results.close()
    assert len(pids) == 3 and os.getpid() not in pids and wait_until(lambda: not any(map(alive, pids)))
    got, results = [], process_map(square, range(20), 2)
    with pytest.raises(UserError, match="seven"):
        for _, value in results:
            got.append(value)
    assert got == [number * number for number in range(7)]
    assert list(process_map(square, [], 2)) == []


def test_tasks_and_results_larger_than_a_pipe():
    assert list(process_map(len, ["x" * (1 << 20)] * 9, 2)) == [1 << 20] * 9
    assert [result[0] for result in process_map(large, range(9), 2)] == list(range(9))


def test_a_killed_worker_is_reported_and_does_not_hang():
    with pytest.raises(RunError, match="killed by signal 9, perhaps out of memory; fewer `workers`"):
        list(process_map(square, [1, 2, -1, 3, 4, 5, 6], 2))


CHILD = """
import os, signal
from common.workers import process_map
def report_and_wait(number):
    with open(os.environ["PIDS"], "a", encoding="utf-8") as stream:
        stream.write(f"{os.getpid()}\\n")
    signal.pause()
if __name__ == "__main__":
    for pid in process_map(report_and_wait, range(100), 2):
        pass
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path, number):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    environment = {**os.environ, "PIDS": str(tmp_path / "pids"), "PYTHONPATH": os.getcwd()}
    with subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL) as process:
        pids = tmp_path / "pids"
        assert wait_until(lambda: pids.exists() and pids.read_text().count("\n") == 2, process)
        process.send_signal(number)
        process.wait()
    assert wait_until(lambda: not any(map(alive, pids.read_text().split())))
