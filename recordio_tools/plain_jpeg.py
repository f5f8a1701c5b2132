"""JPEGs that need no decoding to be known as sound: those with a header that decoded before."""
from __future__ import annotations

import re

from recordio_tools.formats import JpegHeader

MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # in compressed data only stuffed zeros and restarts follow 0xff
MOST_HEADERS, LONGEST_HEADER = 32, 4096


class KnownHeaders:
    """Headers (all bytes up to the compressed data) of images of one size that were decoded whole.

    A baseline decoder fails on its header or not at all: compressed data of one scan gives some pixels whatever it
    holds, and what it lacks at its end is filled up in silence. So a file with a header that decoded, one run of
    compressed data that is long enough to hold its blocks, and an end behind it decodes too. Files of one encoder
    share one header.
    """

    def __init__(self) -> None:
        self._known: list[tuple[bytes, int, str]] = []

    def recognise(self, data: bytes) -> str | None:
        """The note of the header that `data` has, where it decodes, is whole and of the size; None: decode to see."""
        for header, least, note in self._known:
            if data.startswith(header):
                end = MARKER.search(data, len(header))
                whole = end is not None and data[end.end() - 1] == 0xd9 and end.start() >= least
                return note if whole else None
        return None

    def remember(self, data: bytes, header: JpegHeader, note: str) -> None:
        """Take note of an image that was decoded whole; of one scan, baseline, gray or of three components."""
        scan = header.scan
        if (header.frame not in (0xc0, 0xc1) or not 0 < scan <= LONGEST_HEADER
                or data[scan - 4 - 2 * header.components] != header.components):
            return
        blocks = -(-header.height // 8) * -(-header.width // 8)
        # a block takes two bits or more
        self._known = [(data[:scan], scan + blocks // 4, note), *self._known[:MOST_HEADERS - 1]]
