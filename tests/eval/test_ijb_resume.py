"""`python -m eval ijb --embeddings`: what is kept, how a stopped run resumes, and images that are gone."""
from __future__ import annotations

import json

import numpy as np
import pytest
from ijb_cases import place, run  # noqa: F401

from common.errors import UserError
from eval import embedding_parts
from eval.__main__ import main
from eval.models import checkpoint_digest
from eval.templates import ijb_images
from eval.templates.ijb_files import read_images
from images.alignment import align


def test_embeddings_made_once_give_the_same(place):  # noqa: F811
    folder = place[0]
    first = run(place, "--embeddings", str(folder / "kept"))
    made, = (folder / "kept").glob("*.npz")
    out = folder / "again.json"
    main(["ijb", "--model", str(made), "--images", f"{folder}/gone", "--meta", f"{folder}/meta", "--fpr", "1e-2,1e-1",
          "--json", str(out), "--fpir", "0.2,0.4", "--bootstrap", "20"])
    again = json.loads(out.read_text())[str(made)]
    assert again["1:1"] == first["1:1"] and again["1:N"] == first["1:N"]
    assert again["model_sha256"] == first["model_sha256"] == checkpoint_digest(str(folder / "net"), 0)
    with pytest.raises(UserError, match="is of the layer fc1, not of pre_fc1"):
        main(["ijb", "--model", str(made), "--images", f"{folder}/gone", "--meta", f"{folder}/meta", "--layer",
              "pre_fc1"])


def test_a_run_that_was_stopped_continues(place, monkeypatch, tmp_path):  # noqa: F811
    """Stopped in the middle of the images, then with a part that is damaged: the same numbers, and no crop twice."""
    batch = ("--batch-size", "4")  # embeddings depend in their last bits on the size of the batch
    whole, cropped = run(place, *batch), []

    def counting(image, points, *size):
        cropped.append(1)
        if len(cropped) == stop:
            raise KeyboardInterrupt
        return align(image, points, *size)

    monkeypatch.setattr(ijb_images, "align", counting)
    monkeypatch.setattr(embedding_parts, "PART", 8)
    monkeypatch.setattr(ijb_images, "usable_cores", lambda: 1)
    flags, images, stop = ("--embeddings", str(tmp_path), *batch), len(place[1]), 19
    with pytest.raises(KeyboardInterrupt):
        run(place, *flags)
    (folder,) = tmp_path.glob("*.partial")
    first, second = sorted(folder.iterdir())[:2]
    second.write_bytes(b"PK damaged")
    cropped.clear()
    stop = 0
    assert run(place, *flags) == whole
    assert len(cropped) == images - 8 and not folder.exists() and len(list(tmp_path.glob("*.npz"))) == 1


def test_embeddings_are_kept_by_whatever_changes_them(place, tmp_path):  # noqa: F811
    """An image that was broken and is whole, mirror images left out: made anew, and each to be had again."""
    folder, flags, whole = place[0], ("--embeddings", str(tmp_path), "--protocol", "1:1"), run(place)
    data = (folder / "loose_crop" / "8.jpg").read_bytes()
    (folder / "loose_crop" / "8.jpg").write_bytes(b"no image")
    try:
        assert run(place, *flags)["lost_images"] == 1
    finally:
        (folder / "loose_crop" / "8.jpg").write_bytes(data)
    found = run(place, *flags)
    assert found["lost_images"] == 0 and found["1:1"] == whole["1:1"]
    assert run(place, *flags, "--no-flip")["1:1"] == run(place, "--protocol", "1:1", "--no-flip")["1:1"]
    assert len(list(tmp_path.glob("*.npz"))) == 3 and run(place, *flags) == found
    images = read_images(folder / "meta")
    keys = {ijb_images.crops_digest(images, folder / "loose_crop", size) for size in ((48, 48), (64, 64), (48, 64))}
    assert len(keys) == 3


@pytest.mark.parametrize("change, says", [
    ({}, None), ({"flip": False}, "another flip"), ({"model": {"name": "a,1", "sha256": "2"}}, "another model"),
    ({"set": {"path": "x", "sha256": "9"}, "layer": "fc2"}, "another set and another layer"),
    ({"model": {"name": "moved/a,1", "sha256": "1"}, "set": {"path": "moved", "sha256": "8"}}, None)])
def test_a_part_that_does_not_fit_is_reported_and_made_again(tmp_path, caplog, change, says):
    meta = {"model": {"name": "a,1", "sha256": "1"}, "set": {"path": "x", "sha256": "8"}, "layer": "fc1", "flip": True}
    unit, norms = np.eye(3, 4, dtype=np.float32), np.ones(3, np.float32)
    kept = embedding_parts.EmbeddingParts(tmp_path / "a.npz", list("abcde"), meta)
    kept.add(unit, norms)
    kept.flush()
    again = embedding_parts.EmbeddingParts(tmp_path / "a.npz", list("abcde"), {**meta, **change})
    assert len(list(again.read())) == (says is None)
    assert (says or "") in caplog.text and len(caplog.records) == (says is not None)
    other = embedding_parts.EmbeddingParts(tmp_path / "a.npz", list("abXde"), meta)
    assert not list(other.read()) and "other images" in caplog.text


def test_a_missing_image_is_ignored_and_reported(place, caplog):  # noqa: F811
    folder = place[0]
    data = (folder / "loose_crop" / "8.jpg").read_bytes()
    (folder / "loose_crop" / "8.jpg").write_bytes(b"no image")
    try:
        assert run(place, "--protocol", "1:1")["lost_images"] == 1
    finally:
        (folder / "loose_crop" / "8.jpg").write_bytes(data)
    assert "1 of 32 images are unavailable" in caplog.text and "8.jpg" in caplog.text
