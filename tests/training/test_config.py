"""The configuration: presets against the paper, flags against presets, errors of one line."""
import dataclasses

import pytest

from common.errors import UserError
from symbols.gnap import VARIANTS
from symbols.graph import fixed_gammas
from training import option, specs
from training.arguments import build_parser, parse_config
from training.config import Config
from training.model import build_symbol
from training.option import ANY, ELSEWHERE, HARMLESS, TRUNK, flags
from training.parts import model_spec, schedule_spec
from training.presets import PRESETS

DATA = ["--data-dir", "x"]


def test_there_are_the_papers_seven_systems():
    assert set(PRESETS) == {"lresnet18e", "lresnet18e-fasterfc", "lresnet18e-gap", "lresnet18e-gnap", "mobilefacenet",
                            "mobilefacenet+", "mobilefacenet++"}


@pytest.mark.parametrize("name, network, output, emb, wd, emb_wd, fc7_wd, fc7_lr", [
    ("lresnet18e", "r18", "E", 512, 5e-4, 1, 1, 1),
    ("lresnet18e-fasterfc", "r18", "E", 512, 5e-4, 1, 1, 10),
    ("lresnet18e-gap", "r18", "GAP", 512, 5e-4, 1, 1, 10),
    ("lresnet18e-gnap", "r18", "GNAP", 512, 5e-4, 1, 1, 10),
    ("mobilefacenet", "y1", "GDC", 128, 4e-5, 10, 10, 1),
    ("mobilefacenet+", "y1", "GNAP", 128, 4e-5, 10, 10, 1),
    ("mobilefacenet++", "y1", "GNAP", 128, 5e-4, 1, 1, 10),
])
def test_a_preset_is_the_papers_system(name, network, output, emb, wd, emb_wd, fc7_wd, fc7_lr):
    config = parse_config([*DATA, "--preset", name])
    assert (config.network, config.version_output, config.emb_size) == (network, output, emb)
    assert (config.wd, config.emb_wd_mult, config.fc7_wd_mult, config.fc7_lr_mult) == (wd, emb_wd, fc7_wd, fc7_lr)
    assert (config.loss_type, config.margin_m, config.margin_s, config.lr, config.mom) == (4, 0.5, 64, 0.1, 0.9)
    steps = ([20000, 28000], 32000) if network == "r18" else ([36000, 52000, 58000], 60000)
    assert (config.lr_step_list(), config.total_steps) == steps


@pytest.mark.parametrize("argv", [["--wd", "0.001", "--preset", "mobilefacenet"],
                                  ["--preset", "mobilefacenet", "--wd", "0.001"]])
def test_a_flag_wins_over_its_preset_wherever_it_is(argv):
    config = parse_config(DATA + argv)
    assert config.wd == 0.001 and config.network == "y1"


def test_the_flags_of_insightfaces_script_have_its_defaults():
    """Those of train_softmax.py there, as of 2018, but `prefix`, `image_size` and `target`, whose default differs."""
    there = ("--data-dir x --ckpt 1 --loss-type 4 --verbose 2000 --max-steps 0 --end-epoch 100000 --network r50 "
             "--version-se 0 --version-input 1 --version-output E --version-unit 3 --version-act prelu --lr 0.1 "
             "--version-multiplier 1.0 --wd 0.0005 --fc7-wd-mult 1.0 --fc7-lr-mult 1.0 --bn-mom 0.9 --mom 0.9 "
             "--emb-size 512 --per-batch-size 128 --margin-m 0.5 --margin-s 64.0 --margin-a 1.0 --margin-b 0.0 "
             "--easy-margin 0 --rand-mirror 1 --cutoff 0 --color 0 --images-filter 0")
    ours = parse_config(DATA)
    assert dataclasses.replace(parse_config(there.split()), given=ours.given) == ours
    assert ours.lr_step_list() == [100000, 140000, 160000] and ours.is_stretched("lr_steps")
    typed = parse_config([*DATA, "--lr-steps", "100000,140000,160000", "--ce-loss", "--fc7-no-bias"])
    assert typed.lr_step_list() == ours.lr_step_list() and not typed.is_stretched("lr_steps")


