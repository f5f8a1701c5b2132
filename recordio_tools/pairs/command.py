"""`pairs PROTOCOL`: a verification protocol and its images, or sampled pairs, to a `.bin`."""
from __future__ import annotations

import argparse
import dataclasses
import logging
import re
from pathlib import Path
from typing import Any, Callable

from common.arguments import add_workers, at_least, image_size
from common.errors import UserError, writing
from common.files import check_new_file
from common.folders import check_apart
from images.prepare import Wanted
from recordio_tools.pairs.lists import Pair, read_cfp, read_csv, read_lfw
from recordio_tools.pairs.making import make_pairs
from recordio_tools.pairs.protocols import read_agedb, read_flagged, read_plain
from recordio_tools.pairs.verification_sets import UnfitFolds, folds_that_fit, is_fit, write_set
from recordio_tools.records.writer import SET_FILES

log = logging.getLogger(__name__)
FLAGGED_LISTS = ("calfw", "cplfw")
DESCRIPTION = """\
Make a verification set (.bin) of a protocol's pairs. Upright JPEG, PNG, BMP and simple TIFF files are stored
unchanged, others as upright JPEGs, since not every reader of a .bin decodes or rotates them.

  python -m recordio_tools pairs lfw --images lfw/ --pairs pairs.txt --out data/lfw.bin
  python -m recordio_tools pairs cfp --images cfp/ --protocol cfp/Protocol --kind FP --out data/cfp_fp.bin
  python -m recordio_tools pairs calfw --images calfw/ --pairs pairs_CALFW.txt --out data/calfw.bin
  python -m recordio_tools pairs agedb --images AgeDB/ --pairs 04_FINAL_protocol_30_years.mat --out data/agedb_30.bin
  python -m recordio_tools pairs csv --pairs mine.csv --out data/mine.bin
  python -m recordio_tools pairs make held_out/ --out data/mine.bin"""
MAKE = """\
Sample pairs from a packed set (or a folder of image folders): folds of equal size with disjoint identities, in
each as many same as different pairs, alternating; no pair twice, images reused as little as possible. The same
--seed samples the same pairs.

  python -m recordio_tools pairs make held_out/ --out data/mine.bin --pairs 6000 --seed 1 --csv drawn.csv

Sample from identities that are not in the training set: merge --exclude and --overlap-with remove them from it.
The table of --csv names the images as unpack does, so that pairs csv makes the same .bin from the unpacked set."""
LFW = """\
LFW's pairs file, in its order: `name n m` for a same pair, `name n other m` for a different one; in a list without
folds, all same pairs before all different ones (pairsDevTest.txt), the two alternate. Image 1 of NAME is
DIR/NAME/NAME_0001.jpg.

  python -m recordio_tools pairs lfw --images lfw/ --pairs pairs.txt --out data/lfw.bin"""
CFP = """\
CFP's Protocol folder: split by split; inside a split same and different pairs alternate, so that any number
of folds is balanced. FF: frontal to frontal, FP: frontal to profile.

  python -m recordio_tools pairs cfp --images cfp/ --protocol cfp/Protocol --kind FP --out data/cfp_fp.bin"""
FLAGGED = """\
{name}'s list: `image flag`, two lines a pair; flag 0 for different identities, any other number for the same. The list
has all same pairs first; fold i takes the i-th tenth of the same and of the different ones, alternating.

  python -m recordio_tools pairs {command} --images {command}/ --pairs pairs_{name}.txt --out data/{command}.bin

The images must be aligned as the model's training images were: see align."""
AGEDB = """\
AgeDB's protocol with 30 years between the images, 04_FINAL_protocol_30_years.mat: split by split, inside a split
same and different pairs alternate. The image NAME of the protocol is DIR/NAME.jpg, or DIR/03_Protocol_Images/NAME.jpg.

  python -m recordio_tools pairs agedb --images AgeDB/ --pairs 04_FINAL_protocol_30_years.mat \\
      --out data/agedb_30.bin

The images must be aligned as the model's training images were: see align."""
RFW = """\
RFW's lists, one for each of its four groups, which are as LFW's but without a first line. Image 1 of NAME is
DIR/NAME/NAME_0001.jpg.

  python -m recordio_tools pairs rfw --images RFW/data/African --pairs RFW/txts/African/African_pairs.txt \\
      --out data/rfw_african.bin"""
