"""`python -m eval allpairs` and embeddings files, on drawn people and on real faces."""
from __future__ import annotations

import csv
import json
import shutil

import mxnet as mx
import numpy as np
import pytest
from allpairs_command_cases import SIZE, place, run  # noqa: F401
from small_nets import draw_parameters, small_symbol
from small_sets import write_verification_set

from common.errors import UserError
from eval.__main__ import main
from eval.copies import find_copies
from eval.embedding_file import Embeddings, load_embeddings, save_embeddings
from eval.score_file import read_scores


def test_groups_models_embeddings_and_the_review_list(place, tmp_path, capsys):
    rows = run(place, "--set", place / "faces", "--between", "frontal,profile", "--embeddings", tmp_path, "--audit",
               tmp_path / "review.csv", models=("1", "2"))
    assert list(rows) == [f"{place}/net,1", f"{place}/net,2"]
    first, second = rows.values()
    assert first["genuine"] == 6 * 3 * 2 and first["impostors"] == 18 * 12 - 36
    assert "difference" not in first and second["difference"]["0.1"]["to"] == f"{place}/net,1"
    assert first["false_accepts"]["0.1"] == 18 and first["thresholds"]["0.02"]["few"]
    assert "~" in capsys.readouterr().out
    files = sorted(map(str, tmp_path.glob("*.npz")))
    stored = load_embeddings(files[0])
    assert stored.embeddings.shape == (30, 16) and stored.meta["flip"] and stored.names[0] == "p0/frontal/0.jpg"
    assert stored.meta["alignment"] == {"image_size": [SIZE, SIZE], "detector": "none, aligned crops"}
    unit, profile = stored.embeddings, np.char.find(stored.names, "profile") >= 0
    cosines = unit[~profile] @ unit[profile].T
    same = stored.labels[~profile][:, None] == stored.labels[profile][None]
    assert (cosines[~same] > first["thresholds"]["0.1"]["cosine"]).sum() == 18
    assert first["tpr_at_fpr"]["0.1"] == pytest.approx((cosines[same] > first["thresholds"]["0.1"]["cosine"]).mean())
    again = run(place, "--set", place / "faces", "--between", "frontal,profile", models=files)
    for before, after in zip(rows.values(), again.values()):
        assert before["tpr_at_fpr"] == after["tpr_at_fpr"] and before["interval"] == after["interval"]
    with open(tmp_path / "review.csv", newline="") as stream:
        assert next(csv.reader(stream)) == ["what", "first", "second", "cosine"]


def test_a_packed_set_is_scored_as_its_folder(place):
    folder = run(place, "--set", place / "faces")
    packed = run(place, "--set", place / "packed")
    (one,), (other,) = folder.values(), packed.values()
    assert one["tpr_at_fpr"] == other["tpr_at_fpr"] and one["eer"] == pytest.approx(other["eer"], abs=1e-6)
    assert one["genuine"] == 6 * 10 and one["impostors"] == 15 * 29 - 60


def test_all_epochs_of_a_prefix_and_groups_by_a_table(place, tmp_path):
    assert list(run(place, "--set", place / "packed", models=(f"{place}/net",))) == [f"{place}/net,{n}" for n in (1, 2)]
    assert len(run(place, "--set", place / "packed", models=(f"{place}/net,2|1",))) == 2
    (tmp_path / "groups.csv").write_text("key,group\n" + "".join(f"{key},{'odd' if key % 2 else 'even'}\n"
                                                                 for key in range(1, 31)))
    (row,) = run(place, "--set", place / "packed", "--groups", tmp_path / "groups.csv", "--between", "odd,odd").values()
    assert row["genuine"] + row["impostors"] == 15 * 14 // 2


@pytest.mark.parametrize("flags, said", [
    (["--set", "{}/none"], "none"), (["--between", "frontal"], "expected two groups"),
    (["--between", "frontal,side"], "no image is of the group side; there are frontal, profile"),
    (["--model", "{}/net,9"], "net-0009.params"), (["--model", "{}/other"], "there is no"),
    (["--model", "{}/net,1,2x"], "expected PREFIX,EPOCH"), (["--model", "{}/none.npz"], "there is no such file"),
    (["--groups", "{}/net-symbol.json"], "path (or key) and group")])
