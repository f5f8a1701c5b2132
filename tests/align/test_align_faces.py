"""align on real photographs: faces found, crops as good as those everyone uses, the same on any devices and turned."""
from __future__ import annotations

import json
import shutil
import subprocess
import sys

import cv2
import mxnet as mx
import numpy as np
import pytest
from PIL import Image
from recordio_cases import command

from align.landmark_table import read_table
from align.photographs import list_photographs
from benchmarks.align import BATCH, all_pairs, distances, embed, interval, judged
from eval.metrics import accuracy_10fold
from inference.embedder import Embedder
from inference.model import load_model

# What a camera stores for each orientation that EXIF has.
SIDEWAYS = {2: lambda image: image[:, ::-1], 3: lambda image: image[::-1, ::-1], 4: lambda image: image[::-1],
            5: lambda image: image.transpose(1, 0, 2), 6: np.rot90,
            7: lambda image: image[::-1, ::-1].transpose(1, 0, 2), 8: lambda image: np.rot90(image, -1)}


@pytest.fixture(scope="module")
def aligned(shared_data, tmp_path_factory):
    """The crops of the photographs of every second identity of Celebrities in Frontal-Profile that is here; of all:
    python -m benchmarks.align."""
    folder = tmp_path_factory.mktemp("align")
    (folder / "photographs").mkdir()
    for person in sorted((shared_data / "cfp_raw/Images").iterdir())[1::2]:
        (folder / "photographs" / person.name).symlink_to(person)
    out = folder / "faces"
    assert command("align", folder / "photographs", out, "--detector", shared_data / "weights/mtcnn") == (0, "")
    return out


def test_the_networks_load_without_a_word(tmp_path, shared_data):
    argv = ["align", shared_data / "cfp_raw/Images/014/profile", tmp_path, "--detector", shared_data / "weights/mtcnn"]
    done = subprocess.run([sys.executable, "-m", "recordio_tools", *map(str, argv)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and "4 crops" in done.stdout


def test_a_detector_is_known_by_its_networks_not_by_its_path(tmp_path, shared_data):
    """Crops of replaced networks were kept beside new ones; MODELDIR written otherwise made all of them again."""
    photographs, out = tmp_path / "photographs", tmp_path / "out"
    photographs.mkdir()
    shutil.copy(next((shared_data / "cfp_raw/Images/014/frontal").iterdir()), photographs)
    shutil.copytree(shared_data / "weights/mtcnn", tmp_path / "copy")
    (tmp_path / "copy").chmod(0o755)

    def done_before(detector):
        assert command("align", photographs, out, "--detector", detector) == (0, "")
        return json.loads((out / "align-report.json").read_text())["done_before"]

    assert [done_before(shared_data / "weights/mtcnn"), done_before(tmp_path / "copy")] == [0, 1]
    symbol = tmp_path / "copy/det2-symbol.json"
    text = symbol.read_text()
    symbol.unlink()
    symbol.write_text(text + "\n")
    assert [done_before(tmp_path / "copy"), done_before(tmp_path / "copy")] == [0, 1]


def test_nearly_all_faces_are_found(aligned):
    report = json.loads((aligned / "align-report.json").read_text())
    assert report["photographs"] == 140 and report["found"] + report["found_relaxed"] >= 0.97 * 140
    assert report["skipped"] == 0


def test_crops_verify_as_well_as_those_of_the_aligned_set(aligned, shared_data):
    """Half of the pairs are of profiles; the published MobileFaceNet, the same pairs for both sets of crops."""
    images = list_photographs(aligned, aligned / "none").images
    model = load_model(str(shared_data / "weights/mobilefacenet-y1-ms1m"), 0)
    embedder = Embedder(*model, [mx.cpu()], BATCH, (112, 112))
    theirs, ours = (embed(embedder, [root / name for name in images])
                    for root in (shared_data / "cfp/Data/Images", aligned))
    for pairs in all_pairs(images):
        right, accuracy = [], []
        for embeddings in (theirs, ours):
            scores = distances(pairs, embeddings)
            right.append(judged(scores, pairs.same))
            accuracy.append(accuracy_10fold(scores, pairs.same)[0])
            assert right[-1].mean() == pytest.approx(accuracy[-1])
        assert pairs.same.sum() >= 388 and pairs.same.mean() == 0.5  # of 97% of the images there
        low, high = interval(pairs, right[1].astype(float) - right[0])
        assert accuracy[1] >= accuracy[0] - 0.01, pairs.name
        assert high > 0 and low > -0.04  # by chance alone, and not far below in any case


def test_several_devices_make_the_same_crops(tmp_path, aligned, shared_data):
    """Up to the last digit of a landmark, as what else is in a batch changes a network's last bits."""
    source = shared_data / "cfp_raw/Images/014"
    assert command("align", source, tmp_path, "--detector", shared_data / "weights/mtcnn", "--devices", "cpu:0,cpu:1",
                   "--workers", 1) == (0, "")
    one, two = (read_table(folder / "landmarks.csv", "/") for folder in (aligned, tmp_path))
    assert len(two) >= 13
    for name, row in two.items():
        assert np.abs(row.array() - one[f"014/{name}"].array()).max() < 0.003
        crops = [cv2.imread(str(path)).astype(float) for path in (tmp_path / name, aligned / "014" / name)]
        assert np.abs(crops[0] - crops[1]).mean() < 0.5  # of 255; OpenCV warps in 32nds of a pixel


def test_a_photograph_taken_sideways_gives_the_upright_crop(tmp_path, shared_data):
    """By detection up to what JPEG's losses do to the landmarks, with given landmarks up to its losses alone."""
    source = tmp_path / "photographs"
    source.mkdir()
    upright = np.asarray(Image.open(shared_data / "cfp_raw/Images/003/frontal/02.jpg"))
    for orientation, stored in {1: np.asarray, **SIDEWAYS}.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.fromarray(np.ascontiguousarray(stored(upright)))
        image.save(source / f"{orientation}.jpg", quality=97, subsampling=0, exif=exif)
    assert command("align", source, tmp_path / "found", "--detector", shared_data / "weights/mtcnn") == (0, "")
    points = {name: row.array() for name, row in read_table(tmp_path / "found/landmarks.csv", source).items()}
    eyes = np.linalg.norm(points["1.jpg"][1] - points["1.jpg"][0])
    assert all(np.abs(one - points["1.jpg"]).max() < 0.03 * eyes for one in points.values()) and len(points) == 8
    header, row = (tmp_path / "found/landmarks.csv").read_text().splitlines()[:2]
    rows = [row.replace("1.jpg", f"{number}.jpg", 1) for number in range(1, 9)]
    (tmp_path / "points.csv").write_text("\n".join([header, *rows]) + "\n")
    assert command("align", source, tmp_path / "given", "--landmarks", tmp_path / "points.csv") == (0, "")
    crops = [cv2.imread(str(tmp_path / "given" / f"{number}.jpg")).astype(float) for number in range(1, 9)]
    assert all(np.abs(crop - crops[0]).mean() < 2 for crop in crops)
