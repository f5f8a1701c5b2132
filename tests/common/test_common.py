"""What every command stands on: the environment's check, files that are whole or absent, one-line errors."""
import argparse
import subprocess
import sys

import pytest

from common import environment
from common.cli import Parser, at_least
from common.errors import UserError
from common.files import atomic_path, write_atomic
from common.quiet import quiet


@pytest.fixture
def installed(monkeypatch):
    """Pretend that packages have these versions, and others none."""
    versions = dict.fromkeys(environment.PACKAGES, "1.0.0")

    def version(name):
        if name not in versions:
            raise environment.metadata.PackageNotFoundError(name)
        return versions[name]
    monkeypatch.setattr(environment.metadata, "version", version)
    return versions


@pytest.mark.parametrize("name, version, words", [
    ("numpy", "1.24.4", "pip install numpy==1.23.5"), ("protobuf", "4.25.1", "pip install protobuf==3.20.3"),
    ("mxboard", None, "mxboard is not installed")])
def test_an_environment_that_cannot_work_is_reported_in_one_sentence(installed, name, version, words):
    installed.pop(name) if version is None else installed.update({name: version})
    with pytest.raises(UserError) as caught:
        environment.check_environment()
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("version", [(3, 7, 16), (3, 12, 1)])
def test_a_wrong_python_is_reported_in_one_sentence(monkeypatch, version):
    monkeypatch.setattr(environment.sys, "version_info", version)
    with pytest.raises(UserError, match=rf"Python 3.{version[1]} cannot run MXNet 1.9.1, which needs 3.8 to 3.11"):
        environment.check_environment()


def test_this_environment_is_right():
    environment.check_environment()


def test_threads_are_left_as_the_user_set_them(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    environment.set_threads()
    assert environment.os.environ["OMP_NUM_THREADS"] == "7"
    monkeypatch.delenv("OMP_NUM_THREADS")
    environment.set_threads()
    assert int(environment.os.environ["OMP_NUM_THREADS"]) == environment.usable_cores() >= 1


@pytest.mark.parametrize("cores, copies", [(1, "1"), (2, "2"), (16, "4")])
def test_as_many_temporary_arrays_as_lanes_that_compute_at_a_time(monkeypatch, cores, copies):
    monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
    monkeypatch.delenv("MXNET_CPU_TEMP_COPY", raising=False)
    environment.set_threads()
    assert environment.os.environ["MXNET_CPU_TEMP_COPY"] == copies
    monkeypatch.setenv("MXNET_CPU_TEMP_COPY", "7")
    environment.set_threads()
    assert environment.os.environ["MXNET_CPU_TEMP_COPY"] == "7"


@pytest.mark.parametrize("files, cores", [
    ({}, 8), ({"cpu.max": "max 100000\n"}, 8), ({"cpu.max": "250000 100000\n"}, 3), ({"cpu.max": "5000 100000"}, 1),
    ({"cpu.max": "max 100000", "pod/own/cpu.max": "200000 100000"}, 2),
    ({"pod/cpu.max": "200000 100000", "pod/own/cpu.max": "max 100000"}, 2), ({"cpu.max": "nonsense"}, 8),
    ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4),
    ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8)])