def test_unusable_arguments_end_in_one_line(place, flags, said):
    given = {"--model": f"{place}/net,1", "--set": f"{place}/faces", flags[0]: flags[1].format(place)}
    with pytest.raises(UserError) as caught:
        main(["allpairs", *(part for pair in given.items() for part in pair)])
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_set_of_pairs_is_not_scored_as_identities(place, tmp_path):
    """Images of a person that are in no same pair together would be impostors."""
    write_verification_set(tmp_path / "faces.bin", pairs=20, size=SIZE)
    for argv in (["allpairs", "--set"], ["robustness", "--set"], ["identify", "--gallery", f"{place}/faces", "--probe"],
                 ["report", "--out", f"{tmp_path}/out", "--set"]):
        with pytest.raises(UserError, match="faces.bin: is a set of pairs"):
            main([argv[0], "--model", f"{place}/net,1", *argv[1:], f"{tmp_path}/faces.bin"])
    (tmp_path / "faces.bin").rename(tmp_path / "faces.BIN")  # a set of pairs has thresholds, whatever it is called
    (row,) = run(place, "--set", place / "faces", "--fpr", "0.2", "--threshold-from", tmp_path / "faces.BIN").values()
    argv = ["--model", f"{place}/net,1", "--bins", f"{tmp_path}/faces.BIN", "--fpr", "0.2", "--json",
            f"{tmp_path}/out.json", "--threshold-from", f"{tmp_path}/faces.BIN", "--devices", "cpu:0"]
    assert main(["verify", *argv]) == 0
    (found,) = json.loads((tmp_path / "out.json").read_text())[f"{place}/net,1"].values()
    assert row["at_threshold"][0]["threshold"] == pytest.approx(found["thresholds"]["0.2"]["threshold"], abs=1e-6)
    assert row["at_threshold"][0]["chosen_on"] == f"{tmp_path}/faces.BIN"  # not by a name that --set may have as well
    assert found["at_threshold"][0]["false_accepts"] == found["false_accepts"]["0.2"] == 2


def test_the_heading_of_groups_names_no_fpr_that_is_not_given(place, capsys):
    run(place, "--set", place / "faces", "--fpr", "1e-3")
    assert "where no impostor pair is accepted:" in capsys.readouterr().out
    run(place, "--set", place / "faces", "--fpr", "1e-1")
    assert "where all have FPR 0.1:" in capsys.readouterr().out


def test_groups_of_a_set_that_has_none_are_refused(place):
    with pytest.raises(UserError, match="no image is of the group a; the set has no groups, give --groups"):
        main(["allpairs", "--model", f"{place}/net,1", "--set", f"{place}/packed", "--between", "a,b"])


def test_groups_yaw_quality_thresholds_scores_and_pca(place, tmp_path, capsys):
    row = run(place, "--set", place / "faces", "--quality", "--threshold-from", place / "packed", "--scores",
              tmp_path)[f"{place}/net,1"]
    assert [(one["left"], one["right"], one["genuine"]) for one in row["slices"]] == [
        ("frontal", "frontal", 18), ("frontal", "profile", 36), ("profile", "profile", 6)]
    assert sum(one["false_accepts"] for one in row["slices"]) == row["false_accepts"]["0.1"]
    first, *_, last = row["quality"]
    assert first["fnmr"] == pytest.approx(1 - row["tpr_at_fpr"]["0.1"]) and first["genuine"] == 60 > last["genuine"]
    assert row["slices"][0]["quality"][0]["genuine"] == 18
    assert [point["fpr_target"] for point in row["at_threshold"]] == [0.1, 0.02]
    assert row["at_threshold"][0]["fpr"] == pytest.approx(0.1, abs=0.01)  # the same images, packed
    assert set(row["interval"]) == {"0.1", "0.02", "eer", "auc"}
    scores = read_scores(tmp_path / "faces.csv")
    assert scores.meta["set"]["sha256"] == row["set_sha256"] and scores.meta["model"]["sha256"] == row["model_sha256"]
    assert len(scores.same) == 30 * 29 // 2 and scores.same.sum() == 60
    assert (scores.score[~scores.same] < row["thresholds"]["0.1"]["threshold"]).sum() == row["false_accepts"]["0.1"]
    told = capsys.readouterr().out
    assert "frontal - profile" in told and "left out %" in told and "FPR achieved" in told
    with pytest.raises(UserError, match="--pca 17: 1 to 16"):
        run(place, "--set", place / "faces", "--pca", "17")
    projected = run(place, "--set", place / "faces", "--pca", "4", "--threshold", "1.2", "--scores",
                    tmp_path / "pca")[f"{place}/net,1"]
    assert "their pca differs: 4 and 0" in read_scores(tmp_path / "pca" / "faces.csv").unlike(scores)
    assert projected["eer"] != row["eer"] and projected["pca"] == 4
    assert projected["at_threshold"][0]["threshold"] == 1.2