def test_a_flag_that_says_the_default_wins_too():
    assert parse_config([*DATA, "--preset", "mobilefacenet", "--emb-size", "512"]).emb_size == 512


def test_an_unknown_preset_suggests_the_nearest():
    with pytest.raises(UserError, match=r"did you mean mobilefacenet\+\+\?"):
        parse_config([*DATA, "--preset", "mobilefacnet++"])


@pytest.mark.parametrize("argv, words", [
    ([], "--data-dir is missing"),
    ([*DATA, "--lr", "0"], "--lr 0.0: must be above 0"),
    ([*DATA, "--lr", "nan"], "--lr nan"),
    ([*DATA, "--wd", "-1"], "--wd -1.0: must be 0 or more"),
    ([*DATA, "--lr-steps", "3,x"], "--lr-steps 3,x: not a list"),
    ([*DATA, "--lr-steps", "300,200"], "rise"),
    ([*DATA, "--lr-steps", ",".join(map(str, range(1, 102)))], "has 101 steps; 100 are possible"),
    ([*DATA, "--network", "z9"], "--network z9"),
    ([*DATA, "--image-size", "112"], "--image-size 112"),
    ([*DATA, "--pretrained", "model"], "PREFIX,EPOCH"),
    ([*DATA, "--seed", "-3"], "--seed -3: must be from 0 to 2147483647"),
    ([*DATA, "--mom", "1"], "--mom 1.0: must be below 1"),
    ([*DATA, "--partial-fc", "1.5"], "--partial-fc 1.5: must be above 0 and at most 1"),
    ([*DATA, "--emb-size", "9" * 20], "--emb-size 99999999999999999999: must be above 0 and at most 65536"),
    ([*DATA, "--per-batch-size", "65536", "--accumulate", "65536"], "images per device"),
    ([*DATA, "--max-steps", "9" * 20], "--max-steps 99999999999999999999: must be at most 1e+15"),
    ([*DATA, "--max-steps", "9" * 400], "9: must be at most 1e+15"),
    ([*DATA, "--seed", "9" * 400], "9: must be from 0 to 2147483647"),
    ([*DATA, "--lr", "inf"], "--lr inf: must be from 1e-15 to 1e+15"), ([*DATA, "--mom", "inf"], "must be below 1"),
    ([*DATA, "--wd=-inf"], "--wd -inf: must be 0 or more"), ([*DATA, "--partial-fc", "inf"], "and at most 1"),
    ([*DATA, "--clip-gradient", "1e-300"], "--clip-gradient 1e-300: must be 0, or from 1e-15 to 1e+15"),
    ([*DATA, "--fc7-lr-mult", "1e300"], "--fc7-lr-mult 1e+300: must be"),
    ([*DATA, "--partial-fc", "nan"], "--partial-fc nan: must be above 0 and at most 1"),
])
def test_bad_values_are_one_line(argv, words):
    with pytest.raises(UserError) as caught:
        parse_config(argv)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_flag_that_argparse_refuses_is_one_line(capsys):
    with pytest.raises(SystemExit) as caught:
        parse_config([*DATA, "--ckpt", "7"])
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_every_field_has_a_flag_with_help():
    actions = {action.dest: action for action in build_parser()._actions}
    assert {item.name for item in dataclasses.fields(Config)} - {"from_preset", "given"} == set(flags(Config))
    for name in flags(Config):
        assert len(actions[name].help) > 8


CONTRACT = """data-dir prefix pretrained ckpt verbose max-steps end-epoch network image-size version-se version-input
version-output version-unit version-act emb-size loss-type margin-m margin-s margin-a margin-b easy-margin lr lr-steps
wd mom bn-mom fc7-wd-mult fc7-lr-mult fc7-no-bias per-batch-size rand-mirror cutoff color images-filter target ce-loss
preset devices kvstore dtype seed resume overwrite accumulate fc7-parallel partial-fc on-nan frequent clip-gradient
lr-mode margin-warmup dry-run pretrained-partial"""


