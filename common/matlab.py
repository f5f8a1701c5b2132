"""MATLAB's data files, read in a process of its own: SciPy's reader crashes on some damaged ones.

`python -m common.matlab FILE NAME` prints a variable as JSON, or why it cannot be read. Nothing in such a file is
executed.
"""
from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import PathLike, read_regular

LARGEST = 1 << 26  # bytes
MEMORY = 2 << 30  # bytes that the process may allocate
SECONDS = 120
REPOSITORY = Path(__file__).resolve().parents[1]


def read_variable(path: PathLike, name: str) -> Any:
    """What a variable holds: a struct as a dict, cells and arrays as nested lists, and what has one element as that
    element. UserError where the file cannot be read or has no such variable."""
    try:
        read_regular(path, LARGEST)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    line = [sys.executable, "-m", "common.matlab", str(Path(path).absolute()), name]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread would reserve memory
    try:
        done = subprocess.run(line, cwd=REPOSITORY, capture_output=True, timeout=SECONDS, env=environment, check=False)
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise UserError(f"{path}: is not a MATLAB file that can be read; is it damaged?") from None
    if "error" in answer:
        raise UserError(f"{path}: {answer['error']}")
    return answer["value"]


def parse(path: PathLike, name: str) -> Any:
    """The same in this process; ValueError with the reason."""
    from scipy.io import loadmat
    try:
        content = loadmat(path, variable_names=[name])
    except NotImplementedError:
        raise ValueError("is a MATLAB 7.3 file; save it in MATLAB with -v7") from None
    except Exception as error:  # whatever a damaged file raises in the reader
        raise ValueError(f"is not a MATLAB file ({' '.join(str(error).split())[:100]})") from None
    if name not in content:
        raise ValueError(f"has no {name}")
    return _plain(content[name])


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.size == 1:
            return _plain(value.reshape(-1)[0])
        return [_plain(part) for part in value] if value.dtype == object or value.dtype.names else value.tolist()
    if isinstance(value, np.void) and value.dtype.names:
        return {name: _plain(value[name]) for name in value.dtype.names}
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, str) else None  # None: a MATLAB object that is not data


def main(argv: list[str]) -> None:
    """Print a variable of a file, or the error, as JSON."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # systems without such a limit
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        answer = {"value": parse(*argv)}
    except ValueError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
