"""A state folder that may hold anything: data with a schema, and everything else is damage, told in one line."""
import json
import os

import mxnet as mx
import numpy as np
import pytest
from state_cases import CONFIG, arrays, names, save

from common.errors import UserError
from training.saving.contents import Contents
from training.saving.state import Progress, States, generations

NOT_WHOLE = [None, "7", 7.5, -1, True, [7], {}, 10 ** 30, 2 ** 52]
KINDS = {
    "progress": {
        **{name: NOT_WHOLE for name in ("step", "position", "skipped", "skipped_in_row", "saves", "replaced",
                                        "best_number")},
        "verified_step": [None, "7", -2, 10 ** 30], "saved_step": [None, "7", -2, 8, 10 ** 30],
        "bad": [None, "x", {}, [-1], ["3"], [2.5], [None]],
        "best": ["high", [], float("nan"), float("inf")], "best_of": [None, 5, "x" * 10000], "best_on": [None, 5],
        "window": [None, [], {"loss": "x"}, {"seconds": float("nan")}, {"seconds": float("inf"), "steps": 2},
                                       {"seconds": 1e300}, {"steps": -1}, {"images": -8.5}, {"waited": float("-inf")}],
        "warned": [None, "stuck", [5]], "symptoms": [None, [], {"stuck": "2"}, {"stuck": -2}],
        "lengths": [None, [], {"metrics.jsonl": "9"}, {"metrics.jsonl": -1}, {"../../thesis.txt": 0}, {"/etc/motd": 0},
                    {"thesis.txt": 0}, {"state/000000001/state.json": 0}, {"events.out.tfevents.1/../x": 0}, {"": 0},
                    {".": 0}, {"..": 0}, {"log.txt": 0}, {"model-0001.params": 0}],
        "unknown": [1]},
    "identity": {"lr": ["0.1", None, [], True], "network": [5, None, "r50\x1b[31m"],
                 "data": [None, [], "x", {"images": []}],
                 "mirror_memory": ["yes", 3], "total batch": ["8", 0, None, []],
                 "schedule": [None, 5, [], "learning\nrate"],
                 "x": [[[[[[]]]]], float("nan"), "x" * 10000]},
    "sha256": {"net.params": [None, 5, "x", "g" * 64], "../../thesis.txt": ["0" * 64]},
}
CASES = [(part, name, value) for part, entries in KINDS.items() for name, values in entries.items() for value in values]


