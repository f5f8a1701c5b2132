"""`embed` that was stopped goes on from its journal, to the file of one that never was; and from no other beginning."""
from __future__ import annotations

import fcntl
import json
import os

import mxnet as mx
import numpy as np
import pytest
from small_nets import draw_parameters, small_symbol
from small_sets import draw, jpeg

import deploy.embed
from common.errors import UserError
from deploy.__main__ import main
from deploy.journal import ROWS, VALUES

SIZE, PEOPLE, EACH, BATCH = 48, 7, 6, 4


@pytest.fixture
def place(tmp_path):
    symbol = small_symbol(16)
    for epoch in (1, 2):
        mx.model.save_checkpoint(str(tmp_path / "net"), epoch, symbol, *draw_parameters(symbol, (SIZE, SIZE), epoch))
    for person in range(PEOPLE):
        (tmp_path / f"faces/p{person}").mkdir(parents=True)
        for index in range(EACH):
            (tmp_path / f"faces/p{person}/{index}.jpg").write_bytes(jpeg(draw(person, index, SIZE)))
    for name in ("p0/1.jpg", "p0/5.jpg", "p4/0.jpg", "p6/5.jpg"):
        (tmp_path / "faces" / name).write_bytes(b"no image")
    return tmp_path


def embed(place, name, *flags, epoch=1):
    """The bytes of X.npz and of its list of failures."""
    assert main(["embed", "--model", f"{place}/net,{epoch}", f"{place}/faces", "--out", f"{place}/{name}", "--devices",
                 "cpu:0", "--batch-size", str(BATCH), *flags]) == 0
    assert not (place / f"{name}.partial").exists()
    return (place / name).read_bytes(), (place / name).with_suffix(".failures.csv").read_bytes()


@pytest.fixture
def stop(monkeypatch):
    """A function that has the next command stopped before the journal takes the batch after so many."""
    add, began = deploy.embed.Journal.add, []

    def stopped(self, rows, embeddings):
        began.append(len(rows))
        if len(began) == stopped.at:
            raise KeyboardInterrupt
        add(self, rows, embeddings)

    def set_up(batches):
        began.clear()
        stopped.at = batches + 1
        monkeypatch.setattr(deploy.embed.Journal, "add", stopped)
        return began
    return set_up


def interrupted(place, name, stop, batches, *flags, **options):
    stop(batches)
    for left in (name, name.replace(".npz", ".failures.csv")):
        if (place / left).exists():
            (place / left).unlink()
    with pytest.raises(KeyboardInterrupt):
        embed(place, name, *flags, **options)
    return stop(1000)


def same(one, other):
    """Whether two files hold the same, bit for bit; their times in the zip archive may differ."""
    with open(one, "rb") as first, open(other, "rb") as second, np.load(first) as ours, np.load(second) as theirs:
        return ours.files == theirs.files and all(ours[name].tobytes() == theirs[name].tobytes() for name in ours.files)


@pytest.mark.parametrize("batches", [0, 1, 3, 9])
def test_it_ends_with_the_same_bits(place, stop, batches, caplog):
    _, failures = embed(place, "whole.npz")
    began = interrupted(place, "x.npz", stop, batches)
    assert f"keeps {json_rows(place) if batches else 0} of 42 images" in caplog.text
    assert not (place / "x.npz").exists()
    left = 42 - json_rows(place)
    assert embed(place, "x.npz")[1] == failures and same(place / "x.npz", place / "whole.npz")
    assert sum(began) == left


def json_rows(place):
    return len((place / "x.npz.partial" / ROWS).read_text().splitlines()) - 1


