"""A command starts again with huge pages where the system gives them on request, once, with the arguments it had."""
import os
import subprocess
import sys

import pytest
from repository import REPO

from common import huge_pages
from common.huge_pages import SETTING, SETTINGS, STARTED_AGAIN, request_huge_pages, start_with_huge_pages

SCRIPT = """\
import os, sys
from common import huge_pages
huge_pages.LINUX, huge_pages._glibc = __import__("pathlib").Path(sys.argv[1]), lambda: (2, 36)
starts = os.environ.get("STARTS", "") + "x"
os.environ["STARTS"] = starts
if __name__ == "__main__":
    huge_pages.start_with_huge_pages()
    print(starts, os.environ.get("GLIBC_TUNABLES"), sys.flags.dont_write_bytecode, os.fsencode(sys.argv[2]))
"""


@pytest.fixture
def on_request(monkeypatch, tmp_path):
    """A system with huge pages on request; how often a process started again."""
    (tmp_path / "enabled").write_text("always [madvise] never\n")
    monkeypatch.setattr(huge_pages, "LINUX", tmp_path / "enabled")
    monkeypatch.setattr(huge_pages, "_glibc", lambda: (2, 36))
    monkeypatch.setattr(sys, "gettrace", lambda: None)
    for name in (SETTINGS, STARTED_AGAIN):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    started = []
    monkeypatch.setattr(os, "execv", lambda path, command: started.append(command))
    return started


def test_it_starts_again_once(on_request):
    start_with_huge_pages()
    assert os.environ[SETTINGS] == "glibc.malloc.hugetlb=1"
    start_with_huge_pages()
    del os.environ[SETTINGS]  # as where the system withholds it
    start_with_huge_pages()
    assert len(on_request) == 1 and on_request[0][0] == sys.executable


def test_other_settings_of_glibc_stay(on_request, monkeypatch):
    monkeypatch.setenv(SETTINGS, "glibc.malloc.arena_max=2")
    assert request_huge_pages()
    assert os.environ[SETTINGS] == f"glibc.malloc.arena_max=2:{SETTING}=1"


@pytest.mark.parametrize("case", ["declined", "always", "never", "no such file", "old glibc", "musl", "debugger"])
def test_it_stays_where_nothing_would_change(on_request, monkeypatch, tmp_path, case):
    if case == "declined":
        monkeypatch.setenv(SETTINGS, f"{SETTING}=0")
    elif case in ("always", "never"):
        (tmp_path / "enabled").write_text(f"madvise [{case}]\n")
    elif case == "no such file":
        (tmp_path / "enabled").unlink()
    elif case == "debugger":
        monkeypatch.setattr(sys, "gettrace", lambda: print)
    else:
        monkeypatch.setattr(huge_pages, "_glibc", lambda: (2, 31) if case == "old glibc" else ())
    before = dict(os.environ)
    start_with_huge_pages()
    assert not on_request and dict(os.environ) == before


def test_a_process_that_cannot_be_replaced_goes_on(on_request, monkeypatch):
    def refuse(path, command):
        raise OSError(7, "Argument list too long")
    monkeypatch.setattr(os, "execv", refuse)
    start_with_huge_pages()


@pytest.mark.parametrize("as_module", [False, True])
def test_flags_of_python_and_bytes_of_arguments_are_kept(tmp_path, as_module):
    (tmp_path / "enabled").write_text("always [madvise] never\n")
    (tmp_path / "command.py").write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if name not in (SETTINGS, STARTED_AGAIN, "STARTS")}
    command = ["-m", "command"] if as_module else [str(tmp_path / "command.py")]
    done = subprocess.run([sys.executable, "-B", *command, str(tmp_path / "enabled"), b"caf\xe9 *"], text=True,
                          capture_output=True, env={**environment, "PYTHONPATH": f"{REPO}{os.pathsep}{tmp_path}"})
    expected = ["xx", f"{SETTING}=1", "1" if hasattr(sys, "orig_argv") else "0", r"b'caf\xe9 *'"]
    assert done.stdout.split(maxsplit=3) == [*expected[:3], expected[3] + "\n"], done.stderr


def test_the_c_library_is_recognised():
    if sys.platform != "linux" or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""):
        pytest.skip("no glibc")
    assert huge_pages._glibc() >= (2, 17)
