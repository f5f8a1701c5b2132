"""The versions that matter for an embedding."""
from __future__ import annotations

import platform
from importlib import metadata

PACKAGES = ("mxnet", "onnxruntime", "numpy", "opencv-python-headless")


def versions() -> dict[str, str]:
    """Of Python and of the packages that compute."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name == "mxnet":  # a GPU wheel has another name
                import mxnet
                found[name] = mxnet.__version__
    return found