def test_faces_that_could_not_be_had(place, tmp_path):
    plain = run(place, "--set", place / "faces", "--between", "frontal,profile")[f"{place}/net,1"]
    (tmp_path / "lost.csv").write_text("path,label,reason\np0/frontal/0.jpg,p0,x\np1/profile/9.jpg,,not found\n")
    row = run(place, "--set", place / "faces", "--between", "frontal,profile", "--failures",
              tmp_path / "lost.csv")[f"{place}/net,1"]
    assert (row["genuine"], row["impostors"]) == (plain["genuine"] - 2, plain["impostors"] - 10)
    told = row["failures"]  # a frontal of p0 with 2 profiles, 3 frontals of p1 with a profile; and with others' images
    assert (told["lost_genuine"], told["lost_impostors"]) == (2 + 3, 10 + 15)
    assert told["counted"]["0.1"] == pytest.approx(row["tpr_at_fpr"]["0.1"] * 34 / 39)
    files = run(place, "--set", place / "faces", "--embeddings", tmp_path) and list(tmp_path.glob("*.npz"))
    with np.load(files[0]) as stored:
        arrays = {name: array[1:] if array.shape[:1] == (30,) else array for name, array in stored.items()}
    np.savez(tmp_path / "fewer.npz", **arrays)
    with pytest.raises(UserError, match="lacks 1 images.*--failures"):
        run(place, "--set", place / "faces", models=(str(tmp_path / "fewer.npz"),))
    (again,) = run(place, "--set", place / "faces", "--between", "frontal,profile", "--failures", tmp_path / "lost.csv",
                   models=(str(tmp_path / "fewer.npz"),)).values()
    assert again["tpr_at_fpr"] == row["tpr_at_fpr"] and again["failures"] == told
    names = [*(f"p{person}/{'frontal' if index < 3 else 'profile'}/{index}.jpg" for person in range(6)
               for index in range(5)), "p1/profile/9.jpg"]
    (tmp_path / "groups.csv").write_text("path,group\n" + "".join(
        f'{name},"{"front, left" if "frontal" in name else "side,right"}"\n' for name in names))
    (commas,) = run(place, "--set", place / "faces", "--between", "front, left,side,right", "--failures", tmp_path /
                    "lost.csv", "--groups", tmp_path / "groups.csv", "--threshold-from", place / "faces").values()
    assert commas["tpr_at_fpr"] == row["tpr_at_fpr"] and commas["failures"] == told
    assert [point["threshold"] for point in commas["at_threshold"]] == [
        plain["thresholds"][rate]["threshold"] for rate in ("0.1", "0.02")]  # of the same groups there
    (tmp_path / "bad.txt").write_text("nobody.jpg\n")
    with pytest.raises(UserError, match="its identity is not known"):
        run(place, "--set", place / "faces", "--failures", tmp_path / "bad.txt")


