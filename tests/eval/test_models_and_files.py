"""Models that are ONNX or embeddings files, folders of embeddings, score files, thresholds and failures of `verify`."""
from __future__ import annotations

import csv
import dataclasses
import json
import pickle

import mxnet as mx
import numpy as np
import pytest
from small_nets import draw_parameters, small_symbol
from small_onnx import by_numpy, small_onnx
from small_sets import draw, jpeg, write_verification_set

from common.errors import UserError
from deploy.__main__ import main as deploy
from eval import opening
from eval.__main__ import main
from eval.embedding_file import load_embeddings, save_embeddings
from eval.models import parse_models
from eval.score_file import read_scores
from images.codec import decode

SIZE = 48


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two epochs of a small network, an ONNX file of another, two sets of pairs."""
    folder = tmp_path_factory.mktemp("models")
    symbol = small_symbol(16)
    for epoch in (0, 5):
        arguments, auxiliary = draw_parameters(symbol, (SIZE, SIZE), seed=epoch + 1)
        mx.model.save_checkpoint(str(folder / "net"), epoch, symbol, arguments, auxiliary)
    small_onnx(folder / "raw.onnx", size=(SIZE, SIZE))
    small_onnx(folder / "scaled.onnx", names=("a", "b"), size=(SIZE, SIZE))
    write_verification_set(folder / "faces.bin", pairs=50, size=SIZE)
    write_verification_set(folder / "other.bin", pairs=40, size=SIZE, first=300)
    return folder


def verify(place, *flags, models=("net,0",), bins=("faces",), out="out.json"):
    argv = ["verify", "--model", *(f"{place}/{model}" for model in models), "--bins",
            *(f"{place}/{name}.bin" for name in bins), "--fpr", "0.2", "--json", str(place / out), "--devices", "cpu:0",
            "--bootstrap", "50", *map(str, flags)]
    assert main(argv) == 0
    return json.loads((place / out).read_text())


def rates(row):
    return {name: row[name] for name in ("accuracy", "tpr", "eer", "auc", "threshold", "false_accepts", "interval")}


@pytest.mark.parametrize("name, mean, scale", [("raw", 0.0, 1.0), ("scaled", 127.5, 1 / 127.5)])
def test_an_onnx_file_is_fed_as_its_names_ask(place, caplog, name, mean, scale):
    caplog.set_level("INFO")
    opening._tell_input.cache_clear()
    (row,) = verify(place, models=(f"{name}.onnx",))[f"{place}/{name}.onnx"].values()
    images, same = pickle.loads((place / "faces.bin").read_bytes())
    pixels = np.stack([decode(image) for image in images])
    _, weight = small_onnx(names=("Sub", "Mul"), size=(SIZE, SIZE))
    both = [by_numpy(weight, view, mean, scale) for view in (pixels, pixels[:, :, ::-1])]
    unit = sum(both) / np.linalg.norm(sum(both), axis=1, keepdims=True)
    scores, same = ((unit[0::2] - unit[1::2]) ** 2).sum(1), np.array(same)
    point = row["thresholds"]["0.2"]
    assert (scores[~same] < point["threshold"]).sum() == 5
    assert row["tpr"] == pytest.approx((scores[same] < point["threshold"]).mean())
    assert row["xnorm"] == pytest.approx(np.mean([np.linalg.norm(view, axis=1) for view in both]), rel=1e-4)
    verify(place, models=(f"{name}.onnx",))
    assert caplog.text.count("0 to 255" if mean == 0 else "(x - 127.5) / 127.5") == 1  # also where it is opened again


def test_a_comma_in_the_name_of_a_folder_or_prefix(tmp_path):
    for name in ("a,b/model", "a/c,d"):
        for epoch in (1, 12):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / f"{name}-{epoch:04d}.params").touch()
        found = parse_models([f"{tmp_path}/{name}"])
        assert [(model.prefix, model.epoch) for model in found] == [(f"{tmp_path}/{name}", epoch) for epoch in (1, 12)]
        assert parse_models([f"{tmp_path}/{name},1|12"]) == found
    with pytest.raises(UserError, match="a,b/none: there is no .*a,b/none-NNNN.params; expected PREFIX,EPOCH"):
        parse_models([f"{tmp_path}/a,b/none"])


def test_what_is_not_a_model_is_reported_in_a_line(place, tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    small_onnx(tmp_path / "small.onnx")
    for model, said in [("text.onnx", "not an ONNX file"), ("none.onnx", "no such file"), ("small.onnx", "12x10")]:
        with pytest.raises(UserError, match=model) as caught:
            main(["verify", "--model", str(tmp_path / model), "--bins", f"{place}/faces.bin", "--devices", "cpu:0"])
        assert said in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="leave --layer out"):
        verify(place, "--layer", "pre_fc1", models=("raw.onnx",))
    (place / "a net-0001.params").touch()
    for named, said in (("net-0005.params", "give /.*/net,5$"), ("net-symbol.json", "give /.*/net$"),
                        ("a net-0001.params", "give '.*/a net,1'$"), ("X.ONNX", "in small letters")):
        with pytest.raises(UserError, match=said):
            parse_models([f"{place}/{named}"])
    with pytest.raises(UserError, match="named twice"):
        parse_models([f"{place}/net,0|5|0"])


def test_embeddings_are_made_once_and_read_again(place, tmp_path, caplog):
    caplog.set_level("INFO")
    (first,) = verify(place, "--embeddings", tmp_path)[f"{place}/net,0"].values()
    (path,) = tmp_path.glob("*.npz")
    made = load_embeddings(path)
    assert made.embeddings.shape == (100, 16) and made.names[7] == "7" and made.view_norms.shape == (100,)
    assert made.meta["set"]["sha256"] == first["set_sha256"] and made.meta["model"]["sha256"] == first["model_sha256"]
    stamp = path.stat().st_mtime_ns
    (again,) = verify(place, "--embeddings", tmp_path)[f"{place}/net,0"].values()
    (read,) = verify(place, models=(f"{path}".replace(f"{place}/", ""),))[f"{place}/{path}"].values() if (
        str(path).startswith(str(place))) else read_rows(place, path)
    assert path.stat().st_mtime_ns == stamp
    assert rates(again) == rates(first) == rates(read) and read["xnorm"] == pytest.approx(first["xnorm"])
    verify(place, "--embeddings", tmp_path, "--no-flip")
    assert len(list(tmp_path.glob("*-noflip.npz"))) == 1
    for flags, said in [(("--bins", f"{place}/other.bin"), "another set"),
                        (("--bins", f"{place}/faces.bin", "--no-flip"), "leave out --no-flip|with mirror images"),
                        (("--bins", f"{place}/faces.bin", "--layer", "flat"), "of the layer fc1, not of flat")]:
        with pytest.raises(UserError, match=said):
            main(["verify", "--model", str(path), *flags])
    path.write_bytes(b"broken")
    verify(place, "--embeddings", tmp_path)
    assert "recomputed" in caplog.text and np.array_equal(load_embeddings(path).embeddings, made.embeddings)
    other = {what: {**made.meta[what], "sha256": "0" * 64} for what in ("model", "set")}
    for change in ({"model": other["model"]}, {"set": other["set"]}, {"layer": "flat"}, {"flip": False}):
        # under the name of these, as a renamed file is
        save_embeddings(path, dataclasses.replace(made, embeddings=made.embeddings[::-1], meta={**made.meta, **change}))
        caplog.clear()
        verify(place, "--embeddings", tmp_path)
        assert "is of another model, set, layer or flip" in caplog.text
        assert np.array_equal(load_embeddings(path).embeddings, made.embeddings)


def read_rows(place, path):
    out = place / "read.json"
    assert main(["verify", "--model", str(path), "--bins", f"{place}/faces.bin", "--fpr", "0.2", "--json", str(out),
                 "--bootstrap", "50"]) == 0
    (rows,) = json.loads(out.read_text()).values()
    return rows.values()


def test_embeddings_of_others_without_a_sha256(place, tmp_path, caplog):
    unit = np.random.RandomState(0).normal(size=(100, 4))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    np.savez(tmp_path / "theirs.npz", embeddings=unit.astype(np.float32))
    (row,) = read_rows(place, tmp_path / "theirs.npz")
    assert row["xnorm"] is None and "has no sha256 of its set" in caplog.text
    for count in (60, 102):
        np.savez(tmp_path / "other.npz", embeddings=np.resize(unit, (count, 4)).astype(np.float32))
        with pytest.raises(UserError, match=f"holds {count} embeddings, and not one for each of the 100 images"):
            read_rows(place, tmp_path / "other.npz")


def test_score_files(place, tmp_path):
    rows = verify(place, "--scores", tmp_path, "--pca", "3", "--folds", "5", models=("net,0|5",),
                  bins=("faces", "other"))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.csv")) == [
        f"net-{epoch}/{name}.csv" for epoch in ("0000", "0005") for name in ("faces", "other")]
    with open(tmp_path / "net-0000/faces.csv", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert list(table[0])[:7] == ["pair", "left", "right", "same", "score", "cosine", "fold"]
    assert [row["left"] for row in table[:3]] == ["0", "2", "4"] and [row["fold"] for row in table[9:11]] == ["0", "1"]
    assert all(float(row["cosine"]) == pytest.approx(1 - float(row["score"]) / 2, abs=1e-7) for row in table)
    one, other = (read_scores(tmp_path / f"net-{epoch}/faces.csv") for epoch in ("0000", "0005"))
    accepted = one.score < rows[f"{place}/net,0"]["faces"]["thresholds"]["0.2"]["threshold"]
    assert accepted[one.same].mean() == pytest.approx(rows[f"{place}/net,0"]["faces"]["tpr"])
    assert not one.unlike(other) and one.left_norm.min() > 0
    assert "pairs" in one.unlike(read_scores(tmp_path / "net-0000/other.csv"))
    for text, said in [("a,b\n1,2\n", "not a table of scores"), ("same,score\n1,x\n", "line 2"),
                       ("same,score\n", "no pairs"), ("same,score\n2,1\n", "not 1 or 0"),
                       ("same,score\n1,nan\n", "not finite"), ("same,score\n1,1_0\n", "number"),
                       ("same,score\n1,\uff11\n", "number"), ("same,score\n1,4.5\n", "0 to 4"),
                       ("same,score,fold\n1,1,\u00b2\n", "fold is '\u00b2'"), ("same,score\n1,1e400\n", "not finite"),
                       ("same,score\n1\n", "columns")]:
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(UserError, match=said):
            read_scores(tmp_path / "bad.csv")
    (tmp_path / "excel.csv").write_text("\ufeffPair;Same;Cosine\r\n0;TRUE;0.5\r\n1;0;-1\r\n", encoding="utf-8")
    read = read_scores(tmp_path / "excel.csv")
    assert read.score.tolist() == [1, 4] and read.same.tolist() == [True, False]
    (tmp_path / "german.csv").write_text("same;score;left_norm\n1.0;0,5;20,25\nno;1,5;\n")
    read = read_scores(tmp_path / "german.csv")
    assert read.score.tolist() == [0.5, 1.5] and read.same.tolist() == [True, False] and read.left_norm[0] == 20.25


def test_thresholds_given_and_of_another_set(place, tmp_path, capsys):
    rows = verify(place, "--threshold-from", place / "other.bin", "--scores", tmp_path, bins=("faces", "other"))
    (faces, other) = rows[f"{place}/net,0"].values()
    (there,), (own,) = faces["at_threshold"], other["at_threshold"]
    assert there["threshold"] == other["thresholds"]["0.2"]["threshold"] == own["threshold"]
    assert (there["chosen_on"], there["fpr_target"]) == (f"{place}/other.bin", 0.2) and own["tpr"] == other["tpr"]
    made = read_scores(tmp_path / "faces.csv")
    accepted = made.score < there["threshold"]
    assert there["fpr"] == accepted[~made.same].mean() and there["tpr"] == accepted[made.same].mean()
    assert there["accuracy"] == pytest.approx((accepted == made.same).mean())
    assert there["interval"]["fpr"][0] <= there["fpr"] <= there["interval"]["fpr"][1]
    assert "FPR achieved" in capsys.readouterr().out
    (tmp_path / "faces.bin").symlink_to(place / "other.bin")  # another set of the same name
    (row,) = verify(place, "--threshold-from", tmp_path / "faces.bin")[f"{place}/net,0"].values()
    assert row["at_threshold"][0] == {**there, "chosen_on": f"{tmp_path}/faces.bin"}
    ((row,),) = (by_set.values() for by_set in verify(place, "--threshold", "0").values())
    (point,) = row["at_threshold"]
    assert point["tpr"] == point["fpr"] == 0 and "chosen_on" not in point
    assert point["interval"]["fpr"][1] == pytest.approx(1 - 0.025 ** (1 / 25))  # none of 25: Clopper and Pearson
    for flags in (["--threshold", "5"], ["--threshold", "1", "--threshold-from", "x.bin"]):
        with pytest.raises(SystemExit) as caught:
            verify(place, *flags)
        assert caught.value.code == 2


def test_failures_with_pca_are_those_of_the_set_without_their_pairs(place, tmp_path):
    images, same = pickle.loads((place / "faces.bin").read_bytes())
    write = {"images": [image for pair, two in enumerate(zip(images[0::2], images[1::2])) for image in two if pair > 6],
             "same": same[7:]}
    (place / "without.bin").write_bytes(pickle.dumps(tuple(write.values()), protocol=2))
    (tmp_path / "lost.txt").write_text("".join(f"{2 * pair}\n" for pair in range(7)))
    flags = ("--pca", "3", "--folds", "5")
    (row,) = verify(place, *flags, "--failures", tmp_path / "lost.txt")[f"{place}/net,0"].values()
    (alone,) = verify(place, *flags, bins=("without",))[f"{place}/net,0"].values()
    assert row["failures"]["without"] == {"accuracy": alone["accuracy"], "0.2": alone["tpr"]}


def test_a_set_named_by_two_paths_is_scored_once(place, monkeypatch, caplog):
    monkeypatch.chdir(place)
    caplog.set_level("INFO")
    main(["verify", "--model", "net,0", "--bins", "faces.bin", "./faces.bin", f"{place}/faces.bin", "--json", "o.json"])
    assert [list(row) for row in json.loads((place / "o.json").read_text()).values()] == [["faces"]]
    assert caplog.text.count("twice; it is verified once") == 2 and "--bins names" in caplog.text


def test_failures_are_counted_as_errors(place, tmp_path):
    (plain,) = verify(place)[f"{place}/net,0"].values()
    (tmp_path / "pairs.csv").write_text("left,right,same\n" + "a,b,1\n" * 5 + "c,d,0\n" * 2)
    (row,) = verify(place, "--failures", tmp_path / "pairs.csv")[f"{place}/net,0"].values()
    told = row["failures"]
    assert (told["lost_genuine"], told["lost_impostors"]) == (5, 2)
    assert told["without"] == {"accuracy": plain["accuracy"], "0.2": plain["tpr"]}
    assert told["counted"]["0.2"] == pytest.approx(plain["tpr"] * 25 / 30)
    assert told["counted"]["accuracy"] == pytest.approx(plain["accuracy"] * 50 / 57)
    (tmp_path / "images.txt").write_text("0\n1\n2\n")  # pair 0, same, and pair 1, different
    (row,) = verify(place, "--failures", tmp_path / "images.txt")[f"{place}/net,0"].values()
    assert (row["failures"]["lost_genuine"], row["failures"]["lost_impostors"]) == (1, 1)
    for name, text, said in [("none.txt", "p1/1.jpg\n", "named by position"), ("empty.txt", "\n", "names no image"),
                             ("report.json", "{}", "not a report of align"),
                             ("all.txt", "\n".join(map(str, range(90))), "without these")]:
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=said):
            verify(place, "--failures", tmp_path / name)
    with pytest.raises(UserError, match="--failures .*images.txt: is of one set, .* --bins names 2; give one at a"):
        verify(place, "--failures", tmp_path / "images.txt", bins=("faces", "other"))


def test_the_best_of_several_epochs_is_marked(place, capsys):
    rows = verify(place, models=("net",), bins=("faces", "other"))
    told = capsys.readouterr().out
    best = {name: max(rows, key=lambda text: rows[text][name]["accuracy"]) for name in ("faces", "other")}
    for name, text in best.items():
        note = rows[text][name]["best"]
        assert note["own_set"] and note["of"] == 2 and note["chosen_on"] == name
        assert f"best of 2 epochs on {name}: {text}" in told and "chosen on" in told
    assert sum("best" in row for by_set in rows.values() for row in by_set.values()) == 2
    assert "best" not in next(iter(verify(place)[f"{place}/net,0"].values()))


def test_images_that_stand_in_the_file_once(place, tmp_path):
    images = [jpeg(draw(person, number, SIZE)) for person in range(3) for number in range(2)]
    order = [0, 1, 0, 2, 4, 5, 1, 2] * 5
    (tmp_path / "often.bin").write_bytes(pickle.dumps(([images[n] for n in order], [True, False] * 10), protocol=2))
    assert main(["verify", "--model", f"{place}/net,0", "--bins", f"{tmp_path}/often.bin", "--embeddings",
                 str(tmp_path), "--devices", "cpu:0", "--json", f"{tmp_path}/a.json"]) == 0
    (path,) = tmp_path.glob("*.npz")
    with np.load(path) as stored:
        arrays = dict(stored)
    keep = [0, 1, 3, 4, 5]  # the first place of each image
    np.savez(path, **{name: array[keep] if array.shape[:1] == (40,) else array for name, array in arrays.items()})
    assert main(["verify", "--model", str(path), "--bins", f"{tmp_path}/often.bin", "--json",
                 f"{tmp_path}/b.json"]) == 0
    one, other = (next(iter(json.loads((tmp_path / f"{name}.json").read_text()).values()))["often"] for name in "ab")
    assert rates(one) == rates(other)


def test_what_deploy_embeds_is_accepted(place, tmp_path):
    assert deploy(["embed", "--model", f"{place}/net,0", f"{place}/faces.bin", "--out", f"{tmp_path}/x.npz",
                   "--devices", "cpu:0"]) in (0, None)
    (own,), (theirs,) = verify(place)[f"{place}/net,0"].values(), read_rows(place, tmp_path / "x.npz")
    assert rates(own) == rates(theirs) and own["set_sha256"] == theirs["set_sha256"]
    assert own["model_sha256"] == theirs["model_sha256"]


def test_a_checkpoint_in_float16_is_embedded_in_float32(place):
    symbol, arguments, auxiliary = mx.model.load_checkpoint(f"{place}/net", 0)
    half = mx.sym.Cast(mx.sym.Variable("data"), dtype="float16")
    body = symbol(data=half)
    (place / "half-symbol.json").write_text(mx.sym.Cast(body, dtype="float32", name="out").tojson())
    mx.nd.save(str(place / "half-0000.params"), {
        **{f"arg:{name}": value.astype("float16") for name, value in arguments.items()},
        **{f"aux:{name}": value.astype("float16") for name, value in auxiliary.items()}})
    (row,) = verify(place, models=("half,0",))[f"{place}/half,0"].values()
    (plain,) = verify(place)[f"{place}/net,0"].values()
    assert row["auc"] == pytest.approx(plain["auc"], abs=0.02)
