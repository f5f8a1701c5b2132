"""Checks that the images have the size that the flags and the network require."""
from __future__ import annotations

import symbols
from common.errors import UserError
from symbols.shapes import infer_shapes
from training.arguments import parse_image_size
from training.specs import NetworkSpec

GLOBAL = 7  # kernel size of GDC's depthwise layer
USUAL = (112, 112)


def check_image_size(wanted: str, packed: tuple[int, int], data_dir: str) -> None:
    """UserError, with a remedy, where records in data_dir of size `packed` are not of the required size H,W."""
    if wanted and parse_image_size(wanted) != packed:
        raise UserError(f"`image_size` {wanted}: the records in {data_dir} are {packed[0]},{packed[1]} (height, width),"
                        " and training does not resize them: leave the flag out, or pack the images again with "
                        f"python -m recordio_tools pack ... --image-size {wanted} --resize")


def check_last_map(spec: NetworkSpec, packed: tuple[int, int], data_dir: str) -> None:
    """UserError, with a remedy, where the head of `spec` does not fit images of size `packed`.

    ValueError for an unknown network.
    """
    if spec.version_output != "GDC":
        return
    height, width = _last_map(spec, packed)
    if (height, width) == (GLOBAL, GLOBAL):
        return
    usual = "" if _last_map(spec, USUAL) != (GLOBAL, GLOBAL) else (
        f"pack the images again with python -m recordio_tools pack ... --image-size {USUAL[0]},{USUAL[1]} --resize, "
        "or ")
    raise UserError(f"`version_output` GDC: its layer conv_6dw7_7 covers a map of {GLOBAL}x{GLOBAL}, and `network` "
                    f"{spec.network} makes one of {height}x{width} of the {packed[0]}x{packed[1]} images in "
                    f"{data_dir}: {usual}use another `version_output` (GNAP, GAP and E fit any size)")


def _last_map(spec: NetworkSpec, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the network's last feature map for images of `size`; ValueError for an unknown network."""
    symbol = symbols.build(spec.network, spec.emb_size, "GAP", spec.version_input, spec.version_unit, spec.version_se,
                           spec.version_act, net_multiplier=spec.net_multiplier)
    _, _, height, width = infer_shapes(symbol, (1, 3, *size))["bn1_output"]
    return height, width
