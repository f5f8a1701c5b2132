"""Imports MXNet in half of its time: what it only prepares, or needs for parts that are not used here, is left out.

MXNet writes and compiles 2,556 Python functions, one or two for each operator, of which a command calls some tens.
Here each is compiled at its first call, in place: it stays the same object, and a call costs what it always did. Until
then `help` shows its text, but not the names of its arguments.
"""
from __future__ import annotations

import contextlib
import re
import sys
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, FunctionType, ModuleType
from typing import Any, Callable, Iterator, Sequence

UNUSED = ("sklearn", "scipy.stats")  # MXNet does without them where they are not installed
REGISTERS = ("mxnet.ndarray.register", "mxnet.symbol.register")  # the modules that make operators' functions


def import_mxnet() -> None:
    """`import mxnet`, quicker; raises what that raises. Nothing where it is imported already."""
    finder = _RegisterFinder()
    sys.meta_path.insert(0, finder)
    try:
        with _without(*UNUSED):
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


class _RegisterFinder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in REGISTERS:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _RegisterLoader(spec.loader.name, spec.loader.path)
        return spec


class _RegisterLoader(SourceFileLoader):
    """Gives the module an `exec` of its own, which shadows Python's."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["exec"] = partial(_define_operator, vars(module))
        super().exec_module(module)


def _define_operator(module: dict[str, Any], source: str | CodeType, _: None, namespace: dict[str, Any]) -> None:
    """In place of exec(source, None, namespace), where the source defines one function: it is compiled later."""
    if not isinstance(source, str) or not (definition := re.match(r"\s*def (\w+)\(", source)):
        exec(source, module, namespace)
        return
    name = definition[1]
    function = FunctionType(_uncompiled.__code__, module, name)
    function.__qualname__ = name
    function.__kwdefaults__ = {"_compiled": partial(_compile, function, name, source)}
    namespace[name] = function


def _uncompiled(*inputs: Any, _compiled: Callable[[], FunctionType], **parameters: Any) -> Any:
    """The body of an operator's function before its first call."""
    return _compiled()(*inputs, **parameters)


def _compile(function: FunctionType, name: str, source: str) -> FunctionType:
    """`function`, with the body that the source gives it. Another thread may call it at any moment: the defaults, which
    the body before it does not use, come first, and _compiled is kept for a call that has begun."""
    made: dict[str, Any] = {}
    exec(source, function.__globals__, made)
    function.__defaults__ = made[name].__defaults__
    function.__code__ = made[name].__code__
    return function
