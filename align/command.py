"""`align SRC OUT`: photographs to aligned crops, by MTCNN or by given landmarks."""
from __future__ import annotations

import argparse
import functools
import logging
import os
from pathlib import Path

from align.aligning import GOES_ON, REPORT, TABLE, Crops, align_by_detector, align_by_table
from align.landmark_fit import check_faces, check_places
from align.landmark_table import is_journal, match_names, read_table
from align.photographs import Listing, list_photographs
from align.report import MISSED, AlignReport
from common.arguments import DEVICES, add_workers, at_least, image_size
from common.counts import warn_of
from common.environment import check_environment
from common.errors import RunError, UserError
from common.foreign import shown
from common.signals import stoppable
from common.writable import check_writable

log = logging.getLogger(__name__)
RULES = ("balanced", "largest", "central", "score")  # of mtcnn.finding.choose, which needs MXNet to load
THRESHOLDS = "0.6,0.7,0.8"
# How detection is done by default: flags that landmarks from a table do without.
DETECTION = {"detector": None, "select": "balanced", "min_face": 40, "max_side": 1024,
             "thresholds": tuple(map(float, THRESHOLDS.split(","))), "strict": False}
DESCRIPTION = """\
Find the face in every photograph below SRC and warp it to the ecosystem's template of five landmarks:
SRC/<identity>/x.png becomes OUT/<identity>/x.jpg, so that `pack OUT` can follow.

  python -m recordio_tools align photographs/ faces/ --detector mtcnn/
  python -m recordio_tools pack faces/ data/

MODELDIR holds InsightFace's MTCNN: det1-symbol.json, det1-0001.params, and so on to det4. Where no face is found, a
second search uses lower thresholds and a margin around the photograph. Photographs without a face are left out and
listed, or cropped at the centre with --keep-missed. Files that are not readable images are skipped and listed.

  python -m recordio_tools align photographs/ faces/ --landmarks faces/landmarks.csv

OUT/landmarks.csv holds the landmarks used: path, then x1,y1 to x5,y5 (left eye, right eye, nose, left and right
corner of the mouth as the image shows them, pixels of the upright photograph), score, found. Passed to
--landmarks it gives the same crops again. OUT/align-report.json has the outcome for every file.

An interrupted align leaves only complete crops, and the same command continues from there."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("align", help="photographs to aligned crops of faces", description=DESCRIPTION)
    parser.add_argument("source", metavar="SRC", help="folder of photographs, of any depth")
    parser.add_argument("out", metavar="OUT", help="folder to write to")
    parser.add_argument("--detector", metavar="MODELDIR", help="folder of the checkpoints det1 to det4")
    parser.add_argument("--landmarks", metavar="FILE.csv", help="use these landmarks instead of detection; "
                                                                "paths are relative to SRC")
    parser.add_argument("--trust-landmarks", action="store_true",
                        help="use --landmarks that seem to be of another order or unit, as where one fixed camera has "
                             "all faces in the upper left quarter")
    parser.add_argument("--image-size", type=image_size, default="112,112", metavar="H,W",
                        help="size of the crops in pixels, height,width")
    parser.add_argument("--quality", type=at_least(1, 100), default=95, help="JPEG quality of the crops")
    parser.add_argument("--select", choices=RULES, default=DETECTION["select"],
                        help="of several faces: the largest, the most central, the best scored, or (balanced) "
                             "the best by area minus twice the squared distance from the centre, as InsightFace does "
                             "for LFW")
    parser.add_argument("--min-face", type=at_least(12, 10000), default=DETECTION["min_face"],
                        metavar="PIXELS", help="smallest face to detect")
    parser.add_argument("--max-side", type=at_least(100, 8192), default=DETECTION["max_side"],
                        metavar="PIXELS", help="larger photographs are searched in a copy with this longer side, whose "
                                               "pixels --min-face counts; crops are always of the photograph itself")
    parser.add_argument("--thresholds", type=_thresholds, default=THRESHOLDS, metavar="A,B,C",
                        help="detection thresholds of the three stages, in the first search")
    parser.add_argument("--strict", action="store_true", help="no second search with lower thresholds")
    parser.add_argument("--keep-missed", action="store_true",
                        help="crop photographs without a face at their centre, instead of leaving them out")
    parser.add_argument("--overwrite", action="store_true", help="make existing crops again")
    parser.add_argument("--devices", metavar="LIST", help=DEVICES)
    add_workers(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Align, and print the outcome for the photographs."""
    source, out = Path(args.source), Path(args.out)
    if not args.detector and not args.landmarks:
        raise UserError("align: --detector MODELDIR or --landmarks FILE.csv must say where the faces are")
    _check_folders(source, out)
    unused = DETECTION if args.landmarks else {"trust_landmarks": False}
    for name in [name for name, default in unused.items() if getattr(args, name) != default]:
        log.warning("--%s: is without effect %s --landmarks", name.replace("_", "-"),
                    "beside" if args.landmarks else "without")
        setattr(args, name, unused[name])  # so that the crops there are of the same settings
    crops = Crops(args.image_size[0], args.image_size[1], args.quality, args.keep_missed, args.overwrite)
    settings = {name: value for name, value in sorted(vars(args).items()) if name not in ("run", "command")}
    with stoppable():
        work = _by_table if args.landmarks else _by_detector
        try:
            report = work(args, source, out, crops, settings)
        except KeyboardInterrupt:
            if out.is_dir():  # it had started
                log.warning("%s: %s", out, GOES_ON)
            raise
    _tell(report, out)
    if not report.crops:
        raise RunError(f"{out}: none of the photographs gave a crop; see {REPORT} there for the reasons")
    return 0


