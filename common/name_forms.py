"""Forms of a name that are equal where names look equal, or mean the same file or person."""
from __future__ import annotations

import re
import unicodedata


def as_text(name: str) -> str:
    """A name whose bytes are not UTF-8 (surrogates, in Python) read as Windows' code page 1252, as lists are written
    there; every other name as it is."""
    if name.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in name):
        return name
    return name.encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def composed(name: str) -> str:
    """A name in one Unicode form (NFC): files from macOS have another one than those from Linux."""
    return unicodedata.normalize("NFC", as_text(name))


def folded(name: str) -> str:
    """The same with its case folded: equal for names that Windows and macOS take for one."""
    return composed(name).casefold()


def name_key(name: str) -> str:
    """Equal for a person's names that mean the same: case, spaces, underscores, hyphens and full stops aside; "" where
    the name is only a number, which means nothing outside its own set."""
    text = unicodedata.normalize("NFKC", as_text(name)).casefold()
    text = re.sub(r"[\s_.\-]+", " ", text).strip()
    return "" if text.replace(" ", "").isdecimal() else text
