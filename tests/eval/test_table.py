"""`python -m eval table`: runs and score files as the paper's tables, read back with other readers."""
from __future__ import annotations

import csv
import io
import json

import pytest

from common.errors import UserError
from eval.__main__ import main
from eval.paper.figures import BY_CONFIGURATION, SYSTEMS, system_of
from training.config import Config
from training.presets import PRESETS

PRESET_SYSTEMS = ("LResNet18E", "LResNet18E(FasterFC)", "LResNet18E(GAP)", "LResNet18E(GNAP)", "MobileFaceNet",
                  "MobileFaceNet+", "MobileFaceNet++")


def row(target, step=4, **more):
    return {"kind": "verification", "step": step, "target": target, "pairs": 6000, "accuracy": 0.9423,
            "accuracy_std": 0.011, "tpr": 0.7123, "fpr_target": 0.001, "eer": 0.0512, "auc": 0.9,
            "threshold": 1.4, "xnorm": 9.0, "seconds": 1.0, **more}


def make_run(folder, preset="lresnet18e-gnap", rows=None):
    folder.mkdir()
    config = Config(data_dir="d", preset=preset, **PRESETS[preset]).as_dict()
    (folder / "config.json").write_text(json.dumps(config))
    lines = [{"kind": "train", "step": 1}, *(rows or [row("lfw"), row("cfp_fp")])]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def scores(path, model="elsewhere/model,3", **more):
    """As verify --json writes them, with two FPR."""
    full = row("cfp_fp", tpr_at_fpr={"0.001": 0.8, "0.01": 0.9}, false_accepts={"0.001": 12, "0.01": 120},
               thresholds={"0.001": {"tpr": 0.8}, "0.01": {"tpr": 0.9}}, flip=True, pca=None, folds=10,
               interval={"0.001": [0.7, 0.85], "0.01": [0.88, 0.92], "eer": [0.04, 0.06]}, **more)
    path.write_text(json.dumps({model: {"cfp_fp": full}}))
    return path


def table(capsys, *words):
    assert main(["table", *map(str, words)]) == 0
    return capsys.readouterr().out


def read_csv(text):
    return {(line["table"], line["system"], line["model"]): line for line in csv.DictReader(io.StringIO(text))}


def test_every_preset_is_its_system():
    assert [system_of(PRESETS[name]) for name in PRESETS] == list(PRESET_SYSTEMS) == list(SYSTEMS)
    assert set(BY_CONFIGURATION.values()) == set(SYSTEMS)
    assert system_of({**PRESETS["lresnet18e-gnap"], "version_output": "GDC"}) == ""
    assert system_of({**PRESETS["mobilefacenet++"], "fc7_lr_mult": 3.0}) == ""


def test_a_runs_last_verification_is_beside_the_papers_figures(tmp_path, capsys):
    run = make_run(tmp_path / "gnap", rows=[row("lfw", 2, accuracy=0.99), row("cfp_fp", 2, accuracy=0.99),
                                            row("lfw"), row("cfp_fp", false_accepts=3, interval={"tpr": [0.6, 0.8]})])
    found = read_csv(table(capsys, run, "--format", "csv"))
    ours = found["1", "LResNet18E(GNAP)", str(run)]
    assert [ours["accuracy_cfp_fp"], ours["accuracy_cfp_fp_spread"], ours["accuracy_cfp_fp_paper"]] == [
        "94.23", "1.10", "95.19"]
    assert [ours["tpr_cfp_fp"], ours["tpr_cfp_fp_paper"], ours["tpr_cfp_fp_false_accepts"]] == ["71.23", "78.31", "3"]
    assert [ours["tpr_cfp_fp_low"], ours["tpr_cfp_fp_high"], ours["step"]] == ["60.00", "80.00", "4"]
    assert [ours["eer_cfp_fp"], ours["eer_cfp_fp_paper"]] == ["5.12", "4.97"]
    assert ours["tpr_lfw_false_accepts"] == "<=6"  # the row does not say; no more of 6,000 pairs can be
    assert found["1", "LResNet18E(GAP)", ""]["tpr_cfp_fp_paper"] == "74.69" and len(found) == 4  # no Table 2


def test_markdown_has_marks_intervals_and_a_row_for_every_system(tmp_path, capsys):
    run = make_run(tmp_path / "plus", "mobilefacenet+")
    text = table(capsys, run, f"MobileFaceNet++={scores(tmp_path / 's.json')}")
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert "~71.23 (<=6)" in lines["MobileFaceNet+"] and "| 75.43 |" in lines["MobileFaceNet+"]
    assert "80.00 [70.00, 85.00]" in lines["MobileFaceNet++"] and "~80.00" not in text
    assert "not scored here" in lines["MobileFaceNet"] and "Table 1" not in text
    assert "fewer than 10 false accepts" in text and "10 folds" in text
    counts = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(counts) == 1  # every row has the header's columns


