"""`compare` and `search`: scores against numpy, every face of a photograph, thresholds, exit statuses, refusals."""
from __future__ import annotations

import csv
import json

import drawn_photographs
import mxnet as mx
import numpy as np
import pytest
from drawn_photographs import SIDE, photograph
from small_nets import draw_parameters, forward, small_symbol
from small_sets import draw, jpeg, write_verification_set

from common.errors import UserError
from deploy.__main__ import main
from eval.__main__ import main as eval_main
from eval.embedding_file import Embeddings, load_embeddings, save_embeddings

DIMENSION = 16


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two checkpoints, crops of ten people, and a gallery of three images of each by the first."""
    folder = tmp_path_factory.mktemp("search")
    symbol = small_symbol(DIMENSION)
    for epoch in (1, 2):
        mx.model.save_checkpoint(str(folder / "net"), epoch, symbol, *draw_parameters(symbol, (SIDE, SIDE), epoch))
    for person in range(10):
        (folder / f"faces/p{person}").mkdir(parents=True)
        for index in range(3):
            (folder / f"faces/p{person}/{index}.jpg").write_bytes(jpeg(draw(person, index, SIDE)))
        (folder / f"probe{person}.jpg").write_bytes(jpeg(draw(person, 9, SIDE)))
    assert main(["embed", "--model", f"{folder}/net,1", f"{folder}/faces", "--out", f"{folder}/gallery.npz",
                 "--devices", "cpu:0"]) == 0
    return folder


def unit(images):
    """(n, D) unit embeddings of RGB images by MXNet's plain forward pass."""
    symbol = small_symbol(DIMENSION)
    parameters = draw_parameters(symbol, (SIDE, SIDE), 1)
    images = np.stack(images)
    added = forward(symbol, *parameters, images) + forward(symbol, *parameters, images[:, :, ::-1])
    return added / np.linalg.norm(added, axis=1)[:, None]


def decoded(path):
    import cv2
    return cv2.imread(str(path))[..., ::-1]


def run(place, *words, status=0):
    """A command's JSON."""
    argv = [words[0], "--model", f"{place}/net,1", *map(str, words[1:]), "--devices", "cpu:0", "--json",
            str(place / "answer.json")]
    assert main(argv) == status
    return json.loads((place / "answer.json").read_text())


def score_of(place, one, other):
    first, second = unit([decoded(one), decoded(other)])
    return float(np.square(first - second).sum())


def test_two_crops(place, capsys):
    one, other = place / "probe1.jpg", place / "faces/p1/0.jpg"
    score = score_of(place, one, other)
    answer = run(place, "compare", one, other, "--threshold", 2 * score)
    assert answer["same"] is True and answer["score"] == pytest.approx(score, abs=1e-5)
    assert answer["cosine"] == pytest.approx(1 - score / 2, abs=1e-5) and answer["threshold"]["fpr"] is None
    assert "same: score" in capsys.readouterr().out
    answer = run(place, "compare", one, other, "--threshold", score / 2, status=3)
    assert answer["same"] is False and "different: score" in capsys.readouterr().out
    answer = run(place, "compare", one, other)
    assert answer["same"] is None and answer["threshold"] is None
    assert "no decision is made" in capsys.readouterr().out


def test_json_on_standard_output(place, capsys):
    argv = ["compare", "--model", f"{place}/net,1", f"{place}/probe1.jpg", f"{place}/probe2.jpg", "--json"]
    assert main(argv) == 0
    assert json.loads(capsys.readouterr().out)["pairs"][0]["faces"] == [0, 0]
    before = (place / "probe1.jpg").read_bytes()
    with pytest.raises(UserError, match="is not a JSON file"):
        main(["search", "--model", f"{place}/net,1", f"{place}/gallery.npz", f"{place}/probe2.jpg", "--json",
              f"{place}/probe1.jpg"])
    assert (place / "probe1.jpg").read_bytes() == before


