"""Verification sets, `python -m eval verify`, and its numbers against an independent computation."""
from __future__ import annotations

import json
import pickle
import subprocess
import sys

import cv2
import mxnet as mx
import numpy as np
import pytest
from repository import REPO
from sklearn import metrics as sk
from sklearn.model_selection import KFold
from sklearn.preprocessing import normalize
from small_nets import draw_parameters, forward, small_symbol
from small_sets import draw, jpeg, write_verification_set

from common import cli
from common.errors import RunError, UserError
from eval.__main__ import main
from eval.bootstrap import draw_resamples
from eval.verification import VerificationSet, verify_set
from inference.embedder import Embedder

SIZE = 48


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A checkpoint of a small network, and a set of pairs that it tells apart better than chance."""
    folder = tmp_path_factory.mktemp("verify")
    symbol = small_symbol(16)
    arguments, auxiliary = draw_parameters(symbol, (SIZE, SIZE), seed=1)
    mx.model.save_checkpoint(str(folder / "net"), 0, symbol, arguments, auxiliary)
    write_verification_set(folder / "faces.bin", pairs=50, size=SIZE)
    return folder


def pixels(images):
    return np.stack([cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] for image in images])


def expected_row(place, name="faces", flip=True):
    """The table's row by MXNet's plain forward pass, scikit-learn and a loop."""
    images, same = pickle.loads((place / f"{name}.bin").read_bytes())
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(place / "net"), 0)
    views = [pixels(images), pixels(images)[:, :, ::-1]][:1 + flip]
    raw = [forward(symbol, arguments, auxiliary, view) for view in views]
    unit, same = normalize(sum(raw)), np.array(same)
    scores = ((unit[0::2] - unit[1::2]) ** 2).sum(1)
    rights = []
    for train, test in KFold(10).split(scores):
        best = max(np.arange(0, 4, 0.01), key=lambda t: np.sum((scores[train] < t) == same[train]))
        rights.append(np.mean((scores[test] < best) == same[test]))
    fpr, tpr, _ = sk.roc_curve(same, -scores, drop_intermediate=False)
    return {"target": name, "pairs": len(same), "accuracy": np.mean(rights), "accuracy_std": np.std(rights),
            "tpr": tpr[fpr <= 0.1].max(), "auc": sk.auc(fpr, tpr),
            "xnorm": np.mean([np.linalg.norm(row) for view in raw for row in view])}


def run(place, *flags):
    command = ["verify", "--model", f"{place}/net,0", "--json", f"{place}/out.json", "--devices", "cpu:0", *flags]
    assert main(command) == 0
    (rows,) = json.loads((place / "out.json").read_text()).values()
    return rows


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("flags", [(), ("--batch-size", "7", "--devices", "cpu:0,cpu:1")], ids=["one", "two devices"])
def test_the_numbers_equal_an_independent_computation(place, capsys, flip, flags):
    found = run(place, "--bins", f"{place}/faces.bin", "--fpr", "0.1,0.02", *flags, *([] if flip else ["--no-flip"]))
    expected = expected_row(place, flip=flip)
    assert 0.55 < expected["accuracy"] < 1
    row = found["faces"]
    assert {key: row[key] for key in expected} == pytest.approx(expected, rel=1e-5)
    assert row["fpr_target"] == 0.1 and row["tpr_at_fpr"]["0.1"] == row["tpr"] >= row["tpr_at_fpr"]["0.02"]
    assert 0 < row["eer"] < 0.5 and row["flip"] is flip and row["model"] == f"{place}/net,0"
    head, line = capsys.readouterr().out.splitlines()
    assert len(head) == len(line) and "TPR@FPR=10%" in head and "TPR@FPR=2%" in head
    assert line.split()[:3] == ["faces", "50", f"{100 * expected['accuracy']:.2f}"]


def test_several_sets_of_one_name_and_of_several_sizes_of_image(place, tmp_path, capsys):
    write_verification_set(tmp_path / "faces.bin", pairs=12, size=SIZE)
    found = run(place, "--bins", f"{place}/faces.bin", f"{tmp_path}/faces.bin", "--folds", "4", "--layer", "pre_fc1")
    assert {name: row["pairs"] for name, row in found.items()} == {
        f"{place}/faces.bin": 50, f"{tmp_path}/faces.bin": 12}
    assert len({len(line) for line in capsys.readouterr().out.splitlines()}) == 1


def test_pca_and_folds_are_passed_on(place):
    flags = ("--bins", f"{place}/faces.bin", "--folds", "5")
    plain, projected = run(place, *flags)["faces"], run(place, *flags, "--pca", "3")["faces"]
    assert (plain["pca"], projected["pca"], projected["folds"]) == (None, 3, 5)
    assert projected["xnorm"] == plain["xnorm"] and projected["auc"] != plain["auc"]


def test_an_fpr_finer_than_the_set_is_reported(place, caplog):
    run(place, "--bins", f"{place}/faces.bin", "--fpr", "0.1,1e-3")
    assert [record.message for record in caplog.records if "false accept" in record.message] == [
        "faces: has 25 different pairs, so TPR at FPR 0.001 is not given: no false accept is allowed"]


def write(path, images, same):
    path.write_bytes(pickle.dumps((images, same), protocol=2))
    return path


def test_sets_that_cannot_be_verified_are_refused_before_any_work(tmp_path):
    image, wide = jpeg(draw(1, 1, 40)), jpeg(draw(1, 1, 40)[:30])
    png = cv2.imencode(".png", draw(1, 2, 40))[1].tobytes()
    fair = [True, False] * 5
    assert VerificationSet(write(tmp_path / "a.b.bin", [image, png] * 10, fair)).image_size == (40, 40)
    for images, same, said in [
            ([image] * 18, fair[:9], "9 pairs are fewer than 10 folds"), ([image] * 20, [True] * 10, "marked same"),
            ([image] * 19, fair, "odd number of images"), ([image] * 19 + [b"text"], fair, "image 19 (from 0) is no"),
            ([image] * 4 + [wide] * 16, fair, "image 4 (from 0) is 30x40, the first is 40x40"),
            ([image] * 19 + [image[:-50]], fair, "image 19 (from 0) is truncated")]:
        path = write(tmp_path / "bad.bin", images, same)
        with pytest.raises(UserError) as caught:
            VerificationSet(path)
        assert said in str(caught.value) and str(caught.value).startswith(str(path))


def test_mxnet_is_imported_only_where_a_network_is_opened(place):
    """Its import takes seconds: not for --help, nor for embeddings that were made before."""
    rows = run(place, "--bins", f"{place}/faces.bin", "--embeddings", str(place / "made"), "--bootstrap", "0")
    (made,) = (place / "made").glob("*.npz")
    code = "import sys; sys.modules['mxnet'] = None; from eval.__main__ import PROG, main; from common import cli; "
    flags = ["verify", "--bins", f"{place}/faces.bin", "--bootstrap", "0", "--json", f"{place}/out.json", "--model"]
    for argv, status, said in ((["--help"], 0, "python -m eval table"), ([*flags, str(made)], 0, "faces"),
                               ([*flags, f"{place}/net,0"], 2, "MXNet does not load")):
        ended = subprocess.run([sys.executable, "-c", code + "cli.run(main, PROG)", *argv], cwd=REPO, text=True,
                               capture_output=True)
        assert ended.returncode == status and said in ended.stdout + ended.stderr, ended.stderr
        assert "Traceback" not in ended.stderr
    (found,) = json.loads((place / "out.json").read_text()).values()
    same = set(rows["faces"]) - {"seconds", "model"}
    assert {key: found["faces"][key] for key in same} == {key: rows["faces"][key] for key in same}


def test_fewer_pairs_than_folds_name_the_flag_that_helps(place, tmp_path):
    few = str(write(tmp_path / "few.bin", [jpeg(draw(1, number, SIZE)) for number in range(8)], [True, False] * 2))
    lost = tmp_path / "lost.txt"
    lost.write_text("".join(f"{image}\n" for image in range(0, 90, 2)))
    for more, said in ((["--bins", few], f"{few}: 4"),
                       (["--bins", f"{place}/faces.bin", "--threshold-from", few], f"{few}: 4"),
                       (["--bins", f"{place}/faces.bin", "--failures", str(lost)],
                        f"--failures {lost}: without these, 5")):
        with pytest.raises(UserError) as caught:
            run(place, *more)
        assert str(caught.value) == f"{said} pairs are fewer than 10 folds; give fewer --folds, or more pairs"
    assert run(place, "--bins", few, "--folds", "2")  # the advice


def test_a_picture_that_does_not_decode_is_named(place, tmp_path):
    image = jpeg(draw(1, 1, SIZE))
    scan = image.index(b"\xff\xc4")
    broken = image[:scan] + b"\0" * (len(image) - scan - 2) + b"\xff\xd9"
    with pytest.raises(UserError, match=r"bad.bin: image 3 \(from 0\) is not an image"):
        target = VerificationSet(write(tmp_path / "bad.bin", [image] * 3 + [broken] + [image] * 16, [True, False] * 5))
        list(target.batches(8))


def test_batches_hold_every_image_in_order(place):
    target = VerificationSet(place / "faces.bin")
    batches = list(target.batches(32))
    assert [len(batch) for batch in batches] == [32, 32, 32, 4]
    assert np.array_equal(np.concatenate(batches), pixels(target.images))


def test_an_image_in_several_pairs_is_embedded_once_and_counts_in_each(tmp_path):
    images = [jpeg(draw(person, number, SIZE)) for person in range(3) for number in range(2)]
    order = [0, 1, 0, 2, 4, 5, 1, 2] * 5
    target = VerificationSet(write(tmp_path / "often.bin", [images[number] for number in order], [True, False] * 10))
    assert len(target.images) == 5 and sum(len(batch) for batch in target.batches(3)) == 5
    assert [target.images[number] for number in target.order] == [images[number] for number in order]


def test_a_model_that_diverged_is_a_failure_of_the_run(place):
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(place / "net"), 0)
    arguments["fc1_beta"][0] = np.nan
    target = VerificationSet(place / "faces.bin")
    with pytest.raises(RunError, match="diverged"):
        verify_set(Embedder(symbol, arguments, auxiliary, [mx.cpu(0)], 64, (SIZE, SIZE)), target)
    mx.model.save_checkpoint(str(place / "diverged"), 0, symbol, arguments, auxiliary)
    for command in (["allpairs", "--set"], ["robustness", "--set"], ["identify", "--probe", f"{place}/p", "--gallery"],
                    ["report", "--out", f"{place}/report", "--bins"]):
        folder = place / "p" / "a"
        for number, person in enumerate("aab"):
            (folder.parent / person).mkdir(parents=True, exist_ok=True)
            (folder.parent / person / f"{number}.jpg").write_bytes(target.images[number])
        what = f"{place}/faces.bin" if "--bins" in command else f"{place}/p"
        with pytest.raises(RunError, match="diverged"):
            main([*command, what, "--model", f"{place}/diverged,0", "--devices", "cpu:0"])
    small = Embedder(symbol.get_internals()["conv_output"], arguments, auxiliary, [mx.cpu(0)], 64, (20, 20))
    with pytest.raises(UserError, match="its images are 48x48, the model takes 20x20"):
        verify_set(small, target)


@pytest.mark.parametrize("flags, said", [
    (["--model", "{}/net,7"], "net-0007.params"), (["--model", "{}/none"], "expected PREFIX,EPOCH"),
    (["--bins", "{}/none.bin"], "no such file"), (["--bins", "{}/net-symbol.json"], "net-symbol.json"),
    (["--devices", "gpu:9"], "gpu:9 does not exist"), (["--folds", "51"], "50 pairs are fewer than 51 folds"),
    (["--layer", "fc2"], "--layer fc2"), (["--pca", "17"], "--pca 17: 1 to 16"), (["--json", "{}"], "is a folder")])
def test_unusable_arguments_end_in_one_line(place, monkeypatch, capsys, flags, said):
    given = {"--model": f"{place}/net,0", "--bins": f"{place}/faces.bin", flags[0]: flags[1].format(place)}
    monkeypatch.setattr(sys, "argv", ["eval", "verify", *(part for pair in given.items() for part in pair)])
    with pytest.raises(SystemExit) as caught:
        cli.run(main, "python -m eval")
    lines = capsys.readouterr().err.strip().splitlines()
    assert caught.value.code == 2 and said in lines[-1] and "Traceback" not in "".join(lines)


def test_as_a_command(place, capsys):
    flags = ["verify", "--model", f"{place}/net,0", "--bins", f"{place}/faces.bin"]
    done = subprocess.run([sys.executable, "-m", "eval", *flags], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[1].startswith("faces ")
    for words, status, said in (([*flags, "--fpr", "2"], 2, "'2' is not a list of rates"),
                                (["verify", "--help"], 0, "python -m eval verify --model runs/a/model,3")):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == status and said in "".join(capsys.readouterr())


def test_pretrained_model_on_lfw(shared_data, tmp_path):
    """The last five same and different pairs of LFW's first fold: every score against MXNet's plain forward pass."""
    lines = [line.split("\t") for line in (shared_data / "lfw" / "pairs.txt").read_text().splitlines()[1:]]
    chosen = [pair for start in range(295, 300) for pair in (lines[start], lines[start + 300])]
    names = [(parts[0], parts[1], parts[-2] if len(parts) == 4 else parts[0], parts[-1]) for parts in chosen]
    images = [(shared_data / "lfw" / "images" / name / f"{name}_{int(number):04d}.jpg").read_bytes()
              for a, i, b, j in names for name, number in ((a, i), (b, j))]
    target = VerificationSet(write(tmp_path / "lfw.bin", images, [len(parts) == 3 for parts in chosen]))
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(shared_data / "weights" / "mobilefacenet-y1-ms1m"), 0)
    result = verify_set(Embedder(symbol, arguments, auxiliary, [mx.cpu(0)], 16, target.image_size), target)
    unit = normalize(sum(forward(symbol, arguments, auxiliary, view)
                         for view in (pixels(images), pixels(images)[:, :, ::-1])))
    assert np.allclose(result.scores, ((unit[0::2] - unit[1::2]) ** 2).sum(1), atol=1e-4)
    assert result.accuracy >= 0.9 and result.auc > 0.98 and 0 < result.threshold < 3


def test_false_accepts_thresholds_intervals_and_differences(place, capsys, caplog):
    caplog.set_level("INFO")
    symbol = small_symbol(16)
    arguments, auxiliary = draw_parameters(symbol, (SIZE, SIZE), seed=2)
    mx.model.save_checkpoint(str(place / "net"), 5, symbol, arguments, auxiliary)
    assert main(["verify", "--model", f"{place}/net,0|5", "--bins", f"{place}/faces.bin", "--fpr", "0.2,0.01", "--json",
                 f"{place}/two.json", "--devices", "cpu:0", "--bootstrap", "200"]) == 0
    (one, first), (two, second) = json.loads((place / "two.json").read_text()).items()
    assert (one, two) == (f"{place}/net,0", f"{place}/net,5")
    first, second = first["faces"], second["faces"]
    assert first["false_accepts"] == {"0.2": 5, "0.01": 0} and first["thresholds"]["0.01"]["tpr"] is None
    images, same = pickle.loads((place / "faces.bin").read_bytes())
    loaded = mx.model.load_checkpoint(str(place / "net"), 0)
    unit = normalize(sum(forward(*loaded, view) for view in (pixels(images), pixels(images)[:, :, ::-1])))
    scores, same = ((unit[0::2] - unit[1::2]) ** 2).sum(1), np.array(same)
    point = first["thresholds"]["0.2"]
    assert (scores[~same] < point["threshold"]).sum() == 5 and point["fpr"] == 5 / 25
    assert (scores[same] < point["threshold"]).mean() == pytest.approx(first["tpr_at_fpr"]["0.2"])
    assert point["cosine"] == pytest.approx(1 - point["threshold"] / 2)
    for name in ("0.2", "eer", "auc"):
        low, high = first["interval"][name]
        value = first["tpr_at_fpr"][name] if name == "0.2" else first[name]
        assert low <= value <= high
    assert "difference" not in first
    change = second["difference"]["0.2"]
    assert change["to"] == one and change["value"] == pytest.approx(second["tpr_at_fpr"]["0.2"]
                                                                    - first["tpr_at_fpr"]["0.2"])
    assert 0 <= change["other_sign"] <= 1 and change["interval"][0] <= change["interval"][1]
    table = capsys.readouterr().out
    assert f"~{100 * first['tpr_at_fpr']['0.2']:.2f} (5)" in table and f"{two}:" in table
    head, *lines = [line.split() for line in table.splitlines()[table.splitlines().index(f"{two}:") + 3:]]
    assert head == ["difference", "to", "rate", "points", "95%", "interval", "other", "sign"]
    assert [line[2] for line in lines if line[0] == "faces"] == ["accuracy", "TPR@FPR=20%", "EER", "AUC"]
    low, high = change["interval"]
    assert lines[1] == ["faces", one, "TPR@FPR=20%", f"{100 * change['value']:+.2f}", f"{100 * low:+.2f}", "to",
                        f"{100 * high:+.2f}", f"{100 * change['other_sign']:.1f}%"]
    assert [line.split()[-2:] for line in caplog.messages if line.startswith("faces  ")] == [["5,", "0"]] * 2


def test_an_fpr_of_many_digits_and_two_of_one_name(place, capsys):
    command = ["verify", "--model", f"{place}/net,0|5", "--bins", f"{place}/faces.bin", "--json", f"{place}/two.json",
               "--devices", "cpu:0", "--bootstrap", "5", "--fpr"]
    assert main([*command, "0.1234567"]) == 0
    row = json.loads((place / "two.json").read_text())[f"{place}/net,5"]["faces"]
    assert set(row["difference"]) >= {"0.123457"} and set(row["tpr_at_fpr"]) == {"0.123457"}
    with pytest.raises(SystemExit):
        main([*command, "0.1234567,0.1234568"])
    assert "0.1234567 and 0.1234568 are both 0.123457 to the six digits" in capsys.readouterr().err


def test_an_interval_without_a_resample_that_has_the_rate_is_null(tmp_path, place):
    """A single resample of 12 pairs, which lacks the only impostor pair."""
    images = [jpeg(draw(person, number, SIZE)) for person in range(12) for number in range(2)]
    lacking = int(draw_resamples(12, 1, 5)[0].argmin())
    images[2 * lacking + 1] = jpeg(draw(20, 0, SIZE))
    write(tmp_path / "one.bin", images, [number != lacking for number in range(12)])
    row = run(place, "--bins", f"{tmp_path}/one.bin", "--bootstrap", "1", "--seed", "5")["one"]
    assert row["interval"]["eer"] is None and row["interval"]["auc"] is None
    assert "NaN" not in (place / "out.json").read_text()
