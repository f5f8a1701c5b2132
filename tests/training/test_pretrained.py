"""--pretrained: what of a checkpoint is taken, its run's classification layer too; what is refused, and ways out."""
import json
import re
import shlex

import mxnet as mx
import numpy as np
import pytest
from small_runs import SIZE, rows, train
from small_sets import write_training_set

import symbols
from common.errors import RunError, UserError
from inference.param_writer import write_arrays
from symbols.shapes import infer_shapes, parameter_names
from training.saving.matching_network import looks_like
from training.saving.state import generations

FLAGS = ["--target", "none", "--max-steps", 2, "--verbose", 1, "--ckpt", 2]


def name_people(folder, names):
    lines = ["label,identity,images", *(f"{label},{name},8" for label, name in enumerate(names))]
    (folder / "identities.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return name_people(write_training_set(tmp_path_factory.mktemp("data"), identities=6, images=8, size=SIZE), "abcdef")


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    """A run of two steps, and its checkpoints 1 and 2."""
    folder = tmp_path_factory.mktemp("done")
    assert train(data, folder, *FLAGS, "--fc7-lr-mult", 300) == 0
    return folder


def head(folder, step):
    return mx.nd.load(str(next((folder / "state").glob(f"{step:09d}*")) / "head.params"))["fc7_weight"].asnumpy()


def begin(data, done, folder, *more):
    """What a run that begins with checkpoint 2 has as its fc7."""
    assert train(data, folder, "--target", "none", "--max-steps", 1, "--pretrained", f"{done / 'model'},2", *more) == 0
    return head(folder, 0)


@pytest.mark.parametrize("more", [[], ["--fc7-parallel", "--devices", "cpu:0,cpu:1", "--per-batch-size", 4],
                                  ["--partial-fc", 0.5], ["--loss-type", 0], ["--version-output", "GAP"]],
                         ids=lambda more: " ".join(map(str, more)))
def test_the_classification_layer_of_the_checkpoints_run_is_loaded(data, done, tmp_path, caplog, more):
    caplog.set_level("INFO")
    np.testing.assert_array_equal(begin(data, done, tmp_path, *map(str, more)), head(done, 2))
    assert "pretrained: fc7 loaded from the state" in caplog.text
    assert "pretrained: fc7 loaded from the state" in (tmp_path / "log.txt").read_text()


def test_it_is_loaded_for_the_same_identities_on_other_images(data, done, tmp_path, caplog):
    caplog.set_level("INFO")
    more = write_training_set(tmp_path / "more", identities=6, images=9, size=SIZE)
    np.testing.assert_array_equal(begin(name_people(more, "abcdef"), done, tmp_path / "run"), head(done, 2))


@pytest.mark.parametrize("why, words", [("names", "other identities"), ("number", "other identities"),
                                        ("no state", "no state of a run"), ("no names", "not known to be of the same"),
                                        ("damaged", "cannot be read"), ("prefix", "another run")])
def test_where_it_does_not_fit_it_is_initialised_and_the_log_says_why(data, done, tmp_path, caplog, why, words):
    import shutil
    caplog.set_level("INFO")
    copy, own = shutil.copytree(done, tmp_path / "copy"), data
    if why == "names":
        own = name_people(shutil.copytree(data, tmp_path / "other"), "abcdeg")
    elif why == "number":
        own = name_people(write_training_set(tmp_path / "other", identities=5, images=8, size=SIZE), "abcde")
    elif why == "no names":
        own = write_training_set(tmp_path / "other", identities=6, images=9, size=SIZE)
    elif why == "no state":
        shutil.rmtree(copy / "state")
    elif why == "damaged":
        for path in generations(copy / "state"):
            (path / "head.params").write_bytes(b"nothing")
    else:
        for name in ("symbol.json", "0002.params"):
            shutil.copy(copy / f"model-{name}", copy / f"other-{name}")
    prefix = "other" if why == "prefix" else "model"
    assert train(own, tmp_path / "run", "--target", "none", "--max-steps", 1, "--pretrained", f"{copy / prefix},2") == 0
    assert re.search(f"pretrained: fc7 initialised: .*{words}", caplog.text)


def test_the_state_of_the_checkpoint_is_loaded_and_without_it_a_later_one(data, done, tmp_path, caplog):
    import shutil
    caplog.set_level("INFO")
    folder = shutil.copytree(done, tmp_path / "run")
    for run, step in (("first", 1), ("second", 2)):
        assert train(data, tmp_path / run, "--target", "none", "--max-steps", 1, "--pretrained",
                     f"{folder / 'model'},1") == 0
        np.testing.assert_array_equal(head(tmp_path / run, 0), head(folder, step))
        shutil.rmtree(folder / "state" / "000000001", ignore_errors=True)
    assert caplog.text.count("which was trained longer than checkpoint 1") == 1
    caplog.clear()
    for number in (2, 3):  # a state of a later step than its last checkpoint, and of an earlier one than the newest
        arrays = mx.nd.load(str(folder / "model-0002.params"))
        arrays["arg:conv_1_conv2d_weight"] += number - 1
        write_arrays(folder / f"model-{number:04d}.params", arrays)
        assert train(data, tmp_path / f"{number}", "--target", "none", "--max-steps", 1, "--pretrained",
                     f"{folder / 'model'},{number}") == 0
    assert "which is of another step than checkpoint 2" in caplog.text
    assert "which is from before checkpoint 3" in caplog.text


def test_the_same_folder_started_over_with_its_own_checkpoint_keeps_the_layer(data, done, tmp_path):
    import shutil
    folder = shutil.copytree(done, tmp_path / "run")
    np.testing.assert_array_equal(begin(data, folder, folder, "--overwrite"), head(done, 2))


def test_a_bias_of_another_shape_in_the_checkpoint_is_not_loaded(data, done, tmp_path):
    import shutil
    copy = shutil.copytree(done, tmp_path / "copy")
    arrays = mx.nd.load(str(copy / "model-0002.params"))
    arrays.update({"arg:fc7_weight": mx.nd.full((6, 128), 3), "arg:fc7_bias": mx.nd.full((6, 2), 3)})
    write_arrays(copy / "model-0002.params", arrays)
    assert (begin(data, copy, tmp_path / "run", "--loss-type", 0) == 3).all()


def test_a_checkpoint_in_float16_is_loaded(data, done, tmp_path):
    import shutil
    copy = shutil.copytree(done, tmp_path / "copy")
    arrays = {name: value.astype("float16") for name, value in mx.nd.load(str(copy / "model-0002.params")).items()}
    write_arrays(copy / "model-0002.params", arrays)
    np.testing.assert_array_equal(begin(data, copy, tmp_path / "run"), head(done, 2))


@pytest.mark.parametrize("network, likely", [(["--network", "r50", "--version-output", "E"], "--network y1"),
                                             (["--network", "r18", "--emb-size", 64], "--network y1 --emb-size 128"),
                                             (["--network", "y2"], "--network y1"),
                                             (["--net-multiplier", 0.5], "--network y1 --net-multiplier 1.0")])
def test_another_network_is_refused_naming_the_one_it_looks_like(data, done, tmp_path, network, likely):
    flags = ["--target", "none", "--max-steps", 1, "--pretrained", f"{done / 'model'},2", *network]
    with pytest.raises(UserError, match=f"looks like {likely}.*--pretrained-partial") as caught:
        train(data, tmp_path / "run", *flags)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


@pytest.mark.whole_network
@pytest.mark.parametrize("network", ["r18", "y1"])
@pytest.mark.parametrize("multiplier", [0.25, 0.5, 0.8, 1.5])
def test_the_width_of_a_network_is_recognised(network, multiplier):
    def parameters(width):
        symbol = symbols.build(network, 128, "GNAP", net_multiplier=width)
        shapes = infer_shapes(symbol, (1, 3, 112, 112))
        return {name: shapes[name] for name in parameter_names(symbol)}
    *_, width = looks_like(parameters(multiplier), parameters(1)).partition(f"`network` {network} `net_multiplier` ")
    assert parameters(float(width)) == parameters(multiplier)


def test_pretrained_partial_goes_ahead(data, done, tmp_path, caplog):
    caplog.set_level("INFO")
    flags = ["--target", "none", "--max-steps", 1, "--pretrained", f"{done / 'model'},2", "--pretrained-partial"]
    assert train(data, tmp_path / "network", *flags, "--network", "y2") == 0
    assert re.search("warning: [0-9]+ of the [0-9]+ .* which looks like --network y1: ", caplog.text)
    assert train(data, tmp_path / "size", *flags, "--emb-size", 64) == 0
    assert "fc7 initialised: that in the state" in caplog.text and "(6, 128), not (6, 64)" in caplog.text


def test_a_checkpoint_with_more_layers_than_the_network_is_warned_of(data, done, tmp_path, caplog):
    """Without its slopes a checkpoint's network is another: all that is here is loaded, and embeds otherwise."""
    flags = ["--target", "none", "--max-steps", 1, "--pretrained", f"{done / 'model'},2"]
    assert train(data, tmp_path / "relu", *flags, "--version-act", "relu") == 0
    slopes = [name for name in mx.nd.load(str(done / "model-0002.params")) if name.endswith("relu_gamma")]
    assert re.search(f"warning: {len(slopes)} of the [0-9]+ parameters of the trunk in .*model-0002.params, which "
                     "looks like --network y1 --version-act prelu have no place", caplog.text)
    caplog.clear()
    assert train(data, tmp_path / "same", *flags) == 0
    assert "warning: " not in caplog.text


def test_a_dry_run_says_what_would_be_loaded(data, done, tmp_path, capsys):
    more = ["--pretrained", f"{done / 'model'},2", "--version-output", "GAP", "--dry-run"]
    assert train(data, tmp_path / "run", "--target", "none", *more) == 0
    shown = capsys.readouterr().out
    assert re.search("^pretrained: [0-9]+ of [0-9]+ parameters loaded from .*model-0002.params$", shown, re.MULTILINE)
    assert "pretrained: fc7 loaded from the state" in shown and "in the checkpoint but not loaded: bn6f_" in shown


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("key", ["arg:conv_1_conv2d_weight", "aux:fc1_moving_var"])
def test_numbers_that_are_not_finite_blame_the_file_before_training(data, done, tmp_path, value, key):
    import shutil
    copy = shutil.copytree(done, tmp_path / "copy")
    arrays = mx.nd.load(str(copy / "model-0002.params"))
    arrays[key].reshape((-1,))[1] = value
    write_arrays(copy / "model-0002.params", arrays)
    with pytest.raises(UserError, match=f"model-0002.params: {key[4:]} holds numbers that are not finite"):
        train(data, tmp_path / "run", "--target", "none", "--pretrained", f"{copy / 'model'},2")
    assert not (tmp_path / "run").exists()


def test_what_a_refused_resume_advises_works(done, tmp_path, caplog):
    import shutil
    caplog.set_level("INFO")
    more = name_people(write_training_set(tmp_path / "more", identities=6, images=9, size=SIZE), "abcdef")
    folder = shutil.copytree(done, tmp_path / "José's 1st run")
    with pytest.raises(UserError, match="data of.*is|data of") as caught:
        train(more, folder, *FLAGS, "--resume")
    advised = shlex.split(re.search("(--pretrained .+) takes", str(caught.value)).group(1))
    assert train(more, tmp_path / "run", "--target", "none", "--max-steps", 1, *advised) == 0
    assert "fc7 loaded from the state" in caplog.text


@pytest.mark.parametrize("flags, pretrained", [(["--network", "r18"], False), (["--version-output", "GAP"], True),
                                               (["--emb-size", "64"], True)])
def test_another_network_is_refused_by_resume_and_what_it_advises_works(data, done, tmp_path, flags, pretrained):
    with pytest.raises(UserError, match=f"{flags[0]} .* there, {flags[1]} here") as caught:
        train(data, done, *FLAGS, *flags, "--resume")
    advised = re.search(r"(--pretrained \S+( --pretrained-partial)?)", str(caught.value))
    assert bool(advised) == pretrained
    if advised:
        assert train(data, tmp_path, "--target", "none", "--max-steps", 1, *flags, *shlex.split(advised.group(1))) == 0


CHANGES = ["--lr 0.01", "--lr-steps 3,4", "--warmup 1", "--lr-mode cosine", "--wd 0.001", "--mom 0.8", "--bn-mom 0.8",
           "--fc7-lr-mult 2", "--fc7-wd-mult 2", "--clip-gradient 1", "--margin-m 0.3", "--margin-s 32",
           "--loss-type 2", "--margin-warmup 9", "--easy-margin 1", "--color 2", "--cutoff 5", "--rand-mirror 0",
           "--accumulate 2", "--per-batch-size 4", "--partial-fc 0.5", "--seed 3", "--end-epoch 3", "--on-nan skip",
           "--mirror-memory"]


@pytest.fixture(scope="module")
def begun(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("begun")
    assert train(data, folder, "--target", "none", "--max-steps", 1, "--ckpt", 0) == 0
    return folder


@pytest.mark.parametrize("change", CHANGES)
def test_every_other_flag_may_change_on_the_way_and_is_logged(data, begun, tmp_path, change):
    import shutil
    folder = shutil.copytree(begun, tmp_path / "run")
    assert train(data, folder, "--target", "none", "--max-steps", 2, "--ckpt", 0, "--frequent", 1, "--resume",
                 *change.split()) == 0
    flag, *value = change.split()
    told = (folder / "log.txt").read_text()
    assert re.search(f"--resume: {flag} .* up to step 1, {value[0] if value else 'True'}", told)
    assert rows(folder, "train")[-1]["step"] == 2
    assert json.loads((generations(folder / "state")[-1] / "state.json").read_text())["progress"]["step"] == 2


def test_after_a_nan_the_advice_works(data, begun, tmp_path, monkeypatch, caplog):
    import shutil

    from training_faults_cases import poison
    folder = shutil.copytree(begun, tmp_path / "run")
    flags = ["--target", "none", "--max-steps", 4, "--ckpt", 0, "--resume"]
    with monkeypatch.context() as patched:
        poison(patched, [2], "gradient")
        with pytest.raises(RunError, match="--resume.*lower --lr"):
            train(data, folder, *flags, "--version-output", "GNAP")
    caplog.set_level("INFO")
    more = ["--lr", 0.01, "--clip-gradient", 5, "--pretrained", "gone/model,3"]
    assert train(data, folder, *flags, *more) == 0
    assert "pretrained: gone/model,3 is not loaded, since" in (folder / "log.txt").read_text()
