"""What is told of a run before it begins: counts of what is left, flags without effect, sizes that do not fit."""
import pytest
from small_runs import SIZE, train
from small_sets import write_training_set, write_verification_set

from common.errors import UserError
from recordio_tools.records.dataset import open_dataset
from training.arguments import parse_config
from training.image_size import check_image_size, check_last_map
from training.specs import NetworkSpec


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_training_set(tmp_path_factory.mktemp("data"), identities=4, images=5, size=SIZE)
    write_verification_set(folder / "lfw.bin", pairs=20, size=SIZE)
    return folder


def told(data, capsys, *flags):
    assert train(data, data / "no run", "--dry-run", *flags) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("flags, unused", [
    (["--version-se", 1, "--version-input", 0], "without effect for --network y1: --version-input 0, --version-se 1"),
    (["--loss-type", 0, "--margin-m", 0.3, "--margin-warmup", 9], "softmax, --loss-type 0: --margin-m 0.3"),
    (["--loss-type", 0, "--margin-m", 0.5], "softmax, --loss-type 0: --margin-m 0.5"),  # the default, but given
    (["--loss-type", 2, "--margin-m", 0.3, "--margin-b", 0.1, "--easy-margin", 1], "2: --margin-b 0.1, --ea"),
    (["--margin-a", 0.9, "--fc7-no-bias"], "ArcFace, --loss-type 4: --margin-a 0.9, --fc7-no-bias True"),
    (["--loss-type", 5, "--margin-a", 0.5, "--easy-margin", 1], "the combined loss, --loss-type 5: --easy-margin 1"),
    (["--lr-mode", "cosine", "--lr-steps", "5", "--max-steps", 9], "--lr-mode cosine: --lr-steps 5"),
    (["--emb-size", 512, "--emb-wd-mult", 3], "--version-output GNAP with this --emb-size: --emb-wd-mult 3.0"),
    (["--fc7-parallel"], "a single device: --fc7-parallel"), (["--pretrained-partial"], "without --pretrained"),
    (["--target", "none", "--best-metric", "eer"], "without verification sets: --best-metric eer"),
    (["--ckpt", 0, "--best-metric", "eer"], "for --ckpt 0: --best-metric eer"),
    (["--wd", 0, "--fc7-wd-mult", 10, "--emb-wd-mult", 2], "for --wd 0: --emb-wd-mult 2.0, --fc7-wd-mult 10.0"),
    (["--lr-steps", "5,9,12", "--max-steps", 9], "ends at step 9: --lr-steps 9,12")])
def test_flags_without_effect_are_named_in_one_line(data, capsys, flags, unused):
    lines = [line for line in told(data, capsys, *flags) if "without effect" in line]
    assert len(lines) == 1 and unused in lines[0]


def test_a_warm_up_longer_than_the_training_is_warned_of(data, capsys):
    lines = told(data, capsys, "--warmup", 9, "--max-steps", 9, "--lr-steps", 20)
    assert any(line.startswith("warning: --warmup 9 does not end before the training, at step 9") for line in lines)
    lines = told(data, capsys, "--margin-warmup", 9, "--max-steps", 9)
    assert any(line.startswith("warning: --margin-warmup 9 does not end before the training, at step 9: margin and")
               for line in lines)
    for flags in (["--warmup", 8, "--margin-warmup", 8], ["--loss-type", 0, "--margin-warmup", 99]):
        assert not any("does not end" in line for line in told(data, capsys, *flags, "--max-steps", 9))


@pytest.mark.parametrize("flags", [[], ["--preset", "lresnet18e"], ["--loss-type", 0], ["--preset", "mobilefacenet+",
                                   "--emb-size", 512], ["--lr-steps", "5,8", "--max-steps", 9],
                                   ["--loss-type", 5, "--margin-a", 0.9, "--margin-b", 0.1],
                                   ["--margin-a", 1, "--margin-b", 0, "--version-se", 0]])  # each is off
def test_a_preset_or_a_flag_with_effect_gives_no_warning(data, capsys, flags):
    assert not [line for line in told(data, capsys, *flags) if "without effect" in line]


@pytest.mark.parametrize("a, m, warned", [(1.0, 0.3, True), (0.9, 0.3, False), (0.9, 0.4, True), (1.0, 0.0, False),
                                          (1.35, 0.0, True)])
