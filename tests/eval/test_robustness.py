"""`python -m eval robustness`: how crops are moved, and its rates against embeddings made one by one."""
from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from allpairs_command_cases import SIZE, place  # noqa: F401
from small_onnx import by_numpy, small_onnx
from small_sets import draw

from common.errors import UserError
from eval.__main__ import main
from eval.all_pairs import Side, score_all_pairs
from eval.misalignment import Misalignment, misalign
from eval.operating_points import rates_above
from eval.score_file import read_scores


def smooth(number):
    return cv2.GaussianBlur(draw(number, 0, 64), (0, 0), 3)


def test_how_crops_are_moved():
    images = np.stack([smooth(number) for number in range(6)])
    assert misalign(images, Misalignment(), 0) is images
    for how in (Misalignment(shift=3), Misalignment(rotate=20), Misalignment(scale=1.2)):
        whole = misalign(images, how, 0, 5)
        assert np.array_equal(whole[2:4], misalign(images[2:4], how, 2, 5))  # of number and seed alone
        assert (whole != images).any(axis=(1, 2, 3)).all()
    random = np.random.RandomState([5, 0])
    angle = random.uniform(0, 2 * np.pi)
    whole = misalign(images, Misalignment(shift=4), 0, 5)
    centre = np.array([32.0, 32.0])
    across, down = 4 * np.cos(angle), 4 * np.sin(angle)
    expected = cv2.getRectSubPix(images[0], (20, 20), tuple(map(float, centre - (across, down))))
    got = cv2.getRectSubPix(whole[0], (20, 20), tuple(map(float, centre)))
    assert abs(expected.astype(int) - got).max() <= 6
    grown = misalign(images, Misalignment(scale=2.0), 0)
    assert abs(cv2.resize(images[1][16:48, 16:48], (64, 64)).astype(int) - grown[1])[8:-8, 8:-8].mean() < 3
    assert not misalign(images, Misalignment(scale=0.5), 0)[:, 0, 0].any()
    assert misalign(images, Misalignment(scale=0.5), 0, border="reflect")[:, 0, 0].any()
    turned = misalign(images, Misalignment(rotate=180), 0)
    assert abs(turned[3].astype(int) - images[3][::-1, ::-1]).mean() < 1
    quarter = misalign(images, Misalignment(rotate=90), 0, 5).astype(int)
    ways = [[abs(one - np.rot90(image, way)).mean() < 1 for way in (1, -1)] for one, image in zip(quarter, images)]
    assert np.sum(ways, axis=1).tolist() == [1] * 6 and np.any(ways, axis=0).all()  # either way, by the image


def test_the_rates_at_a_threshold():
    random = np.random.RandomState(0)
    unit = random.randn(80, 6)
    side = Side((unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32), random.randint(0, 9, 80))
    cosines = (side.unit @ side.unit.T)[np.triu_indices(80, 1)]
    genuine = (side.person[:, None] == side.person)[np.triu_indices(80, 1)]
    for keep, error in ((1 << 20, 1e-12), (5, 2e-3)):
        for cosine in (-0.3, 0.1, 0.6):
            tpr, fpr = rates_above(score_all_pairs(side, None, keep), cosine)
            assert tpr == pytest.approx((cosines[genuine] > cosine).mean(), abs=1e-12)
            assert fpr == pytest.approx((cosines[~genuine] > cosine).mean(), abs=error)


def run(place, *flags):  # noqa: F811
    out = place / "curve.json"
    assert main(["robustness", "--model", f"{place}/net,1", "--set", f"{place}/faces", "--fpr", "0.1", "--bootstrap",
                 "20", "--devices", "cpu:0", "--json", str(out), *flags]) == 0
    (curve,) = json.loads(out.read_text()).values()
    return curve


