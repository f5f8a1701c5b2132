"""`pack SRC OUT`: a folder of images by identity, or a list, to a training set."""
from __future__ import annotations

import argparse
import logging
from pathlib import Path

from common.errors import RunError, UserError
from recordio_tools.arguments import add_workers, at_least, image_size
from recordio_tools.packing import Report, Selection, pack
from recordio_tools.prepare import Wanted
from recordio_tools.sources import Source, from_folder, from_lst

log = logging.getLogger(__name__)
DESCRIPTION = """\
Pack aligned face images to train.rec, train.idx, property and identities.csv.

  python -m recordio_tools pack faces/ data/
  python -m recordio_tools pack faces/ data/ --lst faces.lst --resize

SRC holds one folder for each identity; they get the labels 0, 1, 2, ... in sorted order (n9 before n10).
JPEGs of the right size are copied byte for byte. Files that are no readable image are left out, counted
and named in OUT/pack-report.json. OUT is complete or untouched."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("pack", help="folders of images to a training set", description=DESCRIPTION)
    parser.add_argument("source", metavar="SRC", help="folder of folders of images, or an InsightFace .lst")
    parser.add_argument("out", metavar="OUT", help="folder to write to")
    parser.add_argument("--image-size", type=image_size, default="112,112", metavar="H,W",
                        help="size of every image in pixels, height,width")
    parser.add_argument("--resize", action="store_true",
                        help="scale images of another size to cover H,W and cut the rest (otherwise they are refused)")
    parser.add_argument("--quality", type=at_least(1, 100), default=95, help="of JPEGs that are made here")
    parser.add_argument("--lst", metavar="FILE", help="InsightFace list (aligned TAB path TAB label): pack these; "
                                                      "relative paths are taken from SRC")
    parser.add_argument("--min-images", type=at_least(1), default=1, metavar="K",
                        help="leave out identities with fewer usable images")
    parser.add_argument("--max-images", type=at_least(1), metavar="K",
                        help="at most so many of an identity's files, drawn by --seed")
    parser.add_argument("--shuffle", action="store_true", help="labels in an order drawn by --seed, not sorted")
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="S", help="of --max-images and --shuffle")
    add_workers(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Pack, and tell what became of the files."""
    source, out = _source(args), Path(args.out)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; OUT is a folder to write to")
    if source.unaligned:
        log.warning("%s: %d images are marked as not aligned (first column 0); they are packed as they are",
                    args.lst or args.source, source.unaligned)
    wanted = Wanted(*args.image_size, quality=args.quality, resize=args.resize)
    selection = Selection(args.min_images, args.max_images or 0, args.shuffle, args.seed)
    try:
        report = pack(source, out, wanted, selection, args.workers)
    except OSError as error:
        raise RunError(f"{out}: cannot be written ({error.strerror}); no file of a set there was replaced") from None
    _tell(report, out)
    return 0


def _source(args: argparse.Namespace) -> Source:
    path = Path(args.source)
    if args.lst:
        return from_lst(args.lst, path if path.is_dir() else path.parent)
    if path.is_file():
        if path.suffix != ".lst":
            raise UserError(f"{path}: is neither a folder nor a .lst; expected SRC/<identity>/*.jpg")
        return from_lst(path, path.parent)
    return from_folder(path)


def _tell(report: Report, out: Path) -> None:
    for reason, names in sorted(report.files.items()):
        for name in names[:3]:
            log.warning("left out, %s: %s", reason, name)
        if report.skipped[reason] > 3:
            log.warning("left out, %s: %d more, see %s", reason, report.skipped[reason] - 3, out / "pack-report.json")
    print(f"{report.images} images of {len(report.identities)} identities in {out / 'train.rec'}")
    for change, count in sorted(report.changes.items()):
        print(f"  {change:<24}{count:>10}")
    for reason, count in sorted(report.skipped.items()):
        print(f"  left out, {reason:<14}{count:>10}")
    if report.small:
        print(f"  identities left out     {len(report.small):>10}")
