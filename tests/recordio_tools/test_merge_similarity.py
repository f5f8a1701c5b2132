"""merge by likeness: cosines against plain numpy, means against plain forward passes, and real faces in two halves."""
import csv
import json
import shutil

import mxnet as mx
import numpy as np
import pytest
from recordio_cases import command, picture, write_image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from small_nets import draw_parameters, forward, small_symbol

from common.errors import UserError
from common.union_find import UnionFind
from images.codec import decode
from inference import similarity
from inference.identity_means import CheckpointSpec, MeanEmbedder
from recordio_tools.bins.binfile import write_bin
from recordio_tools.faces import faces_of_pairs, open_faces

SIZE = (48, 40)


def unit(count, dimension, seed):
    vectors = np.random.RandomState(seed).normal(size=(count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("count, others", [(1, 1), (7, 20), (20, 7), (33, 33)])
def test_blocks_make_no_difference(monkeypatch, count, others):
    monkeypatch.setattr(similarity, "BLOCK", 8)
    one, other = unit(count, 5, 0), unit(others, 5, 1)
    other[-1] = other[0]
    cosines = one.astype(np.float64) @ other.T.astype(np.float64)
    place, value = similarity.best_matches(one, other)
    np.testing.assert_allclose(value, cosines.max(axis=1), atol=1e-6)
    np.testing.assert_array_equal(place, cosines.argmax(axis=1))
    own = one.astype(np.float64) @ one.T.astype(np.float64)
    pairs, value = similarity.pairs_above(one, 0.3)
    expected = [(i, j) for i in range(count) for j in range(i + 1, count) if own[i, j] >= 0.3]
    assert pairs.tolist() == [list(pair) for pair in expected]
    np.testing.assert_allclose(value, [own[pair] for pair in expected], atol=1e-6)


def test_too_many_pairs_and_none(monkeypatch):
    monkeypatch.setattr(similarity, "MOST_MATCHES", 40)
    with pytest.raises(UserError, match="`threshold` -0.5: more than 40 pairs"):
        similarity.pairs_above(unit(30, 3, 0), -0.5)
    for count in (0, 1):
        pairs, value = similarity.pairs_above(unit(3, 3, 0)[:count], 0.5)
        assert pairs.shape == (0, 2) and len(value) == 0
    place, value = similarity.best_matches(unit(3, 3, 0), np.empty((0, 3), np.float32))
    assert (value == -np.inf).all()


def test_groups_are_connected_components():
    random = np.random.RandomState(0)
    for count, edges in ((1, 0), (30, 10), (200, 150)):
        groups, pairs = UnionFind(count), random.randint(0, count, (edges, 2))
        for one, other in pairs.tolist():
            groups.union(one, other)
        graph = coo_matrix((np.ones(edges), (pairs[:, 0], pairs[:, 1])), (count, count))
        number, label = connected_components(graph, directed=False)
        members = groups.members()
        assert len(members) == number and sorted(sum(members, [])) == list(range(count))
        assert all(len(set(label[group])) == 1 and group == sorted(group) for group in members)
        assert [group[0] for group in members] == sorted(group[0] for group in members)
        assert all(groups.find(member) == group[0] for group in members for member in group)


def test_the_identities_of_a_bin(tmp_path):
    a, b, c, d, e = (bytes([number]) * 5 for number in range(1, 6))
    write_bin(tmp_path / "x.bin", [a, b, c, d, b, c, e, a], [True, False, True, False])
    faces = faces_of_pairs(tmp_path / "x.bin")
    assert [[faces.read(number) for number in images.tolist()] for images in faces.images] == [[a, b, c], [d], [e]]
    assert faces.count == 5 and "x.bin: image 3 (from 0)" in faces.where(3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    prefix = str(tmp_path_factory.mktemp("model") / "small")
    symbol = small_symbol()
    mx.model.save_checkpoint(prefix, 3, symbol, *draw_parameters(symbol, SIZE))
    return prefix


def plain_mean(checkpoint, images):
    """The mean unit embedding by MXNet's own forward pass in float64."""
    symbol, arguments, auxiliary = mx.model.load_checkpoint(checkpoint, 3)
    arguments["fc1_gamma"][:] = 1
    vectors = forward(symbol, arguments, auxiliary, images) + forward(symbol, arguments, auxiliary, images[:, :, ::-1])
    vectors = vectors.astype(np.float64)
    mean = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(axis=0)
    return mean / np.linalg.norm(mean)


def folder_of(path, people):
    for name, seeds in people.items():
        for seed in seeds:
            write_image(path / name / f"{seed}.jpg", picture(seed, *SIZE))
    return path


def test_means_are_those_of_plain_forward_passes(checkpoint, tmp_path):
    folder_of(tmp_path, {"a": range(3), "b": [10], "c": range(20, 27)})
    (tmp_path / "a/7.jpg").write_bytes(b"no image")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/1.jpg").write_bytes(b"none")
    embedder = MeanEmbedder(CheckpointSpec(checkpoint, 3, "cpu", batch_size=4, images=4), SIZE)
    with open_faces(tmp_path) as faces:
        means = embedder.means(faces, faces.images)
        chosen = [[0, 1, 2], [0], [0, 2, 4, 6], []]  # evenly over the 7; a/7.jpg is the fourth of a
        for identity, places in enumerate(chosen):
            images = [decode(faces.read(int(faces.images[identity][place]))) for place in places]
            if images:
                np.testing.assert_allclose(means[identity], plain_mean(checkpoint, np.stack(images)), atol=1e-5)
        assert (means[3] == 0).all() and means.dtype == np.float32
    write_image(tmp_path / "b/0.jpg", picture(0, 48, 48))
    with open_faces(tmp_path) as faces, pytest.raises(UserError, match="b/0.jpg: is 48x48, the sets .* 48x40"):
        embedder.means(faces, faces.images)


def packed(path, people):
    folder_of(path / "faces", people)
    assert command("pack", path / "faces", path / "set", "--image-size", "48,40")[0] == 0
    return path / "set"


def kept(out):
    return [row["identity"] for row in csv.DictReader(open(out / "identities.csv"))]


def test_the_same_pictures_are_found_in_every_kind_of_set(checkpoint, tmp_path):
    data = packed(tmp_path / "a", {"Ann": [1, 2], "Bob": [3, 4], "Cy": [5], "Dee": [6], "Eva": [7]})
    folder = folder_of(tmp_path / "other", {"x": [3, 4], "y": [90]})
    bob = packed(tmp_path / "b", {"b": [3, 4], "z": [91]})
    images = [(tmp_path / f"a/faces/{name}.jpg").read_bytes() for name in ("Cy/5", "Dee/6", "Ann/1", "Ann/2")]
    write_bin(tmp_path / "x.bin", images, [False, True])
    near_one = ("--model", f"{checkpoint},3", "--threshold", 0.99999, "--batch-size", 3, "--devices", "cpu")
    for others, left in (([folder], ["Ann", "Cy", "Dee", "Eva"]), ([bob], ["Ann", "Cy", "Dee", "Eva"]),
                         ([tmp_path / "x.bin"], ["Bob", "Eva"]), ([folder, tmp_path / "x.bin"], None)):
        status, line = command("merge", tmp_path / "out", data, "--overwrite", "--overlap-with", *others, *near_one)
        if left is None:
            assert status == 2 and "1 of 5 identities would be left" in line
            continue
        assert (status, line) == (0, "") and kept(tmp_path / "out") == left
        rows = list(csv.DictReader(open(tmp_path / "out/matches.csv")))
        assert {row["identity"] for row in rows} == {"Ann", "Bob", "Cy", "Dee", "Eva"} - set(left)
        assert all(float(row["similarity"]) > 0.9999 and row["other_set"] == str(others[0]) for row in rows)
    report = json.loads((tmp_path / "out/merge-report.json").read_text())
    assert report["removed"] == {f"similar to one of {tmp_path / 'x.bin'}": {"identities": 3, "images": 4}}
    assert report["threshold"] == 0.99999


def test_duplicates_are_joined_or_dropped_and_joined_ones_leave_together(checkpoint, tmp_path):
    one = packed(tmp_path / "a", {"Ann": [1, 2], "Bob": [3, 4]})
    other = packed(tmp_path / "b", {"Bo": [3, 4], "Dee": [6], "Ann": [50], "Eva": [8], "Fay": [9]})
    likeness = ("--model", f"{checkpoint},3", "--threshold", 0.99999, "--devices", "cpu")
    assert command("merge", tmp_path / "out", one, other, "--overwrite", "--duplicates", "join", *likeness) == (0, "")
    assert kept(tmp_path / "out") == ["Ann", "Bob", "Ann", "Dee", "Eva", "Fay"]
    report = json.loads((tmp_path / "out/merge-report.json").read_text())
    assert (report["identities_joined"], report["repeated_images_left_out"]) == (1, 2)
    assert command("merge", tmp_path / "out", one, other, "--overwrite", "--duplicates", "drop", *likeness) == (0, "")
    assert kept(tmp_path / "out") == ["Ann", "Bob", "Ann", "Dee", "Eva", "Fay"]
    report = json.loads((tmp_path / "out/merge-report.json").read_text())
    assert report["removed"] == {"resembles an earlier one": {"identities": 1, "images": 2}}
    folder = folder_of(tmp_path / "ref", {"x": [50]})  # the other Ann's face, so both Anns go
    assert command("merge", tmp_path / "out", one, other, "--overwrite", "--same-name", "join",
                   "--overlap-with", folder,
                   *likeness) == (0, "")
    assert kept(tmp_path / "out") == ["Bob", "Bo", "Dee", "Eva", "Fay"]


@pytest.mark.parametrize("broken", ["conv_weight", "conv_bn_moving_var"])
def test_a_model_that_has_diverged_is_reported(tmp_path, broken):
    symbol = small_symbol()
    arguments, auxiliary = draw_parameters(symbol, SIZE)
    (arguments if broken in arguments else auxiliary)[broken][:] = np.nan if broken == "conv_weight" else -1
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, symbol, arguments, auxiliary)
    folder = folder_of(tmp_path / "faces", {"a": [1], "b": [2]})
    assert command("pack", folder, tmp_path / "set", "--image-size", "48,40")[0] == 0
    for words in (("--overlap-with", folder), ("--duplicates", "join")):
        status, line = command("merge", tmp_path / "out", tmp_path / "set", *words, "--model", f"{tmp_path}/net,3",
                               "--devices", "cpu")
        assert status == 1 and f"{tmp_path}/net,3: its embeddings of" in line and "diverged" in line
    assert not (tmp_path / "out").exists()


def test_the_other_half_of_real_faces_is_found_and_no_other(shared_data, tmp_path):
    taken = [path for path in sorted((shared_data / "lfw/images").iterdir()) if len(list(path.iterdir())) >= 8][:6]
    for folder in taken:
        for number, file in enumerate(sorted(folder.iterdir())[:8]):
            half = tmp_path / ("first" if number % 2 else "second")
            (half / folder.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, half / folder.name / file.name)
    shutil.rmtree(tmp_path / "second" / taken[0].name)
    shutil.rmtree(tmp_path / "second" / taken[1].name)
    assert command("pack", tmp_path / "first", tmp_path / "set")[0] == 0
    assert command("merge", tmp_path / "out", tmp_path / "set", "--overlap-with", tmp_path / "second", "--model",
                   f"{shared_data / 'weights/mobilefacenet-y1-ms1m'},0", "--devices", "cpu") == (0, "")
    assert kept(tmp_path / "out") == [taken[0].name, taken[1].name]
    rows = list(csv.DictReader(open(tmp_path / "out/matches.csv")))
    assert sorted((row["identity"], row["other_identity"]) for row in rows) == [(f.name, f.name) for f in taken[2:]]
