"""Warnings come after three rows with the symptom, once, and not for a healthy run."""
from dataclasses import replace

import numpy as np
import pytest

from common.settings import as_flags
from training.config import Config
from training.option import flags
from training.reporting.diagnostics import Diagnostics, Symptoms, mean_similarity

HEALTHY = Symptoms(epoch=5, cosine=0.4, similarity=0.05, data_wait=0.02, margin_loss=True)


@pytest.mark.parametrize("change, words", [
    ({"similarity": 0.99}, "collapsed"), ({"cosine": 0.96, "accuracy": 0.0, "similarity": 0.5}, "collapsed"),
    ({"data_wait": 0.6}, "waits for images 60%"), ({"cosine": 0.001}, "cosine")])
def test_each_symptom_warns_once_after_three_rows(change, words):
    diagnostics = Diagnostics([], {})
    ill = replace(HEALTHY, **change)
    given = [diagnostics.look(ill) for _ in range(6)]
    assert [len(warnings) for warnings in given] == [0, 0, 1, 0, 0, 0]
    assert words in given[2][0] and "--" in as_flags(given[2][0], flags(Config))


def test_a_collapse_is_reported_once_with_its_signs_its_cause_and_the_flags_that_help():
    diagnostics = Diagnostics([], {})
    ill = replace(HEALTHY, cosine=0.96, accuracy=0.0, similarity=0.97, norm=12.3, lr=0.05, linear_lr=0.0125)
    told = [as_flags(warning, flags(Config)) for _ in range(6) for warning in diagnostics.look(ill)]
    assert len(told) == 1 and "\n" not in told[0]
    for words in ("0.96", "0.0000", "12.3", "0.05 is 4 times", "0.0125", "--lr 0.0125", "--warmup", "--clip-gradient",
                  "--margin-s", "--margin-m", "--loss-type 0", "--fc7-lr-mult 1", "--pretrained"):
        assert words in told[0], words
    assert "beta" not in told[0]  # 12.3 is little more than the sqrt(128) of normalised dimensions


def test_a_large_beta_is_an_early_sign_and_its_norm_is_reported():
    unit = np.random.default_rng(0).standard_normal((4000, 128))
    beta = np.full(128, 40 / np.sqrt(128))  # of length 40
    norm = np.linalg.norm(unit + beta, axis=1).mean()
    diagnostics = Diagnostics([], {})
    ill = replace(HEALTHY, cosine=0.6, accuracy=0.0, norm=norm, epoch=1)
    told = [warning for _ in range(3) for warning in diagnostics.look(ill)][0]
    assert "beta, the same for all faces, is 40" in told
    learns = replace(ill, accuracy=0.4)
    assert not any(Diagnostics([], {}).look(learns) for _ in range(3))


def test_a_collapse_at_the_linear_rules_rate_does_not_blame_the_rate():
    diagnostics = Diagnostics([], {})
    ill = replace(HEALTHY, cosine=0.96, accuracy=0.0, lr=0.0125, linear_lr=0.0125, margin_loss=False)
    told = [as_flags(warning, flags(Config)) for _ in range(3) for warning in diagnostics.look(ill)][0]
    assert "linear rule" not in told and "a lower --lr" in told and "--margin" not in told


@pytest.mark.parametrize("cosine, accuracy", [(0.96, 1.0), (0.9, 0.3), (0.3, 0.0), (0.02, 0.0), (0.7, 0.02)])
def test_a_training_that_begins_or_goes_well_has_not_collapsed(cosine, accuracy):
    diagnostics = Diagnostics([], {})
    assert not any(diagnostics.look(replace(HEALTHY, cosine=cosine, accuracy=accuracy, epoch=1)) for _ in range(9))
    diagnostics = Diagnostics([], {})  # by a margin that takes the own class's cosine below those of strangers
    assert not any(diagnostics.look(replace(HEALTHY, cosine=0.9, accuracy=0.0, moved=-0.1)) for _ in range(9))


def test_a_passing_symptom_and_a_healthy_run_are_silent():
    diagnostics = Diagnostics([], {})
    ill = replace(HEALTHY, data_wait=0.9)
    assert not any(diagnostics.look(seen) for seen in [ill, ill, HEALTHY, ill, ill, HEALTHY])


def test_an_early_cosine_near_zero_is_not_a_symptom():
    diagnostics = Diagnostics([], {})
    assert not any(diagnostics.look(replace(HEALTHY, epoch=1, cosine=0.0)) for _ in range(5))


def test_a_warning_given_before_a_resume_is_not_repeated():
    diagnostics = Diagnostics(["input-bound"], {})
    assert not any(diagnostics.look(replace(HEALTHY, data_wait=0.9)) for _ in range(5))


def test_a_resume_between_two_rows_does_not_restart_the_count():
    before = Diagnostics([], {})
    ill = replace(HEALTHY, similarity=0.99)
    assert not any(before.look(ill) for _ in range(2))
    after = Diagnostics(before.given, before.rows)
    assert len(after.look(ill)) == 1 and not after.look(ill)


def test_mean_similarity_is_of_different_identities_only():
    embedding = np.array([[1, 0], [2, 0], [0, 3]], np.float32)
    assert mean_similarity(embedding, np.array([0, 0, 1])) == pytest.approx(0)
    assert mean_similarity(np.ones((4, 8)), np.arange(4)) == pytest.approx(1)
    assert mean_similarity(embedding, np.array([0, 0, 0])) == 0
