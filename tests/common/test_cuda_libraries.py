"""The CUDA libraries of MXNet's GPU wheel: linked where its loader looks, and named where one is missing."""
import builtins
import subprocess
import sys
import types

import pytest
from repository import REPO

from common import cuda_libraries, environment
from common.cuda_libraries import NEEDED, PACKAGES, explain, link
from common.errors import UserError


@pytest.fixture
def packages(tmp_path):
    """site-packages with empty libraries in place of NVIDIA's."""
    for path in ("cudnn/lib/libcudnn.so.8", "cudnn/lib/libcudnn_ops_infer.so.8", "cuda_runtime/lib/libcudart.so.11.0",
                 "cuda_runtime/lib/libOpenCL.so.1", "cublas/lib/__init__.py", "nccl/lib/libnccl.so.2"):
        (tmp_path / "nvidia" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "nvidia" / path).write_text(path)
    (tmp_path / "mxnet").mkdir()
    return tmp_path


def test_libraries_are_linked_beside_mxnet_and_its_own_files_stay(packages):
    folder = packages / "mxnet"
    (folder / "libnccl.so.2").write_text("own")
    (folder / "libcudnn.so.8").symlink_to("gone")
    expected = ["libcudart.so.11.0", "libcudnn.so.8", "libcudnn_ops_infer.so.8"]
    for _ in range(2):
        assert sorted(link(packages)) == expected
    assert (folder / "libcudnn.so.8").read_text() == "cudnn/lib/libcudnn.so.8"
    assert (folder / "libnccl.so.2").read_text() == "own" and not (folder / "libOpenCL.so.1").exists()
    packages.rename(packages.with_name("moved"))  # an environment may be moved
    assert (packages.with_name("moved") / "mxnet" / "libcudart.so.11.0").exists()


def test_every_needed_library_has_its_package_among_the_requirements():
    pinned = [line.split("==")[0] for line in (REPO / "requirements-gpu.txt").read_text().splitlines()
              if line and line[0] != "#"]
    assert sorted({PACKAGES[name.split(".so")[0]] for name in NEEDED}) == sorted(pinned)


@pytest.mark.parametrize("message, said", [
    ("libcuda.so.1: cannot open shared object file", "NVIDIA's driver"),
    ("libcudnn.so.8: cannot open shared object file", "the package nvidia-cudnn-cu11 brings"),
    ("libcudnn_cnn_infer.so.8: cannot open shared object file", "the package nvidia-cudnn-cu11 brings"),
    ("libcublasLt.so.11: file too short", "the package nvidia-cublas-cu11 brings"),
    ("libnvrtc.so.11.2: cannot open shared object file", "nvidia-cuda-nvrtc-cu11"),
    ("libcudart.so.11.0: cannot open shared object file", "nvidia-cuda-runtime-cu11"),
    ("libnvToolsExt.so.1: cannot open shared object file", "nvidia-nvtx-cu11"),
    ("/x/mxnet/libmxnet.so: undefined symbol: cuGraphNodeGetType", "driver is too old"),
    ("libcusolver.so.10: cannot open shared object file", "CUDA 11.0 toolkit")])
def test_what_does_not_load_is_one_line_with_its_package(monkeypatch, message, said):
    found = explain(message)
    assert said in found and "\n" not in found and ("make venv GPU=" in found or "450.80" in found)

    def failing(name, *more, **named):
        if name == "mxnet":
            raise OSError(message)
        return real(name, *more, **named)
    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", failing)
    with pytest.raises(UserError) as caught:
        environment.check_environment()
    assert str(caught.value) == found


def test_other_libraries_are_not_confused_with_cuda():
    assert explain("libgomp.so.1: cannot open shared object file") is None and explain("no module") is None


@pytest.mark.parametrize("there", [NEEDED, NEEDED[1:-1]], ids=["all", "two missing"])
def test_the_command_links_and_names_what_is_missing(packages, monkeypatch, capsys, there):
    spec = types.SimpleNamespace(submodule_search_locations=[str(packages / "mxnet")])
    monkeypatch.setattr(cuda_libraries.importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(cuda_libraries, "_loads", lambda path: path in there)
    status, said = cuda_libraries.main(), capsys.readouterr()
    assert (packages / "mxnet" / "libcudnn.so.8").is_symlink()
    if there == NEEDED:
        assert status == 0 and "3 linked" not in said.err and "driver" in said.out
    else:
        assert status == 1 and len(said.err.splitlines()) == 1
        assert f"{NEEDED[0]}, {NEEDED[-1]} missing" in said.err
        assert "brings nvidia-cuda-runtime-cu11, nvidia-cudnn-cu11" in said.err


def test_the_cpu_wheel_is_not_told_to_install_cuda_and_help_links_nothing(packages, monkeypatch, capsys):
    spec = types.SimpleNamespace(submodule_search_locations=[str(packages / "mxnet")])
    monkeypatch.setattr(cuda_libraries.importlib.util, "find_spec", lambda name: spec)
    (packages / "mxnet-1.9.1.dist-info").mkdir()
    assert cuda_libraries.main() == 1 and "CPU wheel is installed, which needs no CUDA" in capsys.readouterr().err
    assert not (packages / "mxnet" / "libcudnn.so.8").exists()
    done = subprocess.run([sys.executable, "-m", "common.cuda_libraries", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("usage: python -m common.cuda_libraries")
