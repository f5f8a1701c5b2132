"""The numbers of a row of the log: means over all images since the last row, whatever the sizes of the steps."""
import time
from types import SimpleNamespace

import numpy as np
import pytest

from training.reporting.meter import Meter, duration


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(time, "perf_counter", lambda: now.seconds)
    return now


def step(images, seed):
    random = np.random.RandomState(seed)
    embedding = random.normal(size=(images, 5)).astype(np.float32)
    return (random.uniform(1, 9, images), random.uniform(-1, 1, images), random.randint(0, 2, images),
            SimpleNamespace(embedding=lambda: embedding, labels=random.randint(0, 3, images + 4)))


def test_a_row_is_of_all_images_and_of_the_time_since_the_row_before(clock):
    meter, steps = Meter(), [step(images, seed) for seed, images in enumerate((4, 4, 7))]
    meter.start()
    for number, (loss, cosine, correct, result) in enumerate(steps):
        clock.seconds += 2.0
        meter.add(loss, cosine, correct, 0.25, result)
        if number == 1:  # a run that is stopped here and continued much later
            state, meter = meter.state(), Meter()
            clock.seconds += 1000
            meter.start(state)
    meter.add_skipped(0.25)
    clock.seconds += 2.0
    row = meter.summary()
    for place, name in enumerate(("loss", "cosine", "accuracy")):
        assert row[name] == pytest.approx(np.concatenate([one[place] for one in steps]).mean())
    assert row["samples_per_s"] == pytest.approx(15 / 8) and row["data_wait"] == pytest.approx(4 * 0.25 / 8)
    assert row["seconds_per_step"] == pytest.approx(2)
    embedding, labels = steps[-1][3].embedding(), steps[-1][3].labels[:7]
    assert row["norm"] == pytest.approx(np.mean([np.sqrt(sum(one * one)) for one in embedding.astype(float)]))
    cosines = [one @ two / np.sqrt(one @ one) / np.sqrt(two @ two) for one, a in zip(embedding, labels)
               for two, b in zip(embedding, labels) if a != b]
    assert row["similarity"] == pytest.approx(np.mean(cosines), abs=1e-6)
    meter.start()
    meter.add_skipped(0.0)
    clock.seconds += 1
    row = meter.summary()
    assert np.isnan([row[name] for name in ("loss", "cosine", "accuracy", "norm")]).all() and row["samples_per_s"] == 0


def test_durations():
    assert [duration(seconds) for seconds in (0, 59.9, 60, 3599, 3600, 360_061)] == [
        "0:00:00", "0:00:59", "0:01:00", "0:59:59", "1:00:00", "100:01:01"]
