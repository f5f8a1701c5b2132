"""Thresholds of scores that are known, against counting by a loop."""
from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

from common.errors import UserError
from deploy.arguments import add_threshold_flags
from deploy.thresholds import choose_threshold

MODEL = "a" * 64


def write(path, scores, same, text=("1", "0"), head="pair,left,right,same,score,cosine,fold"):
    rows = [f"{number},a,b,{text[0] if one else text[1]},{score!r},0,0"
            for number, (score, one) in enumerate(zip(scores.tolist(), same.tolist()))]
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def drawn(genuine=300, impostors=5000, seed=0):
    random = np.random.RandomState(seed)
    scores = np.concatenate([random.normal(0.9, 0.3, genuine), random.normal(1.9, 0.25, impostors)]).clip(0, 4)
    scores = scores.round(3)  # with equals among them
    same = np.arange(genuine + impostors) < genuine
    order = random.permutation(len(scores))
    return scores[order], same[order]


def choose(*words):
    parser = argparse.ArgumentParser()
    add_threshold_flags(parser)
    parser.add_argument("--no-flip", action="store_true")
    return choose_threshold(parser.parse_args([str(word) for word in words]), MODEL, "fc1")


@pytest.mark.parametrize("target", [2e-4, 1e-3, 0.01, 0.3, 0.99])
def test_the_threshold_at_an_fpr_is_the_largest_that_keeps_it(tmp_path, target):
    scores, same = drawn()
    found = choose("--fpr", target, "--scores", write(tmp_path / "s.csv", scores, same))
    impostors = scores[~same]
    accepted = sum(score < found.score for score in impostors.tolist())
    assert accepted == found.rates.false_accepts and accepted / 5000 == found.fpr <= target
    assert found.rates.tpr == pytest.approx(np.mean([score < found.score for score in scores[same].tolist()]))
    above = impostors[impostors > found.score].min()  # a threshold beyond the next impostor would be too many
    assert (impostors <= above).sum() / 5000 > target
    assert ("~" in str(found)) == (accepted < 10) and f"{accepted} false accepts of 5000" in str(found)


def test_a_given_threshold_is_printed_with_its_fpr(tmp_path):
    scores, same = drawn(seed=1)
    path = write(tmp_path / "s.csv", scores, same, ("True", "False"))
    found = choose("--threshold", 1.5, "--scores", path)
    assert found.fpr == (scores[~same] < 1.5).mean() and found.rates.tpr == (scores[same] < 1.5).mean()
    assert choose("--threshold", 1.5).fpr is None and choose() is None
    assert "not known without --scores" in str(choose("--threshold", 1.5))
    assert choose("--scores", path).fpr <= 1e-3 and choose("--scores", path).cosine == 1 - choose("--scores",
                                                                                                 path).score / 2


def test_scores_of_an_image_and_its_copy(tmp_path):
    """`allpairs --scores` writes 2 - 2 cosine, and a cosine in float32 may be above 1 by several roundings."""
    scores, same = drawn()
    scores[np.argmax(same)] = -1.192093e-06
    found = choose("--fpr", 0.01, "--scores", write(tmp_path / "s.csv", scores, same))
    assert 0 < found.fpr <= 0.01 and found.rates.genuine == 300


def test_too_few_pairs_for_a_rate(tmp_path):
    scores, same = drawn(50, 300)
    path = write(tmp_path / "s.csv", scores, same)
    with pytest.raises(UserError, match="300 impostor pairs, and 1000 are needed for one false accept") as caught:
        choose("--fpr", 1e-3, "--scores", path)
    way_out = str(caught.value).split("--fpr ")[-1].split()[0]
    assert choose("--fpr", way_out, "--scores", path).rates.false_accepts == 1
    with pytest.raises(UserError, match="give scores of more pairs$"):
        choose("--fpr", 0.5, "--scores", write(tmp_path / "s.csv", *drawn(50, 1)))


def test_similarities_in_the_place_of_distances_are_told(tmp_path, caplog):
    scores, same = drawn()
    choose("--scores", write(tmp_path / "s.csv", scores, same))
    assert "column called cosine" not in caplog.text
    choose("--scores", write(tmp_path / "s.csv", 1 - scores / 4, same))
    assert "genuine pairs are farther apart" in caplog.text and "column called cosine" in caplog.text


@pytest.mark.parametrize("content, said", [
    ("", "not a table of scores"), ("same,score\n1,x\n", "line 2"), ("same,score\n1,9\n0,1\n", "from 0 to 4"),
    ("same,score\n1,0.5\n", "no impostor pairs"), ("same,score\n0,0.5\n", "no genuine pairs")])
def test_scores_that_give_no_threshold(tmp_path, content, said):
    (tmp_path / "s.csv").write_text(content)
    with pytest.raises(UserError, match=said):
        choose("--scores", tmp_path / "s.csv")


def test_scores_of_another_model_or_manner(tmp_path, caplog):
    path = write(tmp_path / "s.csv", *drawn())
    for meta, said in (({"model": {"sha256": "b" * 64, "name": "other"}}, "of another model, other"),
                       ({"model": {"sha256": MODEL}, "flip": False}, "give --no-flip"), ({"pca": 30}, "after --pca"),
                       ({"model": {"sha256": MODEL}, "layer": "pre_fc1"}, "pre_fc1, not of fc1; give --layer pre_fc1")):
        (tmp_path / "s.json").write_text(json.dumps(meta))
        with pytest.raises(UserError, match=said):
            choose("--scores", path)
    (tmp_path / "s.json").write_text(json.dumps({"model": {"sha256": MODEL}, "flip": True, "pca": None,
                                                "layer": "fc1"}))
    caplog.clear()
    assert choose("--scores", path).fpr and not caplog.text
    (tmp_path / "s.json").write_text(json.dumps({"model": None, "layer": None, "flip": None}))  # of a foreign .npz
    assert choose("--scores", path) == choose("--no-flip", "--scores", path)
    (tmp_path / "s.json").unlink()
    caplog.clear()
    assert choose("--scores", path).fpr and "has no sha256 of its model" in caplog.text


@pytest.mark.parametrize("words", [["--threshold", "0"], ["--threshold", "4.1"], ["--threshold", "nan"],
                                   ["--fpr", "1"], ["--fpr", "0"], ["--fpr", "x"]])
def test_numbers_out_of_range(words, capsys):
    with pytest.raises(SystemExit):
        choose(*words)
    assert words[0] in capsys.readouterr().err
