"""Versions of Python and of packages, recorded with a result."""
from __future__ import annotations

import platform
from importlib import metadata
from typing import Iterable


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of Python and of those of `packages` that are installed; mxnet's where a GPU wheel has it under another name."""
    packages = tuple(packages)
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # a GPU wheel has another name; the mxnet module has the version
    if "mxnet" in packages and "mxnet" not in found:
        import mxnet
        found["mxnet"] = mxnet.__version__
    return found
