"""The folder of a run: what a run did not make is never replaced or removed, and names that cannot be are refused."""
import contextlib
import json
import os
import shutil

import pytest
from run_folder_cases import everything  # noqa: F401
from small_runs import SIZE, flags, rows, train
from small_sets import write_training_set

from common.errors import UserError
from training.arguments import parse_config
from training.run import run
from training.saving.ownership import scan_folder
from training.saving.prefix import check_prefix
from training.saving.run_folder import folder_line, prepare_folder
from training.saving.state import States, generations
from training.specs import SavingSpec


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_training_set(tmp_path_factory.mktemp("data"), identities=6, images=8, size=SIZE)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert train(data, folder, *SHORT, "--max-steps", 3) == 0
    return folder


REFUSED = "warning: without `dry_run` this is refused: "
SHORT = ["--target", "none", "--frequent", 1, "--ckpt", 2]
FOREIGN = {
    "state/machine.py": b"class Machine: pass\n", "state/000000001/thesis.txt": b"mine",
    "state/000000004/state.json": b'{"turing": 1}', "state/000000002": b"a file of that name",
    "log.txt": b"2024-01-01 10:00:00,000 INFO my own program\n",
    "metrics.jsonl": b'{"kind": "mine, without an end', "config.json": b'{"lr": 0.1}', "model-symbol.json": b"{}",
    "model-0003.params": b"x", ".lock": b"my lock\n"}


def prepare(data, folder, *more):
    """What a run does with its folder before it begins."""
    config, found = parse_config(flags(data, folder, *SHORT, *more)), generations(folder / "state")
    identity = {}
    with contextlib.suppress(OSError, ValueError, LookupError):
        identity = json.loads((found[-1] / "state.json").read_text())["identity"]
    states, before = States(folder / "state", identity or config.as_dict()), everything(folder)
    said = folder_line(config.part(SavingSpec), states)
    assert everything(folder) == before  # a dry run says the same, and changes nothing
    try:
        with contextlib.ExitStack() as closing:
            prepare_folder(config.part(SavingSpec), states, closing)
    except UserError as error:
        assert said == REFUSED + str(error) or not said.startswith(REFUSED) and "`resume`" in str(error)  # of a state
        raise
    assert not said.startswith(REFUSED)


def put(folder, name, content):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


@pytest.mark.parametrize("more", [[], ["--overwrite"], ["--resume"]])
@pytest.mark.parametrize("name", [*FOREIGN])
def test_what_no_run_made_is_in_the_way_and_stays(data, tmp_path, name, more):
    put(tmp_path, name, FOREIGN[name])
    put(tmp_path, "events.out.tfevents.1.other", b"events of another program")
    before = everything(tmp_path)
    with pytest.raises(UserError, match=f"{tmp_path}.*{name.replace('.', '[.]')}") as caught:
        prepare(data, tmp_path, *more)
    assert len(str(caught.value).splitlines()) == 1
    assert {file: content for file, content in everything(tmp_path).items() if file in before} == before
    assert set(everything(tmp_path)) - set(before) <= {".lock"}


def test_all_that_is_in_the_way_is_named_at_once(data, tmp_path):
    for name, content in FOREIGN.items():
        if name not in (".lock", "state/000000002"):
            put(tmp_path, name, content)
    with pytest.raises(UserError) as caught:
        train(data, tmp_path, "--overwrite")
    assert all(name in str(caught.value) for name in FOREIGN if name not in (".lock", "state/000000002"))


@pytest.mark.parametrize("name", ["log.txt", "metrics.jsonl", "config.json", "state", ".lock", "model-symbol.json",
                                  "model-0001.params", "model-0005.params"])
