"""Whether the images are of the size that the flags and the network want, said in the words of who packs them."""
from __future__ import annotations

import symbols
from common.errors import UserError
from symbols.shapes import infer_shapes
from training.arguments import parse_image_size
from training.config import Config

GLOBAL = 7  # the side of the map that GDC's layer covers
USUAL = (112, 112)


def check_image_size(config: Config, packed: tuple[int, int]) -> None:
    """UserError, with a way out, where --image-size or --version-output GDC does not suit records of size `packed`."""
    if config.image_size and parse_image_size(config.image_size) != packed:
        raise UserError(f"--image-size {config.image_size}: the records in {config.data_dir} are "
                        f"{packed[0]},{packed[1]} (height, width), and a training takes them as they are: leave the "
                        f"flag out, or pack the images again with python -m recordio_tools pack ... "
                        f"--image-size {config.image_size} --resize")
    if config.version_output != "GDC":
        return
    height, width = _last_map(config, packed)
    if (height, width) == (GLOBAL, GLOBAL):
        return
    usual = "" if _last_map(config, USUAL) != (GLOBAL, GLOBAL) else (
        f"pack the images again with python -m recordio_tools pack ... --image-size {USUAL[0]},{USUAL[1]} --resize, "
        "or ")
    raise UserError(f"--version-output GDC: its layer conv_6dw7_7 covers a map of {GLOBAL}x{GLOBAL}, and --network "
                    f"{config.network} makes one of {height}x{width} of the {packed[0]}x{packed[1]} images in "
                    f"{config.data_dir}: {usual}take another --version-output (GNAP, GAP and E go with any size)")


def _last_map(config: Config, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the network's last feature map for images of `size`; ValueError for no such network."""
    symbol = symbols.build(config.network, config.emb_size, "GAP", config.version_input, config.version_unit,
                           config.version_se, config.version_act)
    _, _, height, width = infer_shapes(symbol, (1, 3, *size))["bn1_output"]
    return height, width