def test_what_a_kill_left_half_written_is_made_again(place, stop):
    embed(place, "whole.npz")
    for damage in ("half a line", "numbers cut off", "numbers changed", "a line changed"):
        interrupted(place, "x.npz", stop, 6)
        rows, values = (place / "x.npz.partial" / name for name in (ROWS, VALUES))
        if damage == "half a line":
            rows.write_bytes(rows.read_bytes()[:-9])
        elif damage == "a line changed":
            rows.write_bytes(rows.read_bytes().replace(b'"crc32": ', b'"crc32": 1', 9))
        else:
            data = bytearray(values.read_bytes())
            data[700] ^= 255
            values.write_bytes(bytes(data) if "changed" in damage else bytes(data[:-30]))
        embed(place, "x.npz", "--overwrite")
        assert same(place / "x.npz", place / "whole.npz"), damage


def test_an_image_that_changed_meanwhile_is_embedded_again(place, stop, caplog):
    began = interrupted(place, "x.npz", stop, 5)
    (place / "faces/p2/1.jpg").write_bytes(jpeg(draw(77, 1, SIZE)))
    embed(place, "x.npz")
    assert "p2/1.jpg: has changed since" in caplog.text and 42 - 14 <= sum(began) <= 42 - 8
    embed(place, "whole.npz")
    assert same(place / "x.npz", place / "whole.npz")


def test_images_that_came_and_went(place, stop):
    for change in ("came", "went"):
        interrupted(place, "x.npz", stop, 5)
        (place / "faces/p1/00.jpg").write_bytes(jpeg(draw(78, 1, SIZE)))
        if change == "went":
            (place / "faces/p1/00.jpg").unlink()
        embed(place, "x.npz", "--overwrite")
        embed(place, "whole.npz", "--overwrite")
        assert same(place / "x.npz", place / "whole.npz")


@pytest.mark.parametrize("flags, epoch, said", [([], 2, "model"), (["--no-flip"], 1, "flip True, now False"),
                                                (["--layer", "pre_fc1"], 1, "layer fc1, now pre_fc1"),
                                                (["--no-labels"], 1, "labels True, now False")])
def test_a_beginning_of_other_embeddings_is_refused(place, stop, flags, epoch, said):
    interrupted(place, "x.npz", stop, 5)
    before = (place / "x.npz.partial" / ROWS).read_bytes()
    with pytest.raises(UserError, match="--overwrite") as caught:
        embed(place, "x.npz", *flags, epoch=epoch)
    assert said in str(caught.value) and (place / "x.npz.partial" / ROWS).read_bytes() == before
    embed(place, "x.npz", "--overwrite", *flags, epoch=epoch)
    embed(place, "whole.npz", *flags, epoch=epoch)
    assert same(place / "x.npz", place / "whole.npz")


def test_a_folder_in_the_way_is_left_alone(place):
    folder = place / "x.npz.partial"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="thesis.txt"):
        embed(place, "x.npz", "--overwrite")
    (folder / "thesis.txt").rename(place / "thesis.txt")
    (folder / ROWS).symlink_to(place / "thesis.txt")
    with pytest.raises(UserError, match=ROWS):
        embed(place, "x.npz", "--overwrite")
    assert (place / "thesis.txt").read_text() == "mine"


def test_two_commands_do_not_write_one_file(place, stop):
    interrupted(place, "x.npz", stop, 5)
    with open(place / "x.npz.partial" / ROWS, "r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process"):
            embed(place, "x.npz")
    embed(place, "x.npz")


def test_lines_that_are_not_rows(place, stop):
    embed(place, "whole.npz")
    row = {"name": "p1/4.jpg", "sha256": "", "norms": [], "view_norms": [], "reason": "", "crc32": 0}
    for line in (b"[]", b"{}", b"[" * 5000, *(json.dumps({**row, **wrong}).encode() for wrong in (
            {"sha256": "zz"}, {"norms": ["x"]}, {"view_norms": [1]}, {"crc32": 1}, {"name": "p9/1.jpg"}))):
        interrupted(place, "x.npz", stop, 2)
        with open(place / "x.npz.partial" / ROWS, "ab") as stream:
            stream.write(line + b"\n")
        embed(place, "x.npz", "--overwrite")
        assert same(place / "x.npz", place / "whole.npz")
    assert os.path.exists(place / "x.npz")
