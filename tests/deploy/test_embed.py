"""`python -m deploy embed`: the file it writes, against MXNet's plain forward pass and against eval's own."""
from __future__ import annotations

import csv
import hashlib
import json
import os
import pickle

import cv2
import mxnet as mx
import numpy as np
import pytest
from small_nets import draw_parameters, forward, small_symbol
from small_onnx import by_numpy, small_onnx
from small_sets import draw, jpeg, write_training_set, write_verification_set

import deploy.embed
from common.errors import RunError, UserError
from deploy.__main__ import main
from eval.__main__ import main as eval_main
from eval.embedding_file import load_embeddings

SIZE, DIMENSION = 48, 16


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two checkpoints of a small network, people in folders, and the same people packed."""
    folder = tmp_path_factory.mktemp("embed")
    symbol = small_symbol(DIMENSION)
    for epoch in (1, 2):
        arguments, auxiliary = draw_parameters(symbol, (SIZE, SIZE), seed=epoch)
        mx.model.save_checkpoint(str(folder / "net"), epoch, symbol, arguments, auxiliary)
    for person in range(5):
        for index in range(4):
            name = folder / f"faces/p{person}/{index}.jpg"
            name.parent.mkdir(parents=True, exist_ok=True)
            name.write_bytes(jpeg(draw(person, index, SIZE)))
    write_training_set(folder / "packed", 5, 4, SIZE)
    return folder


def embed(place, out, *flags, source="faces", model="net,1"):
    """What a command that ends well writes."""
    sources = [source] if isinstance(source, str) else source
    argv = ["embed", "--model", str(place / model), *(str(place / one) for one in sources), "--out", str(out),
            "--devices", "cpu:0", "--batch-size", "8", *map(str, flags)]
    assert main(argv) == 0
    return load_embeddings(out)


def expected(place, contents, flip=True, epoch=1):
    """Unit embeddings and norms of encoded images, by one plain forward pass of MXNet."""
    symbol = small_symbol(DIMENSION)
    images = np.stack([cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] for data in contents])
    parameters = draw_parameters(symbol, (SIZE, SIZE), seed=epoch)
    added = forward(symbol, *parameters, images)
    if flip:
        added = added + forward(symbol, *parameters, images[:, :, ::-1])
    norms = np.linalg.norm(added, axis=1)
    return added / norms[:, None], norms


def contents_of(place):
    return [path.read_bytes() for path in sorted((place / "faces").glob("*/*.jpg"))]


@pytest.mark.parametrize("flip", [True, False])
def test_a_folder_by_identity(place, tmp_path, flip):
    made = embed(place, tmp_path / "x.npz", *([] if flip else ["--no-flip"]))
    unit, norms = expected(place, contents_of(place), flip)
    assert made.embeddings.dtype == made.norms.dtype == np.float32
    np.testing.assert_allclose(made.embeddings, unit, atol=2e-5)
    np.testing.assert_allclose(made.norms, norms, rtol=2e-5)
    assert made.names.tolist() == [f"p{person}/{index}.jpg" for person in range(5) for index in range(4)]
    assert made.labels.tolist() == np.repeat(np.arange(5), 4).tolist()
    digest = hashlib.sha256((place / "net-symbol.json").read_bytes() + (place / "net-0001.params").read_bytes())
    assert made.meta["model"]["sha256"] == digest.hexdigest() and made.meta["flip"] is flip
    assert made.meta["layer"] == "fc1" and made.meta["alignment"]["image_size"] == [SIZE, SIZE]
    assert {"mxnet", "numpy", "python"} <= set(made.meta["versions"]) and made.meta["people"][4] == "p4"
    assert sorted(os.listdir(tmp_path)) == ["x.npz"]


def test_eval_takes_the_file_and_calls_the_set_the_same(place, tmp_path):
    made = embed(place, tmp_path / "x.npz")
    flags = ["--set", f"{place}/faces", "--fpr", "0.1", "--bootstrap", "0", "--json"]
    assert eval_main(["allpairs", "--model", f"{place}/net,1", "--embeddings", str(tmp_path / "own"), "--devices",
                      "cpu:0", *flags, str(tmp_path / "a.json")]) == 0
    assert eval_main(["allpairs", "--model", str(tmp_path / "x.npz"), *flags, str(tmp_path / "b.json")]) == 0
    (theirs,) = map(load_embeddings, (tmp_path / "own").glob("*.npz"))
    assert not made.unlike(theirs) and made.meta["model"]["sha256"] == theirs.meta["model"]["sha256"]
    np.testing.assert_allclose(made.embeddings, theirs.embeddings, atol=1e-6)
    (one,), (other,) = (list(next(iter(json.loads((tmp_path / name).read_text()).values())).values())
                        for name in ("a.json", "b.json"))
    assert one["tpr_at_fpr"] == other["tpr_at_fpr"]


def test_every_kind_of_source(place, tmp_path):
    by_folder = embed(place, tmp_path / "folder.npz")
    packed = embed(place, tmp_path / "packed.npz", source="packed/train.rec")
    np.testing.assert_allclose(packed.embeddings, by_folder.embeddings, atol=1e-6)
    assert packed.names.tolist() == [str(key) for key in range(1, 21)]
    assert packed.labels.tolist() == by_folder.labels.tolist()
    assert np.array_equal(embed(place, tmp_path / "set.npz", source="packed").embeddings, packed.embeddings)
    flat = embed(place, tmp_path / "flat.npz", source="faces/p2")
    assert flat.labels is None and flat.names.tolist() == [f"{index}.jpg" for index in range(4)]
    np.testing.assert_allclose(flat.embeddings, by_folder.embeddings[8:12], atol=1e-6)
    files = embed(place, tmp_path / "files.npz", source=["faces/p3/1.jpg", "faces/p0/2.jpg"])
    assert files.labels is None and files.names.tolist() == [f"{place}/faces/p3/1.jpg", f"{place}/faces/p0/2.jpg"]
    np.testing.assert_allclose(files.embeddings, by_folder.embeddings[[13, 2]], atol=1e-6)
    assert embed(place, tmp_path / "none.npz", "--no-labels").labels is None
    assert embed(place, tmp_path / "all.npz", "--select", "all").labels.tolist() == packed.labels.tolist()  # crops
    write_verification_set(tmp_path / "pairs.bin", 6, 4, SIZE)
    pairs = embed(place, tmp_path / "pairs.npz", source=str(tmp_path / "pairs.bin"))
    images, _ = pickle.loads((tmp_path / "pairs.bin").read_bytes())
    assert pairs.labels is None and pairs.names.tolist() == [str(number) for number in range(12)]
    np.testing.assert_allclose(pairs.embeddings, expected(place, images)[0], atol=2e-5)


def test_several_devices_and_an_onnx_file(place, tmp_path):
    alone = embed(place, tmp_path / "one.npz")
    several = embed(place, tmp_path / "two.npz", "--devices", "cpu:0,cpu:1")
    np.testing.assert_allclose(several.embeddings, alone.embeddings, atol=1e-6)
    assert embed(place, tmp_path / "other.npz", "--layer", "pre_fc1").meta["layer"] == "pre_fc1"
    _, weight = small_onnx(tmp_path / "net.onnx", size=(SIZE, SIZE))
    made = embed(place, tmp_path / "onnx.npz", model=str(tmp_path / "net.onnx"))
    images = np.stack([cv2.imdecode(np.frombuffer(data, np.uint8), 1)[..., ::-1] for data in contents_of(place)])
    added = by_numpy(weight, images) + by_numpy(weight, images[:, :, ::-1])
    np.testing.assert_allclose(made.embeddings, added / np.linalg.norm(added, axis=1)[:, None], atol=1e-4)
    assert made.meta["model"]["sha256"] == hashlib.sha256((tmp_path / "net.onnx").read_bytes()).hexdigest()


def test_what_cannot_be_embedded_is_named_and_listed(place, tmp_path, caplog):
    for person in ("a", "b"):
        (tmp_path / "src" / person).mkdir(parents=True)
        for index in range(12):
            (tmp_path / f"src/{person}/{index}.jpg").write_bytes(jpeg(draw(ord(person), index, SIZE)))
    (tmp_path / "src/a/3.jpg").write_bytes(b"no image at all")
    (tmp_path / "src/a/4.jpg").write_bytes(jpeg(draw(1, 1, SIZE))[:700])
    (tmp_path / "src/b/0.jpg").write_bytes(b"")
    (tmp_path / "src/b/1.jpg").write_bytes(jpeg(draw(1, 1, 64)))
    (tmp_path / "src/b/11.jpg").unlink()
    os.mkfifo(tmp_path / "src/b/11.jpg")
    made = embed(place, tmp_path / "x.npz", source=str(tmp_path / "src"))
    assert len(made.names) == 19 and made.labels.tolist() == [0] * 10 + [1] * 9
    assert made.names[3] == "a/5.jpg" and made.meta["set"]["failures"] == 5
    left = [(tmp_path / "src" / name).read_bytes() for name in made.names]
    np.testing.assert_allclose(made.embeddings, expected(place, left)[0], atol=2e-5)
    with open(tmp_path / "x.failures.csv", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [["path", "label", "reason"], ["a/3.jpg", "a", "no image"], ["a/4.jpg", "a", "truncated"],
                    ["b/0.jpg", "b", "empty"], ["b/1.jpg", "b", "is 64x64, not 48x48"],
                    ["b/11.jpg", "b", "no regular file"]]
    assert "a/3.jpg: no image" in caplog.text and "5 images have no embedding" in caplog.text


def test_none_at_all_is_a_failure(place, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.jpg").write_bytes(b"\xff\xd8\xff no image")
    with pytest.raises(RunError, match="none of its 1 images gave an embedding"):
        embed(place, tmp_path / "x.npz", "--image-size", "48,48", source=str(tmp_path / "src"))
    assert sorted(os.listdir(tmp_path)) == ["src", "x.failures.csv"]


def test_photographs_without_a_detector_are_told_of_it(place, tmp_path):
    (tmp_path / "src").mkdir()
    cv2.imwrite(str(tmp_path / "src/a.jpg"), np.zeros((64, 60, 3), np.uint8))
    with pytest.raises(RunError, match=r"none of its 1 images .*; --detector MODELDIR crops faces from photographs"):
        embed(place, tmp_path / "x.npz", "--image-size", "48,48", source=str(tmp_path / "src"))


@pytest.mark.parametrize("flags, source, said", [
    (["--model", "{}/net,9"], "faces", "net-0009.params"), (["--model", "{}/x.npz"], "faces", "precomputed"),
    (["--model", "{}/net"], "faces", "2 checkpoints; give one"), ([], "nothing", "there is no such file"),
    ([], "net-0001.params", "neither an image"), (["--layer", "fc9"], "faces", "no such layer"),
    (["--image-size", "20,48"], "faces", "does not take images of 20x48"), (["--devices", "gpu:9"], "faces", "gpu:9"),
    (["--detector", "{}/none"], "faces", "det1"), (["--out", "{}/faces.txt"], "faces", "ends in .npz"),
    (["--out", "{}/packed/property/x.npz"], "faces", "cannot be written")])
def test_unusable_arguments_end_in_one_line(place, tmp_path, flags, source, said):
    argv = ["embed", "--model", f"{place}/net,1", str(place / source), "--out", str(tmp_path / "x.npz"),
            *(flag.format(place) for flag in flags)]
    with pytest.raises(UserError) as caught:
        main(argv)
    assert said in str(caught.value) and "\n" not in str(caught.value) and not os.listdir(tmp_path)


def test_a_file_that_is_there_is_replaced_by_overwrite_alone(place, tmp_path):
    embed(place, tmp_path / "x.npz")
    with pytest.raises(UserError, match="overwrite"):
        embed(place, tmp_path / "x.npz", source="packed")
    assert len(embed(place, tmp_path / "x.npz", "--overwrite", source="faces/p1").names) == 4


def test_folders_that_are_not_identities(place, tmp_path):
    for name in ("train/a/1.jpg", "test/b/2.jpg"):
        (tmp_path / "src" / name).parent.mkdir(parents=True)
        (tmp_path / "src" / name).write_bytes(jpeg(draw(1, 1, SIZE)))
    with pytest.raises(UserError, match="--no-labels"):
        embed(place, tmp_path / "x.npz", source=str(tmp_path / "src"))
    made = embed(place, tmp_path / "x.npz", "--no-labels", source=str(tmp_path / "src"))
    assert made.names.tolist() == ["test/b/2.jpg", "train/a/1.jpg"] and made.labels is None
    (tmp_path / "src/loose.jpg").write_bytes(jpeg(draw(1, 2, SIZE)))
    made = embed(place, tmp_path / "y.npz", source=f"{tmp_path}/src/train/..")
    assert made.names.tolist() == ["loose.jpg", "test/b/2.jpg", "train/a/1.jpg"] and made.labels is None


def test_photographs_of_many_sizes_are_not_crops(place, tmp_path):
    for side in (40, 48, 64, 70):
        (tmp_path / f"{side}.jpg").write_bytes(jpeg(draw(1, 1, side)))
    with pytest.raises(UserError, match="--detector"):
        embed(place, tmp_path / "x.npz", source=str(tmp_path))


def test_embeddings_that_are_not_finite(place, tmp_path, monkeypatch):
    def broken(self, batches, flip=False):
        return (np.full((2, len(batch), DIMENSION), np.nan, np.float32) for batch in batches)
    monkeypatch.setattr("inference.embedder.Embedder.embed", broken)
    with pytest.raises(RunError, match="not finite, so it has diverged; use an earlier epoch"):
        embed(place, tmp_path / "x.npz")
    assert deploy.embed and not (tmp_path / "x.npz").exists()
