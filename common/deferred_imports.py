"""Packages that MXNet, GluonCV and MXBoard import for a few functions of their own, imported when one of these uses
them."""
from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from functools import partial
from types import ModuleType
from typing import Any, Iterator

DEFERRED = ("scipy.stats", "scipy.sparse", "scipy.io", "requests", "onnx")


@contextlib.contextmanager
def deferred_imports() -> Iterator[None]:
    """While a library is imported: in place of each package of DEFERRED that is installed and was not imported yet, it
    has a module that imports the package when something is taken from it."""
    modules = {name: ModuleType(name) for name in DEFERRED if name not in sys.modules and _is_installed(name)}
    for module in modules.values():
        module.__getattr__ = partial(_take, module)  # type: ignore[method-assign]
    sys.modules.update(modules)
    try:
        with _plain_distutils():
            yield
    finally:
        for module in modules.values():
            _remove(module)


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # its parent is not
        return False


def _take(module: ModuleType, name: str) -> Any:
    _remove(module)
    return getattr(importlib.import_module(module.__name__), name)


def _remove(module: ModuleType) -> None:
    if sys.modules.get(module.__name__) is module:
        del sys.modules[module.__name__]


@contextlib.contextmanager
def _plain_distutils() -> Iterator[None]:
    """Python's own distutils, with which the libraries compare versions. setuptools, where it is installed, puts a copy
    in its place, whose import takes a sixth of MXNet's."""
    known, finders = set(sys.modules), list(sys.meta_path)
    sys.meta_path[:] = [finder for finder in finders if type(finder).__module__ != "_distutils_hack"]
    try:
        with contextlib.suppress(ImportError):  # where it is not part of Python, the copy is imported after all
            importlib.import_module("distutils.version")
    finally:
        sys.meta_path[:] = finders
    try:
        yield
    finally:
        for name in {"distutils", "distutils.version"} - known:
            sys.modules.pop(name, None)
