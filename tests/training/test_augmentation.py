"""Augmented images against InsightFace's equations, written out."""
import numpy as np
from small_sets import draw

from training.data import augmentation
from training.data.augmentation import Augmentation


def test_colours_are_jittered_by_an_eighth_as_insightface_does():
    """Brightness, contrast around the mean luma, saturation around each pixel's luma."""
    image = draw(3, 0, 40)
    before, factors = image.copy(), []
    for seed in range(20):
        brightness, contrast, saturation = 1 + np.random.RandomState(seed).uniform(-0.125, 0.125, 3)
        expected = image * brightness
        expected = expected * contrast + (1 - contrast) * _luma(expected).mean()
        expected = expected * saturation + (1 - saturation) * _luma(expected)[..., None]
        out = Augmentation(False, color=1).apply(image, np.random.RandomState(seed))
        assert out.dtype == np.uint8
        assert np.abs(out - np.floor(np.clip(expected, 0, 255))).max() <= 1
        factors.append(brightness)
    assert min(factors) < 0.9 and max(factors) > 1.1
    np.testing.assert_array_equal(image, before)


def _luma(image):
    red, green, blue = np.moveaxis(image, -1, 0)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_cutoff_greys_a_square_around_a_pixel_of_half_of_the_images():
    image, cut, edges = np.full((30, 50, 3), 7, np.uint8), 0, set()
    for seed in range(400):
        out = Augmentation(False, cutoff=9).apply(image, np.random.RandomState(seed))
        grey = (out == 128).all(-1)
        assert (out[~grey] == 7).all()
        if grey.any():
            rows, columns = np.flatnonzero(grey.any(1)), np.flatnonzero(grey.any(0))
            assert grey[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1].all()
            cut += 1
            for side, part, last in ((0, rows, 29), (2, columns, 49)):  # 8, or what the border leaves of them
                assert len(part) == 8 or (part[0] == 0 or part[-1] == last) and 4 <= len(part) < 8
                edges |= {side + (part[0] > 0)} if len(part) < 8 else set()
    assert 160 < cut < 240 and edges == {0, 1, 2, 3}
    assert (image == 7).all()


def test_strong_colours_change_the_picture_within_reason():
    image = draw(3, 0)
    before = image.copy()
    outs = [Augmentation(False, color=2).apply(image, np.random.RandomState(seed)) for seed in range(20)]
    assert all(out.shape == image.shape and out.dtype == np.uint8 for out in outs)
    assert max(np.abs(out.astype(int) - image).mean() for out in outs) < 60
    np.testing.assert_array_equal(image, before)


def test_jpeg_artefacts_are_of_insightfaces_qualities(monkeypatch):
    encode, seen = augmentation.cv2.imencode, set()

    def watched(ending, image, parameters):
        seen.add(parameters[1])
        return encode(ending, image, parameters)
    monkeypatch.setattr(augmentation.cv2, "imencode", watched)
    random, image = np.random.RandomState(0), np.full((8, 8, 3), 100, np.uint8)
    for _ in range(1000):
        Augmentation(color=2).apply(image, random)
    assert seen == set(range(2, 21))
