"""Decoding: the pixels of OpenCV, in RGB, and an error for what is no image."""
import cv2
import numpy as np
import pytest

from recordio_tools.images import decode


def test_decode_agrees_with_opencv_and_says_what_is_wrong(shared_data):
    path = next((shared_data / "lfw/images/George_W_Bush").iterdir())
    np.testing.assert_array_equal(decode(path.read_bytes()), cv2.imread(str(path))[..., ::-1])
    for data in (b"", b"text", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(ValueError):
            decode(data)
