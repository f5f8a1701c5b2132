"""Decoding: the pixels of OpenCV, in RGB, and an error for what is no image."""
import cv2
import numpy as np
import pytest

from recordio_tools.images import decode
from recordio_tools.plain_jpeg import FewScans


def test_decode_agrees_with_opencv_and_says_what_is_wrong(shared_data):
    path = next((shared_data / "lfw/images/George_W_Bush").iterdir())
    np.testing.assert_array_equal(decode(path.read_bytes()), cv2.imread(str(path))[..., ::-1])
    for data in (b"", b"text", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(ValueError):
            decode(data)


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded():
    data = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert decode(data).shape == (64, 64, 3)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ValueError, match="scans"):
        decode(data[:-2] + data[last:-2] * 2000 + data[-2:])


def test_scans_are_counted_only_where_a_decoder_reads_them():
    image = cv2.resize(np.random.RandomState(0).randint(0, 256, (14, 14, 3)).astype(np.uint8), (112, 112))
    plain, progressive = (cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, number])[1].tobytes()
                          for number in (0, 1))
    few = FewScans()

    def repeated(data):
        last = data[data.rindex(b"\xff\xda"):-2]
        return data[:-2] + 1000 * last + b"\xff\xd9"
    assert not few.holds(b".." + repeated(progressive), 2, len(repeated(progressive)) + 2)
    assert few.holds(progressive, 0, len(progressive)) and not few.known
    assert few.holds(b"no JPEG" + 1000 * b"\xff\xda", 0, 2007)
    assert few.holds(plain, 0, len(plain)) and plain.startswith(few.known)
    assert few.holds(repeated(plain), 0, len(repeated(plain)))
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(repeated(plain), np.uint8), 1),
                                  cv2.imdecode(np.frombuffer(plain, np.uint8), 1))
