"""Embeddings and groups that cannot be scored, or only with a word of warning: told in one line, before work."""
from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest
from allpairs_command_cases import SIZE, place, run  # noqa: F401
from sklearn.metrics import roc_auc_score
from small_sets import draw, jpeg, write_verification_set

from common.errors import UserError
from eval.__main__ import main
from eval.embedding_file import Embeddings, load_embeddings, save_embeddings
from eval.face_sets import open_face_set, read_groups
from eval.failures import Failures, lost_faces
from eval.models import ModelName
from eval.opening import EmbeddingSettings
from eval.score_file import read_scores
from eval.templates.ijb_files import Images
from eval.templates.ijb_images import Lost, embed_images
from eval.verification import VerificationSet

UNIT = np.eye(6, 8, dtype=np.float32)


@pytest.mark.parametrize("name, array, says", [
    ("embeddings", np.where(np.eye(6, 8) > 0, np.nan, 0), "embedding 0 (from 0) is not finite"),
    ("embeddings", np.full((6, 8), np.inf), "not finite"), ("embeddings", UNIT * 0, "6 embeddings are zeros"),
    ("embeddings", UNIT[:, :0], "not (N, D)"), ("embeddings", UNIT.astype(int), "not (N, D)"),
    ("embeddings", UNIT.astype(complex), "not (N, D)"), ("embeddings", UNIT[None], "not (N, D)"),
    ("embeddings", UNIT * 1e200, "not normalised"),
    ("embeddings", UNIT[:5], "norms is of shape"), ("norms", np.full(6, np.nan), "norms are not finite"),
    ("norms", -np.ones(6), "norms are not finite"), ("norms", np.array(["a"] * 6), "norms are not finite"),
    ("view_norms", np.full(6, np.inf), "view_norms are not finite"), ("names", np.ones(6), "names are float64"),
    ("labels", np.ones(6), "labels are not whole")])
def test_what_an_embeddings_file_must_not_hold(tmp_path, name, array, says):
    arrays = {"embeddings": UNIT, "norms": np.ones(6), "names": np.arange(6).astype(str), "labels": np.arange(6)}
    np.savez(tmp_path / "a.npz", **{**arrays, name: array})
    with pytest.raises(UserError) as caught:
        load_embeddings(tmp_path / "a.npz")
    assert says in str(caught.value) and "a.npz" in str(caught.value) and "\n" not in str(caught.value)


def test_embeddings_of_other_types_and_without_names(tmp_path):
    unit = np.random.RandomState(0).normal(size=(40, 512))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for kind in (np.float64, np.float16, ">f4", np.longdouble):
        made = np.asfortranarray(unit.astype(kind))
        np.savez(tmp_path / "a.npz", embeddings=made)
        found = load_embeddings(tmp_path / "a.npz")
        assert found.embeddings.dtype == np.float32 and found.names.tolist() == [str(name) for name in range(40)]
        np.testing.assert_allclose(found.embeddings, unit, atol=1e-4)
        assert not found.has_norms
    np.savez(tmp_path / "a.npz", embeddings=unit[:0])
    assert load_embeddings(tmp_path / "a.npz").names.shape == (0,)


def test_embeddings_that_were_rounded_are_normalised_and_others_keep_their_bits(tmp_path):
    unit = np.random.RandomState(0).normal(size=(40, 16)).astype(np.float32)
    unit[3] = 0
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-9)
    np.savez(tmp_path / "a.npz", embeddings=unit)
    assert load_embeddings(tmp_path / "a.npz").embeddings.tobytes() == unit.tobytes()
    np.savez(tmp_path / "a.npz", embeddings=unit.astype(np.float16))
    lengths = np.linalg.norm(load_embeddings(tmp_path / "a.npz").embeddings.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, np.arange(40) != 3, atol=3e-6)


def test_an_array_with_an_archive_behind_it(tmp_path):
    """zipfile finds an archive at the end of a file; numpy reads the array at its beginning."""
    np.savez(tmp_path / "a.npz", embeddings=UNIT)
    np.save(tmp_path / "b.npy", UNIT)
    (tmp_path / "c.npz").write_bytes((tmp_path / "b.npy").read_bytes() + (tmp_path / "a.npz").read_bytes())
    with pytest.raises(UserError, match="c.npz: is not an embeddings file .one array alone"):
        load_embeddings(tmp_path / "c.npz")


