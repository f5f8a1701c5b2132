"""`card`: what it says of a real run, of a checkpoint alone, and of names that would be Markdown."""
from __future__ import annotations

import hashlib
import json
import re
import shlex

import mxnet as mx
import pytest
from small_nets import draw_parameters, small_symbol
from small_runs import rows, train
from small_sets import write_training_set, write_verification_set

from common.errors import UserError
from deploy.__main__ import main
from deploy.card_text import as_markdown, escaped
from deploy.run_folder import command_of
from eval.__main__ import main as eval_main
from inference.model import read_parameters
from training.arguments import parse_config

SIZE = 32


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short training with three verifications, each saved."""
    folder = tmp_path_factory.mktemp("card")
    data = write_training_set(folder / "data", 4, 6, SIZE)
    write_verification_set(data / "drawn.bin", 24, 6, SIZE)
    assert train(data, folder / "run", "--max-steps", "6", "--verbose", "2", "--ckpt", "2", "--target", "drawn",
                 "--seed", "3", "--rand-mirror", "0", "--save-every", "0") == 0
    return folder / "run"


def card(model, *words):
    """The JSON of a card, and its Markdown."""
    out = model.parent / f"card{len(list(model.parent.glob('card*')))}.md"
    assert main(["card", "--model", f"{model}", "--out", str(out), *map(str, words)]) == 0
    return json.loads(out.with_suffix(".json").read_text()), out.read_text()


def test_what_a_run_says_of_its_checkpoint(run):
    told, text = card(run / "model,2")
    digest = hashlib.sha256((run / "model-symbol.json").read_bytes() + (run / "model-0002.params").read_bytes())
    assert told["sha256"] == digest.hexdigest() and told["model"] == "model,2"
    assert told["files"][1] == {"file": "model-0002.params", "bytes": (run / "model-0002.params").stat().st_size,
                                "sha256": hashlib.sha256((run / "model-0002.params").read_bytes()).hexdigest()}
    arguments, _ = read_parameters(str(run / "model"), 2, "--model")
    assert told["network"]["parameters"] == sum(value.size for value in arguments.values())
    assert told["network"]["version_output"] == "GNAP" and told["input"]["shape"] == ["N", 3, SIZE, SIZE]
    assert told["output"]["shape"] == ["N", 128] and told["input"]["normalisation"] == "inside the network"
    assert told["training"]["identities"] == 4 and told["training"]["images"] == 24
    second = [row for row in rows(run, "verification") if row["step"] == 4]
    assert told["scores"]["step"] == 4 and told["scores"]["of_this_checkpoint"] is True
    assert told["scores"]["rows"]["drawn"]["eer"] == second[0]["eer"] and told["scores"]["chosen_on"] is None
    for part in (told["sha256"], "verification at step 4", "ArcFace", "research only", "biometric",
                 "| identities | 4 |", f"{100 * second[0]['eer']:.2f}", "+- is the standard deviation",
                 "No terms were stated"):
        assert part in text
    assert "not known" not in text


def test_the_log_says_when_a_checkpoint_was_saved(run, tmp_path):
    for name in ("model-symbol.json", "model-0001.params", "metrics.jsonl"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    config = json.loads((run / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "ckpt": 1}))
    told, text = card(tmp_path / "model,1")
    assert told["scores"]["step"] == 6 and not told["scores"]["of_this_checkpoint"] and "is not known" in text
    (tmp_path / "log.txt").write_text("t INFO step 2 drawn: accuracy 0.5\nt INFO saved /old/model-0001.params, the "
                                      "best so far\nt INFO step 4 drawn: accuracy 0.4\n")
    told, text = card(tmp_path / "model,1")
    assert told["scores"]["step"] == 2 and told["scores"]["chosen_on"] == "drawn" and "optimistic" in text


def test_the_command_gives_the_same_configuration(run):
    words = shlex.split(card(run / "model,1")[0]["training"]["command"])
    assert words[1].endswith("train_softmax.py")
    again, first = parse_config(words[2:]).as_dict(), json.loads((run / "config.json").read_text())
    assert again == {name: first[name] for name in again} and "--verbose" in words and "--warmup" not in words
    del first["given"]  # as older versions wrote it
    older = parse_config(shlex.split(command_of(first))[2:])
    assert {name for name in again if again[name] != getattr(older, name)} <= {"from_preset", "given"}
    assert "--warmup" in command_of(first) and "--end-epoch" not in command_of(first)


def test_scores_of_verify_with_intervals(run, tmp_path):
    scores = tmp_path / "scores.json"
    assert eval_main(["verify", "--model", f"{run}/model,1|2", "--bins", str(run.parent / "data/drawn.bin"), "--fpr",
                      "0.1,0.5", "--bootstrap", "20", "--json", str(scores), "--devices", "cpu:0"]) == 0
    row = json.loads(scores.read_text())[f"{run}/model,2"]["drawn"]
    told, text = card(run / "model,2", "--scores", scores, "--terms", "research only", "--data", "drawn people")
    assert told["scores"]["rows"]["drawn"]["tpr_at_fpr"] == row["tpr_at_fpr"]
    low, high = row["interval"]["0.1"]
    assert f"~{100 * row['tpr_at_fpr']['0.1']:.2f} [{100 * low:.2f}, {100 * high:.2f}] at FPR 0.1" in text
    assert "Of scores.json" in text and "distributor: research only" in text and "Data: drawn people" in text
    assert "best of its run on drawn" in (text if "best" in row else card(run / "model,1", "--scores", scores)[1])
    with pytest.raises(UserError, match="none of this model,3"):
        card(run / "model,3", "--scores", scores)
    changed = json.loads(scores.read_text())
    changed[f"{run}/model,2"]["drawn"]["model_sha256"] = "0" * 64  # another model of the same name
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match="none of this model,2"):
        card(run / "model,2", "--scores", tmp_path / "changed.json")
    changed[f"{run}/model,2"]["drawn"] = {**row, "layer": "pre_fc1"}
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match="scores of the layer pre_fc1, not of fc1; give --layer pre_fc1"):
        card(run / "model,2", "--scores", tmp_path / "changed.json")
    assert "unlike" not in text
    assert eval_main(["verify", "--model", f"{run}/model,2", "--bins", str(run.parent / "data/drawn.bin"), "--no-flip",
                      "--folds", "3", "--pca", "5", "--json", str(scores), "--devices", "cpu:0"]) == 0
    assert ("drawn was scored without mirror images, after a projection on 5 principal components, over 3 folds, "
            "unlike what the conventions below say.") in card(run / "model,2", "--scores", scores)[1]
    (tmp_path / "same.json").write_bytes(scores.read_bytes())
    assert card(run / "model,2", "--scores", scores, tmp_path / "same.json")[0]["scores"]["rows"]["drawn"]["folds"] == 3
    changed[f"{run}/model,2"]["drawn"] = row
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match="changed.json: has other scores of drawn than .*scores.json; leave one of the"):
        card(run / "model,2", "--scores", scores, tmp_path / "changed.json")
    for content in ("[]", "{", "", "null", "[" * 9999):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(UserError, match="bad.json"):
            card(run / "model,2", "--scores", tmp_path / "bad.json")


def test_a_checkpoint_without_a_run(tmp_path, capsys):
    symbol = small_symbol()
    mx.model.save_checkpoint(str(tmp_path / "net"), 7, symbol, *draw_parameters(symbol, (SIZE, SIZE)))
    with pytest.raises(UserError, match="--image-size"):
        main(["card", "--model", f"{tmp_path}/net,7"])
    assert main(["card", "--model", f"{tmp_path}/net,7", "--image-size", "32,32"]) == 0
    out = capsys.readouterr().out
    assert "is not known here" in out and "None were given" in out and "parameters" in out
    assert main(["card", "--model", f"{tmp_path}/net,7", "--image-size", "32,32", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["known"] is False
    for words in (["--model", f"{tmp_path}/net,8"], ["--model", f"{tmp_path}/net"], ["--layer", "fc9"],
                  ["--out", f"{tmp_path}/card.txt"], ["--scores", f"{tmp_path}/none.json"]):
        with pytest.raises(UserError):
            main(["card", "--model", f"{tmp_path}/net,7", "--image-size", "32,32", *words])


def test_what_the_graph_says_of_normalisation(tmp_path):
    """Of pixels, before the first layer alone: its own BatchNorm is none; of embeddings, by the last operator."""
    data = mx.sym.Variable("data")
    for number, (given, inside) in enumerate([(data, False), ((data - 127.5) / 128, True),
                                              (mx.sym.BatchNorm(data, name="bn_data"), True)]):
        body = mx.sym.Convolution(given, name="conv", num_filter=4, kernel=(3, 3), stride=(2, 2), no_bias=True)
        body = mx.sym.LeakyReLU(mx.sym.BatchNorm(body, name="bn"), act_type="prelu", name="relu")
        body = mx.sym.FullyConnected(mx.sym.Flatten(body), name="fc1", num_hidden=6)
        symbol = mx.sym.L2Normalization(body, name="unit")
        mx.model.save_checkpoint(str(tmp_path / "net"), number, symbol, *draw_parameters(symbol, (SIZE, SIZE)))
        for layer, unit in (("fc1", False), ("unit", True)):
            told, text = card(tmp_path / f"net,{number}", "--image-size", "32,32", "--layer", layer)
            assert (told["input"]["normalisation"] == "inside the network") is inside
            assert told["output"]["normalised"] is unit and ("of length 1: add" in text) is unit


def test_files_that_are_there_stay(run, tmp_path):
    (tmp_path / "card.json").write_text("mine")
    with pytest.raises(UserError, match="overwrite"):
        main(["card", "--model", f"{run}/model,1", "--out", f"{tmp_path}/card.md"])
    assert (tmp_path / "card.json").read_text() == "mine" and not (tmp_path / "card.md").exists()


def test_an_untrusted_run_folder(run, tmp_path):
    """Nothing in it becomes markup, a link, a control character or a traceback."""
    evil = "<script>alert(1)</script>|`x`[y](http://z)\x1b[2J\n# title\u202e"
    for name in ("model-symbol.json", "model-0001.params"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    config = json.loads((run / "config.json").read_text())
    config.update(preset=evil, network=evil, data_dir=f"/x/{evil}", command=f"python x\n\n# {evil}", pretrained=evil,
                  versions={evil: evil}, loss_type=[1], git_commit={"a": evil}, ckpt=1)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "log.txt").write_bytes(b"\xff step 99999999999999999999\nsaved x-0001.params\n")
    (tmp_path / "metrics.jsonl").write_text("\n".join([
        json.dumps({"kind": "verification", "step": 4, "target": evil, "pairs": evil, "accuracy": float("nan"),
                    "interval": {"eer": [1, "x"]}, "eer": 0.1}), "[", "[" * 9999, '"x"', '{"kind": "verification"}']))
    told, text = card(tmp_path / "model,1")
    lines = [line for line in text.splitlines() if not line.startswith("    ")]  # a block of code is text as it is
    assert not re.search(r"(?<!\\)(<script|\]\(http|`x|\[y|\|`)", "\n".join(lines)) and "script" in text
    assert not any(letter in text for letter in "\x1b\u202e") and text.count("\n# ") == 0
    assert told["scores"]["of_this_checkpoint"] is False and "is not known" in text
    for content in ("{}", "[]", "null", "{", '{"prefix": "/y/model", "resolved": 3, "versions": [], "from_preset": 7}',
                    '{"prefix": "model", "resolved": {"image_size": ["a"]}, "loss_type": {}, "preset": {"a": 1}}'):
        (tmp_path / "config.json").write_text(content)
        assert as_markdown(card(tmp_path / "model,1", "--image-size", "32,32")[0])


def test_escaped_text():
    assert escaped("a|b*c_d<e>[f]`g`#h&i") == r"a\|b\*c\_d\<e\>\[f\]\`g\`\#h\&i"
    assert escaped("http://x.y www.z") == r"http\://x.y www\.z" and escaped("a\nb") == "a\\\\nb"
