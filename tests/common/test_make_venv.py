"""What `make venv` installs and what it leaves alone, with a Python that only writes down what it was asked."""
import shutil
import subprocess

import pytest
from repository import REPO

PYTHON = """#!/bin/sh
case "$1 $2" in
    "-c import sys; print"*) echo "$0" ;;
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip")
        echo "$@" >> installed
        site=$(dirname "$0")/../lib/python3.11/site-packages
        case "$*" in *mxnet-cu*) kind=$(echo "$*" | sed 's/.*mxnet-\\(cu[0-9]*\\)==.*/_\\1/') ;; *) kind= ;; esac
        mkdir -p "$site/mxnet$kind-1.9.1.dist-info"
        test ! -e offline ;;
    "-W ignore") echo "$@" > compiled; false ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """make("GPU=cu117", GPU="from the surroundings"): a make in a folder of its own; the finished process."""
    (tmp_path / "scripts").mkdir()
    for name in ("Makefile", "scripts/make_venv.sh", "requirements.txt", "requirements-dev.txt",
                 "requirements-gpu.txt"):
        shutil.copy(REPO / name, tmp_path / name)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)

    def run(*arguments, target="venv", **surroundings):
        (tmp_path / "installed").unlink(missing_ok=True)
        return subprocess.run(["make", "--no-print-directory", target, *arguments], cwd=tmp_path, text=True,
                              capture_output=True, env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(tmp_path),
                                                        "PYTHON": str(tmp_path / "python"), **surroundings})
    return run


def kind(folder):
    found = sorted(path.name for path in (folder / ".venv").glob("lib/python3*/site-packages/mxnet*"))
    return [name.split("-")[0] for name in found]


def installed(folder):
    return (folder / "installed").read_text() if (folder / "installed").exists() else ""


def test_a_gpu_environment_has_the_wheel_and_the_libraries_and_stays_one(make, tmp_path):
    assert make("GPU=cu117").returncode == 0
    assert "mxnet-cu117==1.9.1" in installed(tmp_path) and "requirements-gpu.txt" in installed(tmp_path)
    lines = (tmp_path / ".venv" / "requirements.txt").read_text().splitlines()
    assert not any(line.startswith("mxnet==") for line in lines) and any(line.startswith("numpy==") for line in lines)
    assert make().returncode == 0 and not installed(tmp_path)
    (tmp_path / ".venv" / ".installed").unlink()  # as where the requirements are newer
    assert make(target=".venv/.installed").returncode == 0
    assert "mxnet-cu117==1.9.1" in installed(tmp_path) and kind(tmp_path) == ["mxnet_cu117"]


def test_packages_are_compiled_on_all_cores_and_a_file_that_does_not_compile_is_no_failure(make, tmp_path):
    assert make().returncode == 0 and "--no-compile" in installed(tmp_path)
    compiled = (tmp_path / "compiled").read_text().split()
    assert "compileall" in compiled and compiled[-1] == ".venv/lib/python3.11/site-packages"
    assert compiled[compiled.index("-j") + 1] == "0"


def test_a_cpu_environment_is_the_default_and_stays_one(make, tmp_path):
    assert make().returncode == 0 and kind(tmp_path) == ["mxnet"]
    assert installed(tmp_path).split("install ")[1].split()[-4:] == ["-r", "requirements.txt",
                                                                     "-r", "requirements-dev.txt"]
    assert make(GPU="0").returncode == 0 and not installed(tmp_path)  # a device's number, for another program


def test_only_another_list_of_packages_is_installed_anew(make, tmp_path):
    assert make("GPU=cu117").returncode == 0
    listed = tmp_path / "requirements-gpu.txt"
    listed.write_text("# a comment more\n" + listed.read_text())
    (tmp_path / "scripts" / "make_venv.sh").touch()
    assert make(target=".venv/.installed").returncode == 0 and not installed(tmp_path)
    listed.write_text(listed.read_text().replace("==11.8.89", "==11.8.90"))
    assert make(target=".venv/.installed").returncode == 0 and "mxnet-cu117" in installed(tmp_path)


@pytest.mark.parametrize("first, then", [("none", "cu117"), ("cu117", "none"), ("cu112", "cu117")])
def test_one_kind_takes_the_place_of_another_only_where_it_is_said(make, tmp_path, first, then):
    assert make(f"GPU={first}").returncode == 0
    before = kind(tmp_path)
    done = make(GPU=then)
    assert done.returncode == 2 and f"make venv GPU={then}" in done.stderr and kind(tmp_path) == before
    (tmp_path / ".venv" / ".installed").unlink()
    assert make(target=".venv/.installed", GPU=then).returncode == 0 and kind(tmp_path) == before
    done = make(f"GPU={then}")
    assert done.returncode == 0 and "is replaced by" in done.stdout
    assert kind(tmp_path) == ["mxnet" if then == "none" else f"mxnet_{then}"]


def test_a_wheel_that_was_installed_by_hand_is_seen(make, tmp_path):
    assert make().returncode == 0
    site = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    (site / "mxnet-1.9.1.dist-info").rename(site / "mxnet_cu112-1.9.1.dist-info")
    (tmp_path / ".venv" / ".installed").unlink()
    assert make().returncode == 0 and kind(tmp_path) == ["mxnet_cu112"]


def test_what_cannot_be_installed_leaves_the_environment_as_it_was(make, tmp_path):
    assert make().returncode == 0
    (tmp_path / ".venv" / "mine").touch()
    (tmp_path / "offline").touch()
    done = make("GPU=cu117")
    assert done.returncode == 2 and "make venv GPU=cu117 again" in done.stderr
    assert kind(tmp_path) == ["mxnet"] and (tmp_path / ".venv" / "mine").exists()
    assert [path.name for path in tmp_path.glob(".venv*")] == [".venv"]


@pytest.mark.parametrize("value, said", [
    ("cu120", "GPU=cu117 is right"), ("cu111", "cu110 and cu112 to cu117"), ("yes", "GPU=none for the CPU"),
    ("cu110", "GPU=cu117 needs no toolkit")])
def test_a_wheel_that_is_not_there_is_reported_before_anything_is_fetched(make, tmp_path, value, said):
    done = make(f"GPU={value}")
    assert done.returncode == 2 and said in done.stderr
    assert len([line for line in done.stderr.splitlines() if not line.startswith("make: ***")]) == 1
    assert not installed(tmp_path) and not (tmp_path / ".venv").exists()


def test_an_environment_whose_python_is_gone_is_made_again(make, tmp_path):
    assert make().returncode == 0 and installed(tmp_path)
    assert make().returncode == 0 and not installed(tmp_path)
    (tmp_path / ".venv/bin/python").unlink()
    (tmp_path / ".venv/bin/python").symlink_to("/nowhere/python3.11")
    assert make().returncode == 0 and installed(tmp_path)


def test_a_python_that_was_named_and_does_not_suit_is_no_other_one(make, tmp_path):
    done = make(PYTHON=str(tmp_path / "no python"))
    assert done.returncode == 2 and "no python: is not a Python 3.8 to 3.11" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_demo_removes_only_what_it_made(tmp_path):
    (tmp_path / "thesis.txt").write_text("one")
    demo = ["sh", str(REPO / "scripts/demo.sh")]
    surroundings = {"PATH": "/usr/bin:/bin", "DEMO": str(tmp_path), "PYTHON": "false"}
    done = subprocess.run(demo, text=True, capture_output=True, env=surroundings)
    assert done.returncode == 2 and "files that the demo did not make" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "one"
    surroundings["DEMO"] = str(tmp_path / "new")
    for _ in range(2):  # PYTHON fails at once, and what the demo left may be made again
        assert subprocess.run(demo, text=True, capture_output=True, env=surroundings).returncode == 1
        assert (tmp_path / "new/.demo").exists()
        (tmp_path / "new/notes.txt").touch()
    assert (tmp_path / "new/notes.txt").exists()


def test_a_folder_that_is_no_environment_is_not_replaced_nor_removed(make, tmp_path):
    for name in ("envs", "demo"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").touch()
    done = make("VENV=envs")
    assert done.returncode == 2 and "envs is not an environment" in done.stderr
    assert make("VENV=envs", target="clean").returncode == 0
    assert (tmp_path / "envs/thesis.txt").exists() and (tmp_path / "demo/thesis.txt").exists()
    (tmp_path / "demo/.demo").touch()
    (tmp_path / "demo/faces").mkdir()
    assert make().returncode == 0 and make(target="clean").returncode == 0
    assert not (tmp_path / ".venv").exists() and not (tmp_path / "demo/faces").exists()
    assert (tmp_path / "demo/thesis.txt").exists()
