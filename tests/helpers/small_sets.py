"""Small training and verification sets for the tests, written with MXNet's own packer, not with ours."""
from __future__ import annotations

import pickle

import cv2
import mxnet as mx
import numpy as np


def draw(identity, index, size=112):
    """A picture that its identity decides up to noise: coloured blobs at places of its own."""
    random = np.random.RandomState(identity)
    image = np.full((size, size, 3), random.randint(40, 200, 3), np.uint8)
    for _ in range(6):
        centre = tuple(int(value) for value in random.randint(10, size - 10, 2))
        cv2.circle(image, centre, int(random.randint(8, 24)), tuple(int(v) for v in random.randint(0, 256, 3)), -1)
    noise = np.random.RandomState([identity, index, 1])
    image = np.roll(image, tuple(noise.randint(-4, 5, 2)), (0, 1))
    return np.clip(image + noise.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def jpeg(image):
    """JPEG bytes of (H, W, 3) uint8 RGB."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def write_training_set(folder, identities=6, images=8, size=112, labels=None, classes=None):
    """train.rec, train.idx and property in InsightFace's layout; labels: what to store instead of 0, 1, 2, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    record = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "w")
    key, ranges, body = 1, [], []
    for identity in range(identities):
        first = key
        for index in range(images):
            label = identity if labels is None else labels[identity]
            header = mx.recordio.IRHeader(0, float(label), key, 0)
            body.append((key, mx.recordio.pack(header, jpeg(draw(identity, index, size)))))
            key += 1
        ranges.append((first, key))
    headers = [(key + i, mx.recordio.pack(mx.recordio.IRHeader(2, [float(a), float(b)], key + i, 0), b""))
               for i, (a, b) in enumerate(ranges)]
    zero = mx.recordio.pack(mx.recordio.IRHeader(2, [float(key), float(key + identities)], 0, 0), b"")
    for number, content in [(0, zero), *body, *headers]:
        record.write_idx(number, content)
    record.close()
    (folder / "property").write_text(f"{classes or identities},{size},{size}")
    return folder


def write_verification_set(path, pairs=40, identities=20, size=112, first=100):
    """A .bin of `pairs` pairs, same and different in turn, of identities that the training set does not have."""
    images, same = [], []
    for pair in range(pairs):
        left = first + pair % identities
        right = left if pair % 2 == 0 else first + (pair + 7) % identities
        images += [jpeg(draw(left, pair, size)), jpeg(draw(right, 1000 + pair, size))]
        same.append(pair % 2 == 0)
    path.write_bytes(pickle.dumps((images, same), protocol=2))
    return path
