"""Where the real data is, and the threads the tests may use."""
from __future__ import annotations

import signal
from pathlib import Path

import pytest

from common.environment import check_environment

check_environment()
# A shell that starts the tests in the background has them ignore Ctrl-C, and so would the commands that they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPO = Path(__file__).resolve().parent.parent
SHARED = REPO.parent / "shared"
REFERENCE = REPO / "tests" / "reference"


def _folder(name):
    path = SHARED / name
    if not path.is_dir():
        pytest.skip(f"../shared/{name} is not here: real data and reference values are not part of the repository")
    return path


@pytest.fixture(scope="session")
def shared_data():
    """The real faces, records and weights; tests that need them skip without them."""
    return _folder("data")


@pytest.fixture(scope="session")
def reference():
    """Parameter lists, outputs and scores that ours must reproduce; part of the repository."""
    return REFERENCE


@pytest.fixture(scope="session")
def shared_reference():
    """Where the repository's reference values come from; it holds embeddings of real faces beside them."""
    return _folder("reference")