@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder", "hard"])
def test_links_and_pipes_in_the_place_of_a_runs_files_are_refused_and_not_followed(data, whole, tmp_path, name, kind):
    if kind == "folder" and name == "state" or kind == "hard" and name not in ("log.txt", "metrics.jsonl", ".lock"):
        return
    folder, target = shutil.copytree(whole, tmp_path / "run"), tmp_path / "elsewhere"
    if (folder / name).exists():
        os.replace(folder / name, target)
    else:
        target.write_bytes(b"thesis")
    if kind == "hard":
        os.link(target, folder / name)
    elif kind == "pipe":
        os.mkfifo(folder / name)
    elif kind == "folder":
        (folder / name).mkdir()
    else:
        (folder / name).symlink_to(target if kind == "link" else tmp_path / "nothing")
    before = everything(tmp_path) if kind != "pipe" else None
    for more in (["--resume"], ["--overwrite"]) if kind != "hard" else (["--resume"],):
        with pytest.raises(UserError, match=name) as caught:
            train(data, folder, *SHORT, "--max-steps", 4, *more) if kind == "hard" else prepare(data, folder, *more)
        assert len(str(caught.value).splitlines()) == 1
    if before:
        assert everything(tmp_path) == {**before, **{key: value for key, value in everything(tmp_path).items()
                                                     if key == "run/.lock" and name != ".lock"}}
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("more, names", [
    (["--resume"], ["state", "log.txt", "metrics.jsonl", "events"]), (["--overwrite"], ["state"])], ids=str)
def test_what_this_user_may_not_write_is_told_before_training(data, whole, tmp_path, monkeypatch, more, names):
    """As of another user's run in a shared folder: it could save no state, which it finds when the first one is due."""
    folder, may = shutil.copytree(whole, tmp_path / "run"), os.access
    before = everything(folder)
    for name in ("state", "log.txt", "metrics.jsonl", "events", "config.json", "model-0001.params"):
        monkeypatch.setattr("os.access", lambda path, *how, name=name, **more: may(path, *how, **more) and not (
            os.path.basename(path).startswith(name)))
        told = pytest.raises(UserError, match=f"run/{name}.* is not writable; change its") if name in names else (
            contextlib.nullcontext())
        with told:
            prepare(data, folder, *more)
    assert {**everything(folder), ".lock": before[".lock"]} == before


def test_events_of_others_are_never_touched(data, tmp_path):
    names = ["events.out.tfevents.1.other", "events.out.tfevents.9999999998.host", "events.out.tfevents.x",
             "events.out.tfevents.²3.host"]
    for name in names:
        put(tmp_path, name, b"of another program")
    put(tmp_path, "events.out.tfevents.folder/events.out.tfevents.1.other", b"of another program")
    for more in ([], ["--resume"], ["--overwrite"], ["--overwrite"]):
        assert train(data, tmp_path, *SHORT, "--max-steps", 2, *more) == 0
    assert all((tmp_path / name).read_bytes() == b"of another program" for name in names)
    assert (tmp_path / "events.out.tfevents.folder/events.out.tfevents.1.other").exists()
    ours = [path.name for path in tmp_path.glob("events.out.tfevents.*.train_softmax")]
    assert len(ours) == 1 and ours[0] > "events.out.tfevents.9999999998"


def test_a_link_as_an_event_file_of_the_state_is_refused(data, whole, tmp_path):
    folder, thesis = shutil.copytree(whole, tmp_path / "run"), tmp_path / "thesis.txt"
    thesis.write_text("mine")
    event = next(folder.glob("events*"))
    event.unlink()
    event.symlink_to(thesis)
    with pytest.raises(UserError, match="is a link"):
        train(data, folder, *SHORT, "--max-steps", 4, "--resume")
    assert thesis.read_text() == "mine"


def test_a_state_that_names_the_events_of_others_does_not_make_them_a_runs(data, whole, tmp_path):
    folder, names = shutil.copytree(whole, tmp_path / "run"), ["events.out.tfevents.1.other", "events.out.tfevents.2.x"]
    for number, name in enumerate(names):
        put(folder, name, b"of another program")
        for path in generations(folder / "state"):
            header = json.loads((path / "state.json").read_text())
            header["progress"]["lengths"][name] = 5 * number
            (path / "state.json").write_text(json.dumps(header))
    assert not {*names} & {*scan_folder(folder, "model").own}
    assert train(data, folder, *SHORT, "--max-steps", 4, "--resume") == 0
    assert train(data, folder, *SHORT, "--max-steps", 1, "--overwrite") == 0
    assert all((folder / name).read_bytes() == b"of another program" for name in names)