def test_latex_balances_and_escapes(tmp_path, capsys):
    out = tmp_path / "t.tex"
    table(capsys, scores(tmp_path / "s.json", "runs_a/50%_#1&2,3"), "--out", out)
    text = out.read_text()
    assert r"runs\_a/50\%\_\#1\&2,3" in text
    parts = text.split(r"\begin{tabular}")[1:]
    assert len(parts) == text.count(r"\end{tabular}") == 2  # a model that is no system of the paper's is in both
    for part in parts:
        rows = [line for line in part.split(r"\hline")[1:-1] for line in line.splitlines() if line.endswith(r"\\")]
        columns = len(part.splitlines()[0].strip("{}"))
        assert len(rows) > 3 and {line.replace(r"\&", "").count("&") + 1 for line in rows} == {columns}


def test_the_step_that_is_best_on_a_set_is_marked(tmp_path, capsys):
    rows = [row("lfw", 2), row("cfp_fp", 2, accuracy=0.97), row("lfw", 4), row("cfp_fp", 4, accuracy=0.95)]
    text = table(capsys, make_run(tmp_path / "gnap", rows=rows), "--best", "cfp_fp")
    assert "step 2 (best on" in text and "97.00" in text and "optimistic" in text


@pytest.mark.parametrize("change", [{"flip": False}, {"pca": 64}, {"folds": 5}, {"pairs": 7000}])
def test_unlike_conventions_are_refused(tmp_path, change):
    run = make_run(tmp_path / "gnap")
    other = json.loads(scores(tmp_path / "s.json").read_text())
    other["elsewhere/model,3"]["cfp_fp"].update(change)
    (tmp_path / "s.json").write_text(json.dumps(other))
    with pytest.raises(UserError, match=rf"s.json: cfp_fp was scored with .*{list(change.values())[0] or 'off'}.*gnap"):
        main(["table", str(run), str(tmp_path / "s.json")])


def test_another_fpr_has_no_figures_of_the_paper(tmp_path, capsys):
    found = read_csv(table(capsys, f"mobilefacenet={scores(tmp_path / 's.json')}", "--fpr", "0.01", "--format", "csv"))
    ours = found["2", "MobileFaceNet", "elsewhere/model,3"]
    assert [ours["tpr_cfp_fp"], ours["tpr_cfp_fp_false_accepts"], ours["tpr_cfp_fp_paper"]] == ["90.00", "120", ""]
    assert ours["accuracy_cfp_fp_paper"] == "88.97"


def test_a_rate_on_no_false_accept_is_not_given(tmp_path, capsys):
    for number, rows in enumerate(([row("cfp_fp", pairs=400)], [row("cfp_fp", false_accepts=0)])):
        assert "| - |" in table(capsys, make_run(tmp_path / f"gnap{number}", rows=rows))


@pytest.mark.parametrize("content, says", [
    ("{}", "holds no scores"), ("[1]", "is not what"), ("nothing", "is not JSON"),
    (json.dumps({"m,1": {"set": {"genuine": 3}}}), "no accuracy over folds"),
    (json.dumps({"m,1": {"cfp_fp": row("cfp_fp", tpr_at_fpr={"0.01": 1})}}).replace('"fpr_target": 0.001', '"x": 1'),
     "has no TPR at FPR 0.001"),
    (json.dumps({"m,1": {"other": row("other")}}), "--lfw NAME")])
def test_what_is_not_a_score_is_reported_in_one_line(tmp_path, content, says):
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(UserError, match=says) as told:
        main(["table", str(tmp_path / "s.json")])
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("change", [{"accuracy": 10 ** 400}, {"eer": -10 ** 400}, {"fpr_target": 10 ** 400},
                                    {"interval": {"accuracy": [10 ** 400, 1]}}, {"pairs": 10 ** 400}])
def test_numbers_that_no_float_holds_are_no_scores(tmp_path, capsys, change):
    """JSON may hold them; they are left out, or end in one line."""
    run = make_run(tmp_path / "a", rows=[row("lfw", **change), row("cfp_fp")])
    if set(change) & {"fpr_target", "pairs"}:
        with pytest.raises(UserError, match="lfw at step 4: has no (TPR|number of pairs)"):
            main(["table", str(run)])
    else:
        lines = read_csv(table(capsys, run, "--format", "csv"))
        assert not any(len(text) > 100 for line in lines.values() for text in line.values())


def test_a_folder_without_scores_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no metrics.jsonl"):
        main(["table", str(tmp_path)])
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 1}\n')
    with pytest.raises(UserError, match="has no verification"):
        main(["table", str(tmp_path)])


@pytest.mark.parametrize("changed", [{"gnap_variant": "no-reweighting"}, {"net_multiplier": 0.5}, {"emb_size": 128},
                                     {"version_act": "relu"}])
def test_a_changed_network_is_none_of_the_papers(changed):
    from eval.paper.figures import system_of
    own = {"network": "r18", "version_output": "GNAP", "fc7_lr_mult": 10.0, "gnap_variant": "paper", "emb_size": 512,
           "net_multiplier": 1.0, "version_act": "prelu"}
    assert system_of(own) == "LResNet18E(GNAP)" and system_of({**own, **changed}) == ""
