"""DREAM's training on frozen embeddings: profile faces are regressed to the mean of their identity's frontal ones."""
from __future__ import annotations

from dataclasses import dataclass

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from symbols.dream import Dream, gate

FRONTAL, PROFILE = 20.0, 50.0  # degrees of yaw up to which a face is frontal, and from which it is a profile


@dataclass(frozen=True)
class Recipe:
    """The authors' settings: SGD on the mean squared distance."""

    steps: int = 10000
    batch: int = 256
    lr: float = 1e-3
    mom: float = 0.9
    wd: float = 1e-4
    seed: int = 1


def train_dream(embeddings: np.ndarray, labels: np.ndarray, yaw: np.ndarray, recipe: Recipe | None = None) -> Dream:
    """The block for (N, D) float32 embeddings of identities (N,), at yaw (N,) degrees.

    Each step samples identities that have both, and a profile face of each; its target is the mean of the identity's
    frontal embeddings. ValueError where no identity has a frontal and a profile face.
    """
    recipe = recipe or Recipe()
    away = np.abs(yaw)
    people = [(np.flatnonzero((labels == label) & (away >= PROFILE)),
               embeddings[(labels == label) & (away <= FRONTAL)]) for label in np.unique(labels)]
    people = [(profiles, frontal.mean(axis=0)) for profiles, frontal in people if len(profiles) and len(frontal)]
    if not people:
        raise ValueError(f"no identity has a face with a yaw of at most {FRONTAL:g} and one of at least {PROFILE:g}")
    targets = np.stack([target for _, target in people]).astype(np.float32)
    gates, random = gate(yaw), np.random.RandomState(recipe.seed)
    mx.random.seed(recipe.seed)
    block = Dream(embeddings.shape[1])
    block.initialize(mx.init.Xavier())
    block.hybridize()
    trainer = gluon.Trainer(block.collect_params(), "sgd", {"learning_rate": recipe.lr, "momentum": recipe.mom,
                                                            "wd": recipe.wd})
    distance = gluon.loss.L2Loss(weight=2.0)  # without the factor 1/2
    for _ in range(recipe.steps):
        chosen = random.randint(0, len(people), recipe.batch)
        images = np.array([people[person][0][random.randint(len(people[person][0]))] for person in chosen])
        with autograd.record():
            moved = block(mx.nd.array(embeddings[images]), mx.nd.array(gates[images]))
            loss = distance(moved, mx.nd.array(targets[chosen]))
        loss.backward()
        trainer.step(recipe.batch)
    return block


def apply_dream(block: Dream, embeddings: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """(N, D) float32, normalised."""
    moved = block(mx.nd.array(embeddings), mx.nd.array(gate(yaw))).asnumpy()
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)