def test_embeddings_files_that_are_none(tmp_path):
    unit = np.eye(3, 4, dtype=np.float32)
    good = Embeddings(unit, np.ones(3), np.array(["a", "b", "é"]), np.arange(3), {"flip": True})
    save_embeddings(tmp_path / "a.npz", good)
    read = load_embeddings(tmp_path / "a.npz")
    assert read.names.tolist() == ["a", "b", "é"] and read.meta == {"flip": True} and not read.unlike(good)
    assert "another set" in read.unlike(Embeddings(unit, np.ones(3), read.names, None, {"set": {"sha256": "x"}}))
    cases = {"no embeddings": dict(names=np.arange(3)), "not normalised": dict(embeddings=unit * 2),
             "not finite": dict(embeddings=unit * np.nan), "labels": dict(embeddings=unit, labels=np.arange(4)),
             "pickled": dict(embeddings=np.array([{}, 1], object))}
    for name, arrays in cases.items():
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(UserError, match="bad.npz"):
            load_embeddings(tmp_path / "bad.npz")
        assert name
    for content in (b"", b"PK\x03\x04 no zip", b"text"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(UserError, match="not an embeddings file"):
            load_embeddings(tmp_path / "bad.npz")


def test_the_pretrained_model_on_frontal_against_profile(shared_data, tmp_path):
    """The first 8 people of CFP: as many pairs as there must be, and a rate in the range of the whole set."""
    people = tmp_path / "cfp"
    people.mkdir()
    for number in range(1, 9):
        (people / f"{number:03d}").symlink_to((shared_data / f"cfp/Data/Images/{number:03d}").resolve())
    weights = shared_data / "weights" / "mobilefacenet-y1-ms1m"
    assert main(["allpairs", "--model", f"{weights},0", "--set", str(people), "--between", "frontal,profile", "--json",
                 str(tmp_path / "out.json"), "--embeddings", str(tmp_path), "--bootstrap", "20", "--fpr", "1e-2"]) == 0
    ((row,),) = (rows.values() for rows in json.loads((tmp_path / "out.json").read_text()).values())
    assert (row["genuine"], row["impostors"]) == (8 * 10 * 4, 8 * 10 * 4 * 7)
    assert 0.4 < row["tpr_at_fpr"]["0.01"] <= 1 and row["false_accepts"]["0.01"] == 22


def test_names_of_people_and_groups_do_not_break_the_lines_of_the_table(place, tmp_path, capsys):
    shutil.copytree(place / "faces", tmp_path / "faces")
    for person in sorted((tmp_path / "faces").iterdir()):
        (person / "frontal").rename(person / "fron\ntal")
        person.rename(person.with_name(f"{person.name}\x1b[31m\n"))
    run(place, "--set", tmp_path / "faces")
    out = capsys.readouterr().out
    assert "\x1b" not in out and "involve one of p" in out and "\n  fron\\ntal - profile " in out
    assert out.count("\n") == out.count("\n  ") + 1


def test_copies_of_images_are_told_in_one_line(place, tmp_path, caplog):
    shutil.copytree(place / "faces", tmp_path / "faces")
    run(place, "--set", tmp_path / "faces")
    assert "do not measure" not in caplog.text
    for copy, source in (("p0/frontal/9.jpg", "p0/frontal/0.jpg"), ("p2/profile/8.jpg", "p1/frontal/1.jpg")):
        shutil.copy(tmp_path / "faces" / source, tmp_path / "faces" / copy)
    run(place, "--set", tmp_path / "faces", "--embeddings", tmp_path)
    run(place, "--set", tmp_path / "faces", models=map(str, tmp_path.glob("*.npz")))
    lines = [record.getMessage() for record in caplog.records if "do not measure" in record.getMessage()]
    assert lines == [f"{tmp_path / 'faces'}: 1 image is in an identity again (the first is p0/frontal/9.jpg); 2 images "
                     "are under several identities (the first is p1/frontal/1.jpg); their pairs do not measure a "
                     "model"] * 2
    hashes = np.array([5, 7, 5, 5, 9, 7], np.uint64)
    twice, several = find_copies(hashes, np.array([0, 1, 0, 2, 2, 1]))
    assert twice.tolist() == [2, 5] and several.tolist() == [0, 2, 3]
    assert [found.tolist() for found in find_copies(hashes[:0], np.zeros(0, int))] == [[], []]


def test_what_a_model_cannot_embed_is_told_before_any_image_is_embedded(place, tmp_path, monkeypatch):  # noqa: F811
    """Else the work of the sets and models before it would be lost."""
    monkeypatch.setattr("inference.embedder.Embedder.embed", None)
    symbol = small_symbol()
    mx.model.save_checkpoint(str(tmp_path / "wide"), 1, symbol, *draw_parameters(symbol, (80, 80)))
    a, b, both = tmp_path / "a.bin", tmp_path / "b.bin", [f"{place}/net,1", f"{tmp_path}/wide,1"]
    write_verification_set(a, pairs=20, size=SIZE)
    write_verification_set(b, pairs=20, size=80)
    small, faces = f"the network does not take images of {SIZE}x{SIZE}", ["--set", f"{place}/faces"]
    wide = f"{b} with --model {both[0]}: the network does not take images of 80x80"
    for command, models, words, said in (
            ("verify", both[:1], ["--bins", a, b], wide),
            ("verify", both[:1], ["--bins", a, "--threshold-from", b], wide),
            ("verify", both, ["--bins", a], f"{a} with --model {both[1]}: {small}"),
            ("verify", both[:1], ["--bins", a, "--pca", "17"], "--pca 17: 1 to 16 components"),
            ("allpairs", both, faces, f"--set {place}/faces with --model {both[1]}: {small}"),
            ("robustness", both, faces, f"--set {place}/faces with --model {both[1]}: {small}"),
            ("allpairs", both[:1], [*faces, "--pca", "17"], "--pca 17: 1 to 16 components"),
            ("report", both[:1], [*faces, "--pca", "17", "--out", f"{tmp_path}/out"], "--pca 17: 1 to 16 components")):
        with pytest.raises(UserError) as caught:
            main([command, "--model", *models, *map(str, words), "--devices", "cpu:0"])
        assert str(caught.value).startswith(said)
