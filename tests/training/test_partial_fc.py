"""Classes sampled in each step (--partial-fc): which, and that a step is that of a head of them alone."""
import mxnet as mx
import numpy as np
import pytest
from head_cases import (
    CLASSES,
    LOSSES,
    SAMPLES,
    SIZE,
    added_gradient,
    close,
    make_case,
    make_head,
)
from sharded_head_cases import DECAY, LAYOUTS, RATE, joined, make_sharded, numbers, run

from training.head.sampling import choose_rows


@pytest.mark.parametrize("layout", ["one device", "two devices", "two whole"])
@pytest.mark.parametrize("settings", LOSSES.values(), ids=LOSSES.keys())
def test_a_sampled_step_is_that_of_a_head_with_the_sampled_classes_alone(settings, layout):
    embedding, weight, bias, label = make_case()
    label = label % 9  # so that there are classes without a sample
    head = make_sharded(weight, bias, rate=0.5, seed=3, **LAYOUTS[layout], **settings)
    assert not all(len(shard.gradients) for shard in head.shards)
    got = run(head, embedding, label, step=5)
    shards = head.shards if head.parallel else head.shards[:1]
    taken = np.concatenate([shard.low + shard._numbers for shard in shards])
    assert len(taken) < CLASSES and set(label) <= set(taken)
    kept = np.searchsorted(taken, label)
    small = make_head(weight[taken], bias[taken], **settings)
    expected = joined(small.backward([mx.nd.array(embedding)], [kept]))
    for one, other in zip(got[:3], expected[:3]):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=5e-5)
    close(got[3], expected[3])
    head.reduce()
    head.update(RATE, SAMPLES)
    after = numbers(head.arrays())
    resting = np.setdiff1d(np.arange(CLASSES), taken)
    for name, before in (("fc7_weight", weight), ("fc7_bias", bias)):
        if name not in after:
            continue
        parameter = small.collect_params()[name]
        moved = -RATE * parameter.lr_mult * (added_gradient(parameter) / SAMPLES
                                             + DECAY * parameter.wd_mult * before[taken])
        close(after[name][taken], before[taken] + moved)
        close(after[f"{name}@momentum"][taken], moved)
        np.testing.assert_array_equal(after[name][resting], before[resting].astype(np.float32))
        assert not after[f"{name}@momentum"][resting].any()


def test_the_momentum_of_a_class_waits_for_its_next_turn():
    embedding, weight, _, label = make_case()
    label[:] = 0
    head = make_sharded(weight, count=1, rate=0.3, loss_type=4)
    seen = []
    for step in range(4):
        before = numbers(head.arrays())["fc7_weight@momentum"]
        run(head, embedding, label, step)
        head.reduce()
        head.update(RATE, SAMPLES)
        after = numbers(head.arrays())["fc7_weight@momentum"]
        resting = np.setdiff1d(np.arange(CLASSES), head.shards[0]._numbers)
        np.testing.assert_array_equal(after[resting], before[resting])
        seen.append(set(head.shards[0]._numbers))
    assert len(set.union(*seen)) > len(seen[0])


@pytest.mark.parametrize("count, parallel", [(1, True), (2, True), (2, False)])
def test_sampled_gradients_are_no_larger_than_the_sample(count, parallel):
    head = make_sharded(np.random.RandomState(0).randn(200, SIZE), count=count, parallel=parallel, rate=0.1)
    run(head, np.ones((4, SIZE)), np.arange(4))
    for shard in head.shards:
        assert shard.gradients["fc7_weight"].shape == (20 // (count if parallel else 1), SIZE)


def test_the_choice_of_classes():
    labels = np.array([3, 3, 50, 99, 120])
    rows = choose_rows(labels, 0, 100, 0.2, seed=1, step=7)
    assert rows.dtype == np.int32 and len(rows) == 20 and (np.diff(rows) > 0).all()
    assert {3, 50, 99} <= set(rows) and 0 <= rows[0] and rows[-1] < 100
    np.testing.assert_array_equal(rows, choose_rows(labels, 0, 100, 0.2, seed=1, step=7))
    assert set(rows) != set(choose_rows(labels, 0, 100, 0.2, seed=1, step=8))
    assert set(rows) != set(choose_rows(labels, 0, 100, 0.2, seed=2, step=7))
    assert 20 in choose_rows(labels, 100, 200, 0.01, seed=1, step=7)
    np.testing.assert_array_equal(choose_rows(labels, 100, 150, 1e-9, seed=1, step=7), [20])  # positives alone
    np.testing.assert_array_equal(choose_rows(labels, 0, 100, 1.0, seed=1, step=7), np.arange(100))
    for rate in (0.2, 0.8):
        shards = [choose_rows(labels[:0], low, low + 100, rate, seed=1, step=7) for low in (0, 100, 200)]
        assert len({tuple(rows) for rows in shards}) == 3  # each shard samples on its own


@pytest.mark.parametrize("rate, drawn", [(0.2, 9), (0.8, 39)])
def test_every_class_has_the_same_chance(rate, drawn):
    times = np.zeros(50)
    for step in range(2000):
        times[choose_rows(np.array([7]), 0, 50, rate, seed=0, step=step)] += 1
    assert times[7] == 2000
    others = np.delete(times, 7)
    assert others.sum() == 2000 * drawn
    expected = 2000 * drawn / 49  # chi-squared with 48 degrees of freedom: 84 is passed once in a thousand
    assert ((others - expected) ** 2 / expected).sum() < 84
