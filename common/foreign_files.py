"""Names kinds of files that are mistaken for data, by their first bytes."""
from __future__ import annotations

STARTS = ((b"PK\x03\x04", "a zip archive"), (b"\x1f\x8b", "gzip-compressed; unpack it first"),
          (b"BZh", "bzip2-compressed; unpack it first"), (b"\xfd7zXZ\0", "xz-compressed; unpack it first"),
          (b"(\xb5/\xfd", "zstd-compressed; unpack it first"), (b"Rar!\x1a\x07", "a RAR archive"),
          (b"7z\xbc\xaf'\x1c", "a 7z archive"), (b"\x93NUMPY", "a numpy array"), (b"\x89HDF", "an HDF5 file"),
          (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself"))
TAR, TAR_AT = b"ustar", 257
HEAD = 512  # bytes that are enough


def foreign_kind(head: bytes) -> str:
    """`a zip archive`, `gzip-compressed; unpack it first`, ... by the first HEAD bytes, or ""."""
    for start, what in STARTS:
        if head.startswith(start):
            return what
    if head[TAR_AT:TAR_AT + len(TAR)] == TAR:
        return "a tar archive"
    if head[:HEAD].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, perhaps from a download that needs a login"
    return ""