def change(path, part, name, value):
    content = json.loads((path / "state.json").read_text())
    content[part][name] = value
    (path / "state.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    save(folder, 1, 2)
    return folder


def copy(whole, folder):
    import shutil
    return shutil.copytree(whole, folder / "state")


def refused(folder, identity=CONFIG):
    """The one line that says why nothing here can be resumed."""
    with pytest.raises(UserError, match="every state in .* is damaged: .*`overwrite`") as caught:
        States(folder, identity).load()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("part, name, value", CASES)
def test_an_entry_of_the_wrong_kind_is_damage(whole, tmp_path, part, name, value, caplog):
    folder = copy(whole, tmp_path)
    change(generations(folder)[-1], part, name, value)
    assert States(folder, CONFIG).load()[0].step == 1
    assert len(caplog.records) == 1 and "000000002 cannot be used (state.json: " in caplog.text
    caplog.clear()
    change(generations(folder)[0], part, name, value)
    refused(folder)
    assert not caplog.records


@pytest.mark.parametrize("content", [
    b"", b"\xff\xfe", b"[]", b"null", b"5", b'{"progress": {}}', b"[" * 100000, b"{" * 10,
    b'{"step": ' + b"9" * 100000 + b"}",
    json.dumps({"progress": [], "identity": {}, "sha256": {}}).encode(), b"\0" * 100])
def test_a_header_that_is_none_is_damage(whole, tmp_path, content):
    folder = copy(whole, tmp_path)
    (generations(folder)[-1] / "state.json").write_bytes(content)
    assert States(folder, CONFIG).load()[0].step == 1
    (generations(folder)[0] / "state.json").write_bytes(content)
    refused(folder)


@pytest.mark.parametrize("part", ["progress", "identity", "sha256"])
def test_a_header_that_lacks_a_part_is_damage(whole, tmp_path, part):
    folder = copy(whole, tmp_path)
    for path in generations(folder):
        content = json.loads((path / "state.json").read_text())
        del content[part]
        (path / "state.json").write_text(json.dumps(content))
    assert f"lacks {part}" in refused(folder)


def replace(path, kind, target):
    """Put something that is no file of its own in the place of the file `path`."""
    os.replace(path, target)
    if kind == "link":
        path.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "zeros":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()


@pytest.mark.parametrize("name", ["state.json", "net.params", "momentum.params"])
@pytest.mark.parametrize("kind", ["link", "pipe", "zeros", "folder"])
def test_what_is_not_a_file_of_its_own_is_damage(whole, tmp_path, name, kind):
    folder = copy(whole, tmp_path)
    replace(generations(folder)[-1] / name, kind, tmp_path / "elsewhere")
    assert States(folder, CONFIG).load()[0].step == 1
    replace(generations(folder)[0] / name, kind, tmp_path / "elsewhere")
    refused(folder)


def test_a_link_in_the_place_of_a_state_is_damage_and_is_neither_followed_nor_removed(whole, tmp_path):
    folder, elsewhere = copy(whole, tmp_path), tmp_path / "elsewhere"
    os.replace(generations(folder)[-1], elsewhere)
    (folder / "000000002").symlink_to(elsewhere)
    os.mkfifo(folder / "000000003")
    states = States(folder, CONFIG)
    assert states.load()[0].step == 1
    states.save(Progress(step=3), arrays(3))
    states.save(Progress(step=4), arrays(4))
    assert names(folder) == ["000000002", "000000003", "000000003-1", "000000004"]
    assert len(list(elsewhere.iterdir())) == 4
    assert States(folder, CONFIG).load()[0].step == 4


def test_a_link_to_a_folder_of_states_is_damage(whole, tmp_path):
    (tmp_path / "state").symlink_to(whole)
    with pytest.raises(UserError, match="damaged: it is a link.*another `prefix`"):
        States(tmp_path / "state", CONFIG).load()


def test_a_file_of_somebody_in_a_state_folder_outlives_the_state(whole, tmp_path):
    folder = copy(whole, tmp_path)
    (folder / "machine.py").write_text("mine")
    (folder / ".hidden").mkdir()
    (generations(folder)[0] / "thesis.txt").write_text("mine")
    states = States(folder, CONFIG)
    states.load()
    for step in (3, 4, 5):
        states.save(Progress(step=step), arrays(step))
    assert names(folder) == ["000000004", "000000005"]
    assert (folder / "machine.py").exists() and (folder / ".hidden").exists()
    assert [path.read_text() for path in folder.glob(".*.old/*")] == ["mine"]


CONTENTS = Contents({"w": (3, 2), "mean": (2,)}, frozenset(["mean"]), {"fc7_weight": (4,)})
SOUND = {"net": {"w": mx.nd.ones((3, 2)), "mean": mx.nd.ones((2,)), "mean@0": mx.nd.ones((2,)),
                 "loss_scale": mx.nd.array([1024, 0, 0])},
         "head": {"fc7_weight": mx.nd.ones((4,)), "fc7_weight@momentum": mx.nd.ones((4,))},
         "momentum": {"w": mx.nd.ones((3, 2)), "fc7_weight": mx.nd.ones((4,))}}


@pytest.mark.parametrize("part, name, value", [
    ("net", "w", None), ("net", "w", mx.nd.ones((2, 3))), ("net", "w", mx.nd.ones((3, 2), dtype="float64")),
    ("net", "w", mx.nd.full((3, 2), np.nan)), ("net", "x", mx.nd.ones((3, 2))), ("net", "w@0", mx.nd.ones((3, 2))),
    ("net", "mean@-1", mx.nd.ones((2,))), ("net", "mean@99999999", mx.nd.ones((2,))),
    ("net", "mean@x", mx.nd.ones((2,))),
    ("net", "mean@0", mx.nd.ones((3,))), ("net", "loss_scale", mx.nd.ones((2,))),
    ("net", "loss_scale", mx.nd.array([0, 0, 0])), ("net", "mean@0", None), ("net", "mean@2", mx.nd.ones((2,))),
    ("head", "fc7_weight", None), ("head", "fc7_weight", mx.nd.ones((5,))),
    ("head", "fc7_bias", mx.nd.ones((4,))), ("momentum", "w", mx.nd.ones((1,))), ("momentum", "x", mx.nd.ones((1,))),
    ("net", "w", mx.nd.full((3, 2), np.inf)), ("net", "big", mx.nd.ones((1 << 19,)))])
def test_arrays_of_another_network_are_damage(tmp_path, part, name, value):
    save(tmp_path, 1)
    changed = {each: dict(values) for each, values in SOUND.items()}
    if value is None:
        del changed[part][name]
    else:
        changed[part][name] = value
    states = States(tmp_path, CONFIG, CONTENTS)
    states.save(Progress(step=2), SOUND)
    assert States(tmp_path, CONFIG, CONTENTS).load()[0].step == 2
    states.save(Progress(step=3), changed)
    assert States(tmp_path, CONFIG, CONTENTS).load()[0].step == 2
    States(tmp_path, CONFIG).save(Progress(step=4), changed)
    refused_line = pytest.raises(UserError, match="is damaged: ")
    for path in generations(tmp_path)[:-1]:
        (path / "state.json").unlink()
    with refused_line:
        States(tmp_path, CONFIG, CONTENTS).load()
