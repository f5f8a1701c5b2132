"""The yaw of the study's faces: known for synthetic ones, else from five landmarks that MTCNN detects on the crops."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np

from common.tables import read_table
from eval.pose import read_yaw
from study.plan import Plan
from study.synthetic_set import images_to_test
from study.training_set import run_command

TABLE = "landmarks.csv"
DETECTOR = "weights/mtcnn"
CROPS = {"test": "test-landmarks", "train": "train-landmarks"}  # folders of the sets' folder, with MTCNN's tables


@dataclass(frozen=True)
class FacesWithYaw:
    """images: a folder by identity. table: of landmarks, or of true yaw. root: where it is of true yaw, what its paths
    have before those below `images`."""

    images: Path
    table: Path
    root: str | None = None

    def yaw(self, names: Sequence[str]) -> np.ndarray:
        """(N,) degrees of the images `names`, paths below `images`; NaN where not known."""
        if self.root is None:
            return read_yaw(self.table, names)
        rows = read_table(self.table, {"path": (), "yaw": ()}, "the columns path and yaw")
        known = {row["path"]: float(row["yaw"]) for row in rows}
        return np.array([known.get(f"{self.root}/{name}", np.nan) for name in names])


def make_yaw(plan: Plan, data: Path, sets: Path, training: bool) -> None:
    """Detect the landmarks of the tested faces, and with `training` those of the training set; resumable.
    Synthetic faces have their yaw already."""
    if plan.data == "drawn":
        return
    wanted = {"test": images_to_test(plan, data, sets)}
    if training:
        wanted["train"] = sets / "train-images"
        if not wanted["train"].exists():
            run_command("unpack", sets / "train", wanted["train"])
    for name, images in wanted.items():
        if not _is_whole(sets / CROPS[name]):
            run_command("align", images, sets / CROPS[name], "--detector", data / DETECTOR)


def faces_with_yaw(plan: Plan, data: Path, sets: Path) -> dict[str, FacesWithYaw]:
    """`test` and `train`."""
    test = images_to_test(plan, data, sets)
    if plan.data == "drawn":
        table = sets / "faces" / TABLE
        return {"test": FacesWithYaw(test, table, "cfp/Data/Images"),
                "train": FacesWithYaw(sets / "faces" / "train", table, "train")}
    return {"test": FacesWithYaw(test, sets / CROPS["test"] / TABLE),
            "train": FacesWithYaw(sets / "train-images", sets / CROPS["train"] / TABLE)}


def _is_whole(folder: Path) -> bool:
    return (folder / "align-report.json").exists()
