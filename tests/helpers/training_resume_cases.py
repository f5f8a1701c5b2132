"""What tests of several files use of training resume."""
import contextlib
import json
import time

import pytest
from small_runs import SIZE
from small_sets import write_training_set, write_verification_set


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_training_set(tmp_path_factory.mktemp("data"), identities=6, images=8, size=SIZE)
    write_verification_set(folder / "lfw.bin", pairs=20, size=SIZE)
    return folder


def wait_for_step(process, folder, step):
    deadline = time.monotonic() + 6000
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        with contextlib.suppress(OSError, ValueError, IndexError):
            if json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"] >= step:
                return
        time.sleep(0.05)
    raise AssertionError("no step was made in ten minutes")