LIST = """\
A list without a first line: `path1 path2 1` for the same identity, 0 for different ones, in the list's order,
separated by blanks, tabs or commas. Paths are relative to --images, or to the list.

  python -m recordio_tools pairs list --images faces/ --pairs mine.txt --out data/mine.bin"""
CSV = """\
A table with the columns left,right,same and perhaps fold; same is 1 or 0, the paths are relative to
--images, or to the table. Pairs come in fold order, inside a fold in the table's order.

  python -m recordio_tools pairs csv --pairs mine.csv --images faces/ --out data/mine.bin"""

# protocol: (arguments, folder of images, the protocol's list or folder) to the pairs
READERS: dict[str, Callable[[argparse.Namespace, Any, Path], list[Pair]]] = {
    "lfw": lambda args, images, path: read_lfw(images, path),
    "cfp": lambda args, images, path: read_cfp(path, args.kind, args.splits, images),
    **dict.fromkeys(FLAGGED_LISTS, lambda args, images, path: read_flagged(images, path, args.folds)),
    "agedb": lambda args, images, path: read_agedb(images, path),
    "rfw": lambda args, images, path: read_lfw(images, path),
    "list": lambda args, images, path: read_plain(images, path),
    "csv": lambda args, images, path: read_csv(path, images)}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command and its protocols."""
    parser = subparsers.add_parser("pairs", help="a verification protocol to a .bin", description=DESCRIPTION)
    kinds = parser.add_subparsers(dest="protocol_kind", metavar="PROTOCOL", required=True)
    for name, told, description in (
            ("lfw", "LFW's pairs file", LFW),
            ("calfw", "CALFW's list", FLAGGED.format(name="CALFW", command="calfw")),
            ("cplfw", "CPLFW's list", FLAGGED.format(name="CPLFW", command="cplfw")),
            ("agedb", "AgeDB's protocol", AGEDB), ("rfw", "one of RFW's four lists", RFW)):
        other = kinds.add_parser(name, help=told, description=description)
        other.add_argument("--images", required=True, metavar="DIR", help="folder of the images")
        other.add_argument("--pairs", required=True, metavar="FILE", help="the protocol's list")
    cfp = kinds.add_parser("cfp", help="CFP's Protocol folder", description=CFP)
    cfp.add_argument("--images", metavar="DIR", help="CFP's folder, or Data/Images in it (default: as Protocol says)")
    cfp.add_argument("--protocol", required=True, metavar="DIR", help="Protocol, with Pair_list_F.txt, Split/, ...")
    cfp.add_argument("--kind", required=True, choices=("FF", "FP"))
    cfp.add_argument("--splits", type=_splits, metavar="A-B", help="splits to use, e.g. 1-5 (default: all)")
    for name, what, told, description in (("list", "list", "a list path1 path2 0|1", LIST),
                                          ("csv", "table", "a table left,right,same[,fold]", CSV)):
        table = kinds.add_parser(name, help=told, description=description)
        table.add_argument("--images", metavar="DIR", help=f"root of relative paths (default: the {what}'s folder)")
        table.add_argument("--pairs", required=True, metavar="FILE", help=f"the {what}")
    make = kinds.add_parser("make", help="pairs sampled from a packed set", description=MAKE)
    make.add_argument("source", metavar="SET", help="data folder, .rec, or folder of image folders")
    make.add_argument("--out", required=True, metavar="X.bin", help="file to write")
    make.add_argument("--pairs", type=at_least(2), default=6000, metavar="N", help="a multiple of twice the folds")
    make.add_argument("--folds", type=at_least(2), default=10, help="folds of the verification")
    make.add_argument("--seed", type=at_least(0), default=0, help="random seed of the sampling")
    make.add_argument("--min-images", type=at_least(1), default=1, metavar="K",
                      help="sample from identities with at least so many images")
    make.add_argument("--csv", metavar="FILE.csv", help="write the sampled pairs: left,right,same,fold")
    make.add_argument("--overwrite", action="store_true", help="replace existing files")
    add_workers(make)
    make.set_defaults(run=_make)
    for name, read in READERS.items():
        kind = kinds.choices[name]
        kind.add_argument("--out", required=True, metavar="X.bin", help="file to write")
        kind.add_argument("--image-size", type=image_size, default="112,112", metavar="H,W",
                          help="the size that every image must have, in pixels")
        kind.add_argument("--resize", action="store_true", help="scale images of another size (JPEG, --quality)")
        kind.add_argument("--quality", type=at_least(1, 100), default=95, help="quality of JPEGs that --resize makes")
        kind.add_argument("--folds", type=at_least(2), default=10, help="folds of the verification")
        kind.add_argument("--overwrite", action="store_true", help="replace an existing file")
        add_workers(kind)
        kind.set_defaults(run=_convert, read=read)


def _convert(args: argparse.Namespace) -> int:
    """Read the pairs of a protocol, and write them."""
    if args.images is not None and not Path(args.images).is_dir():
        raise UserError(f"--images {args.images}: there is no such folder")
    what = args.protocol if args.protocol_kind == "cfp" else args.pairs
    return _write(args, args.read(args, None if args.images is None else Path(args.images), Path(what)), what)


def _make(args: argparse.Namespace) -> int:
    source, out, table = Path(args.source), Path(args.out), Path(args.csv) if args.csv else None
    for given in [args.out, args.csv] if args.csv else [args.out]:
        check_new_file(given, args.overwrite)
        check_apart(given, [source, *(source / name for name in SET_FILES), *([out] if given is args.csv else [])])
    made = make_pairs(source, out, table, args.pairs, args.folds, args.seed, args.min_images, args.workers,
                      args.overwrite)
    print(f"{args.pairs} pairs ({args.pairs // 2} same, {args.pairs // 2} different), {args.folds} folds, of "
          f"{made.images} images of {made.identities} identities in {out}")
    _print_changes(made.changes)
    return 0


def _write(args: argparse.Namespace, pairs: list[Pair], what: str) -> int:
    height, width = args.image_size
    wanted = Wanted(height, width, quality=args.quality, resize=args.resize, any_kind=True)
    out = Path(args.out)
    check_new_file(args.out, args.overwrite)
    if out.exists():
        check_apart(out, [what, *{path for pair in pairs for path in (pair.left, pair.right)}])
    with writing(out):
        try:
            written = write_set(pairs, what, out, wanted, args.folds, args.workers, args.overwrite)
        except UnfitFolds as error:
            raise UserError(f"{error}{_way_out(args, pairs, error.few)}") from None
    same = sum(pair.same for pair in pairs)
    print(f"{written.pairs} pairs ({same} same, {written.pairs - same} different) of {written.images} images in "
          f"{args.out}")
    _print_changes(written.changes)
    for kind, numbers in written.odd.kinds:
        log.warning("%s: %d times %s, first in %s; such pairs do not measure a model: correct the list", what,
                    len(numbers), kind, pairs[numbers[0]].where.replace(f"{what}: ", "", 1))
    return 0


def _print_changes(changes: dict[str, int]) -> None:
    for change, count in changes.items() if set(changes) != {"copied"} else ():
        print(f"  {change:<52}{count:>10}")


def _way_out(args: argparse.Namespace, pairs: list[Pair], few: bool) -> str:
    """What else helps where the folds do not fit, if anything does."""
    if args.protocol_kind == "csv" and not few and any(pair.fold for pair in pairs):
        rows = [dataclasses.replace(pair, fold="") for pair in
                sorted(pairs, key=lambda pair: int(pair.where.rpartition(" ")[2]))]
        return ", or leave the column fold out" if is_fit(rows, args.folds) else ""
    if args.protocol_kind in FLAGGED_LISTS:  # its folds are made here
        same = sum(pair.same for pair in pairs)
        number = min(same, len(pairs) - same, args.folds - 1)
    else:
        number = folds_that_fit(pairs, args.folds)
    return f", or give verification's number of folds: --folds {number} fits (now {args.folds})" if number > 1 else ""


def _splits(text: str) -> list[int]:
    numbers: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,2})(?:-(\d{1,2}))?", part.strip(), re.ASCII)
        if not found:
            raise argparse.ArgumentTypeError(f"{text!r} is not like 1-5 or 1,3")
        numbers += range(int(found.group(1)), int(found.group(2) or found.group(1)) + 1)
    if not numbers or len(set(numbers)) != len(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} names no split, or one twice")
    return numbers
