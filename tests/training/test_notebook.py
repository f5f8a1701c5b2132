"""The examples of docs/notebook.md run as they stand, and compute what MXNet, the records and scikit-learn say."""
import re

import numpy as np
import pytest
from repository import REPO
from sklearn.metrics import roc_auc_score
from small_sets import write_training_set

DOCUMENT = REPO / "docs" / "notebook.md"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """What stands in the notebook's variables after all of its examples."""
    folder = tmp_path_factory.mktemp("notebook")
    write_training_set(folder / "data", identities=5, images=6, size=32)
    examples = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 3
    names = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        for example in examples:
            exec(compile(example, str(DOCUMENT), "exec"), names)
    return names


def test_a_step_was_made_with_mxnet_alone(notebook):
    weight = notebook["classify"].weight
    assert np.abs(weight.grad().asnumpy()).max() > 0 and notebook["embed"](notebook["faces"]).shape == (4, 64)
    assert notebook["trainer"].optimizer.num_update == 1
    own = [line for line in DOCUMENT.read_text().split("```")[1].splitlines() if re.match("(from|import) ", line)]
    assert all(re.match(r"(from|import) (mxnet|numpy|symbols)\b", line) for line in own)


def test_the_set_was_read(notebook):
    from images.codec import decode_bgr
    batch, dataset = notebook["batch"], notebook["dataset"]
    assert sorted(np.bincount(batch.labels, minlength=5)) == [0, 2, 6, 6, 6] and batch.images.shape == (20, 32, 32, 3)
    content = dataset.record_file.read(int(batch.keys[3])).content
    np.testing.assert_array_equal(batch.images[3], decode_bgr(content)[..., ::-1])


def test_the_scores_are_those_of_scikit_learn(notebook):
    auc, scores, same = (notebook[name] for name in ("auc", "scores", "same"))
    assert len(scores) == 190 and same.sum() == 3 * 15 + 1
    assert auc(scores, same) == pytest.approx(roc_auc_score(same, -scores))
