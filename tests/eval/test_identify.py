"""`python -m eval identify`: a gallery, mated and non-mated probes, against loops in plain numpy."""
from __future__ import annotations

import csv
import json
import shutil
import unicodedata

import cv2
import mxnet as mx
import numpy as np
import pytest
from sklearn.preprocessing import normalize
from small_nets import forward, save_spread
from small_sets import draw, jpeg

from common.errors import UserError
from eval.__main__ import main
from eval.bootstrap import draw_resamples
from eval.embedding_file import load_embeddings
from eval.templates import identification
from eval.templates.identification import Search, resampled, search
from recordio_tools.__main__ import main as pack

SIZE = 48
SETS = {"gallery": (range(0, 8), (1, 2)), "probe": (range(0, 10), (3, 4, 5)), "strangers": (range(20, 30), (1,))}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("identify")
    save_spread(folder, SIZE, 3, [draw(person, 0, SIZE) for person in range(30)])
    for name, (people, numbers) in SETS.items():
        for person in people:
            (folder / name / f"p{person:02d}").mkdir(parents=True)
            for number in numbers:
                (folder / name / f"p{person:02d}" / f"{number}.jpg").write_bytes(jpeg(draw(person, number, SIZE)))
    return folder


def embedded(place, name):
    """(person, unit embedding) of each image of a set, by MXNet's plain forward pass."""
    files = sorted((place / name).rglob("*.jpg"))
    images = np.stack([cv2.imread(str(path))[..., ::-1] for path in files])
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(place / "net"), 0)
    views = [forward(symbol, arguments, auxiliary, np.ascontiguousarray(one)) for one in (images, images[:, :, ::-1])]
    return [(path.parent.name, unit) for path, unit in zip(files, normalize(sum(views)))]


def together(pairs):
    people = {}
    for person, unit in pairs:
        people.setdefault(person, []).append(unit)
    return {person: normalize(np.sum(units, axis=0)[None])[0] for person, units in people.items()}


def run(place, *more):
    out = place / "out.json"
    assert main(["identify", "--model", f"{place}/net,0", "--gallery", f"{place}/gallery", "--probe", f"{place}/probe",
                 "--json", str(out), "--devices", "cpu:0", "--fpr", "0.1,0.3", "--bootstrap", "30", *more]) == 0
    (found,) = json.loads(out.read_text())[f"{place}/net,0"].values()  # by the gallery
    return found


@pytest.mark.parametrize("by_person", [False, True])
def test_ranks_and_misses_are_those_of_a_loop(place, by_person):
    found = run(place, "--unknown", f"{place}/strangers", *(["--by-person"] if by_person else []))
    gallery = together(embedded(place, "gallery"))
    probes = [*embedded(place, "probe"), *embedded(place, "strangers")]
    if by_person:
        probes = [*together(embedded(place, "probe")).items(), *together(embedded(place, "strangers")).items()]
    ranks, mates, others = [], [], []
    for person, unit in probes:
        answers = {name: unit @ entry for name, entry in gallery.items()}
        if person in gallery:
            ranks.append(sorted(answers, key=answers.get, reverse=True).index(person) + 1)
            mates.append(answers[person])
        else:
            others.append(max(answers.values()))
    assert (found["mated"], found["non_mated"]) == (len(mates), len(others))
    assert len(others) == (12 if by_person else 16)  # two people of the probes are in no gallery
    for rank in (1, 5, 10):
        assert found["rank"][str(rank)] == pytest.approx(np.mean(np.array(ranks) <= rank))
    for fpir in (0.1, 0.3):
        allowed = int(fpir * len(others) + 1e-9)
        refused = sorted(others, reverse=True)[allowed]
        assert found["fnir_at_fpir"][f"{fpir:g}"] == pytest.approx(np.mean(np.array(mates) <= refused))
        assert found["thresholds"][f"{fpir:g}"]["few"] and found["thresholds"][f"{fpir:g}"]["false_accepts"] == allowed


