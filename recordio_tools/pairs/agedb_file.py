"""AgeDB's protocol, a MATLAB file, read in a process of its own: SciPy's reader crashes on some damaged files.

`python -m recordio_tools.pairs.agedb_file FILE` prints its splits as JSON, or why there are none.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, List, Tuple

import numpy as np

from common.errors import UserError
from common.files import read_regular

LARGEST = 1 << 26  # bytes; AgeDB's has some 100 KB
MEMORY = 2 << 30  # bytes that the process may ask for
SECONDS = 120
REPOSITORY = Path(__file__).resolve().parents[2]
Split = Tuple[List[Tuple[str, str]], List[bool]]


def read_splits(path: Path) -> list[Split]:
    """Of each split the names of its pairs' images, and whether they are of one person.

    The file's `splits` has a cell for each split, whose struct has a 2 x n cell of images (a struct that begins with
    the name) and n labels, -1 for different people. UserError where it is no such file. Nothing in it is executed.
    """
    try:
        read_regular(path, LARGEST)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    line = [sys.executable, "-m", "recordio_tools.pairs.agedb_file", str(Path(path).absolute())]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread would reserve memory
    try:
        done = subprocess.run(line, cwd=REPOSITORY, capture_output=True, timeout=SECONDS, env=environment, check=False)
        told = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise UserError(f"{path}: is no MATLAB file that can be read; is it damaged?") from None
    if "error" in told:
        raise UserError(f"{path}: {told['error']}")
    return [([(left, right) for left, right in pairs], [bool(one) for one in same]) for pairs, same in told["splits"]]


def parse(path: Path) -> list[Split]:
    """The same in this process; ValueError with the reason, and whatever SciPy makes of a damaged file."""
    from scipy.io import loadmat
    try:
        content = loadmat(path, variable_names=["splits"])
    except NotImplementedError:
        raise ValueError("is a MATLAB 7.3 file; save it in MATLAB with -v7") from None
    except Exception as error:  # whatever a damaged file makes of the reader
        raise ValueError(f"is no MATLAB file ({' '.join(str(error).split())[:100]})") from None
    if "splits" not in content or not isinstance(content["splits"], np.ndarray) or not content["splits"].size:
        raise ValueError("has no splits; expected AgeDB's 04_FINAL_protocol_30_years.mat")
    return [_split(number, value) for number, value in enumerate(content["splits"].reshape(-1), 1)]


def _split(number: int, value: Any) -> Split:
    record = _bare(value)
    fields = [_bare_array(record[name]) for name in record.dtype.names] if isinstance(record, np.void) and (
        record.dtype.names) else []
    cells = next((field for field in fields if field.dtype == object and field.ndim == 2 and field.shape[0] == 2), None)
    labels = next((field.reshape(-1) for field in fields if field.dtype.kind in "iuf"), None)
    if cells is None or labels is None or cells.shape[1] != len(labels):
        raise ValueError(f"split {number} is not a 2 x n cell of images with n labels, as AgeDB's protocol has")
    try:
        pairs = [(_name(cells[0, place]), _name(cells[1, place])) for place in range(len(labels))]
    except (ValueError, IndexError, TypeError):
        raise ValueError(f"split {number} has an image without a name") from None
    return pairs, [bool(label > 0) for label in labels]


def _bare(value: Any) -> Any:
    """What is inside cells of one."""
    while isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return value


def _bare_array(value: Any) -> np.ndarray:
    """The same, but an array of more is kept as it is."""
    found = _bare(value)
    return found if isinstance(found, np.ndarray) else np.asarray(found)


def _name(cell: Any) -> str:
    value = _bare(cell)
    if isinstance(value, np.void):
        value = _bare(value[0])
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("no name")
    return str(value).strip()


def main(argv: list[str]) -> None:
    """Print the splits of a file, or what is wrong with it, as JSON."""
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        told: dict[str, Any] = {"splits": parse(Path(argv[0]))}
    except ValueError as error:
        told = {"error": str(error)}
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
