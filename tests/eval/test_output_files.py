"""Files that eval and deploy write: refused before any work where they cannot be, and never one that is read."""
from __future__ import annotations

import json
import shutil

import pytest
from small_nets import save_spread
from small_onnx import small_onnx
from small_sets import draw, write_verification_set

from common.errors import UserError
from deploy import card
from deploy.__main__ import main as deploy_main
from eval.__main__ import main

SIZE = 32


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    save_spread(folder, SIZE, 0, [draw(identity, number, SIZE) for identity in range(4) for number in range(3)])
    write_verification_set(folder / "v.bin", pairs=20, identities=5, size=SIZE)
    (folder / "f").write_text("x")
    (folder / "faces").mkdir()
    return folder


COMMANDS = {"verify": ("--bins", "v.bin"), "allpairs": ("--set", "faces"), "robustness": ("--set", "faces"),
            "identify": ("--gallery", "faces", "--probe", "faces"), "report": ("--bins", "v.bin", "--out", "r"),
            "ijb": ("--images", "faces", "--meta", "faces")}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_cannot_be_written_or_is_read_is_refused(place, name, monkeypatch):
    monkeypatch.chdir(place)
    before = {path: path.read_bytes() for path in place.iterdir() if path.is_file()}
    words = [name, "--model", "net,0", *COMMANDS[name]]
    for out, why in (("f/x.json", "is a file"), ("y" * 300, "too long"), ("new/", "slash"), ("faces", "a folder"),
                     ("net-symbol.json", "is what is read"), ("net-0000.params", "is what is read"),
                     *([("v.bin", "is what is read")] if "v.bin" in words else [])):
        with pytest.raises(UserError, match="--json") as told:
            main([*words, "--json", out])
        assert why in str(told.value)
    assert {path: path.read_bytes() for path in place.iterdir() if path.is_file()} == before


def test_two_files_of_one_name_are_refused(place, monkeypatch):
    monkeypatch.chdir(place)
    with pytest.raises(UserError, match="--audit ./out.csv: .* another flag"):
        main(["allpairs", "--model", "net,0", "--set", "faces", "--json", "out.csv", "--audit", "./out.csv"])


def test_cards_and_tables_that_cannot_be_written(place, monkeypatch):
    monkeypatch.chdir(place)
    for words in (["card", "--model", "net,0", "--out", "f/x.md"], ["card", "--model", "net,0", "--json", "f/x.json"],
                  ["compare", "--model", "net,0", "a.jpg", "b.jpg", "--json", "f/x.json"],
                  ["embed", "--model", "net,0", "faces", "--out", "f/x.npz"],
                  ["export", "--model", "net,0", "--out", "f/x.onnx"],
                  ["export", "--model", "net,0", "--out", "x.onnx", "--image-size", "112,112", "--insightface", "f"]):
        with pytest.raises(UserError, match=f"^{words[-2]} f.* is a file"):
            deploy_main(words)
    with pytest.raises(UserError, match="is a file"):
        main(["table", "net,0", "--out", "f/x.md"])


def test_deploy_does_not_write_over_what_it_reads(place, tmp_path, monkeypatch):
    """The model's files, those of its run, scores and their description; with and without --overwrite."""
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for name in ("config.json", "s.json", "v.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "s.csv").write_text("same,score\n1,0.1\n0,2\n")
    small_onnx(tmp_path / "m.onnx", size=(32, 32))
    model = ["--model", "net,0"]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    compare = ["compare", *model, "a.jpg", "b.jpg", "--threshold", "1", "--scores", "s.csv"]
    for words in ([*compare, "--json", "net-symbol.json"], [*compare, "--json", "./config.json"],
                  [*compare, "--json", "s.json"], ["card", *model, "--json", "net-symbol.json"],
                  ["card", *model, "--scores", "v.json", "--json", "v.json"],
                  ["card", *model, "--scores", "v.json", "--overwrite", "--out", "v.md"],
                  ["export", "--model", "m.onnx", "--overwrite", "--out", "m.onnx"],
                  ["export", *model, "--slim", "--overwrite", "--out", "net"]):
        with pytest.raises(UserError, match=f"^{words[-2]} .*is what is read; name another"):
            deploy_main(words)
    with pytest.raises(UserError, match="^--json config.json: is what is read"):
        main(["verify", *model, "--bins", "x.bin", "--json", "config.json"])
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


def test_a_card_that_appears_meanwhile_stays(place, tmp_path, monkeypatch):
    make = card.make_card
    monkeypatch.setattr(card, "make_card", lambda *words: ((tmp_path / "x.md").write_text("mine"), make(*words))[1])
    words = ["card", "--model", f"{place}/net,0", "--image-size", "32,32", "--out", f"{tmp_path}/x.md"]
    with pytest.raises(UserError, match="already exists"):
        deploy_main(words)
    assert (tmp_path / "x.md").read_text() == "mine"
    assert deploy_main([*words, "--overwrite"]) == 0 and json.loads((tmp_path / "x.json").read_text())
