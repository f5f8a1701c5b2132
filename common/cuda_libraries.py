"""Links the CUDA 11 libraries of PyPI's packages for MXNet's GPU wheel, and names the package of a missing one.

The wheel searches for its libraries in its own folder, so links there serve every `import mxnet` of the environment;
LD_LIBRARY_PATH is not needed. `make venv GPU=cu117` makes them; after an installation by hand

    python -m common.cuda_libraries

does. The CPU wheel needs none of this.
"""
from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
from pathlib import Path

REQUIREMENTS = "requirements-gpu.txt"
DRIVER = "libcuda.so.1"
PACKAGES = {
    "libcudart": "nvidia-cuda-runtime-cu11", "libnvrtc": "nvidia-cuda-nvrtc-cu11",
    "libnvrtc-builtins": "nvidia-cuda-nvrtc-cu11", "libcublas": "nvidia-cublas-cu11",
    "libcublasLt": "nvidia-cublas-cu11", "libcufft": "nvidia-cufft-cu11", "libcurand": "nvidia-curand-cu11",
    "libcusolver": "nvidia-cusolver-cu11", "libcusparse": "nvidia-cusparse-cu11", "libnccl": "nvidia-nccl-cu11",
    "libnvToolsExt": "nvidia-nvtx-cu11", "libcudnn": "nvidia-cudnn-cu11"}
NEEDED = ("libcudart.so.11.0", "libcublas.so.11", "libcufft.so.10", "libcurand.so.10", "libcusolver.so.11",
          "libcusparse.so.11", "libnvrtc.so.11.2", "libnvToolsExt.so.1", "libnccl.so.2", "libcudnn.so.8")
NOT_LINKED = re.compile(r"libOpenCL")  # the system's own has to be found


def link(packages: Path) -> list[str]:
    """Links in `packages`/mxnet to every library in `packages`/nvidia/*/lib; their names. Files are left alone."""
    linked = []
    for library in sorted(packages.glob("nvidia/*/lib/lib*.so*")):
        place = packages / "mxnet" / library.name
        if NOT_LINKED.match(library.name) or (place.exists() and not place.is_symlink()):
            continue
        if place.is_symlink():
            place.unlink()
        place.symlink_to(os.path.relpath(library, place.parent))
        linked.append(library.name)
    return linked


def missing(folder: Path) -> list[str]:
    """Of NEEDED, those that neither `folder` nor the system has, or that do not load."""
    return [name for name in NEEDED if not (_loads(str(folder / name)) or _loads(name))]


def explain(message: str) -> str | None:
    """How to fix the loader's error `message`, in one sentence; None where it is not about a library of a GPU wheel."""
    if re.search(r"undefined symbol: cu[A-Z]", message):  # symbols of the driver itself have such names
        return f"NVIDIA's driver is too old for MXNet's GPU wheel ({message[-80:]}): install 450.80 or newer"
    found = re.search(r"(lib[\w-]+)\.so[\w.]*", message)
    if not found:
        return None
    if found.group(0) == DRIVER:
        return (f"MXNet's GPU wheel is installed, but NVIDIA's driver ({DRIVER}) is not on this machine: install the "
                "driver, 450.80 or newer (in a container: docker run --gpus all), or `make venv GPU=none` for the CPU")
    package = PACKAGES.get(found.group(1)) or next(
        (PACKAGES[stem] for stem in ("libcudnn", "libcublas") if found.group(1).startswith(stem)), None)
    if package is None:
        return None
    if found.group(0) in ("libcusolver.so.10", "libnvrtc.so.11.0", "libnvrtc.so.11.1"):
        return (f"MXNet's wheel mxnet-cu110 needs {found.group(0)} of the CUDA 11.0 toolkit, which PyPI does not have; "
                "`make venv GPU=cu117` makes an environment for the same GPUs that needs no toolkit")
    return (f"MXNet's GPU wheel does not load {found.group(0)}, which the package {package} brings ({message[:120]}); "
            f"pip install --no-deps -r {REQUIREMENTS}, then python -m common.cuda_libraries; `make venv GPU=cu117` "
            "does both")


def _loads(path: str) -> bool:
    try:
        ctypes.CDLL(path)
    except OSError:
        return False
    return True


def main() -> int:
    """Make the links and print the state; exit status 0 where at most the driver is missing, else 1."""
    found = importlib.util.find_spec("mxnet")  # which does not import it
    if found is None or not found.submodule_search_locations:
        print("no mxnet in this environment; make venv GPU=cu117 makes one", file=sys.stderr)
        return 1
    folder = Path(found.submodule_search_locations[0])
    if any(folder.parent.glob("mxnet-*.dist-info")):  # a GPU wheel's is mxnet_cu117-...
        print("MXNet's CPU wheel is installed, which needs no CUDA libraries; make venv GPU=cu117 installs the GPU's",
              file=sys.stderr)
        return 1
    count = len(link(folder.parent))
    absent = missing(folder)
    if absent:
        names = sorted({PACKAGES[name.split(".so")[0]] for name in absent})
        print(f"CUDA libraries: {', '.join(absent)} missing; pip install --no-deps -r {REQUIREMENTS} brings "
              f"{', '.join(names)}", file=sys.stderr)
        return 1
    print(f"CUDA libraries: {count} linked beside MXNet; "
          + ("the driver is there" if _loads(DRIVER) else f"NVIDIA's driver ({DRIVER}) is not on this machine: the "
             "environment works where it is, 450.80 or newer"))
    return 0


if __name__ == "__main__":
    from common.cli import Parser
    Parser(prog="python -m common.cuda_libraries", description=__doc__).parse_args()
    sys.exit(main())
