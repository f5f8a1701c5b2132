"""Where the real data is, and the threads the tests may use."""
from __future__ import annotations

import os
import signal

import pytest
from repository import REFERENCE, SHARED

from common.environment import check_environment, usable_cores

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # several processes share the cores; the one that starts them took all
    os.environ["OMP_NUM_THREADS"] = str(max(usable_cores() // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]), 1))
check_environment()
# A shell that starts the tests in the background has them ignore Ctrl-C, and nohup SIGHUP, and so would the commands
# that they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


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


def pytest_collection_modifyitems(items):
    """The folder whose files take longest first, so that no process is alone with one of them at the end."""
    items.sort(key=lambda item: item.path.parent.name != "training")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """What a test prints may hold file names that are no text; pytest-xdist sends text alone."""
    outcome = yield
    report = outcome.get_result()
    report.sections = [(name, _utf8(text)) for name, text in report.sections]
    told = str(report.longrepr) if report.failed else ""
    if told != _utf8(told):
        report.longrepr = _utf8(told)


def _utf8(text):
    return text.encode("utf-8", "backslashreplace").decode()
