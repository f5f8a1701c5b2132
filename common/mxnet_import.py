"""Imports MXNet in a fifth of its time: what it prepares, and what it needs for parts that are seldom used, waits until
it is used.

MXNet writes and compiles 2,556 Python functions, one or two for each operator, of which a command calls some tens.
Here each is written at its first call, in place: it stays the same object, and a call costs what it always did. Until
then `help` shows neither its text nor the names of its arguments.
"""
from __future__ import annotations

import contextlib
import sys
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import FunctionType, ModuleType
from typing import Any, Callable, Iterator, Sequence

from common.deferred_imports import deferred_imports

UNUSED = ("sklearn",)  # MXNet derives a class from one of its where it is installed
BASE = "mxnet.base"
INITIALISERS = ("_init_op_module", "_init_np_op_module")  # of BASE: they have all operators' functions made

Make = Callable[[Any, str, str], FunctionType]  # MXNet's: of an operator's handle, its name and the function's


def import_mxnet() -> None:
    """`import mxnet`, quicker; raises what that raises. Nothing where it is imported already."""
    finder = _BaseFinder()
    sys.meta_path.insert(0, finder)
    try:
        with _without(*UNUSED), deferred_imports():
            import mxnet  # noqa: F401
    finally:
        sys.meta_path.remove(finder)


@contextlib.contextmanager
def _without(*packages: str) -> Iterator[None]:
    """As if packages that were not imported yet were not installed."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: an import of it fails
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


class _BaseFinder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != BASE:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _BaseLoader(spec.loader.name, spec.loader.path)
        return spec


class _BaseLoader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        for name in INITIALISERS:
            setattr(module, name, partial(_initialise, getattr(module, name)))


def _initialise(initialiser: Callable[..., None], *given: Any, **named: Any) -> None:
    """An initialiser of MXNet, with functions that are made later. What makes them is given last, or by its name."""
    if "make_op_func" in named:
        named["make_op_func"] = partial(make_later, named["make_op_func"])
    else:
        given = (*given[:-1], partial(make_later, given[-1]))
    initialiser(*given, **named)


def make_later(make: Make, handle: Any, operator: str, name: str) -> FunctionType:
    """A function that becomes make(handle, operator, name) at its first call."""
    function = FunctionType(_unmade.__code__, make.__globals__, name)
    function.__doc__, function.__qualname__ = "", name
    function.__kwdefaults__ = {"_made": partial(_make, function, partial(make, handle, operator, name))}
    return function


def _unmade(*inputs: Any, _made: Callable[[], FunctionType], **parameters: Any) -> Any:
    """The body of an operator's function before its first call."""
    return _made()(*inputs, **parameters)


def _make(function: FunctionType, make: Callable[[], FunctionType]) -> FunctionType:
    """`function`, with the body of the one that is made. Another thread may call it at any moment: the defaults, which
    the body before it does not use, come first, and _made is kept for a call that has begun."""
    made = make()
    function.__doc__ = function.__doc__ or made.__doc__
    function.__defaults__ = made.__defaults__
    function.__code__ = made.__code__
    return function