def test_a_curve_begins_with_the_aligned_set(place, tmp_path, capsys):  # noqa: F811
    curve = run(place, "--between", "frontal,profile", "--shift", "0,3", "--rotate", "15", "--scale", "1,0.8", "--plot",
                str(tmp_path / "curve.svg"))
    assert [(row["shift"], row["rotate"], row["scale"]) for row in curve] == [(0, 0, 1), (3, 0, 1), (0, 15, 1),
                                                                             (0, 0, 0.8)]
    assert (tmp_path / "curve.svg").read_bytes().count(b"<svg") == 1
    assert curve[0]["tpr"] == curve[0]["at_aligned_threshold"]["tpr"] and curve[0]["at_aligned_threshold"]["fpr"] <= 0.1
    assert all(row["interval"][0] <= row["tpr"] <= row["interval"][1] for row in curve[:1])
    assert "shift 3" in capsys.readouterr().out
    main(["allpairs", "--model", f"{place}/net,1", "--set", f"{place}/faces", "--fpr", "0.1", "--between",
          "frontal,profile", "--json", str(tmp_path / "all.json"), "--bootstrap", "20", "--devices", "cpu:0"])
    ((row,),) = (rows.values() for rows in json.loads((tmp_path / "all.json").read_text()).values())
    assert row["tpr_at_fpr"]["0.1"] == curve[0]["tpr"] and row["interval"]["0.1"] == curve[0]["interval"]


def test_one_side_of_a_set_against_itself(place):  # noqa: F811
    both, second = run(place, "--shift", "0,6"), run(place, "--shift", "0,6", "--side", "second")
    assert both[0]["tpr"] == second[0]["tpr"]  # each pair twice changes no rate
    assert second[0]["false_accepts"] == 2 * both[0]["false_accepts"] + second[0]["false_accepts"] % 2
    assert both[1] != second[1]


def test_common_flags_mean_what_they_mean_elsewhere(place, tmp_path, capsys):  # noqa: F811
    """Against allpairs on the aligned set, and against scores written by pair."""
    flags = ("--shift", "0,6", "--fpr", "0.1,0.02", "--pca", "4", "--threshold", "1.1", "--folds", "10")
    first, moved = run(place, *flags, "--embeddings", str(tmp_path / "kept"), "--scores", str(tmp_path / "scores"))
    told = capsys.readouterr().out
    assert "fitted on the scored set itself" in told and "FPR 0.02" in told
    main(["allpairs", "--model", f"{place}/net,1", "--set", f"{place}/faces", "--fpr", "0.1,0.02", "--pca", "4",
          "--threshold", "1.1", "--json", str(tmp_path / "all.json"), "--bootstrap", "20", "--devices", "cpu:0"])
    assert "fitted on the scored set itself" in capsys.readouterr().out
    ((row,),) = (rows.values() for rows in json.loads((tmp_path / "all.json").read_text()).values())
    assert row["pca_fitted_on"] == f"{place}/faces"
    assert first["tpr_at_fpr"] == row["tpr_at_fpr"] and first["at_threshold"] == row["at_threshold"]
    assert first["intervals"] == {name: row["interval"][name] for name in ("0.1", "0.02")}
    scores = read_scores(tmp_path / "scores" / "faces-shift-6.csv")
    accepted = scores.score < 1.1
    assert moved["at_threshold"][0]["tpr"] == pytest.approx(accepted[scores.same].mean())
    assert moved["at_threshold"][0]["fpr"] == pytest.approx(accepted[~scores.same].mean())
    kept = sorted((tmp_path / "kept").glob("*.npz"))
    times = [path.stat().st_mtime_ns for path in kept]
    assert len(kept) == 2 and run(place, *flags, "--embeddings", str(tmp_path / "kept")) == [first, moved]
    assert [path.stat().st_mtime_ns for path in kept] == times  # read, and not made again