def test_an_angle_that_passes_pi_is_warned_of(data, capsys, a, m, warned):
    lines = told(data, capsys, "--loss-type", 5, "--margin-a", a, "--margin-m", m)
    assert any("passes pi" in line for line in lines) == warned
    assert not any("passes pi" in line for line in told(data, capsys, "--margin-m", 0.3))


def test_what_images_filter_leaves_is_counted(data, capsys, monkeypatch):
    assert any("data: 20 images of 4 identities, 32x32" in line for line in told(data, capsys))
    fewer = open_dataset(data)
    import dataclasses
    fewer = dataclasses.replace(fewer, keys=fewer.keys[2:], labels=fewer.labels[2:], sizes=fewer.sizes[2:])
    monkeypatch.setattr("training.run.open_dataset", lambda path: fewer)
    lines = told(data, capsys, "--images-filter", 4)
    assert any("data: 15 images of 3 identities (the classification layer has 4 classes" in line for line in lines)


def test_an_estimate_that_fails_stops_nothing(data, tmp_path, capsys, monkeypatch):
    def fails(*arguments):
        raise RuntimeError("no planner here")
    monkeypatch.setattr("training.description.estimate", fails)
    assert any("could not be estimated (RuntimeError: no planner here)" in line for line in told(data, capsys))
    assert train(data, tmp_path, "--max-steps", 1, "--target", "none") == 0


@pytest.mark.parametrize("flags, warned", [([], True), (["--max-steps", 9], False), (["--end-epoch", 2], False),
                                           (["--preset", "lresnet18e"], False)])
def test_a_decay_over_a_length_that_was_not_given_is_warned_of(data, capsys, flags, warned):
    flags = ["--preset", "mobilefacenet", "--version-output", "E", "--total-steps", 0, "--lr-mode", "poly", *flags]
    if "lresnet18e" in flags:
        flags.remove("--total-steps")
        flags.remove(0)
    assert any("its length was not given" in line for line in told(data, capsys, *flags)) == warned


@pytest.mark.parametrize("batch", [1, 2])
def test_a_batch_of_one_image_is_warned_of(data, capsys, batch):
    lines = told(data, capsys, "--per-batch-size", batch)
    assert any(line.startswith("warning: with a --per-batch-size of 1 ") for line in lines) == (batch == 1)


def test_devices_are_named_as_the_flag_takes_them(data, capsys):
    lines = told(data, capsys, "--devices", "cpu:0,cpu:3")
    assert [line for line in lines if line.startswith("devices: cpu:0, cpu:3; 8 images on each")], lines


def test_ce_loss_is_said_to_be_always_on(data, capsys):
    assert any("--ce-loss is always on" in line for line in told(data, capsys, "--ce-loss"))


def test_the_rate_is_compared_with_the_linear_rule(data, capsys):
    assert any("0.05 is 32 times the 0.00156" in line for line in told(data, capsys, "--lr", 0.05))


@pytest.mark.parametrize("size, flags, words", [
    ((112, 112), [], None), ((100, 100), [], None), ((32, 32), [], "one of 2x2 of the 32x32 .*pack the images"),
    ((128, 128), [], "one of 8x8 of the 128x128"), ((112, 96), [], "7x6"),
    ((112, 112), ["--network", "r18", "--version-input", "0"], "one of 4x4.*use another `version_output`"),
    ((32, 32), ["--version-output", "GNAP"], None),
    ((112, 112), ["--image-size", "96,112"], "`image_size` 96,112: the records in d are 112,112.*--resize")])
def test_sizes_that_do_not_fit_are_reported_in_terms_of_pack(size, flags, words):
    config = parse_config(["--data-dir", "d", "--network", "y1", "--version-output", "GDC", *flags])
    def check():
        check_image_size(config.image_size, size, config.data_dir)
        check_last_map(config.part(NetworkSpec), size, config.data_dir)
    if words is None:
        check()
    else:
        with pytest.raises(UserError, match=words):
            check()


@pytest.mark.whole_network
def test_every_other_head_takes_every_size():
    import symbols
    from symbols.shapes import infer_shapes
    for head in ("E", "FC", "GAP", "GNAP"):
        for side in (1, 8, 50):
            assert infer_shapes(symbols.build("y1", 64, head), (1, 3, side, side))["fc1_output"] == (1, 64)