def test_embeddings_are_kept_and_a_further_model_is_compared_on_the_same_resamples(place):
    (place / "other").mkdir()
    save_spread(place / "other", SIZE, 9, [draw(person, 0, SIZE) for person in range(30)])
    models, made, written = (f"{place}/net,0", f"{place}/other/net,0"), [], []
    for _ in range(2):
        run(place, "--model", models[1], "--embeddings", str(place / "kept"), "--scores", str(place / "compared"))
        rows = json.loads((place / "out.json").read_text())
        made.append([rows[model][f"{place}/gallery"] for model in models])
        written.append({path: path.stat().st_mtime_ns for path in (place / "kept").glob("*.npz")})
    assert made[0] == made[1] and written[0] == written[1] and len(written[0]) == 4
    first, second = made[0]
    assert {load_embeddings(path).digest_of("set") for path in written[0]} == {
        row[name] for row in made[0] for name in ("set_sha256", "probe_sha256")}
    assert first["model_sha256"] != second["model_sha256"] and "difference" not in first
    assert first["false_accepts"] == {name: row["false_accepts"] for name, row in first["thresholds"].items()}
    found = []
    for path in sorted((place / "compared").glob("*.csv"), key=lambda path: "other" in path.name):
        with open(path, newline="") as stream:
            found.append([(row["person"], row["rank"] == "1") for row in csv.DictReader(stream) if row["rank"]])
    people = sorted({f"p{person:02d}" for person in range(10)})
    drawn = draw_resamples(len(people), 30, 0)
    rates = [[sum(many[people.index(person)] * hit for person, hit in one)
              / sum(many[people.index(person)] for person, _ in one) for many in drawn] for one in found]
    told, apart = second["difference"]["rank 1"], np.subtract(rates[1], rates[0])
    assert told["to"] == models[0] and told["value"] == pytest.approx(second["rank"]["1"] - first["rank"]["1"]) != 0
    assert told["interval"] == pytest.approx(np.quantile(apart, (0.025, 0.975)))


