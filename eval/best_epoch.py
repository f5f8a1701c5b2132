"""Selects the best of several epochs, and marks its score on the selection set as optimistic."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

from eval.models import ModelName


@dataclass(frozen=True)
class Best:
    """The epoch of a prefix with the highest accuracy on a set. elsewhere: its accuracy on the other sets, which was
    not used for the selection; of: number of epochs to choose from."""

    model: str
    chosen_on: str
    of: int
    accuracy: float
    elsewhere: dict[str, float]

    def as_row(self) -> dict[str, object]:
        """For JSON."""
        return {"chosen_on": self.chosen_on, "of": self.of, "by": "accuracy", "own_set": True,
                "accuracy": self.accuracy, "elsewhere": self.elsewhere}

    def __str__(self) -> str:
        there = ", ".join(f"{100 * value:.2f} on {name}" for name, value in self.elsewhere.items())
        return (f"best of {self.of} epochs on {self.chosen_on}: {self.model}, accuracy {100 * self.accuracy:.2f}*"
                + (f"; the same epoch has {there}" if there else "")
                + f" (* chosen on {self.chosen_on} itself, so optimistically biased)")


def best_epochs(models: Sequence[ModelName], accuracy: Mapping[str, Mapping[str, float]]) -> list[Best]:
    """For each prefix of which several epochs were scored and each set, the first of the best.

    accuracy: by model's text, then by set.
    """
    found = []
    for prefix in dict.fromkeys(model.prefix for model in models if model.prefix):
        epochs = [model.text for model in models if model.prefix == prefix]
        if len(epochs) < 2:
            continue
        for name in accuracy[epochs[0]]:
            best = max(epochs, key=lambda text: accuracy[text].get(name, -1.0))
            found.append(Best(best, name, len(epochs), accuracy[best][name],
                              {other: value for other, value in accuracy[best].items() if other != name}))
    return found
