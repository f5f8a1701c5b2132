"""Mutations of bytes: flips, truncations, splices, wrong numbers, and those specific to text files."""
from __future__ import annotations

import random
import struct

NUMBERS = (0, 1, 2, 3, 7, 24, 255, 256, 65535, 65536, 1 << 24, (1 << 29) - 1, 1 << 29, (1 << 31) - 1, 1 << 31,
           (1 << 32) - 1)
WORDS = ("", "0", "-1", "1", "00", "+3", "1e9", "nan", "inf", "-0", "0.5", "4294967296", "9" * 18, "9" * 19, "9" * 400,
         "1_0", "\u0663", "\u00b2", "\uff11", "0x10", "true", "None", "../../etc/passwd",
         "/dev/zero", "/dev/random", "/proc/self/mem", "/", ".", "..", "~", "a" * 300, "x\0y", "\ufeff", "\u202e",
         "\ud800", "\U0001f600", "caf\u0301e", "=cmd()", '"', '""', "'", "\\", "%s%n", "a\rb", "\x1b[2J", " " * 50,
         "a/" * 200, "b" * 200_000)
LONGEST = 1 << 24  # bytes of a line that is repeated
SEPARATORS = (b"\n", b"\r\n", b"\r", b"\0", b"\t", b",", b";", b" ", b"\x0b", b"\x0c", b"\x1a", b"\xc2\x85",
              b"\xe2\x80\xa8", b"\xff", b'"', b"\n\n\n")


def mutate(data: bytes, chance: random.Random, most: int = 6) -> bytes:
    """Some random changes of a few bytes, or of one stretch."""
    out = bytearray(data)
    for _ in range(chance.randint(1, most)):
        at = chance.randrange(len(out) + 1)
        length = chance.choice((1, 2, 4, 8, 16, 64, 300, max(len(out) // 3, 1)))
        way = chance.randrange(11)
        if way == 0 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif way == 1 and at < len(out):
            out[at] = chance.choice((0, 1, 0x7f, 0x80, 0xff, chance.randrange(256)))
        elif way == 2:
            del out[at:at + length]
        elif way == 3:
            out[at:at] = out[at:at + length]
        elif way == 4:
            out[at:at] = chance.getrandbits(8 * min(length, 64)).to_bytes(min(length, 64), "little")
        elif way == 5:
            out[at:at + 4] = struct.pack(chance.choice("<>") + "I", chance.choice(NUMBERS))
        elif way == 6:
            out[at:at + length] = bytes([chance.choice((0, 0xff))]) * min(length, len(out) - at)
        elif way == 7:
            other = chance.randrange(len(out) + 1)
            out[at:at + length] = out[other:other + length]
        elif way == 8:
            out += data[at:at + length]
        elif way == 9 and chance.random() < 0.3:
            del out[at:]
        elif way == 10 and len(out) > 64:  # the beginning is where the headers are
            out[chance.randrange(64)] = chance.randrange(256)
    return bytes(out)


def mutate_text(data: bytes, chance: random.Random) -> bytes:
    """Changes of a file made of lines and fields; sometimes of its bytes, or of its encoding."""
    if chance.random() < 0.15:
        return mutate(data, chance)
    lines = data.split(b"\n")
    for _ in range(chance.randint(1, 4)):
        at, way = chance.randrange(len(lines)), chance.randrange(9)
        line = lines[at]
        separator = next((mark for mark in (b"\t", b",", b" ") if mark in line), b",")
        fields = line.split(separator)
        if way <= 2:
            fields[chance.randrange(len(fields))] = chance.choice(WORDS).encode("utf-8", "surrogatepass")
            lines[at] = separator.join(fields)
        elif way == 3:
            lines.insert(at, chance.choice(lines))
        elif way == 4:
            del lines[at]
            lines = lines or [b""]
        elif way == 5:
            lines[at] = separator.join(fields[:-1] if chance.random() < 0.5 else fields + [b"7"])
        elif way == 6:
            place = chance.randrange(len(line) + 1)
            lines[at] = line[:place] + chance.choice(SEPARATORS) + line[place:]
        elif way == 7:
            lines[at] = line.replace(separator, chance.choice(SEPARATORS))
        elif chance.random() < 0.3:
            lines[at] = line * min(chance.choice((2, 30, 3000)), max(LONGEST // (len(line) + 1), 1))
    out = b"\n".join(lines)
    if chance.random() < 0.15:
        text = out.decode("utf-8", "replace")
        out = chance.choice((lambda: text.encode("utf-16"), lambda: b"\xef\xbb\xbf" + out,
                             lambda: out.replace(b"\n", b"\r\n"), lambda: out.replace(b"\n", b"\r"),
                             lambda: out.rstrip(b"\n"), lambda: b"", lambda: out + b"\0" * 100,
                             lambda: text.encode("latin-1", "replace")))()
    return out
