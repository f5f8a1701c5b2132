"""`unpack REC OUT`: a packed set to folders of images, a `.bin` to images and pairs."""
from __future__ import annotations

import argparse
import logging
from pathlib import Path

from common.arguments import add_workers
from common.folders import check_apart, check_free
from recordio_tools.bins.binfile import is_bin
from recordio_tools.unpack.unpacking import PAIRS, REPORT, unpack_bin, unpack_rec

log = logging.getLogger(__name__)
DESCRIPTION = """\
Write the images of a training set to folders, byte for byte as they are in its records:
OUT/<identity>/<record key>.jpg. Packing OUT gives the same images and labels again.

  python -m recordio_tools unpack data/ faces/
  python -m recordio_tools pack faces/ again/                  # by the folders' names
  python -m recordio_tools pack faces/ again/ --lst faces/unpack.lst    # or by the list, in the records' order

Folders are named by identities.csv where the set has one: by the name itself where all names can be
folders and sort as the labels do, else as 0007_name. OUT/identities.csv maps labels to names.

  python -m recordio_tools unpack data/lfw.bin lfw/
  python -m recordio_tools pairs csv --pairs lfw/pairs.csv --out again.bin

REC is a data folder, a .rec, X for the parts X_0.rec, X_1.rec, ... of im2rec, or a .bin. OUT is complete or
absent. Of a label with several values, the first is kept."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("unpack", help="a set's records to folders of images", description=DESCRIPTION)
    parser.add_argument("source", metavar="REC", help="data folder, .rec or .bin")
    parser.add_argument("out", metavar="OUT", help="folder to write to, absent or empty")
    parser.add_argument("--overwrite", action="store_true", help="replace an OUT that this command wrote")
    add_workers(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Unpack, and print how to pack again."""
    source, out = Path(args.source), Path(args.out)
    check_apart(out, [source], inside=True)
    check_free(out, args.overwrite, REPORT)
    pairs = is_bin(source)
    report = (unpack_bin if pairs else unpack_rec)(source, out, args.workers, args.overwrite)
    if pairs:
        print(f"{report['pairs']} pairs of {report['images']} different images in {out / PAIRS}")
    else:
        print(f"{report['images']} images of {report['identities']} identities in {out}")
        if report["identities_without_images"]:
            log.warning("%s: %d labels have no image; packing OUT closes these gaps and shifts later labels", source,
                        report["identities_without_images"])
    for kind, count in report["formats"].items():
        print(f"  {kind:<24}{count:>10}")
    if report["formats"].get("unknown"):
        log.warning("%s: %d images are of an unknown format; they end in .unknown, and pack ignores them", source,
                    report["formats"]["unknown"])
    return 0
