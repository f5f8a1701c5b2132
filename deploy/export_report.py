"""The text output of `export`: the file, its agreement with the original, speed and accuracy."""
from __future__ import annotations

import hashlib
from typing import Any, Sequence

from deploy.agreement import Difference, SetScores
from deploy.checkpoint import Checkpoint
from deploy.eight_bit import EightBit, has_vnni
from deploy.slim import size_of
from eval.metrics import point_at_fpr
from eval.operating_points import FEW

MIB = 1 << 20
FAR = 0.9  # cosine below which an 8-bit network is no longer the same


def onnx(out: str, card: dict[str, Any], check: Difference) -> None:
    """The file, and the agreement of its float form."""
    shapes = [f"({', '.join(map(str, card[name]['shape']))})" for name in ("input", "output")]
    print(f"{out}: opset {card['opset']}, {card['nodes']} nodes, {card['bytes'] / MIB:.2f} MiB, "
          f"{shapes[0]} to {shapes[1]}")
    print(f"input: {card['normalisation']['feed']}; inside, {card['normalisation']['formula']}")
    print(f"float against {card['model']['name']}, {check.images} synthetic images: {check}")


def slim(name: str, checkpoint: Checkpoint, made: Checkpoint, check: Difference, rates: dict[str, float]) -> None:
    """A slim checkpoint against the one it was made of."""
    before, after = size_of(checkpoint), size_of(made)
    print(f"{name}: {len(made.parameters)} arrays instead of {len(checkpoint.parameters)}, {after / MIB:.2f} MiB "
          f"instead of {before / MIB:.2f}")
    print(f"against the checkpoint, {check.images} synthetic images: {check}")
    print(f"plain MXNet on this CPU: {rates['slim']:.1f} images/s instead of {rates['before']:.1f}, "
          f"{rates['slim'] / rates['before']:.2f} times as fast")


def eight_bit_row(calibration: str, made: EightBit, content: bytes, rates: dict[str, float]) -> dict[str, Any]:
    """For the card. content: of the float network; rates: images a second of `ONNX` and `8 bit`."""
    return {"calibration": calibration, "calibration_images": made.calibration, "float_layers": made.kept,
            "equalised_maps": made.maps, "held_out_images": made.difference.images, "mean_cosine": made.cosine,
            "smallest_cosine": made.difference.cosine, "float_sha256": hashlib.sha256(content).hexdigest(),
            "float_bytes": len(content), "bytes": len(made.content), "vnni": has_vnni(), "images_per_s": rates}


def eight_bit(row: dict[str, Any]) -> None:
    """Speed and accuracy of the 8-bit network."""
    kept = f"{', '.join(row['float_layers'])} stay float" if row["float_layers"] else "no layer stays float"
    print(f"8 bit, calibrated on {row['calibration_images']} images: {kept}; cosine to float on "
          f"{row['held_out_images']} other images {row['mean_cosine']:.4f}, smallest {row['smallest_cosine']:.4f}")
    fast, slow = row["images_per_s"]["8 bit"], row["images_per_s"]["ONNX"]
    print(f"{row['float_bytes'] / row['bytes']:.2f} times as small; {fast:.1f} instead of {slow:.1f} images/s here, "
          f"{fast / slow:.2f} times as fast (onnxruntime, a CPU {'with' if row['vnni'] else 'without'} VNNI)")
    if row["mean_cosine"] < FAR:
        print("its embeddings differ from the float network's: do not compare one with the other, and check "
              "the accuracy on --bins")


def sets(scores: Sequence[SetScores], fpr: Sequence[float]) -> None:
    """The table of each verification set, and the change of TPR."""
    for one in scores:
        for name, apart in one.differences.items():
            print(f"{one.name}, {name}: {apart}")
        print(one.table(fpr))
        first, *_, last = one.results.values()
        for rate in fpr:
            accepts = [point_at_fpr(result.scores, result.same, rate)[3] for result in (first, last)]
            if not all(accepts):
                print(f"{one.name}: TPR at FPR {100 * rate:g}% is not given: there is no false accept behind it")
                continue
            change = 100 * (last.tprs[rate] - first.tprs[rate])
            few = f" (false accepts: {accepts[0]}, {accepts[1]})" if min(accepts) < FEW else ""
            print(f"{one.name}: TPR at FPR {100 * rate:g}% changes by {'~' if few else ''}{change:+.2f} points{few}")