def test_a_run_of_the_former_version_is_known(data, whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "run")
    lines = (folder / "log.txt").read_text().splitlines(True)
    (folder / "log.txt").write_text("2026-01-01 10:00:00,000 INFO configuration:\n"
                                    "2026-01-01 10:00:00,000 INFO   --preset mobilefacenet++\n" + "".join(lines[1:]))
    old = next(folder.glob("events*"))
    new = old.rename(old.with_name("events.out.tfevents.1700000000.host"))
    for path in generations(folder / "state"):
        header = (path / "state.json").read_text()
        (path / "state.json").write_text(header.replace(old.name, new.name))
    assert set(scan_folder(folder, "model").own) == {path.name for path in folder.iterdir()} - {".lock"}
    assert train(data, folder, *SHORT, "--max-steps", 4, "--resume") == 0
    assert train(data, folder, *SHORT, "--max-steps", 2, "--overwrite") == 0
    assert not new.exists() and len(list(folder.glob("events*"))) == 1
    assert [row["step"] for row in rows(folder, "train")] == [1, 2]


def test_checkpoints_beyond_those_of_the_run_are_of_another_origin(data, whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "run")
    put(folder, "model-0050.params", b"another one")
    put(folder, "model-0000.params", b"a published one")
    for more in ([], ["--overwrite"]):
        with pytest.raises(UserError, match="model-0050.params"):
            prepare(data, folder, *more)
    os.unlink(folder / "model-0050.params")
    assert train(data, folder, *SHORT, "--max-steps", 1, "--overwrite") == 0
    assert (folder / "model-0000.params").read_bytes() == b"a published one"


def test_another_prefix_in_the_folder_of_a_run_leaves_its_files(data, whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "run")
    put(folder, "other-symbol.json", b"{}")
    config = [str(item).replace("/model", "/other") if str(item).endswith("/model") else str(item)
              for item in flags(data, folder, *SHORT, "--max-steps", 1, "--overwrite")]
    with pytest.raises(UserError, match="other-symbol.json and no state"):
        run(parse_config(config))
    assert json.loads((folder / "config.json").read_text())["prefix"].endswith("model")


@pytest.mark.parametrize("prefix, meant", [
    ("", "runs/model/model"), (" ", "runs/model/model"), (".", "model"), ("..", "../model"), ("{}/", "{}/model"),
    ("{}", "{}/model"), ("{}/new/", "{}/new/model"), ("{}/new//", "{}/new/model"), ("{}/.", "{}/model"),
    ("{}/new/..", "{}/model")])
def test_a_prefix_without_a_name_is_refused_with_the_one_that_was_meant(data, tmp_path, prefix, meant):
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match="--prefix|`prefix`") as caught:
        if prefix.strip():
            run(parse_config(flags(data, tmp_path, "--prefix", prefix.format(tmp_path / "runs"))))
        check_prefix(prefix)  # an empty one is refused by the parser as well
    assert f"{meant.format(tmp_path / 'runs')}" in str(caught.value)
    assert not list((tmp_path / "runs").iterdir())


def test_names_that_no_file_can_have_are_found_before_training(data, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for prefix, words in (("n" * 250, "too long"), ("n" * 225, "too long"), ("d" * 300 + "/model", "too long"),
                          ("/".join(["d" * 200] * 21) + "/model", "too long"), ("file/model", "file is a file"),
                          ("file/a/b/model", "file is a file"), ("link/model", "link to nothing")):
        with pytest.raises(UserError, match=words) as caught:
            check_prefix(str(tmp_path / prefix))
        assert len(str(caught.value).splitlines()) == 1
    check_prefix(str(tmp_path / ("n" * 200)))
    check_prefix(str(tmp_path / "new/folder/model"))
    check_prefix("model")
