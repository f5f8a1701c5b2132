"""Pickled strings and numpy arrays as plain data: no numpy object is constructed here."""
from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any, Callable, NamedTuple

ENCODE, BYTES, BYTEARRAY, RECONSTRUCT, FROMBUFFER, SCALAR, NDARRAY, DTYPE = range(8)
GLOBALS = {"_codecs.encode": ENCODE, "builtins.bytes": BYTES, "__builtin__.bytes": BYTES, "__builtin__.str": BYTES,
           "builtins.bytearray": BYTEARRAY, "__builtin__.bytearray": BYTEARRAY,
           "numpy.ndarray": NDARRAY, "numpy.dtype": DTYPE}
for _core in ("numpy.core", "numpy._core"):  # numpy 1, numpy 2
    GLOBALS.update({f"{_core}.multiarray._reconstruct": RECONSTRUCT, f"{_core}.multiarray.scalar": SCALAR,
                    f"{_core}.numeric._frombuffer": FROMBUFFER})
LONGEST_CODE = 20  # characters of a dtype's code or an encoding's name
MOST_AXES = 32  # numpy's own limit
TYPES = re.compile(r"[|<>=]?(b1|[iu][1248]|f[248]|O[48])")  # dtypes of booleans, integers, floats and objects
FLOATS = {"f2": "e", "f4": "f", "f8": "d"}


class Refused(ValueError):
    """The pickle is damaged, or asks for something that is not data; the message says which, without the file.

    at: the byte of the pickle operation.
    """

    at = 0


class Global(NamedTuple):
    """A known global, by its kind; a placeholder that cannot be called."""

    kind: int


@dataclass
class Array:
    """What a pickled numpy array holds: dtype ('u1', 'b1', 'i8', ...), shape, and its bytes, of either order; objects:
    what an array of objects ('O8') holds instead. One that is given no state is empty, as numpy makes it."""

    dtype: str = "i1"
    shape: tuple[int, ...] = (0,)
    data: bytes = b""
    objects: list[Any] | None = None


class Dtype(NamedTuple):
    """A dtype's code, without a byte order: 'u1', 'b1', 'i8', ..."""

    code: str


def text_of(value: Any) -> str:
    """A short string of Python 2 or 3 as str; an empty one for anything else."""
    if type(value) not in (bytes, str) or len(value) > LONGEST_CODE:
        return ""
    return value.decode("latin-1") if type(value) is bytes else value


def fill(array: Array, data: Any, dtype: Any, shape: Any) -> Array:
    """Set the state that a pickle gives the array; ValueError or TypeError where the parts do not agree."""
    if type(dtype) is not Dtype or type(shape) is not tuple or len(shape) > MOST_AXES:
        raise TypeError
    objects = dtype.code[0] == "O"
    if type(data) is not (list if objects else bytes):
        raise TypeError
    size = 1
    for length in shape:
        if type(length) is not int or not 0 <= length <= len(data):
            raise ValueError
        size = min(size * length, len(data) + 1)
    if size * (1 if objects else int(dtype.code[1:])) != len(data):
        raise ValueError
    array.dtype, array.shape = dtype.code, shape
    array.data, array.objects = (b"", data) if objects else (data, None)
    return array


def _empty_bytes() -> bytes:
    return b""


def _reconstruct(kind: Any, shape: Any, typecode: Any) -> Array:
    if kind != Global(NDARRAY):
        raise TypeError
    return Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> Array:
    return fill(Array(), data, dtype, shape)


def _dtype(code: Any, align: Any, copy: Any) -> Dtype:
    found = TYPES.fullmatch(text_of(code))
    if not found:
        raise Refused(f"holds a numpy array of type {text_of(code)!r}; an encoded image is one of uint8 ('u1'), and "
                      "same is of bool or numbers")
    return Dtype(found.group(1))


def listed(value: Any) -> Any:
    """The list of an array of objects, (n,) or (n, 1); any other value as it is."""
    if type(value) is Array and value.objects is not None and max(value.shape, default=0) == len(value.objects):
        return value.objects
    return value


def numbers(array: Array) -> list[int | float]:
    """The values of an array of bytes, in whichever byte order makes each one 0 or 1, or else an integer smaller."""
    size = int(array.dtype[1:])
    return [_number(array.dtype, array.data[at:at + size]) for at in range(0, len(array.data), size)]


def _number(code: str, data: bytes) -> int | float:
    if code in FLOATS:
        little, big = (struct.unpack(order + FLOATS[code], data)[0] for order in "<>")
        return big if big in (0, 1) else little
    both = [int.from_bytes(data, "little", signed=code[0] == "i"), int.from_bytes(data, "big", signed=code[0] == "i")]
    return min(both, key=abs)


def _scalar(dtype: Any, data: Any) -> int | float:
    if type(dtype) is not Dtype or type(data) is not bytes or len(data) != int(dtype.code[1:]) or dtype.code[0] == "O":
        raise TypeError
    value = _number(dtype.code, data)
    return bool(value) if dtype.code == "b1" and data in (b"\0", b"\1") else value


CONSTRUCTORS: dict[int, Callable[..., Any]] = {
    BYTES: _empty_bytes, RECONSTRUCT: _reconstruct, FROMBUFFER: _frombuffer, DTYPE: _dtype, SCALAR: _scalar}