def test_the_scores_of_verify_give_the_threshold(place, tmp_path, capsys):
    write_verification_set(tmp_path / "drawn.bin", 60, 20, SIDE)
    assert eval_main(["verify", "--model", f"{place}/net,1", "--bins", str(tmp_path / "drawn.bin"), "--bootstrap", "0",
                      "--scores", str(tmp_path / "scores"), "--devices", "cpu:0"]) == 0
    (file,) = (tmp_path / "scores").glob("**/*.csv")
    with open(file, newline="") as stream:
        impostors = [float(row["score"]) for row in csv.DictReader(stream) if row["same"] == "0"]
    argv = ["compare", f"{place}/probe1.jpg", f"{place}/probe1.jpg", "--fpr", "0.1", "--scores", str(file), "--devices",
            "cpu:0", "--json", str(tmp_path / "a.json"), "--model"]
    assert main([*argv, f"{place}/net,1"]) == 0
    told = json.loads((tmp_path / "a.json").read_text())["threshold"]
    assert sum(score < told["threshold"] for score in impostors) == told["false_accepts"] == 3 and told["fpr"] == 0.1
    assert "FPR ~10%" in capsys.readouterr().out
    with pytest.raises(UserError, match="scores of another model"):
        main([*argv, f"{place}/net,2"])