def test_cores_are_those_that_a_container_has_time_for(tmp_path, monkeypatch, files, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "cgroup").write_text("1:cpu:/elsewhere\n0::/pod/own\n")
    monkeypatch.setattr(environment, "CGROUPS", tmp_path)
    monkeypatch.setattr(environment, "OWN_GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda process: set(range(8)))
    assert environment.usable_cores() == cores


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "file.txt"
    write_atomic(path, "before")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before" and [item.name for item in tmp_path.iterdir()] == ["file.txt"]
    with atomic_path(path) as temporary:
        temporary.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"


@pytest.mark.parametrize("error, status, line", [
    ("UserError('the flag --x: is odd')", 2, "demo: the flag --x: is odd"),
    ("UserError('a  b\\u3000c.rec:\\n  is odd')", 2, "demo: a  b\u3000c.rec: is odd"),
    ("OSError('libcudnn.so.8: cannot open shared object file')", 2,
     "demo: MXNet's GPU wheel does not load libcudnn.so.8, which the package nvidia-cudnn-cu11 brings"),
    ("OSError(28, 'No space left', 'libcudnn.so.8')", 1, "demo: libcudnn.so.8: the disk is full"),
    ("RunError('the disk is full')", 1, "demo: the disk is full"), ("KeyboardInterrupt()", 130, "demo:"),
    ("type('MXNetError', (RuntimeError,), {})('Traceback:\\n  File x\\nMXNetError: malloc failed: out of memory')", 1,
     "demo: MXNet: MXNetError: malloc failed: out of memory; a smaller batch needs less"),
    ("type('MXNetError', (RuntimeError,), {})('MXNetError: Failed to allocate CPU Memory')", 1,
     "demo: MXNet: MXNetError: Failed to allocate CPU Memory; a smaller batch needs less"),
    ("type('MXNetError', (RuntimeError,), {})('Check failed: compileResult == NVRTC_SUCCESS (5 vs. 0) : NVRTC "
     "Compilation failed.\\nPlease set environment variable MXNET_USE_FUSION to 0.')", 1,
     "demo: MXNet: Check failed: compileResult == NVRTC_SUCCESS (5 vs. 0) : NVRTC Compilation failed.; fused operators "
     "could not be compiled for this GPU: set MXNET_USE_FUSION=0 in the environment"),
    ("type('MXNetError', (RuntimeError,), {})('Check failed: err == cudaSuccess: no kernel image is available for "
     "execution on the device')", 1,
     "demo: MXNet: Check failed: err == cudaSuccess: no kernel image is available for execution on the device; MXNet's "
     "wheels run on Maxwell to Ada, not on Hopper or Blackwell")])
def test_errors_are_one_line_and_their_exit_status(error, status, line):
    code = f"from common.errors import *\nfrom common.cli import run\ndef main(argv): raise {error}\nrun(main, 'demo')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == status and len(done.stderr.splitlines()) == 1 and done.stderr.startswith(line)


def test_quiet_swallows_what_a_library_says_and_nothing_after_it(capfd):
    def say(word):
        subprocess.run(["sh", "-c", f"echo {word} >&2"], check=True)
    say("before")
    with pytest.raises(RuntimeError, match="still"), quiet():
        say("inside")
        raise RuntimeError("still raised")
    say("after")
    assert capfd.readouterr().err == "before\nafter\n"
    code = "import os; os.close(2); from common.quiet import quiet\nwith quiet(): print(3)"  # a closed stderr
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "3\n"


@pytest.mark.parametrize("role", ["server", "scheduler"])
def test_no_command_becomes_a_server_of_mxnets(monkeypatch, role):
    monkeypatch.setenv("DMLC_ROLE", role)
    with pytest.raises(UserError, match=f"DMLC_ROLE={role}: .*unset the variable"):
        environment.check_environment()


def test_a_flag_of_several_values_keeps_all_of_them_where_it_is_given_twice():
    parser = Parser(prog="x")
    parser.add_argument("--model", nargs="+", required=True)
    parser.add_argument("--bins", nargs="+", default=["lfw.bin"])
    parser.add_argument("sets", nargs="*")
    args = parser.parse_args(["--model", "a,1", "b,2", "--model", "c,3"])
    assert args.model == ["a,1", "b,2", "c,3"] and args.bins == ["lfw.bin"] and args.sets == []
    assert parser.parse_args(["--model", "a,1", "--bins", "x.bin", "--bins", "y.bin"]).bins == ["x.bin", "y.bin"]
    assert parser.parse_args(["--model", "a,1"]).bins == ["lfw.bin"]  # the default is left as it was


def test_only_the_module_of_the_command_is_imported(tmp_path, monkeypatch, capsys):
    from common.cli import run_command
    monkeypatch.syspath_prepend(str(tmp_path))
    command = "def add_parser(subparsers):\n    subparsers.add_parser({!r}).set_defaults(run=lambda args: {})\n"
    for name, place in (("one", "few_commands/one.py"), ("two", "few_commands/two/command.py")):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(command.format(name, len(place)))
    modules = ("few_commands.one", "few_commands.two.command")
    for name, module, other in (("one", *modules), ("two", *modules[::-1])):
        assert run_command("p", "d", iter(modules), [name]) > 0
        assert module in sys.modules and other not in sys.modules
        for imported in modules:
            sys.modules.pop(imported, None)
    with pytest.raises(SystemExit):
        run_command("p", "d", modules, ["three"])
    assert "'one', 'two'" in capsys.readouterr().err


def test_a_name_of_any_letters_has_a_temporary_one(tmp_path):
    path = tmp_path / ("漢" * 80 + ".bin")  # 244 bytes
    write_atomic(path, b"x")
    assert path.read_bytes() == b"x" and len(list(tmp_path.iterdir())) == 1


def test_a_mounted_folder_is_filled(tmp_path, monkeypatch):
    from common import folders
    out = tmp_path / "out"
    out.mkdir()
    inode = out.stat().st_ino
    monkeypatch.setattr(folders.os.path, "ismount", lambda path: str(path) == str(out))
    with folders.new_folder(out, mark="z.json") as folder:
        assert folder.parent == out
        (folder / "a").mkdir()
        (folder / "z.json").write_text("{}")
    assert sorted(path.name for path in out.iterdir()) == ["a", "z.json"] and out.stat().st_ino == inode
    (out / "a").rmdir()
    (out / "z.json").unlink()
    with pytest.raises(UserError, match="something else was written there meanwhile"), folders.new_folder(out):
        (out / "mine").write_text("x")
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_a_mounted_folder_that_a_kill_left_half_filled_is_filled(tmp_path, monkeypatch):
    from common import folders
    out = tmp_path / "out"
    left = out / f".out.{folders.HOST}-1-abcdef12.tmp"
    left.mkdir(parents=True)
    monkeypatch.setattr(folders.os.path, "ismount", lambda path: str(path) == str(out))
    with folders.new_folder(out, mark="z.json") as folder:
        (folder / "z.json").write_text("{}")
    assert [path.name for path in out.iterdir()] == ["z.json"]


def test_help_shows_every_default_that_is_a_value():
    parser = Parser(prog="x")
    for name, default in (("seed", 0), ("rate", 0.0), ("many", 3), ("text", ""), ("none", None), ("list", [])):
        parser.add_argument(f"--{name}", default=default, help=f"the {name}")
    parser.add_argument("--on", action="store_true", help="the switch")
    lines = [line.strip() for line in parser.format_help().splitlines() if "the " in line]
    assert [line for line in lines if "(default: " in line] == [line for line in lines if line.startswith(
        ("--seed", "--rate", "--many"))] and "the seed (default: 0)" in lines[0]
    assert lines[0].startswith("--seed N ") and lines[1].startswith("--rate X ")
    assert lines[3].startswith("--text TEXT ")


def test_a_number_that_is_too_large_is_told_the_largest():
    assert [at_least(0)(text) for text in ("0", " 7 ", str(1 << 40))] == [0, 7, 1 << 40]
    for text, fault in ((str((1 << 40) + 1), "from 0 to 1099511627776"), ("9" * 5000, "from 0 to 1099511627776"),
                        ("-1", "from 0$"), ("-" + "9" * 5000, "from 0$"), ("x", "from 0$"), ("1.5", "from 0$")):
        with pytest.raises(argparse.ArgumentTypeError, match=f"is not a whole number {fault}"):
            at_least(0)(text)
