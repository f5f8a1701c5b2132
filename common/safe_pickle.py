"""Reads the pickle of a verification set as data: nothing that it names is imported, called or constructed.

An interpreter of the harmless opcodes of protocols 0 to 5. The globals that strings and numpy arrays need are known by
name and map to data here; any other one, and any other opcode, is an error. Work and memory stay within a fixed
multiple of the file's size whatever the file claims.
"""
from __future__ import annotations

import codecs
import pickletools
import struct
from typing import Any, Callable, NoReturn

from common.pickled_arrays import (
    BYTEARRAY,
    CONSTRUCTORS,
    ENCODE,
    GLOBALS,
    Array,
    Dtype,
    Global,
    Refused,
    fill,
    text_of,
)

MARK = object()
OPCODE_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
LONGEST_NUMBER = 24  # digits of a number or characters of a memo key, in the text opcodes
LONGEST_NAME = 200


def load(data: bytes) -> Any:
    """The object in a pickle, of list, tuple, None, bool, int, float, str, bytes and Array; Refused otherwise.

    Python 2 strings and bytearrays come as bytes, numpy.bool_ as bool.
    """
    return _Reader(data).run()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        # A regular file needs some 30 opcodes per image of kilobytes; each opcode may make a small object.
        self.steps = 100_000 + len(data) // 16
        # Bytes made from a text that the file holds once could be asked for again and again.
        self.copies = len(data)

    def run(self) -> Any:
        at = 0
        try:
            for _ in range(self.steps):
                at = self.at
                code = self.data[at]
                self.at = at + 1
                if code == ord("."):
                    return self.stack.pop()
                operation = OPERATIONS.get(code)
                if operation is None:
                    raise Refused(f"asks at byte {at} for the pickle operation "
                                  f"{OPCODE_NAMES.get(code, hex(code))}, which a verification set has no use for")
                operation(self)
        except Refused as error:
            error.at = at
            raise
        except IndexError:
            if at >= len(self.data):
                self._refuse(at, f"is truncated: its pickle continues past the file's {len(self.data)} bytes")
            self._refuse(at, f"is damaged: its pickle is invalid at byte {at}")
        except (KeyError, ValueError, TypeError, AttributeError, struct.error):
            self._refuse(at, f"is damaged: its pickle is invalid at byte {at}")
        self._refuse(at, f"is refused: more than {self.steps} pickle operations for {len(self.data)} bytes")

    @staticmethod
    def _refuse(at: int, message: str) -> NoReturn:
        error = Refused(message)
        error.at = at
        raise error from None

    def take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise Refused(f"is truncated: its pickle continues past the file's {len(self.data)} bytes")
        piece = self.data[self.at:end]
        self.at = end
        return piece

    def number(self, form: str) -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self, longest: int | None = None) -> bytes:
        limit = len(self.data) if longest is None else min(self.at + longest + 1, len(self.data))
        end = self.data.find(b"\n", self.at, limit)
        if end < 0:
            raise Refused(f"is damaged: a line of its pickle has no end at byte {self.at}")
        piece = self.data[self.at:end]
        self.at = end + 1
        return piece

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not MARK:  # an IndexError where there is none
            at -= 1
        items = self.stack[at + 1:]
        del self.stack[at:]
        return items

    def count(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise IndexError
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        return items

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError
        self.stack[-1].extend(items)

    def find_global(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise TypeError
        full = f"{module}.{name}"
        if module.endswith("\r"):
            raise Refused("is damaged: its line ends were converted, as a transfer in text mode does; copy it again as "
                          "a binary file")
        if full not in GLOBALS:
            shown = "".join(char if char.isprintable() else "?" for char in full[:LONGEST_NAME])
            raise Refused(f"asks to load {shown}, which is not part of a verification set; nothing was run")
        self.push(Global(GLOBALS[full]))

    def text_global(self) -> None:
        module, name = self.line(LONGEST_NAME), self.line(LONGEST_NAME)
        self.find_global(module.decode("utf-8", "replace"), name.decode("utf-8", "replace"))

    def instance(self) -> None:
        self.text_global()
        raise Refused("asks for an instance of a class; nothing was run")

    def text_int(self) -> None:
        line = self.line(LONGEST_NUMBER)
        self.push({b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line.rstrip(b"L")))

    def text_string(self) -> None:
        line = self.line().strip()
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[:1] != line[-1:]:
            raise ValueError
        self.push(codecs.escape_decode(line[1:-1])[0])

    def reduce(self) -> None:
        function, arguments = self.count(2)
        if type(function) is not Global or type(arguments) is not tuple:
            raise Refused("asks to call something that is not a known constructor; nothing was run")
        if function.kind == ENCODE:
            self.push(self.encode(*arguments))
        elif function.kind == BYTEARRAY:
            self.push(self.byte_array(*arguments))
        else:
            self.push(CONSTRUCTORS[function.kind](*arguments))

    def encode(self, text: Any, encoding: Any) -> bytes:
        if type(text) is not str or text_of(encoding) not in ("latin1", "latin-1"):
            raise TypeError
        self.copies -= len(text)
        if self.copies < 0:
            raise Refused("is refused: its pickle unpacks to more bytes than the file holds")
        return text.encode("latin-1")

    def byte_array(self, content: Any = b"", encoding: Any = None) -> bytes:
        """bytearray(), of bytes, or, of Python 2, of a text and its encoding; a number would be a length."""
        if encoding is not None:
            return self.encode(content, encoding)
        if type(content) is not bytes:
            raise Refused("asks for a bytearray of something else than bytes; nothing was run")
        return content

    def build(self) -> None:
        target, state = self.count(2)
        if type(state) is not tuple:
            raise TypeError
        if type(target) is Array:
            _, shape, dtype, _, data = state
            fill(target, data, dtype, shape)
        elif type(target) is not Dtype or any(part is not None for part in state[2:5]):
            raise TypeError  # a dtype with fields or a subarray
        self.push(target)


def _table() -> dict[int, Callable[[_Reader], Any]]:
    def memoize(reader: _Reader, key: int) -> None:
        reader.memo[key] = reader.stack[-1]

    def utf8(data: bytes) -> str:
        return data.decode("utf-8", "surrogatepass")

    def sized(form: str) -> Callable[[_Reader], None]:
        return lambda reader: reader.push(reader.take(reader.number(form)))

    table: dict[str, Callable[[_Reader], Any]] = {
        "PROTO": lambda r: r.take(1), "FRAME": lambda r: r.take(8), "MARK": lambda r: r.push(MARK),
        "POP": lambda r: r.stack.pop(), "POP_MARK": lambda r: r.since_mark(), "NONE": lambda r: r.push(None),
        "NEWTRUE": lambda r: r.push(True), "NEWFALSE": lambda r: r.push(False),
        "INT": _Reader.text_int, "LONG": _Reader.text_int, "BININT": lambda r: r.push(r.number("<i")),
        "BININT1": lambda r: r.push(r.number("<B")), "BININT2": lambda r: r.push(r.number("<H")),
        "BINFLOAT": lambda r: r.push(r.number(">d")), "FLOAT": lambda r: r.push(float(r.line(LONGEST_NUMBER))),
        "LONG1": lambda r: r.push(int.from_bytes(r.take(r.number("<B")), "little", signed=True)),
        "STRING": _Reader.text_string, "BINSTRING": lambda r: r.push(r.take(r.number("<i"))),
        "UNICODE": lambda r: r.push(r.line().decode("raw-unicode-escape")),
        "SHORT_BINUNICODE": lambda r: r.push(utf8(r.take(r.number("<B")))),
        "BINUNICODE": lambda r: r.push(utf8(r.take(r.number("<I")))),
        "BINUNICODE8": lambda r: r.push(utf8(r.take(r.number("<Q")))),
        "EMPTY_LIST": lambda r: r.push([]), "LIST": lambda r: r.push(r.since_mark()),
        "APPEND": lambda r: r.extend([r.stack.pop()]), "APPENDS": lambda r: r.extend(r.since_mark()),
        "EMPTY_TUPLE": lambda r: r.push(()), "TUPLE": lambda r: r.push(tuple(r.since_mark())),
        "TUPLE1": lambda r: r.push(r.count(1)), "TUPLE2": lambda r: r.push(r.count(2)),
        "TUPLE3": lambda r: r.push(r.count(3)),
        "GET": lambda r: r.push(r.memo[int(r.line(LONGEST_NUMBER))]),
        "BINGET": lambda r: r.push(r.memo[r.number("<B")]),
        "LONG_BINGET": lambda r: r.push(r.memo[r.number("<I")]),
        "PUT": lambda r: memoize(r, int(r.line(LONGEST_NUMBER))), "BINPUT": lambda r: memoize(r, r.number("<B")),
        "LONG_BINPUT": lambda r: memoize(r, r.number("<I")), "MEMOIZE": lambda r: memoize(r, len(r.memo)),
        "GLOBAL": _Reader.text_global, "INST": _Reader.instance,
        "STACK_GLOBAL": lambda r: r.find_global(*r.count(2)), "REDUCE": _Reader.reduce, "BUILD": _Reader.build}
    for name, form in (("SHORT_BINSTRING", "<B"), ("SHORT_BINBYTES", "<B"), ("BINBYTES", "<I"), ("BINBYTES8", "<Q"),
                       ("BYTEARRAY8", "<Q")):
        table[name] = sized(form)
    codes = {name: code for code, name in OPCODE_NAMES.items()}
    return {codes[name]: operation for name, operation in table.items()}


OPERATIONS = _table()
