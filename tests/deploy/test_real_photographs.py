"""embed, compare and search with MTCNN and the published MobileFaceNet, on real photographs."""
from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from recordio_cases import command

from deploy.__main__ import main
from eval.embedding_file import load_embeddings


@pytest.fixture(scope="module")
def place(shared_data, tmp_path_factory):
    """A folder with a gallery of three people's photographs."""
    folder = tmp_path_factory.mktemp("photographs")
    for person in ("003", "008", "014"):
        (folder / "src" / person).mkdir(parents=True)
        for name in ("01", "02", "03"):
            photograph = shared_data / f"cfp_raw/Images/{person}/frontal/{name}.jpg"
            (folder / f"src/{person}/{name}.jpg").symlink_to(photograph)
    assert main(["embed", *flags(shared_data), str(folder / "src"), "--out", str(folder / "gallery.npz")]) == 0
    return folder


def flags(shared_data):
    return ["--model", f"{shared_data}/weights/mobilefacenet-y1-ms1m,0", "--devices", "cpu:0", "--detector",
            f"{shared_data}/weights/mtcnn"]


def test_photographs_are_embedded_as_their_aligned_crops(place, shared_data, tmp_path):
    assert command("align", place / "src", tmp_path / "faces", "--detector", shared_data / "weights/mtcnn") == (0, "")
    assert main(["embed", *flags(shared_data)[:4], str(tmp_path / "faces"), "--out", str(tmp_path / "x.npz")]) == 0
    ours, crops = load_embeddings(place / "gallery.npz"), load_embeddings(tmp_path / "x.npz")
    assert ours.names.tolist() == crops.names.tolist() and ours.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert (ours.embeddings * crops.embeddings).sum(axis=1).min() > 0.99  # but for JPEG's rounding


def test_everybody_in_a_group_is_found(place, shared_data, tmp_path):
    parts = [cv2.imread(str(shared_data / f"cfp_raw/Images/{person}/frontal/05.jpg")) for person in ("014", "003")]
    height = max(part.shape[0] for part in parts)
    cv2.imwrite(str(tmp_path / "group.png"), np.hstack([
        cv2.copyMakeBorder(part, 0, height - part.shape[0], 0, 0, cv2.BORDER_CONSTANT) for part in parts]))
    assert main(["search", *flags(shared_data), str(place / "gallery.npz"), str(tmp_path / "group.png"), "--top", "1",
                 "--threshold", "1.3", "--json", str(tmp_path / "a.json")]) == 0
    (told,) = json.loads((tmp_path / "a.json").read_text())["photographs"]
    assert len(told["faces"]) == 2
    for face in told["faces"]:
        person = "014" if face["box"][0] < parts[0].shape[1] else "003"
        assert face["matches"][0]["person"] == person
    for person, status in (("003", 0), ("014", 0), ("008", 3)):
        assert main(["compare", *flags(shared_data), str(tmp_path / "group.png"),
                     str(shared_data / f"cfp_raw/Images/{person}/frontal/04.jpg"), "--threshold", "1.3"]) == status
