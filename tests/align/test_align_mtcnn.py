"""The pieces of MTCNN without its weights: boxes, pyramid, choice of the face, landmarks of mirror images."""
from __future__ import annotations

import numpy as np
import pytest

from align.mtcnn.boxes import apply_regression, nms, squared
from align.mtcnn.detector import Face, Search
from align.mtcnn.finding import choose, find
from align.mtcnn.patches import cut_patches, without_mirrors
from align.mtcnn.pyramid import STRIDE, WINDOW, pack, read, render, scales

RANDOM = np.random.RandomState(8)


def overlap(a, b, by_smaller):
    common = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return common / (min(areas) if by_smaller else sum(areas) - common)


@pytest.mark.parametrize("by_smaller", [False, True])
def test_suppression_is_that_of_a_loop(by_smaller):
    for count in (0, 1, 60):
        corner = RANDOM.uniform(0, 50, (count, 2))
        boxes, scores = np.hstack([corner, corner + RANDOM.uniform(5, 40, (count, 2))]), RANDOM.uniform(0, 1, count)
        kept = []
        for number in sorted(range(count), key=lambda number: -scores[number]):
            if all(overlap(boxes[number], boxes[other], by_smaller) <= 0.5 for other in kept):
                kept.append(number)
        assert nms(boxes, scores, 0.5, by_smaller).tolist() == kept


def test_boxes_are_moved_and_squared():
    boxes = np.array([[10.0, 20, 30, 60]])
    assert apply_regression(boxes, np.array([[0.1, -0.1, 0.2, 0.5]])).tolist() == [[12, 16, 34, 80]]
    assert squared(boxes).tolist() == [[0, 20, 40, 60]]


def test_scales_reach_from_the_smallest_face_to_the_whole_photograph():
    found = scales(100, 300, 40, 0.5)
    assert found == [0.3, 0.15] and scales(39, 300, 40, 0.5) == []


def test_every_window_of_every_copy_is_read_once_and_undisturbed():
    """A network that answers with its window's mean, on canvases, against the same on each copy alone."""
    photographs = [RANDOM.randint(0, 256, size).astype(np.uint8) for size in ((90, 131, 3), (61, 40, 3), (20, 300, 3))]
    side = 64
    pieces = pack([photograph.shape[:2] for photograph in photographs], 14, 0.6, side)
    canvases = render(photographs, pieces, side).astype(float).mean(axis=3)

    def means(image):
        rows, columns = ((length - WINDOW) // STRIDE + 1 for length in image.shape)
        return np.array([[image[2 * y:2 * y + WINDOW, 2 * x:2 * x + WINDOW].mean() for x in range(columns)]
                         for y in range(rows)])

    answers = [means(canvas) for canvas in canvases]
    for number, photograph in enumerate(photographs):
        for copy in {piece.copy for piece in pieces if piece.photograph == number}:
            seen = []
            for piece in (piece for piece in pieces if (piece.photograph, piece.copy) == (number, copy)):
                answer = answers[piece.canvas]
                boxes, scores, _ = read(piece, photograph.shape[:2], answer, np.zeros((4, *answer.shape)), -1)
                seen += [(round(box[0] * copy[1] / photograph.shape[1]), round(box[1] * copy[0] / photograph.shape[0]),
                          score) for box, score in zip(boxes, scores)]
            alone = render([photograph], pack([photograph.shape[:2]], 14, 0.6, 512), 512)
            place = next(piece for piece in pack([photograph.shape[:2]], 14, 0.6, 512) if piece.copy == copy)
            top, left = place.place
            expected = means(alone[place.canvas, top:top + copy[0], left:left + copy[1]].astype(float).mean(axis=2))
            assert len(seen) == expected.size
            for x, y, score in seen:
                assert score == pytest.approx(expected[y // 2, x // 2])


def test_choice_of_the_face():
    def face(left, top, side, score):
        return Face(np.array([left, top, left + side, top + side], float), score, np.zeros((5, 2)))

    big, middle, sure = face(0, 0, 60, 0.8), face(70, 70, 40, 0.9), face(150, 20, 30, 0.99)
    for rule, expected in (("largest", big), ("central", middle), ("score", sure), ("balanced", middle)):
        assert choose([sure, big, middle], (200, 200), rule) is expected
    assert choose([], (200, 200), "largest") is None


class BrightSpots:
    """A detector of the bright rectangle of a photograph, and only with the thresholds of a second search."""

    def __init__(self):
        self.asked = []

    def detect(self, photographs, search):
        self.asked.append(search)
        return [self._look(photograph) if search.thresholds[0] < 0.6 else [] for photograph in photographs]

    def _look(self, photograph):
        y, x = np.nonzero(photograph.min(axis=2) > 200)
        return [Face(np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], float), 0.7,
                     np.array([[x.min(), y.max() + 1]] * 5, float))] if len(x) else []

    def place_points(self, photographs, faces):
        return [face.points for face in faces]


@pytest.mark.parametrize("height, width", [(40, 90), (150, 60), (300, 420), (12, 14)])
def test_the_second_search_enlarges_and_frames_and_gives_pixels_of_the_photograph(height, width):
    """A face at the border of a small photograph; no other is searched again."""
    photograph = np.zeros((height, width, 3), np.uint8)
    top, bottom, left, right = height // 3, height // 3 + height // 2, 0, width // 4
    photograph[top:bottom, left:right] = 255
    detector, blank = BrightSpots(), np.zeros((50, 50, 3), np.uint8)
    nothing, found = find(detector, [blank, photograph], Search(), "largest")
    assert nothing is None and found.relaxed and found.face.score == 0.7
    np.testing.assert_allclose(found.face.box, [left, top, right, bottom], atol=1)
    np.testing.assert_allclose(found.face.points, [[left, bottom]] * 5, atol=1)
    assert [search.thresholds for search in detector.asked] == [(0.6, 0.7, 0.8), (0.5, 0.6, 0.6)]
    assert [search.factor for search in detector.asked] == [0.709, 0.8]
    assert find(detector, [photograph], Search(), "largest", relax=False) == [None] and len(detector.asked) == 3
    at_once = find(detector, [photograph, blank], Search(thresholds=(0.4, 0.9, 0.5)), "largest")
    assert not at_once[0].relaxed and at_once[0].face.box.tolist() == [left, top, right, bottom]
    assert detector.asked[-1].thresholds == (0.4, 0.6, 0.5)  # never above those that were asked for


def test_cutting_is_exact_and_black_outside():
    image = RANDOM.randint(1, 256, (40, 50, 3)).astype(np.uint8)
    inside, outside = cut_patches(image, np.array([[5.0, 6, 17, 18], [-12, 0, 0, 12]]), 12)
    assert np.array_equal(inside, image[6:18, 5:17]) and not outside.any()


def test_landmarks_of_a_mirror_image_come_back():
    points = RANDOM.uniform(0, 1, (4, 5, 2))
    mirrored = np.stack([1 - points[..., 0], points[..., 1]], axis=-1)[:, [1, 0, 2, 4, 3]]
    assert np.allclose(without_mirrors(np.concatenate([points, mirrored])), points)
