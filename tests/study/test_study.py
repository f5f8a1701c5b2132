"""The study from its sets to its tables, and the real training set."""
import csv
import io
import json
from collections import Counter

import numpy as np
import pytest
from repository import REPO
from small_sets import jpeg

from common.errors import UserError
from study import runner, scoring, training_set
from study.__main__ import main
from study.plan import PLANS
from study.yaw import faces_with_yaw
from synth.protocol import write_cfp


@pytest.fixture
def work(tmp_path):
    """The study's folder with small pictures where it would draw people, which takes longer than all the rest."""
    faces, random = tmp_path / "work" / "sets-fast" / "faces", np.random.RandomState(3)
    people, tested = PLANS["fast"].people, PLANS["fast"].tested
    kinds = [(faces / "train" / f"{person:04d}", PLANS["fast"].images) for person in range(people)]
    kinds += [(faces / "cfp/Data/Images" / f"{person:03d}" / kind, count) for person in range(1, tested + 1)
              for kind, count in (("frontal", 10), ("profile", 4))]
    for folder, count in kinds:
        folder.mkdir(parents=True)
        for number in range(1, count + 1):
            (folder / f"{number:02d}.jpg").write_bytes(jpeg(random.randint(0, 256, (32, 32, 3)).astype(np.uint8)))
    write_cfp(faces / "cfp", tested, random)
    paths = sorted(path.relative_to(faces).as_posix() for path in faces.rglob("*.jpg"))
    (faces / "landmarks.csv").write_text("path,yaw\n" + "".join(
        f"{path},{-65 if 'profile' in path or path.endswith('8.jpg') else 5}\n" for path in paths))
    return tmp_path / "work"


def check_dream(work, plain, monkeypatch):
    """DREAM's rates are of what DREAM makes of the embeddings; a real one barely moves those of so short a training."""
    monkeypatch.setattr(scoring, "apply_dream", lambda block, embeddings, yaw: np.random.RandomState(5).normal(
        size=embeddings.shape).astype(np.float32))
    plan, sets = PLANS["fast"], work / "sets-fast"
    scores = scoring.score_run(str(work / "fast-gap-fasterfc-1" / "model"), 1, plan,
                               faces_with_yaw(plan, work, sets), sets / "cfp_fp.bin", dream=True)
    assert scores["frontal-profile"]["draws"] == plain
    assert scores["dream"]["frontal-profile"]["draws"] != plain


@pytest.fixture
def short_network(monkeypatch):
    """The commands of a study, by a program that trains few layers."""
    command, program = runner._command, runner.REPO / "train_softmax.py"
    monkeypatch.setattr(runner, "_command", lambda *given: [
        REPO / "tests/helpers/short_run.py" if word == program else word for word in command(*given)])


def test_the_whole_way_to_the_tables(work, tmp_path, capsys, monkeypatch, short_network):
    flags = ["--work", str(work), "--results", str(tmp_path / "results")]
    assert main(["run", "fast", "--only", "gap-fasterfc", *flags]) == 0
    results = sorted((tmp_path / "results").iterdir())
    assert [path.name for path in results] == ["fast-gap-fasterfc-1.json"]
    result = json.loads(results[0].read_text())
    training = result["training"]
    assert training["steps"] == 12 and training["versions"]["mxnet"]
    assert (training["num_classes"], training["images"]) == (PLANS["fast"].people,
                                                             PLANS["fast"].people * PLANS["fast"].images)
    scores = result["scores"]
    pairs = scores["frontal-profile"]
    assert 0 < pairs["eer"] < 1 and len(pairs["draws"]["0.1"]) == 50 and pairs["genuine"] > 0
    assert scores["positions"]["profile"]["positions"] == 4
    group, = scores["by_yaw"]  # all profiles are at 65 degrees here
    assert group["group"] == "yaw 60-75" and group["images"] == 4 * PLANS["fast"].tested
    assert group["tpr"] == pytest.approx(pairs["tpr"]["0.1"], abs=2e-3)
    assert len(scores["dream"]["frontal-profile"]["draws"]["0.1"]) == 50
    check_dream(work, pairs["draws"], monkeypatch)
    assert len(scores["random_protocols"]["accuracy"]) == len(scores["random_protocols"]["tpr"]["0.1"]) == 50
    written = [path.stat().st_mtime_ns for path in results]
    assert main(["run", "fast", "--only", "fast-gap-fasterfc-1", *flags]) == 0
    assert [path.stat().st_mtime_ns for path in results] == written
    capsys.readouterr()
    assert main(["table", "fast", "--reference", "gap-fasterfc", "--results", str(tmp_path / "results")]) == 0
    sections = capsys.readouterr().out.split("## ")[1:]
    assert [section.split("\n")[0].split(",")[0] for section in sections] == [
        "Rates", "Every run", "Differences from gap-fasterfc", "Random protocols", "By yaw", "Misaligned",
        "Norms of local features"]
    rates, runs, differences, protocols, yaw, misaligned, _ = (section.split("\n\n")[2] for section in sections)
    assert "| gap-fasterfc |" in rates and "| gap-fasterfc-1 |" in runs and "dream" not in runs + misaligned
    assert all("| gap-fasterfc-dream |" in table for table in (rates, differences, protocols, yaw))


def test_a_system_that_is_not_in_the_plan_is_reported(tmp_path):
    with pytest.raises(UserError, match="--only x: x is neither a system nor a run of the plan fast"):
        main(["run", "fast", "--only", "x", "--work", str(tmp_path), "--results", str(tmp_path)])


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / "f").touch()
    for flag, words in (("--out", ["plot", "fast"]), ("--results", ["run", "fast"]), ("--work", ["run", "fast"]),
                        ("--results", ["score", "fast", "fast-gap-1", "--sets", "s", "--data", "d"])):
        with pytest.raises(UserError, match=f"^{flag} .*f: is a file; expected a folder to write into"):
            main([*words, flag, str(tmp_path / "f")])


def test_faces_that_are_not_there_are_reported(tmp_path):
    with pytest.raises(UserError, match="has no train; --data names the folder"):
        main(["run", "real", "--data", str(tmp_path), "--work", str(tmp_path / "w")])


def test_no_identity_keeps_more_images_than_the_limit(shared_data):
    rows = list(csv.DictReader(io.StringIO(training_set._left_out(shared_data).decode())))
    out = Counter((row["set"], row["label"]) for row in rows if row["image"])
    for name in ("train", "more"):
        faces = training_set.open_dataset(shared_data / name)
        for label, count in Counter(faces.labels.tolist()).items():
            assert count - out[str(shared_data / name), str(label)] == min(count, training_set.MOST)
    assert sum(bool(row["identity"]) for row in rows) > 100
