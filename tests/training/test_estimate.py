"""What --dry-run says of memory, against the arrays that a step really holds."""
import dataclasses

import mxnet as mx
import pytest
from small_models import SIDE, make_batch, make_model, tiny_symbol
from small_sets import write_training_set

import symbols
import training.model
from benchmarks.head_memory import layouts, train
from recordio_tools.records.dataset import open_dataset
from training.arguments import parse_config
from training.estimate import FLOAT, estimate, head_memory
from training.head.shard import CHUNK
from training.run import run
from training.specs import HeadSpec, ModelSpec
from training.step import update


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("rate", [1.0, 0.1])
def test_the_estimate_of_a_shard_counts_the_arrays_it_holds(monkeypatch, devices, parallel, rate):
    if rate == 1 and not parallel:
        pytest.skip("that is the whole layer")
    classes, images = 5000, 4
    config, model, trainer = make_model(monkeypatch, devices, classes=classes, fc7_parallel=parallel, partial_fc=rate,
                                        per_batch_size=images)
    update(model, trainer, make_batch(images * devices, classes=classes), 0)
    shard = model.head.shards[0]
    held = list(shard.state().values()) + [shard.gradients["fc7_weight"]]
    held += [] if rate == 1 else [shard._taking["fc7_weight"]]
    logits = 2 * images * (devices if parallel else 1) * len(shard.gradients["fc7_weight"])
    update_takes = 3 * shard.gradients["fc7_weight"].size
    assert update_takes < CHUNK
    assert head_memory(model.spec.head, images, classes, devices) == FLOAT * (
        sum(array.size for array in held) + logits + update_takes)


def test_each_layout_of_a_million_classes_takes_less():
    whole, *others = (head_memory(spec, 64, 10 ** 6, 8) for spec in layouts(512, 0.1).values())
    parallel, sampled, both = others
    assert both < parallel < sampled < whole / 4
    assert 2 * 10 ** 6 / 8 * 512 * 4 < both < 1.5 * 2 * 10 ** 6 / 8 * 512 * 4  # weights and momentum, and little more


def test_dry_run_estimates_a_million_classes_without_allocating_them(monkeypatch, tmp_path, capsys):
    data = write_training_set(tmp_path / "data", identities=2, images=2, size=SIDE)
    monkeypatch.setattr("training.run.open_dataset", lambda path: dataclasses.replace(open_dataset(path),
                                                                                      num_classes=10 ** 6))
    monkeypatch.setattr(training.model, "build_symbol", lambda spec: tiny_symbol())
    monkeypatch.setattr("mxnet.nd.zeros", None)
    assert run(parse_config(["--data-dir", str(data), "--devices", "cpu:0,cpu:1", "--fc7-parallel", "--partial-fc",
                             "0.05", "--target", "none", "--dry-run"])) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("memory"))
    assert "whole 10." in line and "--partial-fc 0.05" in line and "both 2." in line


@pytest.mark.parametrize("layout", layouts(8, 0.1))
def test_the_benchmark_trains_each_layout(layout, capsys):
    train(layouts(8, 0.1)[layout], 50, 3, [mx.cpu(0), mx.cpu(1)])
    assert "peak" in capsys.readouterr().out


@pytest.mark.whole_network
def test_the_networks_memory_is_what_the_benchmark_measures():
    """python -m benchmarks.recompute: MobileFaceNet's step took 1508 MiB at batch 48, mirrored 1116; LResNet18E's 847
    and 794 at batch 16."""
    head = HeadSpec(emb_size=128)

    def of(symbol, batch, **more):
        return estimate(symbol, ModelSpec(head=head, **more), batch, (112, 112), 10, 1).network_memory / 2 ** 20
    small, large = symbols.build("y1", 128, "GNAP"), symbols.build("r18", 128, "GNAP")
    assert of(small, 48) == pytest.approx(1508, rel=0.25)
    assert of(small, 48, recompute=True) == pytest.approx(1116, rel=0.25)
    assert of(small, 48, float16=True) < 0.6 * of(small, 48)
    assert of(large, 16) == pytest.approx(847, rel=0.25)
    assert of(large, 16, recompute=True) == pytest.approx(794, rel=0.25)
