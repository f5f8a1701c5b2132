"""The peak memory of a process is its own, not that of the one which started it."""
import os
import subprocess
import sys

import numpy as np
from repository import REPO

from common.own_memory import own_peak_memory

MIB = 1 << 20


def test_a_small_process_of_a_large_one_is_small():
    held = np.ones(400 * MIB, np.uint8)
    code = "from common.own_memory import own_peak_memory; print(own_peak_memory())"
    told = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(REPO)}).stdout
    assert MIB < int(told) < 100 * MIB < held.nbytes < own_peak_memory()
