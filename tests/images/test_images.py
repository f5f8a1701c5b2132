"""Decoding: the pixels of OpenCV, in RGB, and an error for what is no image."""
import cv2
import numpy as np
import pytest

from images.codec import decode


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
