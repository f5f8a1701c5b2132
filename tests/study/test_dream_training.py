"""DREAM learns to undo what yaw did to embeddings whose change is known."""
import numpy as np
import pytest

from study.dream_training import Recipe, apply_dream, train_dream


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def faces():
    """Embeddings of people from the front, and turned ones that a common direction was taken away from."""
    random = np.random.RandomState(3)
    people = unit(np.abs(random.randn(60, 16)))
    labels, yaw = np.repeat(np.arange(60), 6), np.tile([0, 5, -10, 60, -75, 90], 60)
    lost = np.abs(random.randn(16)) * 0.3
    embeddings = people[labels] - np.where(np.abs(yaw) >= 50, 1, 0)[:, None] * lost + 0.02 * random.randn(360, 16)
    return unit(embeddings).astype(np.float32), labels, yaw


def test_profiles_of_unseen_identities_come_nearer_to_their_frontal_faces(faces):
    embeddings, labels, yaw = faces
    seen = labels < 40
    block = train_dream(embeddings[seen], labels[seen], yaw[seen], Recipe(steps=300, batch=64, lr=0.5))
    moved = apply_dream(block, embeddings, yaw)

    def likeness(rows):
        frontal = np.stack([unit(rows[(labels == label) & (abs(yaw) <= 20)]).mean(axis=0) for label in range(40, 60)])
        profile = np.stack([unit(rows[(labels == label) & (abs(yaw) >= 50)]).mean(axis=0) for label in range(40, 60)])
        return (unit(frontal) * unit(profile)).sum(axis=1).mean()

    assert likeness(moved) > likeness(embeddings) + 0.05
    frontal = yaw == 0
    assert np.allclose(moved[frontal], embeddings[frontal], atol=1e-3)


def test_the_same_seed_is_the_same_block(faces):
    blocks = [train_dream(*faces, Recipe(steps=3, batch=8)) for _ in range(2)]
    assert np.array_equal(*(apply_dream(block, faces[0], faces[2]) for block in blocks))


def test_without_profiles_there_is_nothing_to_learn(faces):
    embeddings, labels, yaw = faces
    with pytest.raises(ValueError, match="no identity has a face with a yaw of at most 20 and one of at least 50"):
        train_dream(embeddings, labels, np.zeros_like(yaw))