def test_every_face_of_both_photographs(place, tmp_path, monkeypatch, capsys):
    drawn_photographs.install(monkeypatch)
    left = unit(photograph(tmp_path / "a.png", [1, 2, 3]))
    right = unit(photograph(tmp_path / "b.png", [4, 3], 1))
    scores = np.square(left[:, None] - right[None]).sum(axis=2)
    with open(tmp_path / "scores.csv", "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["pair", "left", "right", "same", "score", "cosine", "fold"])
        rows.writerows([[number, 0, 0, int(number < 10), number / 100, 0, 0] for number in range(110)])
    flags = ["--detector", "mtcnn", "--image-size", f"{SIDE},{SIDE}"]
    answer = run(place, "compare", tmp_path / "a.png", tmp_path / "b.png", *flags, "--threshold", 3.9, "--scores",
                 tmp_path / "scores.csv")
    assert len(answer["pairs"]) == 6 and [len(image["faces"]) for image in answer["images"]] == [3, 2]
    for pair in answer["pairs"]:
        assert pair["score"] == pytest.approx(scores[tuple(pair["faces"])], abs=0.02)
    best = np.unravel_index(scores.argmin(), scores.shape)
    assert answer["score"] == min(pair["score"] for pair in answer["pairs"]) and best == (2, 1)
    assert answer["images"][0]["faces"][1]["box"][:2] == [88, 20]
    out = capsys.readouterr().out
    assert "a.png face 3 of 3 at 156,20" in out and "the nearest of 6 pairs" in out and "at most 100%" in out
    photograph(tmp_path / "none.png", [])
    answer = run(place, "compare", tmp_path / "a.png", tmp_path / "none.png", *flags, "--threshold", 1, status=4)
    assert answer["same"] is None and answer["images"][1]["reason"] == "no face found"


def test_search_is_that_of_a_loop(place, capsys):
    gallery = load_embeddings(place / "gallery.npz")
    probes = [place / f"probe{person}.jpg" for person in (4, 7)]
    answer = run(place, "search", place / "gallery.npz", *probes, "--top", 4)
    for probe, told in zip(probes, answer["photographs"]):
        one = unit([decoded(probe)])[0]
        scores = [float(np.square(one - other).sum()) for other in gallery.embeddings]
        order = sorted(range(30), key=lambda number: scores[number])[:4]
        matches = told["faces"][0]["matches"]
        assert [match["name"] for match in matches] == [gallery.names[number] for number in order]
        assert [match["score"] for match in matches] == pytest.approx([scores[number] for number in order], abs=1e-5)
        assert [match["person"] for match in matches] == [f"p{gallery.labels[number]}" for number in order]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10 and lines[0] == f"{probes[0]}:"
    middle = (scores[order[0]] + scores[order[1]]) / 2
    answer = run(place, "search", place / "gallery.npz", probes[1], "--threshold", middle)
    assert len(answer["photographs"][0]["faces"][0]["matches"]) == 1
    run(place, "search", place / "gallery.npz", probes[1], "--threshold", scores[order[0]] / 2, status=3)
    assert "no match within the threshold" in capsys.readouterr().out


def test_every_command_takes_an_only_output_of_another_name(place, tmp_path, monkeypatch, capsys):
    symbol = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=5, name="embedding")
    parameters = draw_parameters(symbol, (SIDE, SIDE))
    mx.model.save_checkpoint(str(tmp_path / "net"), 1, symbol, *parameters)
    one, other = place / "probe1.jpg", place / "faces/p1/0.jpg"
    images = np.stack([decoded(one), decoded(other)])
    made = forward(symbol, *parameters, images) + forward(symbol, *parameters, images[:, :, ::-1])
    made /= np.linalg.norm(made, axis=1)[:, None]
    score = pytest.approx(np.square(made[0] - made[1]).sum(), abs=1e-6)
    assert run(tmp_path, "compare", one, other)["score"] == score
    gallery = ["embed", "--model", f"{tmp_path}/net,1", str(other), "--out", f"{tmp_path}/g.npz", "--devices", "cpu:0"]
    assert main(gallery) == 0
    found = run(tmp_path, "search", tmp_path / "g.npz", one)["photographs"][0]["faces"][0]["matches"]
    assert [match["score"] for match in found] == [score]
    write_verification_set(tmp_path / "faces.bin", pairs=20, size=SIDE)
    scored = ["verify", "--model", f"{tmp_path}/net,1", f"--bins={tmp_path}/faces.bin", "--bootstrap", "0", "--json"]
    eval_main([*scored, f"{tmp_path}/scores.json"])
    capsys.readouterr()
    assert main(["card", "--model", f"{tmp_path}/net,1", "--image-size", f"{SIDE},{SIDE}", "--json", "--scores",
                 f"{tmp_path}/scores.json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["output"]["name"] == "embedding_output" and "faces" in card["scores"]["rows"]


def test_search_with_every_face_and_what_is_not_an_image(place, tmp_path, monkeypatch, caplog):
    drawn_photographs.install(monkeypatch)
    photograph(tmp_path / "group.png", [8, 5])
    photograph(tmp_path / "none.png", [])
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    flags = ["--detector", "mtcnn", "--top", 1]
    answer = run(place, "search", place / "gallery.npz", tmp_path / "group.png", *flags)
    faces = answer["photographs"][0]["faces"]
    assert [face["matches"][0]["person"] for face in faces] == ["p8", "p5"]
    assert "aligned differently" in caplog.text
    from deploy.search import difference_of
    made = {"detector": "MTCNN", "min_face": 50, "image_size": [112, 112]}
    assert difference_of(made, {**made, "min_face": 20}) == "min face 50 there, 20 here"
    assert difference_of(made, {**made, "detector": "none, aligned crops"}) == "it was made with a detector"
    assert difference_of({**made, "detector": "none, aligned crops"}, made) == "it was made of aligned crops"
    assert difference_of(made, dict(made)) == difference_of(None, made) == ""
    run(place, "search", place / "gallery.npz", tmp_path / "none.png", *flags, status=4)
    answer = run(place, "search", place / "gallery.npz", tmp_path / "broken.jpg", tmp_path / "group.png", *flags,
                 status=1)
    assert answer["photographs"][0]["faces"] == [] and len(answer["photographs"][1]["faces"]) == 2


def test_a_gallery_of_photographs_with_all_faces(place, tmp_path, monkeypatch):
    drawn_photographs.install(monkeypatch)
    (tmp_path / "src").mkdir()
    crops = photograph(tmp_path / "src/a.png", [1, 2, 3]) + photograph(tmp_path / "src/b.png", [4])
    photograph(tmp_path / "src/c.png", [])
    argv = ["embed", "--model", f"{place}/net,1", str(tmp_path / "src"), "--detector", "mtcnn", "--devices", "cpu:0",
            "--image-size", f"{SIDE},{SIDE}", "--batch-size", "2", "--out"]
    assert main([*argv, str(tmp_path / "all.npz"), "--select", "all"]) == 0
    made = load_embeddings(tmp_path / "all.npz")
    assert made.names.tolist() == ["a.png#1", "a.png#2", "a.png#3", "b.png#1"] and made.labels is None
    np.testing.assert_allclose(made.embeddings, unit(crops), atol=0.02)
    assert (tmp_path / "all.failures.csv").read_text().splitlines()[1:] == ["c.png,,no face found"]
    assert main([*argv, str(tmp_path / "one.npz"), "--select", "largest"]) == 0
    one = load_embeddings(tmp_path / "one.npz")
    assert one.names.tolist() == ["a.png", "b.png"] and one.meta["alignment"]["select"] == "largest"
    np.testing.assert_allclose(one.embeddings, made.embeddings[[0, 3]], atol=1e-6)
    answer = run(place, "search", tmp_path / "all.npz", tmp_path / "src/a.png", "--detector", "mtcnn", "--top", 1)
    assert [face["matches"][0]["name"] for face in answer["photographs"][0]["faces"]] == made.names[:3].tolist()


@pytest.mark.parametrize("change, said", [
    (dict(model={"sha256": "f" * 64, "name": "other\x1b[2J"}), "was made by another model"),
    (dict(model=None), "has no sha256 of its model"), (dict(model={"sha256": 5}), "has no sha256 of its model"),
    (dict(layer="pre_fc1"), "--layer pre_fc1"), (dict(flip=False), "give --no-flip")])
def test_a_gallery_of_another_making_is_refused(place, tmp_path, change, said):
    gallery = load_embeddings(place / "gallery.npz")
    save_embeddings(tmp_path / "g.npz", Embeddings(gallery.embeddings, gallery.norms, gallery.names, gallery.labels,
                                                   {**gallery.meta, **change}))
    with pytest.raises(UserError, match=said) as caught:
        main(["search", "--model", f"{place}/net,1", str(tmp_path / "g.npz"), f"{place}/probe1.jpg"])
    assert "\x1b" not in str(caught.value)
    with pytest.raises(UserError, match="another model"):
        main(["search", "--model", f"{place}/net,2", f"{place}/gallery.npz", f"{place}/probe1.jpg"])


@pytest.mark.parametrize("words, said", [
    (["probe1.jpg", "none.jpg"], "there is no such file"), (["probe1.jpg", "faces"], "is a folder"),
    (["probe1.jpg", "net-symbol.json"], "cannot be used: no image"), (["probe1.jpg", "big.jpg"], "--detector"),
    (["probe1.jpg", "probe2.jpg", "--fpr", "1e-3"], "--scores"),
    (["probe1.jpg", "probe2.jpg", "--fpr", "1e-3", "--threshold", "1"], "give one of them"),
    (["probe1.jpg", "probe2.jpg", "--scores", "net-symbol.json"], "not a table of scores")])
def test_what_cannot_be_compared_ends_in_one_line(place, words, said):
    (place / "big.jpg").write_bytes(jpeg(draw(1, 1, 60)))
    paths = [word if word.startswith("-") or word[0].isdigit() else str(place / word) for word in words]
    with pytest.raises(UserError) as caught:
        main(["compare", "--model", f"{place}/net,1", *paths])
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_named_and_not_the_size_they_might_have(place, tmp_path):
    """The network does not take the 112x112 that is assumed where no image has a size."""
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(b"\xff\xd8\xff no image")
    argv = ["--model", f"{place}/net,1", "--devices", "cpu:0"]
    both = f"{tmp_path}/0.jpg: cannot be used: no image; {tmp_path}/1.jpg: cannot be used: no image"
    for flags in ([], ["--image-size", f"{SIDE},{SIDE}"]):
        with pytest.raises(UserError) as caught:
            main(["compare", *argv, f"{tmp_path}/0.jpg", f"{tmp_path}/1.jpg", *flags])
        assert str(caught.value) == both
    with pytest.raises(UserError, match=f"; 2.jpg: .*: no image; nor can any other of the 5 images of {tmp_path} that"):
        main(["embed", *argv, str(tmp_path), "--out", f"{tmp_path}/x.npz"])
    (tmp_path / "1.jpg").write_bytes(jpeg(draw(1, 1, 60)))
    with pytest.raises(UserError, match="does not take images of 60x60.*; --detector"):  # now it is the size
        main(["compare", *argv, f"{tmp_path}/0.jpg", f"{tmp_path}/1.jpg"])