def test_help_names_every_flag_of_the_contract():
    text = build_parser().format_help()
    assert not [flag for flag in CONTRACT.split() if f"--{flag} " not in text.replace("\n", " ").replace("]", " ")]


INSIGHTFACE = dict(ckpt=1, verbose=2000, max_steps=0, end_epoch=100000, network="r50", version_se=0, version_input=1,
                   version_output="E", version_unit=3, version_act="prelu", emb_size=512, loss_type=4, margin_m=0.5,
                   margin_s=64.0, margin_a=1.0, margin_b=0.0, easy_margin=0, lr=0.1, wd=5e-4, mom=0.9, bn_mom=0.9,
                   fc7_wd_mult=1.0, fc7_lr_mult=1.0, fc7_no_bias=False, per_batch_size=128, rand_mirror=1, cutoff=0,
                   color=0, images_filter=0, ce_loss=False)


def test_flags_that_are_not_given_are_what_they_are_in_insightface():
    config = parse_config(DATA)
    assert {name: getattr(config, name) for name in INSIGHTFACE} == INSIGHTFACE
    assert config.lr_step_list() == [100000, 140000, 160000]
    assert parse_config([*DATA, "--loss-type", "0"]).lr_step_list() == [40000, 60000, 80000]
    assert parse_config([*DATA, "--version-multiplier", "0.5"]).net_multiplier == 0.5  # as it is called there


def test_the_parts_have_the_defaults_of_the_command():
    config = Config()
    assert model_spec(config) == specs.ModelSpec()
    assert schedule_spec(config) == dataclasses.replace(specs.ScheduleSpec(), lr_steps=(100000, 140000, 160000),
                                                        stretched=frozenset(["lr_steps"]))
    assert config.part(specs.SavingSpec) == specs.SavingSpec(config.prefix)


# What may differ on --resume and between workers, as it was when the first states were written.
REFUSED = {"network", "version_input", "version_unit", "version_se", "version_act", "version_output", "emb_size",
           "gnap_variant", "net_multiplier", "image_size", "images_filter"}
FREE = {"preset", "data_dir", "prefix", "pretrained", "pretrained_partial", "target", "workers", "max_steps",
        "total_steps", "end_epoch", "verbose", "frequent", "ckpt", "best_metric", "resume", "overwrite", "dry_run",
        "kvstore", "save_every", "on_nan", "ce_loss"}
WAITED_FOR = {"max_steps", "total_steps", "end_epoch", "verbose", "frequent", "on_nan", "dry_run", "kvstore"}


def test_what_may_change_is_defined_with_each_flag():
    found = flags(Config)
    assert {name for name, flag in found.items() if flag.on_resume in (TRUNK, option.REFUSED)} == REFUSED
    assert {name for name, flag in found.items() if flag.on_resume in (HARMLESS, ELSEWHERE)} == FREE
    assert {name for name, flag in found.items() if flag.workers == ANY} == FREE - WAITED_FOR


def test_the_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().lr = 1


def test_the_variants_of_gnap_are_those_that_the_block_has():
    assert flags(Config)["gnap_variant"].parse["choices"] == tuple(VARIANTS) and VARIANTS[Config.gnap_variant] == {}


def symbol_of(*argv):
    return build_symbol(parse_config([*DATA, *argv]).part(specs.NetworkSpec))


@pytest.mark.parametrize("variant, first, gamma_fixed", [
    ("paper", True, True), ("no-first-bn", False, None), ("learned-gamma", True, False), ("batch-mean", True, True)])
def test_a_variant_of_gnap_is_what_is_trained(variant, first, gamma_fixed):
    symbol = symbol_of("--preset", "mobilefacenet++", "--gnap-variant", variant)
    assert ("bn6f_gamma" in symbol.list_arguments()) == first
    assert first is False or ("bn6f_gamma" in fixed_gammas(symbol)) == gamma_fixed


def test_a_variant_of_gnap_is_none_of_another_head():
    changed = symbol_of("--preset", "mobilefacenet", "--gnap-variant", "no-first-bn")
    assert changed.list_arguments() == symbol_of("--preset", "mobilefacenet").list_arguments()
