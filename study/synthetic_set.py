"""Synthetic training and test sets: yaw and landmarks are known exactly, for any number of identities."""
from __future__ import annotations

import os
from pathlib import Path

from common.environment import usable_cores
from study.plan import Plan
from study.training_set import run_command

SEED = 7


def make_synthetic_sets(plan: Plan, out: Path) -> None:
    """Write `out`/faces, `out`/train, a packed set, and `out`/cfp_fp.bin, once."""
    faces, size = out / "faces", f"{plan.image_size},{plan.image_size}"
    if not faces.exists():
        out.mkdir(parents=True, exist_ok=True)
        run_command("synth", faces, "--seed", SEED, "--identities", plan.people, "--images-per-identity", plan.images,
                    "--verify-identities", plan.tested, "--image-size", size, "--workers", usable_cores())
    if not (out / "train" / "train.rec").exists():
        run_command("pack", faces / "train", out / "train", "--image-size", size)
    if not (out / "cfp_fp.bin").exists():
        run_command("pairs", "cfp", "--images", faces / "cfp/Data/Images", "--protocol", faces / "cfp/Protocol",
                    "--kind", "FP", "--image-size", size, "--out", out / "cfp_fp.bin")


def images_to_test(plan: Plan, data: Path, out: Path) -> Path:
    """The folder of the test identities, with `frontal` and `profile` in each identity's folder."""
    return (out / "faces" if plan.data == "drawn" else data) / os.path.join("cfp", "Data", "Images")
