"""Results on their way from a worker process: what their arrays hold lies in memory that both processes share."""
from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.reduction import DupFd

SLOT = 1 << 21  # bytes of a result's arrays; those of a larger one go through the pipe
LINE = 64  # bytes between which arrays begin


class Slots:
    """One end of the way: a pipe, and a file that both ends map; result i lies in slot i mod `slots`.

    A slot is free again when as many results as there are slots were asked for behind it: the sender must not be
    further ahead. Pickled while a process is started, it is the same file there.
    """

    def __init__(self, pipe: Connection, handle: int, slots: int) -> None:
        self._pipe, self._file, self._slots, self._count = pipe, open(handle, "r+b", buffering=0), slots, 0
        self._memory = memoryview(mmap.mmap(handle, slots * SLOT))

    def __reduce__(self) -> tuple:
        return _far_end, (self._pipe, DupFd(self._file.fileno()), self._slots)

    def close(self) -> None:
        """Close pipe and file; the memory stays while an array lies in it."""
        self._pipe.close()
        self._file.close()

    def _next(self) -> memoryview:
        first = self._count % self._slots * SLOT
        self._count += 1
        return self._memory[first:first + SLOT]

    def send(self, value: object) -> None:
        """Pickle, with the contents of arrays as they are in the slot or behind the pickle."""
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        views = [buffer.raw() for buffer in buffers]
        sizes, slot = [view.nbytes for view in views], self._next()
        places = _places(sizes)
        fits = places[-1] <= SLOT
        if fits:
            for view, place in zip(views, places):
                slot[place:place + view.nbytes] = view
        self._pipe.send((pickled, sizes, fits))
        for view in views if not fits else ():
            while view.nbytes:
                view = view[os.write(self._pipe.fileno(), view):]

    def receive(self) -> object:
        """The next value; EOFError where the sender is gone."""
        pickled, sizes, fits = self._pipe.recv()
        slot = self._next()
        if fits:
            buffers = [slot[place:place + size] for place, size in zip(_places(sizes), sizes)]
        else:
            buffers = [memoryview(bytearray(size)) for size in sizes]
            for view in buffers:
                while view.nbytes:
                    read = os.readv(self._pipe.fileno(), [view])
                    if not read:
                        raise EOFError
                    view = view[read:]
        return pickle.loads(pickled, buffers=buffers)


def both_ends(context: BaseContext, slots: int) -> tuple[Slots, Slots]:
    """(receiving, sending) ends of a new way, for so many results at a time; in memory where such files can be."""
    receiver, sender = context.Pipe(duplex=False)
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("results")
    else:
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.ftruncate(handle, slots * SLOT)
    return Slots(receiver, handle, slots), Slots(sender, os.dup(handle), slots)


def _far_end(pipe: Connection, handle: DupFd, slots: int) -> Slots:
    return Slots(pipe, handle.detach(), slots)


def _places(sizes: list[int]) -> list[int]:
    """Where each array begins in a slot, and where the last ends."""
    places = [0]
    for size in sizes:
        places.append(places[-1] + -(-size // LINE) * LINE)
    return places
