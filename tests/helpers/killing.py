"""A process that is gone in the middle of its writes."""
from __future__ import annotations


class Killed(BaseException):
    """The process is gone: not even what stands in a finally is done."""


def killed_at(monkeypatch, count, changes):
    """From the `count`th call on of `changes`, (module, name) of functions that change the disk, all of them raise."""
    left = [count]

    def wrapped(function):
        def call(*arguments, **settings):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return function(*arguments, **settings)
        return call
    for module, name in changes:
        monkeypatch.setattr(module, name, wrapped(getattr(module, name)))
