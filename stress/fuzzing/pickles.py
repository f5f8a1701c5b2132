"""Pickles of verification sets as all versions write them, and malicious ones."""
from __future__ import annotations

import os
import pickle
import pickletools
import random
import struct
import subprocess
from typing import Any, Callable

import numpy as np

from stress.fuzzing.mutations import NUMBERS, mutate

OPERATIONS = bytes(ord(operation.code) for operation in pickletools.opcodes)
CANARY = "canary"  # a file that appears, in the folder where the reader runs, when a pickle is executed


class _Call:
    def __init__(self, function: Callable, *arguments: Any) -> None:
        self._parts = function, arguments

    def __reduce__(self) -> tuple:
        return self._parts


def sets(images: list[bytes]) -> list[bytes]:
    """The same 12 pairs by every protocol, as bytes, as arrays and as Python 2 wrote strings."""
    images = [*images, *images[::-1]][:24]
    same = [number % 2 == 0 for number in range(len(images) // 2)]
    arrays = [np.frombuffer(image, np.uint8) for image in images]
    found = [pickle.dumps((images, same), protocol=protocol) for protocol in range(6)]
    found += [pickle.dumps((arrays, same), protocol=protocol) for protocol in (0, 2, 4, 5)]
    found.append(pickle.dumps((arrays, np.array(same)), protocol=2).replace(b"numpy.core", b"numpy._core"))
    found.append(pickle.dumps((arrays, [np.bool_(value) for value in same]), protocol=3))
    python2 = b"".join(b"T" + struct.pack("<i", len(image)) + image + b"q" + bytes([number + 2])
                       for number, image in enumerate(images))
    return [*found, b"\x80\x02]q\x00(" + python2 + b"e]q\x60(" + bytes(136 + (not value) for value in same) + b"e\x86."]


def executed(protocol: int, way: int, images: list[bytes]) -> bytes:
    """A set with a call that would create the canary file if it were executed."""
    calls = (_Call(os.system, f"touch {CANARY}"), _Call(os.mkdir, CANARY), _Call(open, CANARY, "w"),
             _Call(eval, f"open({CANARY!r}, 'w')"), _Call(exec, f"open({CANARY!r}, 'w')"),
             _Call(subprocess.call, ["touch", CANARY]))
    call = calls[way % len(calls)]
    places: tuple[Any, ...] = (call, (images[:4], call), ([call, *images[:3]], [True, False]),
                               ([images[0], call, *images[:2]], [True, False]), (images[:4], [True, call]))
    return pickle.dumps(places[way // len(calls) % len(places)], protocol=protocol)


def calls() -> dict[str, bytes]:
    """For each pickle operation that executes or constructs something: a set that contains it, in the place of an
    image."""
    name = CANARY.encode()
    touch = b"X" + struct.pack("<I", len(name) + 6) + b"touch " + name
    system, open_, mode = b"cposix\nsystem\n", b"cio\nFileIO\n", b"X\1\0\0\0w"
    path = b"X" + struct.pack("<I", len(name)) + name
    asked = {
        "GLOBAL and REDUCE": system + touch + b"\x85R",
        "STACK_GLOBAL": b"\x8c\5posix\x8c\6system\x93" + touch + b"\x85R",
        "INST": b"(" + path + mode + b"iio\nFileIO\n",
        "OBJ": b"(" + open_ + path + mode + b"o",
        "NEWOBJ": b"csubprocess\nPopen\n)\x81",
        "NEWOBJ_EX": b"csubprocess\nPopen\n)}\x92",
        "BUILD": b"cargparse\nNamespace\n)\x81}" + path + b"K\1sb",
        "BUILD of slots": b"cargparse\nNamespace\n)\x81N}" + path + b"K\1s\x86b",
        "EXT1": b"\x82\1", "EXT2": b"\x83\1\0", "EXT4": b"\x84\1\0\0\0", "PERSID": b"Px\n", "BINPERSID": path + b"Q",
        "DICT": b"(d", "EMPTY_DICT": b"}", "SETITEM": b"}" + path + b"K\1s", "EMPTY_SET": b"\x8f",
        "FROZENSET": b"(\x91", "NEXT_BUFFER": b"\x97", "READONLY_BUFFER": path + b"\x98", "FLOAT": b"F1.0\n",
        "LONG4": b"\x8b\xff\xff\xff\x7f", "DUP": b"]2"}
    return {name: b"\x80\4](" + operations + b"C\1xe]\x88a\x86." for name, operations in asked.items()}


def harmful(chance: random.Random, images: list[bytes]) -> bytes:
    """One that claims, nests, copies or calls."""
    if chance.random() < 0.3:
        found = chance.choice(list(calls().values()))
        return mutate(found, chance, 2) if chance.random() < 0.3 else found
    big = chance.choice((1000, 30_000, 100_000))
    number = struct.pack("<I", chance.choice(NUMBERS))
    huge = struct.pack("<Q", chance.choice((1 << 31, 1 << 40, 1 << 62, (1 << 64) - 1)))
    way = chance.randrange(17)
    if way < 4:
        found = executed(chance.randrange(6), chance.randrange(30), images)
        return mutate(found, chance, 2) if chance.random() < 0.4 else found
    return (
        b"](" + b"](" * big, b")" + b"\x85" * big + b".", b"\x80\x04]" + b"\x94" * big + b".",
        b"\x80\x02(lq\0" + b"h\0a" * big + b".",
        b"\x80\x02]q\0" + b"".join(b"](h" + bytes([level]) + b"h" + bytes([level]) + b"eq" + bytes([level + 1])
                                   for level in range(100)) + b"h\x64]\x86.",
        b"\x80\x03(]B" + number + images[0] + b"a]\x88at.", b"\x80\x04\x8e" + number * 2 + images[0] + b".",
        b"\x80\x02c_codecs\nencode\nX" + struct.pack("<I", big) + b"a" * big + b"q\1X\6\0\0\0latin1q\2\x86R" * 3
        + b"h\1h\2\x86R" * 50 + b".",
        b"\x80\4\x95" + huge + b"]\x8d" + huge + b"abc.", b"\x80\4\x8e" + huge + b"abc.",
        b"\x80\2]" + b"".join(b"r" + struct.pack("<I", chance.getrandbits(32)) for _ in range(big)) + b".",
        b"](" + b"(" * big + b"t" * big + b"e]\x88a\x86.",
        b"](" + b")" + b"\x85\x94" * big + b"h\0h\0e]\x88a\x86.")[way - 4]


def mutate_set(data: bytes, chance: random.Random) -> bytes:
    """Damage where the operations are, which is between the images, or anywhere."""
    if chance.random() < 0.5:
        return mutate(data, chance)
    out = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        edge = chance.choice((0, len(out) - 60, chance.randrange(len(out))))
        at = max(0, min(edge + chance.randrange(60), len(out) - 1))
        if chance.random() < 0.5:
            out[at] = chance.choice(OPERATIONS)
        else:
            out[at:at + 4] = struct.pack("<I", chance.choice(NUMBERS))
    return bytes(out)