def test_every_answer_is_written(place):
    run(place, "--unknown", f"{place}/strangers", "--scores", str(place / "scores"))
    with open(place / "scores" / "identify.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    gallery, probes = together(embedded(place, "gallery")), embedded(place, "probe")
    assert len(rows) == 30 + 10 and rows[0]["probe"] == "p00/3.jpg"
    for row, (person, unit) in zip(rows, probes):
        answers = {name: float(unit @ entry) for name, entry in gallery.items()}
        assert row["person"] == person and row["best"] == max(answers, key=answers.get)
        assert float(row["best_cosine"]) == pytest.approx(max(answers.values()), abs=1e-4)
        assert row["in_gallery"] == str(int(person in gallery)) and (row["rank"] == "") == (person not in gallery)


def test_identities_are_of_one_name_in_every_unicode_form(place, tmp_path):
    """As from macOS, which writes é as two letters."""
    for form, name in (("NFC", "gallery"), ("NFD", "probe")):
        shutil.copytree(place / name, tmp_path / name)
        for person in range(3):
            (tmp_path / name / f"p{person:02d}").rename(tmp_path / name / unicodedata.normalize(form, f"José {person}"))
    found = run(place, "--gallery", f"{tmp_path}/gallery", "--probe", f"{tmp_path}/probe")
    plain = run(place)
    assert {name: found[name] for name in ("mated", "non_mated", "rank", "fnir_at_fpir")} == {
        name: plain[name] for name in ("mated", "non_mated", "rank", "fnir_at_fpir")}
    with pytest.raises(UserError, match="is in the gallery"):
        run(place, "--gallery", f"{tmp_path}/gallery", "--probe", f"{tmp_path}/gallery", "--unknown",
            f"{tmp_path}/probe")


def test_label_numbers_without_names_are_told(place, tmp_path, caplog):
    """Two sets packed apart number their own identities: label 0 of one is not label 0 of the other."""
    said = "8 identities have no name and are matched by the numbers of their labels"
    for name in ("gallery", "probe", "strangers"):
        assert pack(["pack", str(place / name), str(tmp_path / name), "--workers", "1", "--image-size",
                     f"{SIZE},{SIZE}"]) == 0
    sets = [part for name in ("gallery", "probe") for part in (f"--{name}", str(tmp_path / name))]
    named = run(place, *sets)
    assert said not in caplog.text and named["mated"] == 24
    for name in ("probe", "gallery", "strangers"):
        (tmp_path / name / "identities.csv").rename(tmp_path / name / "kept")
        if name != "probe":
            assert run(place, *sets)["mated"] == 24
            assert f"--gallery {tmp_path}/gallery and --probe {tmp_path}/probe: {said}" in caplog.text
    caplog.clear()
    with pytest.raises(UserError, match="--unknown .*: 0 is in the gallery, and 7 others are"):
        run(place, *sets, "--unknown", str(tmp_path / "strangers"))
    assert f"--unknown {tmp_path}/strangers: {said}" in caplog.text
    for name in ("gallery", "probe", "strangers"):  # the advice
        (tmp_path / name / "kept").rename(tmp_path / name / "identities.csv")
    caplog.clear()
    assert run(place, *sets, "--unknown", str(tmp_path / "strangers"))["non_mated"] == 16 and said not in caplog.text


def test_without_non_mated_probes_there_is_not_a_fnir(place, capsys):
    main(["identify", "--model", f"{place}/net,0", "--gallery", f"{place}/gallery", "--probe", f"{place}/gallery",
          "--devices", "cpu:0", "--bootstrap", "0"])
    assert "FNIR" not in capsys.readouterr().out


@pytest.mark.parametrize("words, says", [
    (["--probe", "strangers"], "has no identity of --gallery"),
    (["--probe", "probe", "--unknown", "probe"], "p00 is in the gallery, and 7 others are"),
    (["--probe", "gone"], "gone")])
def test_sets_that_do_not_fit_are_reported_before_work(place, words, says):
    words = [word if word.startswith("-") else str(place / word) for word in words]
    with pytest.raises(UserError, match=says):
        main(["identify", "--model", f"{place}/net,0", "--gallery", f"{place}/gallery", *words])


@pytest.mark.parametrize("command, flag, says", [
    ("identify", "--pca", "--pca: a search uses whole embeddings"), ("identify", "--folds", "verify has them"),
    ("identify", "--threshold-from", "allpairs --threshold gives"), ("ijb", "--scores", "--json has the rates"),
    ("report", "--failures", "verify and allpairs count"), ("report", "--embeddings", "which --model takes"),
    ("robustness", "--failures", "verify and allpairs count"),
    ("identify", "--failures", "verify and allpairs count"), ("ijb", "--failures", "verify and allpairs count"),
    ("ijb", "--threshold", "--threshold: each --fpr and --fpir has its own"), ("ijb", "--pca", "whole embeddings")])
def test_flags_that_other_commands_have_are_refused_with_the_reason(capsys, command, flag, says):
    sets = {"identify": ["--gallery", "a", "--probe", "b"], "ijb": ["--images", "a", "--meta", "b"],
            "report": ["--out", "a"], "robustness": ["--set", "a"]}[command]
    with pytest.raises(SystemExit):
        main([command, "--model", "net,0", *sets, flag, "2"])
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_intervals_are_over_identities():
    """Of people whose probes are all found or all missed, the interval is the binomial one over people."""
    people = np.repeat(np.arange(60), 20)
    hit = people < 30
    found = Search(np.ones(1200, bool), np.where(hit, 1, 9), np.where(hit, 0.9, 0.1).astype(np.float32),
                   np.zeros(1200, int), np.ones(1200, np.float32), people)
    draws = resampled(found, (1,), (0.1,), 2000, 1)["rank 1"]
    assert draws.mean() == pytest.approx(0.5, abs=0.01)
    assert draws.std() == pytest.approx(np.sqrt(0.25 / 60), rel=0.1)  # not over probes, a quarter of that


def test_resampled_rates_are_those_of_the_probes_sampled(monkeypatch):
    """Against loops: each probe as often as its identity is drawn; and a search in blocks is one in whole."""
    random = np.random.RandomState(4)
    gallery, probes = normalize(random.normal(size=(9, 4))), normalize(random.normal(size=(50, 4)))
    people = random.randint(0, 14, 50)  # 9 and more are in no gallery
    found = search(gallery, np.arange(9), probes, people)
    monkeypatch.setattr(identification, "BLOCK", 7)
    in_blocks = search(gallery, np.arange(9), probes, people)
    for name, value in vars(found).items():
        np.testing.assert_allclose(getattr(in_blocks, name), value, rtol=1e-6)
    draws = resampled(found, (1, 3), (0.1, 0.4), 12, 5)
    cosines = probes @ gallery.T
    for number, drawn in enumerate(draw_resamples(int(np.unique(people).size), 12, 5)):
        times = drawn[np.unique(people, return_inverse=True)[1]]
        mates = np.repeat(np.flatnonzero(people < 9), times[people < 9])
        own = cosines[mates, people[mates]]
        ranks = (cosines[mates] >= own[:, None] - 1e-9).sum(axis=1)
        others = np.sort(np.repeat(cosines.max(axis=1)[people >= 9], times[people >= 9]))[::-1]
        for rank in (1, 3):
            assert draws[f"rank {rank}"][number] == pytest.approx((ranks <= rank).mean())
        for rate in (0.1, 0.4):
            edges = [edge for edge in np.append(others, -9) if (others > edge).mean() <= rate]
            assert draws[f"fnir {rate:g}"][number] == pytest.approx((own <= min(edges) + 1e-9).mean())
