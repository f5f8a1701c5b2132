"""Which result is the best so far: by every metric, of the last set, also after the set or the metric has changed."""
from types import SimpleNamespace

import pytest

from training.saving.kept_checkpoints import KeptCheckpoints, chosen_otherwise, numbered_otherwise
from training.saving.progress import Progress
from training.specs import SavingSpec


def results(value, metric, name, before):
    """Of two sets; the first, which does not count, is better each time."""
    sides = {"accuracy": 0.5, "tpr": 0.5, "eer": 0.5, "auc": 0.5}
    better = 0.1 - before / 1000 if metric == "eer" else 0.9 + before / 1000
    return [SimpleNamespace(name="lfw", **{**sides, metric: better}),
            SimpleNamespace(name=name, **{**sides, metric: value})]


def targets(name="cfp_fp", pairs="1"):
    return [SimpleNamespace(name="lfw", digest_of_pairs="0"), SimpleNamespace(name=name, digest_of_pairs=pairs)]


def judged(progress, metric, values, ckpt=2, name="cfp_fp", pairs="1"):
    kept = KeptCheckpoints(SavingSpec("run/model", ckpt=ckpt, best_metric=metric), progress, None)
    return [kept.is_best(results(value, metric, name, before), targets(name, pairs))
            for before, value in enumerate(values)]


@pytest.mark.parametrize("metric", ["accuracy", "tpr", "auc", "eer"])
def test_only_what_is_better_than_all_before_is_the_best(metric):
    values = [0.6, 0.7, 0.65, 0.7, 0.7001, 0.69]
    values = [1 - value for value in values] if metric == "eer" else values  # of errors the least
    assert judged(Progress(), metric, values) == [True, True, False, False, True, False]


def test_a_best_of_another_set_or_metric_or_that_no_checkpoint_has_is_none_to_beat():
    progress = Progress(best=0.9, best_of="accuracy of cfp_fp", best_number=1, saves=1)
    assert judged(progress, "accuracy", [0.8, 0.9], ckpt=1) == [False, False]
    assert judged(progress, "accuracy", [0.8, 0.7], ckpt=1, name="agedb_30") == [True, False]
    assert judged(progress, "eer", [0.3, 0.4], ckpt=3) == [True, False]
    lost = Progress(best=0.9, best_of="accuracy of cfp_fp")
    assert judged(lost, "accuracy", [0.8, 0.7], ckpt=1) == [True, True]  # until one is saved
    assert KeptCheckpoints(SavingSpec("run/model"), progress, None).is_best([], []) is False


def test_a_best_of_other_pairs_under_the_same_name_is_none_to_beat():
    progress = Progress()
    assert judged(progress, "accuracy", [0.9]) == [True] and progress.best_on == "1"
    progress.best_number = progress.saves = 1
    spec = SavingSpec("run/model", ckpt=3)
    assert chosen_otherwise(spec, progress, targets()) == []
    told, = chosen_otherwise(spec, progress, targets(pairs="2"))
    assert "best so far by accuracy of cfp_fp with other pairs than it has now; from there the best" in told
    assert judged(progress, "accuracy", [0.5, 0.4], ckpt=3, pairs="2") == [True, False] and progress.best_on == "2"
    older = Progress(best=0.9, best_of="accuracy of cfp_fp", best_number=1, saves=1)  # which did not say
    assert chosen_otherwise(spec, older, targets()) == [] and judged(older, "accuracy", [0.5]) == [False]


def test_a_first_checkpoint_that_ckpt_3_will_replace_is_warned_of(tmp_path):
    spec, several = SavingSpec(str(tmp_path / "model"), ckpt=3), Progress(saves=5, best_number=3)
    assert numbered_otherwise(spec, several, {"ckpt": 2}) == []  # it is gone already
    (tmp_path / "model-0001.params").write_bytes(b"kept")
    told, = numbered_otherwise(spec, several, {"ckpt": 2})
    assert f"so {tmp_path / 'model-0001.params'}, which was kept before, is replaced by the next best" in told
    assert numbered_otherwise(spec, several, {"ckpt": 3}) == []
    assert numbered_otherwise(spec, Progress(saves=1, best_number=1), {"ckpt": 1}) == []  # the best, as with 3
    assert numbered_otherwise(SavingSpec(spec.prefix, ckpt=1), several, {"ckpt": 2}) == []
