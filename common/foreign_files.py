"""Names kinds of files that are mistaken for data, by their first bytes."""
from __future__ import annotations

import re

UNPACK = "; unpack it first"
STARTS = ((b"PK\x03\x04", "a zip archive", UNPACK), (b"\x1f\x8b", "gzip-compressed", UNPACK),
          (b"BZh", "bzip2-compressed", UNPACK), (b"\xfd7zXZ\0", "xz-compressed", UNPACK),
          (b"(\xb5/\xfd", "zstd-compressed", UNPACK), (b"\x04\x22\x4d\x18", "lz4-compressed", UNPACK),
          (b"Rar!\x1a\x07", "a RAR archive", UNPACK), (b"7z\xbc\xaf'\x1c", "a 7z archive", UNPACK),
          (b"\x93NUMPY", "a numpy array", ""), (b"\x89HDF", "an HDF5 file", ""),
          (b"version https://git-lfs", "a Git LFS pointer", "; `git lfs pull` fetches the file itself"))
BOOK = re.compile(rb"PK\x03\x04.{26}(\[Content_Types]|docProps/|_rels/|xl/|mimetypeapplication/vnd\.oasis)"
                  rb"|\xd0\xcf\x11\xe0", re.DOTALL)
TAR, TAR_AT = b"ustar", 257
PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml|!--)", re.IGNORECASE)
TEXT = re.compile(rb"[\t\r\n -~]+")
PICKLE = re.compile(rb"\x80[\0-\5]|\(\(?[l\]]")  # of a tuple of lists, in every protocol
HEAD = 512  # bytes that are enough


def foreign_kind(head: bytes, expected: str, text: bool = True) -> str:
    """`a zip archive, not EXPECTED; unpack it first`, ... by the first HEAD bytes, or "".

    text: whether a file that begins with 64 bytes of text, or is a pickle, is a foreign one, too.
    """
    found = [(what, way) for start, what, way in STARTS if head.startswith(start)]
    if BOOK.match(head):
        found.insert(0, ("a spreadsheet's workbook", "; save it there as CSV"))
    if head[TAR_AT:TAR_AT + len(TAR)] == TAR:
        found.append(("a tar archive", UNPACK))
    if PAGE.match(head):
        found.append(("a web page", ", perhaps from a download that needs a login; download it again"))
    if text and PICKLE.match(head):
        found.append(("a pickle, as verification sets (.bin) are", ""))
    if text and TEXT.fullmatch(head[:64]):
        found.append(("a text file", ""))
    what, way = [*found, ("", "")][0]
    return f"{what}, not {expected}{way}" if what else ""