def _by_table(args: argparse.Namespace, source: Path, out: Path, crops: Crops, settings: dict) -> AlignReport:
    rows = read_table(args.landmarks, source)
    check_faces(rows, args.landmarks, args.trust_landmarks)
    listing = list_photographs(source, out)
    rows = match_names(rows, listing.images, source, args.landmarks)
    unknown = len(set(rows) - set(listing.images))
    if unknown == len(rows):  # every crop of an earlier run would be removed
        raise UserError(f"{args.landmarks}: " + (
            f"names no photograph below {source}, e.g. {shown(next(iter(rows)))} (there is "
            f"{shown(listing.images[0])}); paths are relative to SRC, with the photographs' endings" if rows else
            "holds no rows"))
    if unknown:
        log.warning("%s: %d of its %d rows name no photograph below %s", args.landmarks, unknown, len(rows), source)
    check_places(rows, args.landmarks, source, listing.images, args.trust_landmarks)
    return align_by_table(source, out, listing, rows, crops, args.workers, settings)


def _by_detector(args: argparse.Namespace, source: Path, out: Path, crops: Crops, settings: dict) -> AlignReport:
    check_environment()
    from align.cutting import folder_digest
    from align.mtcnn.detector import Detector, Search
    from align.mtcnn.finding import find
    from common.devices import parse_devices  # these load MXNet

    detector = Detector(args.detector, parse_devices(args.devices))
    settings = {**settings, "detector_sha256": folder_digest(args.detector)}
    listing: Listing = list_photographs(source, out)
    search = Search(min_face=args.min_face, thresholds=args.thresholds)
    look = functools.partial(find, detector, search=search, rule=args.select, relax=not args.strict)
    return align_by_detector(source, out, listing, look, args.max_side, crops, args.workers, settings)


def _check_folders(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise UserError(f"{source}: there is no such folder; SRC is a folder of photographs")
    if os.path.lexists(out) and not out.is_dir():
        raise UserError(f"{out}: is not a folder; OUT is a folder to write to")
    inside, outside = os.path.realpath(source), os.path.realpath(out)
    if inside == outside or inside.startswith(outside + os.sep):
        raise UserError(f"{out}: holds SRC, so crops would lie among photographs; name another OUT")
    check_writable(out / TABLE)
    there = sorted(os.listdir(out)) if out.is_dir() else []
    if there and not is_journal(out / TABLE):
        raise UserError(f"{out}: holds {shown(there[0])}, and no {TABLE} of an align; name another OUT")


def _thresholds(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(0 < value < 1 for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} is not three numbers between 0 and 1, e.g. 0.6,0.7,0.8")
    return values


def _tell(report: AlignReport, out: Path) -> None:
    told = {"not found": (report.looks.names[MISSED], report.looks[MISSED]),
            **{f"skipped, {reason}": (names, report.reasons[reason])
               for reason, names in report.reasons.names_as_dict().items()},
            **{kind.replace("_", " "): (list(map(shown, names)), len(names)) for kind, names in report.notes.items()}}
    for what, (names, count) in sorted(told.items()):
        warn_of(log, what, names, count, out / REPORT)
    print(f"{report.crops} crops in {out}, landmarks in {out / TABLE}")
    for what, count in report.table():
        print(f"  {what:<52}{count:>10}")
