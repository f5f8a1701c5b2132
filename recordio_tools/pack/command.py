"""`pack SRC OUT`: images by identity, from folders, an InsightFace list or a table, to a training set."""
from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from common.arguments import add_workers, at_least, image_size
from common.counts import warn_of
from common.errors import UserError, writing
from common.folders import check_apart, check_none_of
from images.lists import from_csv, from_lst
from images.prepare import Wanted
from images.selection import Selection
from images.sources import Source, from_folder
from recordio_tools.pack.packing import pack
from recordio_tools.pack.report import PackReport
from recordio_tools.records.writer import SET_FILES

log = logging.getLogger(__name__)
DESCRIPTION = """\
Pack face images to train.rec, train.idx, property, identities.csv and pack-report.json.

  python -m recordio_tools pack faces/ data/                       # faces/<identity>/*.jpg, 112x112
  python -m recordio_tools pack faces/ data/ --resize --min-images 5
  python -m recordio_tools pack faces.lst data/                    # InsightFace: aligned TAB path TAB label ...
  python -m recordio_tools pack faces.csv data/                    # columns path and identity

Identities get the labels 0, 1, 2, ... in sorted order (n9 before n10). JPEGs of the right size are copied byte
for byte; other kinds of images become JPEGs. Files that are not readable images are left out, counted and listed in
OUT/pack-report.json. An image of another size stops the pack before anything is written, unless --resize or
--skip-wrong-size is given.

In a list, images with flag 1 are used unchanged; of those with flag 0 the face is warped to the template by
the five landmarks of the line (x1..x5 y1..y5), else cropped to its box with a margin of 44 pixels, as
InsightFace does, else the whole image is used.

OUT is complete or unchanged, whatever stops the work; the bytes do not depend on --workers."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("pack", help="images by identity to a training set", description=DESCRIPTION)
    parser.add_argument("source", metavar="SRC", help="folder of folders of images, a .lst or a .csv")
    parser.add_argument("out", metavar="OUT", help="folder to write to")
    parser.add_argument("--image-size", type=image_size, default="112,112", metavar="H,W",
                        help="size of every image in pixels, height,width")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--resize", action="store_true",
                       help="scale images of another size to cover H,W and crop the rest (otherwise they are an error)")
    sizes.add_argument("--skip-wrong-size", action="store_true",
                       help="leave images of another size out, and count them")
    parser.add_argument("--quality", type=at_least(1, 100), default=95, help="quality of JPEGs that are encoded here")
    lists = parser.add_mutually_exclusive_group()
    lists.add_argument("--lst", metavar="FILE", help="InsightFace list of images to pack; paths are relative to SRC")
    lists.add_argument("--csv", metavar="FILE", help="table with the columns path (or image) and identity (or label): "
                                                     "the images to pack; paths are relative to SRC")
    parser.add_argument("--trust-landmarks", action="store_true",
                        help="use landmarks of a .lst that seem to be of another order or unit")
    parser.add_argument("--min-images", type=at_least(1), default=1, metavar="K",
                        help="leave out identities with fewer usable images")
    parser.add_argument("--max-images", type=at_least(1), metavar="K",
                        help="largest number of an identity's files, sampled by --seed")
    parser.add_argument("--duplicates", choices=("keep", "drop"), default="keep",
                        help="what to do with a repeated file of an identity, equal byte for byte; files that two "
                             "identities share are always kept, and listed in the report")
    parser.add_argument("--shuffle", action="store_true",
                        help="identities, and the images of each, in random order, by --seed, not sorted; the images "
                             "of an identity stay together, as the format requires: training shuffles them itself")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of --max-images and --shuffle")
    parser.add_argument("--overwrite", action="store_true", help="replace the set that is in OUT")
    add_workers(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Pack, and print the outcome for the files."""
    out = Path(args.out)
    for target in (out, *(out / name for name in SET_FILES)):
        check_apart(target, filter(None, (args.source, args.lst, args.csv)))
    check_none_of(out, SET_FILES, args.overwrite)
    if args.max_images and args.max_images < args.min_images:
        raise UserError(f"--max-images {args.max_images}: is less than --min-images, so no identity would be left")
    height, width = args.image_size
    wanted = Wanted(height, width, quality=args.quality, resize=args.resize)
    selection = Selection(args.min_images, args.max_images or 0, args.shuffle, args.seed, args.skip_wrong_size,
                          args.duplicates == "drop")
    source = _source(args)
    with writing(out):
        report = pack(source, out, wanted, selection, args.workers, args.overwrite)
    _tell(report, out)
    return 0


def _source(args: argparse.Namespace) -> Source:
    path = Path(args.source)
    if not os.path.lexists(path):
        raise UserError(f"{path}: there is no such folder")
    table = args.lst or args.csv or ("" if path.is_dir() else str(path))
    kind = ".lst" if args.lst else ".csv" if args.csv else Path(table).suffix.lower()
    if table and kind not in (".lst", ".csv"):
        raise UserError(f"{path}: is not a folder, .lst or .csv; expected SRC/<identity>/*.jpg; unpack a .rec first")
    if args.trust_landmarks and kind != ".lst":
        log.warning("--trust-landmarks: is without effect, since only a .lst has landmarks")
    if not table:
        return from_folder(path)
    root = path if path.is_dir() else path.parent
    return from_lst(table, root, args.trust_landmarks) if kind == ".lst" else from_csv(table, root)


def _tell(report: PackReport, out: Path) -> None:
    lost = [name for name, count in report.small if not count]
    told = [(f"left out, {reason}", names, report.skipped[reason])
            for reason, names in report.skipped.names_as_dict().items()]
    told.append(("identity left out, none of its files can be used", lost, len(lost)))
    told += [(kind.replace("_", " "), names, len(names)) for kind, names in sorted(report.notes.items())]
    for what, names, count in told:
        warn_of(log, what, names, count, out / "pack-report.json")
    if report.shared.count:
        log.warning("the same file under several identities: %s", ", ".join(report.shared.groups[0][:3]))
    print(f"{report.images} images of {len(report.identities)} identities in {out / 'train.rec'}")
    for what, count in report.table():
        print(f"  {what:<52}{count:>10}")
