"""Recognises sound JPEGs without decoding them: those with a header that decoded before."""
from __future__ import annotations

import re

from images.formats import JpegHeader, has_many_scans, read_header

MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # in compressed data only stuffed zeros and restarts follow 0xff
MOST_HEADERS, LONGEST_HEADER = 32, 4096
MOST_KNOWN, MOST_LOOKS = 8, 64  # an image that has none of them pays for all; encoders may make one for each image


class KnownHeaders:
    """Headers (all bytes up to the compressed data) of images of one size that were decoded whole.

    A baseline decoder fails on its header or not at all: compressed data of one scan gives some pixels whatever it
    holds, and what is missing at the end is filled silently. So a file with a header that decoded, one run of
    compressed data that is long enough to hold its blocks, and an end behind it decodes too. Files of one encoder
    share one header.
    """

    def __init__(self) -> None:
        self._known: list[tuple[bytes, int, str]] = []

    def recognise(self, data: bytes) -> str | None:
        """The known header of `data` where it decodes, is complete and has the size; None: it must be decoded."""
        for header, least, note in self._known:
            if data.startswith(header):
                end = MARKER.search(data, len(header))
                whole = end is not None and data[end.end() - 1] == 0xd9 and end.start() >= least
                return note if whole else None
        return None

    def remember(self, data: bytes, header: JpegHeader, note: str) -> None:
        """Remember the header of an image that decoded completely; of one scan, baseline, gray or of three
        components."""
        if not _of_one_scan(data, header):
            return
        scan = header.scan
        blocks = -(-header.height // 8) * -(-header.width // 8)
        # a block takes two bits or more
        self._known = [(data[:scan], scan + blocks // 4, note), *self._known[:MOST_HEADERS - 1]]


class FewScans:
    """Recognises quickly which images do not keep a decoder busy with thousands of scans.

    known: headers (all bytes up to the compressed data) of JPEGs of one scan, for `bytes.startswith`, which takes a
    fiftieth of the time of counting scans. A decoder reads no second scan behind them, whatever follows.
    """

    def __init__(self) -> None:
        self.known: tuple[bytes, ...] = ()
        self._looks = MOST_LOOKS

    def holds(self, data: bytes, begin: int, end: int) -> bool:
        """Whether data[begin:end] is not a JPEG, or one of few scans; the answer does not depend on `known`."""
        if not data.startswith(b"\xff\xd8", begin):
            return True
        few = not has_many_scans(data, begin, end)
        if few and not self._looks:
            return True
        self._looks = max(self._looks - 1, 0)
        image = data[begin:end]
        header = read_header(image)
        single = _of_one_scan(image, header)
        if single and len(self.known) < MOST_KNOWN:
            self.known += (image[:header.scan],)
        return few or single


def _of_one_scan(data: bytes, header: JpegHeader) -> bool:
    """Whether it is a baseline JPEG with all its components in its first scan, and a header of a sensible length."""
    return (header.frame in (0xc0, 0xc1) and 0 < header.scan <= LONGEST_HEADER
            and data[header.scan - 4 - 2 * header.components] == header.components)