def test_rows_in_another_order_and_zeros(place, tmp_path, caplog):  # noqa: F811
    expected = run(place, "--set", place / "faces", "--embeddings", tmp_path)[f"{place}/net,1"]
    (path,) = tmp_path.glob("*.npz")
    made = load_embeddings(path)
    order = np.random.RandomState(0).permutation(30)
    arrays = {"embeddings": made.embeddings, "norms": made.norms, "names": made.names, "view_norms": made.view_norms}
    np.savez(tmp_path / "order.npz", **{name: array[order] for name, array in arrays.items()})
    (found,) = run(place, "--set", place / "faces", models=(f"{tmp_path}/order.npz",)).values()
    assert found["eer"] == pytest.approx(expected["eer"]) and found["tpr_at_fpr"] == expected["tpr_at_fpr"]
    arrays["embeddings"] = made.embeddings * (np.arange(30) != 3)[:, None]
    np.savez(tmp_path / "zero.npz", **arrays)
    run(place, "--set", place / "faces", models=(f"{tmp_path}/zero.npz",))
    assert f"1 of 30 embeddings are zeros, {made.names[3]} the first" in caplog.text


def test_norms_that_a_file_lacks_are_not_taken_for_1(tmp_path):
    """Neither by rates against the norm, nor as weights, nor in tables of scores."""
    for number in range(12):
        (tmp_path / f"faces/p{number // 3}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"faces/p{number // 3}/{number}.jpg").write_bytes(jpeg(draw(number // 3, number, SIZE)))
    with open_face_set(tmp_path / "faces") as faces:
        names = faces.names
    file, unit = tmp_path / "plain.npz", np.eye(12, dtype=np.float32)
    np.savez(file, embeddings=unit, names=np.array(names))
    what = ["--model", str(file), "--set", str(tmp_path / "faces"), "--bootstrap", "0"]
    with pytest.raises(UserError, match="plain.npz: has no norms, by which --quality discards pairs; leave --quality"):
        main(["allpairs", *what, "--quality"])
    main(["allpairs", *what, "--scores", str(tmp_path)])
    assert np.isnan(read_scores(tmp_path / "faces.csv").left_norm).all()
    main(["report", *what, "--out", str(tmp_path), "--faces", "0"])
    page = (tmp_path / "index.html").read_text()
    assert "All pairs</h2>" in page and "Quality</h2>" not in page
    images = Images(names, np.zeros((12, 5, 2)), np.ones(12), *[np.arange(12)] * 4)
    asked = (ModelName(str(file), embeddings=str(file)), images, tmp_path, (SIZE, SIZE), EmbeddingSettings(), Lost())
    with pytest.raises(UserError, match="plain.npz: has no norms, by which images are weighted; give `image_norms`"):
        next(embed_images(*asked, True))
    assert np.array_equal(next(embed_images(*asked, False))[1], unit)


def test_rows_of_a_set_of_pairs_are_found_by_their_places(tmp_path, caplog):
    write_verification_set(tmp_path / "faces.bin", pairs=40, size=SIZE)
    random = np.random.RandomState(0)
    unit = np.repeat(random.normal(size=(40, 8)), 2, axis=0) + 0.6 * random.normal(size=(80, 8))
    unit[1::4] = random.normal(size=(20, 8))  # pairs are genuine and impostor in turn
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    unit[7] = 0
    order = random.permutation(80)
    rows = {}
    for name, kept, names in (("straight", np.arange(80), np.arange(80)), ("mixed", order, order),
                              ("foreign", np.arange(80), [f"{number}.png" for number in range(80)])):
        np.savez(tmp_path / f"{name}.npz", embeddings=unit[kept], names=np.array(names).astype(str))
        caplog.clear()
        assert main(["verify", "--model", f"{tmp_path}/{name}.npz", "--bins", f"{tmp_path}/faces.bin", "--fpr", "0.1",
                     "--bootstrap", "0", "--json", f"{tmp_path}/out.json"]) == 0
        assert caplog.text.count("1 of 80 embeddings are zeros") == 1
        rows[name] = json.loads((tmp_path / "out.json").read_text())[f"{tmp_path}/{name}.npz"]["faces"]
    scores = np.where(np.arange(40) == 3, 2, ((unit[0::2] - unit[1::2]) ** 2).sum(axis=1))
    for row in rows.values():
        assert row["auc"] == pytest.approx(roc_auc_score(np.arange(40) % 2 == 0, -scores))
        assert row["thresholds"] == rows["straight"]["thresholds"]


def test_a_rate_that_is_not_given_has_no_interval(place, capsys):  # noqa: F811
    """At an FPR that allows less than one of the set's 375 impostor pairs."""
    rows = run(place, "--set", place / "faces", "--fpr", "1e-3,1e-1", models=("1", "2"))
    for row in rows.values():
        assert row["tpr_at_fpr"]["0.001"] is None and row["tpr_at_fpr"]["0.1"] is not None
        assert "0.001" not in row["interval"] and "0.1" in row["interval"] and "eer" in row["interval"]
        assert "0.001" not in row.get("difference", {})
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["0.001"]]
    assert len(lines) == 2 and all(line[1:3] == ["-", "0"] for line in lines)


def test_groups_that_do_not_fit_the_set(place, tmp_path, caplog):  # noqa: F811
    with open_face_set(place / "faces") as faces:
        names = faces.names
    table = tmp_path / "groups.csv"
    table.write_text(f"path,group\n{names[0]},a\nnobody.jpg,b\n{names[0]},a\n")
    assert read_groups(table, names).tolist() == ["a"] + [""] * 29
    assert "1 of its 2 images are not in the set, nobody.jpg the first" in caplog.text
    assert f"29 of the set's 30 images have no group, {names[1]} the first" in caplog.text
    for text, says in ((f"path,group\n{names[0]},a\n{names[0]},b\n", "line 3: .* is of the group a above"),
                       ("path,group\nnobody.jpg,a\n", "names none of the set's images"),
                       ("path,colour\nx,y\n", "expected the columns path")):
        table.write_text(text)
        with pytest.raises(UserError, match=says):
            read_groups(table, names)


NAMES = [f"{person}/{group}/{index}.jpg" for person in ("José", "C") for group in ("frontal", "profile")
         for index in range(2)]
FORMS = {"NFD": lambda name: unicodedata.normalize("NFD", name), "./": "./{}".format,
         "absolute": "/sets/faces/{}".format, "folder": "../faces/{}".format, "end": "faces/{}".format,
         "suffix": lambda name: name.replace("jpg", "JPG"), "another machine's": "/mnt/gone/{}".format,
         "Windows": lambda name: name.replace("/", "\\"), "drive": lambda name: "D:\\x\\" + name.replace("/", "\\")}


@pytest.mark.parametrize("form", FORMS)
def test_listed_images_are_found_in_every_form_of_their_names(tmp_path, form):
    written, root = FORMS[form], "../faces" if form == "folder" else "/sets/faces"
    table = tmp_path / "groups.csv"
    table.write_text("path,group\n" + "".join(f"{written(name)},{name.split('/')[1]}\n" for name in NAMES))
    assert read_groups(table, NAMES, root).tolist() == ["frontal"] * 2 + ["profile"] * 2 + ["frontal"] * 2 + [
        "profile"] * 2
    absent = [written("José/profile/7.jpg"), "./José/profile/7.JPG", "Ann/frontal/1.jpg"]
    failures = Failures("f", [written(NAMES[0]), written(NAMES[5]), *absent], [], [""] * 5)
    lost = lost_faces(failures, NAMES, np.repeat([0, 1], 4), ["José", "C"], None, root)
    assert np.flatnonzero(lost.failed).tolist() == [0, 5]
    assert [*zip(lost.absent_labels, lost.absent_groups)] == [(0, "profile"), (2, "frontal")]  # one in two forms; new
    groups = {written(name).replace("/mnt/", "/srv/"): name for name in ("Ann/frontal/1.jpg", NAMES[0])}
    by_table = lost_faces(failures, NAMES, np.repeat([0, 1], 4), ["José", "C"], groups, root)
    assert by_table.absent_groups.tolist() == ["", "Ann/frontal/1.jpg"]


def test_listed_images_whose_name_says_no_identity_or_could_be_two(tmp_path):
    (tmp_path / "C/1.jpg").mkdir(parents=True)  # what is here is not another machine's
    for name in ("/elsewhere/D/1.jpg", "../D/1.jpg", "D:\\elsewhere\\D\\1.jpg", "./1.jpg", f"{tmp_path}/C/1.jpg"):
        with pytest.raises(UserError, match="its identity is not known; give its path"):
            lost_faces(Failures("f", [name], [], [""]), NAMES, np.repeat([0, 1], 4), ["José", "C"], None, "/sets/faces")
    names = ["C/1.jpg", "C/1.JPG", "D/1.jpg"]
    table = tmp_path / "groups.csv"
    table.write_text("path,group\n./C/1.JPG,b\nC/1.jpg,a\n")
    assert read_groups(table, names).tolist() == ["a", "b", ""]
    for text, says in (("C/1.Jpg,a\n", "C/1.Jpg could be C/1.jpg or C/1.JPG"),
                       ("D/1.JPG,a\nD/1.Jpg,b\n", "D/1.JPG and D/1.Jpg are the same image, of the groups a and b")):
        table.write_text("path,group\n" + text)
        with pytest.raises(UserError, match=says):
            read_groups(table, names)
    with pytest.raises(UserError, match="could be several identities"):
        lost_faces(Failures("f", ["x.jpg"], [], ["a.Xy"]), names, np.arange(3), ["a.xy", "a.XY", "D"])


def test_pairs_at_the_thresholds_of_a_labelled_set(place, tmp_path):  # noqa: F811
    """Against the threshold that allpairs gives for that set."""
    chosen = run(place, "--set", place / "faces", "--fpr", "0.1")[f"{place}/net,1"]["thresholds"]["0.1"]["threshold"]
    bins, out = tmp_path / "a.bin", tmp_path / "out.json"
    write_verification_set(bins, pairs=20, size=SIZE)
    words = ["verify", "--model", f"{place}/net,1", "--bins", str(bins), "--fpr", "0.1", "--devices", "cpu:0",
             "--bootstrap", "0", "--threshold-from", f"{place}/faces"]
    assert main([*words, "--json", str(out)]) == 0
    ((row,),) = (rows.values() for rows in json.loads(out.read_text()).values())
    (fixed,) = row["at_threshold"]
    assert fixed["threshold"] == pytest.approx(chosen) and fixed["chosen_on"] == f"{place}/faces"
    with pytest.raises(UserError, match="--pca with --threshold-from of a labelled set"):
        main([*words, "--pca", "2"])


def test_images_of_pairs_that_failed_need_no_embedding(tmp_path, caplog):
    """As `deploy embed` leaves them out of the file of a .bin."""
    target = VerificationSet(write_verification_set(tmp_path / "a.bin", pairs=40, size=SIZE))
    unit = np.random.RandomState(0).normal(size=(80, 4)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    kept, norms = np.delete(np.arange(80), [5, 12]), np.arange(1, 81, dtype=np.float32)
    save_embeddings(tmp_path / "m.npz", Embeddings(unit[kept], norms[kept], kept.astype(str), None, {
        "set": {"sha256": target.digest}}, norms[kept]))
    (tmp_path / "m.failures.csv").write_text("path,label,reason\n5,,no face found\n12,,damaged\n")
    words = ["verify", "--model", f"{tmp_path}/m.npz", "--bins", f"{tmp_path}/a.bin", "--fpr", "0.2", "--json",
             f"{tmp_path}/out.json"]
    with pytest.raises(UserError, match="m.npz: lacks 2 of the 80 images of .*a.bin, 5 .from 0. the first; verify "
                                        "takes a list of them as --failures"):
        main(words)
    assert main([*words, "--failures", f"{tmp_path}/m.failures.csv"]) == 0
    ((row,),) = (rows.values() for rows in json.loads((tmp_path / "out.json").read_text()).values())
    scores, there = 2 - 2 * (unit[0::2] * unit[1::2]).sum(axis=1), np.delete(np.arange(40), [2, 6])
    impostors = np.sort(scores[there][~target.same[there]])
    rate = (scores[there][target.same[there]] < impostors[int(0.2 * len(impostors))]).mean()
    assert row["failures"]["without"]["0.2"] == pytest.approx(rate)
    assert row["xnorm"] == pytest.approx(norms[kept].mean())
    assert "2 of 80 embeddings are zeros, 5 the first: their pairs count as scored, at cosine 0" in caplog.text


def test_the_threshold_of_another_set_needs_no_groups_there(place, tmp_path, caplog):  # noqa: F811
    from small_sets import draw, jpeg
    for person in range(3):
        for number in range(2):
            name = tmp_path / f"other/p{person}/frontal/{number}.jpg"  # as some of the set's, of other people
            name.parent.mkdir(parents=True, exist_ok=True)
            name.write_bytes(jpeg(draw(40 + person, number, SIZE)))
    (tmp_path / "g.csv").write_text("path,group\n" + "".join(
        f"/mnt/gone/faces/{name.relative_to(place / 'faces')},{number % 2}\n" for number, name in
        enumerate(sorted((place / "faces").rglob("*.jpg")))))
    words = ["--set", place / "faces", "--groups", tmp_path / "g.csv", "--threshold-from", tmp_path / "other"]
    (plain,) = run(place, *words).values()
    (between,) = run(place, *words, "--between", "0,1").values()
    assert plain["at_threshold"][0]["threshold"] == between["at_threshold"][0]["threshold"]  # of all pairs there
    assert "other: has 12 impostor pairs, too few for a threshold at FPR 0.02" in caplog.text


def test_a_path_that_is_not_normal_names_the_same_images(place, monkeypatch):  # noqa: F811
    from pathlib import Path

    from eval.face_sets import open_face_set
    monkeypatch.chdir(place)
    (place / "x").mkdir(exist_ok=True)
    with open_face_set(Path("faces")) as plain, open_face_set(Path("x/../faces")) as odd:
        assert plain.names == odd.names and plain.folders.tolist() == odd.folders.tolist()
        assert plain.digest() == odd.digest()


def test_images_without_an_embedding_are_not_to_review_and_groups_are_those_of_the_table(place, tmp_path):  # noqa: F811
    names = [str(path.relative_to(place / "faces")) for path in sorted((place / "faces").rglob("*.jpg"))]
    unit = np.random.RandomState(0).normal(size=(len(names), 6)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    lost, absent = names[7], "p1/frontal/gone.jpg"
    kept = [number for number, name in enumerate(names) if name != lost]
    np.savez(tmp_path / "m.npz", embeddings=unit[kept], norms=np.ones(len(kept), np.float32),
             names=np.array([names[number] for number in kept]), meta=json.dumps({}))
    (tmp_path / "failed.txt").write_text(f"{lost}\n{absent}\n")
    (tmp_path / "g.csv").write_text("path,group\n" + "".join(
        f"{name},{number % 2}\n" for number, name in enumerate([*names, absent])))
    (row,) = run(place, "--set", place / "faces", "--failures", tmp_path / "failed.txt", "--audit", tmp_path / "a.csv",
                 "--between", "0,1", "--groups", tmp_path / "g.csv", models=(str(tmp_path / "m.npz"),)).values()
    assert lost not in (tmp_path / "a.csv").read_text()
    # Thirty images by turns in two groups, five of each person; the absent one is the third of p1 in group 0.
    group = {name: number % 2 for number, name in enumerate(names)}
    pairs = [(one[:2], other[:2], {one, other}) for one in [*names, absent] if group.get(one, 0) == 0
             for other in [*names, absent] if group.get(other, 0) == 1]
    missing = [(one == other) for one, other, both in pairs if both & {lost, absent}]
    assert row["failures"]["lost_genuine"] == sum(missing)
    assert row["failures"]["lost_impostors"] == len(missing) - sum(missing)
