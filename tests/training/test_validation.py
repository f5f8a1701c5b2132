"""Verification while training: of the weights of its own step, and without memory that stays behind."""
import json
import types

import matplotlib.text
import mxnet as mx
import numpy as np
import pytest
from small_runs import SIZE, rows, train
from small_sets import write_training_set, write_verification_set

from common.errors import UserError
from eval.verification import VerificationSet, score_set, verify_set
from inference.embedder import Embedder
from inference.model import load_model
from training.reporting.roc_picture import roc_picture
from training.specs import VerificationSpec
from training.validation import open_targets


def test_each_verification_is_of_the_checkpoint_beside_it(tmp_path):
    data = write_training_set(tmp_path / "data", size=SIZE)
    target = VerificationSet(write_verification_set(data / "lfw.bin", size=SIZE))
    assert train(data, tmp_path, "--max-steps", 4, "--verbose", 2, "--ckpt", 2) == 0
    told = rows(tmp_path, "verification")
    assert [row["step"] for row in told] == [2, 4] and told[0]["xnorm"] != told[1]["xnorm"]
    for number, row in enumerate(told, 1):
        embedder = Embedder(*load_model(str(tmp_path / "model"), number), [mx.cpu(0)], 8, (SIZE, SIZE))
        result = verify_set(embedder, target)
        assert [row["xnorm"], row["auc"]] == pytest.approx([result.xnorm, result.auc], rel=1e-5)


@pytest.mark.parametrize("made, words", [(dict(pairs=8, size=SIZE), "8 pairs are fewer than 10 folds"),
                                         (dict(size=40), "its images are 40x40, the network takes 32x32"),
                                         (None, "is a web page, not a verification set")])
def test_a_set_that_cannot_be_used_is_told_with_a_way_out_that_works(tmp_path, made, words):
    if made:
        write_verification_set(tmp_path / "lfw.bin", **made)
    else:
        (tmp_path / "lfw.bin").write_bytes(b"<html>")
    with pytest.raises(UserError, match=f"lfw.bin: {words}.*; `target` names other sets, or none"):
        open_targets(VerificationSpec(str(tmp_path)), (SIZE, SIZE))
    write_verification_set(tmp_path / "own.bin", size=SIZE)
    assert [[target.name for target in open_targets(VerificationSpec(str(tmp_path), text), (SIZE, SIZE))]
            for text in ("own", "none")] == [["own"], []]


def test_a_state_does_not_count_the_time_of_its_verification(tmp_path, monkeypatch):
    import training.loop
    from training.reporting import meter
    data = write_training_set(tmp_path / "data", size=SIZE)
    write_verification_set(data / "lfw.bin", size=SIZE)
    clock, verify = types.SimpleNamespace(now=0.0), training.loop.verify

    def slow(*arguments):
        clock.now += 1000
        return verify(*arguments)
    monkeypatch.setattr(training.loop, "verify", slow)
    monkeypatch.setattr(meter, "time", types.SimpleNamespace(perf_counter=lambda: clock.now))
    assert train(data, tmp_path, "--max-steps", 2, "--verbose", 2) == 0
    state = max((tmp_path / "state").glob("*/state.json"))  # of the last step
    assert clock.now == 1000 and json.loads(state.read_text())["progress"]["window"]["seconds"] == 0


def test_pictures_leave_nothing_behind():
    random = np.random.RandomState(0)
    result = score_set("pairs", random.normal(size=(80, 8)) / 3, np.arange(40) % 2 == 0, 1.0)
    first = roc_picture(result)
    remembered = matplotlib.text._get_text_metrics_with_cache_impl.cache_info().currsize
    for _ in range(3):
        np.testing.assert_array_equal(roc_picture(result), first)
    assert matplotlib.text._get_text_metrics_with_cache_impl.cache_info().currsize == remembered
    assert first.shape == (3, 320, 400) and first.dtype == np.uint8
