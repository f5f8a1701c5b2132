"""The checks and settings that must come before `import mxnet`: versions, libraries, threads."""
from __future__ import annotations

import contextlib
import math
import os
import platform
import re
import sys
from pathlib import Path

from common import cuda_libraries
from common.errors import UserError
from common.mxnet_import import import_mxnet

with contextlib.suppress(ImportError):  # before 3.8, which check_environment refuses
    from importlib import metadata

CGROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
MOST_TEMPORARY = 4  # MXNet's own number
MAX_PIXELS = 1 << 26  # of one image; a header of a few bytes can declare gigabytes of pixels
INSTALL = "run `make venv`, or pip install --no-deps -r requirements.txt, and use that environment"
PACKAGES = ("numpy", "protobuf", "mxboard", "gluoncv", "matplotlib", "tqdm")  # that every training uses


def check_environment(mxnet: bool = True) -> None:
    """Raise UserError, in one sentence, where this Python cannot run the project.

    After `check_versions`, imports cv2 and mxnet, the two that load system libraries. mxnet: False for commands that
    may do without it, whose import takes seconds: they call `load_mxnet` before they use it.
    """
    check_versions()
    set_threads()
    limit_images()
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise UserError(f"OpenCV does not load ({_one_line(error)}); pip uninstall -y opencv-python, then "
                        "pip install --force-reinstall --no-deps opencv-python-headless==4.8.1.78") from None
    if mxnet:
        load_mxnet()


def check_versions() -> None:
    """UserError, in one sentence, for a Python or packages that cannot run the project; without importing any, so that
    it works where the import itself would crash."""
    if os.environ.get("DMLC_ROLE") in ("scheduler", "server"):
        raise UserError(f"DMLC_ROLE={os.environ['DMLC_ROLE']}: this command is not part of distributed training, and "
                        "MXNet would make it a server that unpickles what it is sent; unset the variable")
    if not (3, 8) <= sys.version_info[:2] <= (3, 11):
        raise UserError(f"Python {sys.version_info[0]}.{sys.version_info[1]} cannot run MXNet 1.9.1, "
                        f"which needs 3.8 to 3.11; {INSTALL}")
    for name in PACKAGES:
        _version(name)
    if _version("numpy") >= (1, 24):
        raise UserError(f"numpy {metadata.version('numpy')} breaks MXNet 1.9.1 (np.bool is gone since 1.24); "
                        "pip install numpy==1.23.5")
    if _version("protobuf") >= (3, 21):
        raise UserError(f"protobuf {metadata.version('protobuf')} breaks mxboard, which needs 3.20 or older; "
                        "pip install protobuf==3.20.3")


def load_mxnet() -> None:
    """Import MXNet; UserError where it does not load."""
    try:
        import_mxnet()
    except (ImportError, OSError, AttributeError, RuntimeError) as error:  # the last where its library is gone
        raise UserError(cuda_libraries.explain(_one_line(error)) or
                        f"MXNet does not load ({_one_line(error)}); `make venv` installs it for the CPU, "
                        "`make venv GPU=cu117` for a GPU") from None


def set_threads() -> None:
    """Set OMP_NUM_THREADS to the cores this process may use, how its threads wait, how many temporary arrays MXNet
    keeps on CPUs, and how it plans memory, unless the user set it.

    Unset, MXNet's OpenMP may start a single thread, which is half the speed of two. Its threads sleep while they wait:
    spinning gains nothing on an idle machine and takes ten times as long on one whose cores are also used otherwise.
    Temporary arrays are as large as the largest map, and all CPU devices share them: with one, no two devices would
    compute at a time, which `inference.streams` needs; more than there are cores are of no use. MXNet keeps 4.
    An array takes the memory of another that is no longer needed where that is up to NNVM_EXEC_MATCH_RANGE times
    larger or smaller: with 2 instead of MXNet's 16, training takes 1 to 3% less memory.
    """
    given = os.environ.get("OMP_NUM_THREADS", "1")
    if not re.fullmatch(r"\s*[1-9][0-9]{0,4}\s*(,\s*[1-9][0-9]{0,4}\s*)*", given):
        raise UserError(f"OMP_NUM_THREADS={given[:20]!r} is not a number of threads; unset it, or set it to the cores, "
                        f"{usable_cores()}")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    os.environ.setdefault("MXNET_CPU_TEMP_COPY", str(min(threads(), MOST_TEMPORARY)))
    os.environ.setdefault("NNVM_EXEC_MATCH_RANGE", "2")
    os.environ.setdefault("MXNET_CUDNN_LIB_CHECKING", "0")
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")


def limit_images() -> None:
    """Let OpenCV refuse images of more than MAX_PIXELS, unless the user set another bound; before cv2 is imported."""
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))


def usable_cores() -> int:
    """The number of cores this process may use: those it may run on, where the system reports them, and no more than
    its control group has time for, as in a container with a limit."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _core_limit())))


def _core_limit() -> float:
    """The cores' worth of time of the control group and those around it, version 2 or 1; infinite without a limit."""
    found, own = [math.inf], CGROUPS / _own_group()
    for folder in (own, *(outer for outer in own.parents if outer == CGROUPS or CGROUPS in outer.parents)):
        for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
            with contextlib.suppress(OSError, ValueError):  # ValueError: "max", or not these files
                quota, period = map(int, " ".join((folder / name).read_text() for name in names).split())
                found += [quota / period] if quota > 0 and period > 0 else []
    return min(found)


def _own_group() -> str:
    with contextlib.suppress(OSError, ValueError):
        for line in OWN_GROUP.read_text().splitlines():
            if line.startswith("0::/"):
                return line[len("0::/"):]
    return ""


def threads() -> int:
    """OpenMP's threads: OMP_NUM_THREADS, or the number of cores where it is not set."""
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(given) if re.fullmatch("[0-9]{1,9}", given) and int(given) else usable_cores()


def _version(name: str) -> tuple[int, ...]:
    try:
        text = metadata.version(name)
    except metadata.PackageNotFoundError:
        raise UserError(f"the package {name} is not installed; {INSTALL}") from None
    return tuple(int(part) for part in text.split(".")[:2] if re.fullmatch("[0-9]{1,9}", part))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def free_memory() -> int | None:
    """Bytes available without swapping; None where the system does not report it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def processor() -> str:
    """The processor's name, as far as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return next((line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")),
                        platform.machine())
    except OSError:
        return platform.processor() or platform.machine()