def test_several_models_have_differences_under_each_misalignment(place, tmp_path, capsys):  # noqa: F811
    models = [f"{place}/net,1", f"{place}/other.onnx"]
    small_onnx(place / "other.onnx", size=(SIZE, SIZE), dimension=6)
    flags = ["--set", f"{place}/faces", "--fpr", "0.1,0.02", "--devices", "cpu:0", "--json", str(tmp_path / "o.json")]
    main(["robustness", "--model", *models, "--shift", "0,6", "--bootstrap", "20", *flags])
    first, second = json.loads((tmp_path / "o.json").read_text()).values()
    assert "shift 6" in capsys.readouterr().out.partition("other sign")[2] and "difference" not in first[0]
    for one, other in zip(first, second):
        found = other["difference"]["0.1"]
        assert found["to"] == models[0] and found["value"] == other["tpr"] - one["tpr"]
        assert found["interval"][0] <= found["interval"][1] and 0 <= found["other_sign"] <= 1
    main(["allpairs", "--model", *models, "--bootstrap", "20", *flags])  # of the aligned crops
    row = json.loads((tmp_path / "o.json").read_text())[models[1]][f"{place}/faces"]
    for rate in ("0.1", "0.02"):
        assert {**second[0]["difference"][rate], "tpr": row["difference"][rate]["value"]} == row["difference"][rate]


def test_a_projection_and_thresholds_of_another_set(place, capsys):  # noqa: F811
    first, _ = run(place, "--shift", "0,6", "--pca", "4", "--threshold-from", f"{place}/packed", "--between",
                   "frontal,profile")
    assert first["at_threshold"][0]["chosen_on"] == f"{place}/packed"
    assert f"fitted on {place}/packed" in capsys.readouterr().out


def test_scores_of_one_side_moved(place, tmp_path):  # noqa: F811
    _, moved = run(place, "--shift", "0,6", "--side", "second", "--scores", str(tmp_path), "--threshold", "1")
    scores = read_scores(tmp_path / "faces-shift-6.csv")
    assert len(scores.same) == 30 * 29
    assert scores.meta["pca"] == 0 and len(scores.meta["set"]["sha256"]) == len(scores.meta["model"]["sha256"]) == 64
    assert moved["at_threshold"][0]["fpr"] == pytest.approx((scores.score < 1)[~scores.same].mean())
    aligned = read_scores(tmp_path / "faces-aligned.csv")
    assert aligned.left_norm.tolist() == scores.left_norm.tolist()  # only the second image is moved
    assert abs(aligned.right_norm - scores.right_norm).max() > 1e-3


def test_an_onnx_file(tmp_path):
    """The curve of an ONNX file against its matrix by plain numpy."""
    for person in range(4):
        for index in range(3):
            path = tmp_path / f"faces/p{person}/{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", draw(person, index, 32))[1].tobytes())
    _, weight = small_onnx(tmp_path / "net.onnx", size=(32, 32), dimension=6)
    out = tmp_path / "curve.json"
    assert main(["robustness", "--model", f"{tmp_path}/net.onnx", "--set", f"{tmp_path}/faces", "--shift", "0,5",
                 "--fpr", "0.1", "--no-flip", "--bootstrap", "0", "--json", str(out)]) == 0
    images = np.stack([draw(person, index, 32)[..., ::-1] for person in range(4) for index in range(3)])
    person = np.repeat(np.arange(4), 3)
    same = (person[:, None] == person)[np.triu_indices(12, 1)]
    for row, how in zip(json.loads(out.read_text())[f"{tmp_path}/net.onnx"], (Misalignment(), Misalignment(shift=5))):
        pixels = misalign(images, how, 0)
        made = by_numpy(weight, pixels)
        unit = made / np.linalg.norm(made, axis=1, keepdims=True)
        cosines = (unit @ unit.T)[np.triu_indices(12, 1)]
        impostors = np.sort(cosines[~same])[::-1]
        assert row["tpr"] == pytest.approx((cosines[same] > impostors[int(0.1 * len(impostors))]).mean())


@pytest.mark.parametrize("flags, said", [
    (["--folds", "5"], "have no folds; leave --folds out"), (["--pca", "17"], "--pca 17: 1 to 16"),
    (["--threshold-from", "none"], "none"), (["--plot", "a.pdf"], ".svg or .png"), (["--shift", "-1"], None),
    (["--model", "a.npz"], "embedded again")])
def test_unusable_arguments(place, flags, said):  # noqa: F811
    given = {"--model": f"{place}/net,1", "--set": f"{place}/faces", flags[0]: flags[1]}
    with pytest.raises(UserError if said else SystemExit, match=said):
        main(["robustness", *(part for pair in given.items() for part in pair)])
