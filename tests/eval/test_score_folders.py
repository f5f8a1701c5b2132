"""Where scores are written: a file for each model and set, and none that another flag names."""
from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from allpairs_command_cases import SIZE, place  # noqa: F401
from small_sets import write_verification_set

from common.errors import UserError
from eval.__main__ import main
from eval.models import ModelName
from eval.score_folders import distinct, score_files, score_folders


def test_names_are_distinct():
    assert distinct(["a", "b", "a", "a-2", "a"]) == ["a", "b", "a-2", "a-2-2", "a-3"]


def test_every_model_and_set_has_a_file_of_its_own():
    models = [ModelName(f"{prefix},3", prefix, 3)
              for prefix in ("a/b/model", "a_b/model", "runs/model", "../runs/model", "x/net")]
    folders = score_folders(models)
    assert len(set(folders.values())) == 5 and folders["x/net,3"] == "net-0003"
    assert folders["a/b/model,3"] == "a_b_model-3" and folders["a_b/model,3"] == "a_b_model-3-2"
    files = score_files(argparse.Namespace(scores="S", json=None), models, ["a/x.bin", "a_x.bin"])
    paths = [path for each in files.values() for path in each]
    assert len(set(paths)) == 10 and all(path.suffix == ".csv" for path in paths)
    assert score_files(argparse.Namespace(scores="S"), models[:1], ["lfw"]) == {"a/b/model,3": [Path("S/lfw.csv")]}
    assert score_files(argparse.Namespace(scores=None), models, ["lfw"]) == {}


COMMANDS = {
    "verify": (["--bins", "v.bin"], {"--json": "s/v.json"}),
    "allpairs": (["--set", "faces"], {"--json": "s/faces.json", "--audit": "s/../s/faces.csv"}),
    "robustness": (["--set", "faces", "--shift", "0,2"], {"--json": "s/faces-aligned.csv"}),
    "identify": (["--gallery", "faces", "--probe", "faces"], {"--json": "s/identify.csv"}),
    "report": (["--bins", "v.bin", "--set", "faces", "--out", "r"], {"--json": "s/v.csv"}),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_scores_would_replace_is_refused_before_work(place, monkeypatch, name):  # noqa: F811
    monkeypatch.chdir(place)
    write_verification_set(place / "v.bin", pairs=20, size=SIZE)
    words, others = COMMANDS[name]
    for flag, path in others.items():
        with pytest.raises(UserError, match=f"{flag} .*--scores s writes") as told:
            main([name, "--model", "net,1", *words, "--scores", "s", flag, path])
        assert path in str(told.value) and not (place / "s").exists()


def test_the_page_of_a_report_is_not_its_json(place, monkeypatch):  # noqa: F811
    monkeypatch.chdir(place)
    with pytest.raises(UserError, match="--json r/index.html: .*--out r writes"):
        main(["report", "--model", "net,1", "--set", "faces", "--out", "r", "--json", "r/index.html"])


def test_a_set_of_pairs_and_a_labelled_set_of_one_name(place, tmp_path):  # noqa: F811
    write_verification_set(place / "faces.bin", pairs=20, size=SIZE)
    assert main(["report", "--model", f"{place}/net,1", "--bins", f"{place}/faces.bin", "--set", f"{place}/faces",
                 "--out", str(tmp_path / "r"), "--scores", str(tmp_path / "s"), "--misaligned", "0", "--faces", "0",
                 "--hardest", "0", "--bootstrap", "0", "--devices", "cpu:0"]) == 0
    assert {path.name for path in (tmp_path / "s").iterdir()} == {"faces.csv", "faces.json", "faces-2.csv",
                                                                 "faces-2.json"}
    assert len((tmp_path / "s" / "faces-2.csv").read_text().splitlines()) == 1 + 30 * 29 // 2
