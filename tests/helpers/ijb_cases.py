"""A miniature in the formats of IJB, and its templates by plain numpy."""
from __future__ import annotations

import json

import cv2
import mxnet as mx
import numpy as np
import pytest
from small_nets import forward, save_spread
from small_sets import draw, jpeg

from eval.__main__ import main
from images.alignment import template

SIZE, FRAME, PEOPLE = 48, 80, 8


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A checkpoint; images of eight people at places of their own; two templates of each in one and two media."""
    folder = tmp_path_factory.mktemp("ijb")
    save_spread(folder, SIZE, 2, [draw(person, 0, SIZE) for person in range(16)])
    (folder / "loose_crop").mkdir()
    (folder / "meta").mkdir()
    random = np.random.RandomState(5)
    landmarks, members, number = [], [], 0
    for person in range(PEOPLE):
        for part in range(2):
            for medium in ((0, 1, 1), (2,))[part]:
                number += 1
                frame = np.full((FRAME, FRAME, 3), 60, np.uint8)
                shift = random.randint(4, FRAME - SIZE - 4, 2)
                frame[shift[1]:shift[1] + SIZE, shift[0]:shift[0] + SIZE] = draw(person + 40, number, SIZE)
                (folder / "loose_crop" / f"{number}.jpg").write_bytes(jpeg(frame))
                points = (template(SIZE, SIZE) * random.uniform(0.9, 1.1) + shift + random.normal(0, 0.4, (5, 2)))
                landmarks.append((f"{number}.jpg", points.round(3), round(random.uniform(0.3, 1), 4)))
                members.append((f"{number}.jpg", 100 + 2 * person + part, 10 * person + medium))
    members.append(("1.jpg", 101, 99))  # an image in a second template too
    (folder / "meta" / "x_name_5pts_score.txt").write_text("".join(
        f"{name} {' '.join(f'{value:.3f}' for value in points.ravel())} {score}\n"
        for name, points, score in landmarks))
    (folder / "meta" / "x_face_tid_mid.txt").write_text("".join(f"{a} {b} {c}\n" for a, b, c in members))
    ids = [100 + index for index in range(2 * PEOPLE)]
    pairs = [(one, other, int(one // 2 == other // 2)) for one in ids for other in ids if one < other]
    (folder / "meta" / "x_template_pair_label.txt").write_text("".join(f"{a} {b} {c}\n" for a, b, c in pairs))
    for name, people in (("G1", range(0, 3)), ("G2", range(3, 6))):
        (folder / "meta" / f"x_1N_gallery_{name}.csv").write_text("TEMPLATE_ID,SUBJECT_ID,FILENAME\n" + "".join(
            f"{100 + 2 * person},s{person},a.jpg\n" * 2 for person in people))
    (folder / "meta" / "x_1N_probe_mixed.csv").write_text("TEMPLATE_ID,SUBJECT_ID\n" + "".join(
        f"{101 + 2 * person},s{person}\n" for person in range(PEOPLE)))
    (folder / "meta" / "x_1N_probe_img.csv").write_text("TEMPLATE_ID,SUBJECT_ID\n101,wrong\n")
    return folder, landmarks, members, pairs


def crop(image, points):
    """By the similarity that least squares gives, solved as a linear system."""
    target = template(SIZE, SIZE)
    rows, right = [], []
    for (x, y), (u, v) in zip(points, target):
        rows += [(x, -y, 1, 0), (y, x, 0, 1)]
        right += [u, v]
    a, b, shift_x, shift_y = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    return cv2.warpAffine(image, np.array([(a, -b, shift_x), (b, a, shift_y)]), (SIZE, SIZE))


def expected_templates(place, keep=True, score=True, flip=True):
    folder, landmarks, members, _ = place
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(folder / "net"), 0)
    faces = np.stack([crop(np.ascontiguousarray(cv2.imread(str(folder / "loose_crop" / name))[..., ::-1]), points)
                      for name, points, _ in landmarks])
    views = [faces, faces[:, :, ::-1]][:1 + flip]
    every = sum(forward(symbol, arguments, auxiliary, np.ascontiguousarray(view)) for view in views)
    features = {}
    for (name, _, detected), feature in zip(landmarks, every):
        feature = feature if keep else feature / np.linalg.norm(feature)
        features[name] = feature * (detected if score else 1)
    made = {}
    for number in sorted({number for _, number, _ in members}):
        media = {}
        for name, other, medium in members:
            if other == number:
                media.setdefault(medium, []).append(features[name])
        total = sum(np.mean(some, axis=0) for some in media.values())
        made[number] = total / np.linalg.norm(total)
    return made


def run(place, *more):
    folder = place[0]
    out = folder / "out.json"
    assert main(["ijb", "--model", f"{folder}/net,0", "--images", f"{folder}/loose_crop", "--meta", f"{folder}/meta",
                 "--image-size", f"{SIZE},{SIZE}", "--fpr", "1e-2,1e-1", "--json", str(out), "--devices", "cpu:0",
                 "--fpir", "0.2,0.4", "--bootstrap", "20", *more]) == 0
    return json.loads(out.read_text())[f"{folder}/net,0"]
