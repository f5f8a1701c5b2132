"""`merge OUT IN...`: several packed sets to one, without excluded identities and images."""
from __future__ import annotations

import argparse
import contextlib
import logging
import os
from pathlib import Path

import numpy as np

from common import cli
from common.arguments import DEVICES, LAYER, add_workers, at_least
from common.counts import warn_of
from common.errors import UserError, writing
from common.files import check_new_file
from common.folders import check_apart, check_none_of
from common.foreign import shown
from common.name_forms import name_key
from inference.identity_means import CheckpointSpec, MeanEmbedder
from inference.similarity import best_matches, pairs_above
from recordio_tools.bins.binfile import is_bin
from recordio_tools.faces import names_in, open_faces, packed_faces
from recordio_tools.merge import exclusions
from recordio_tools.merge.merging import REPORT, check_enough, count_taken, is_matches, merge, write_matches
from recordio_tools.merge.plan import Match, Plan, check_sizes
from recordio_tools.merge.shared_images import distinct_images, pairs_sharing
from recordio_tools.records.dataset import open_dataset
from recordio_tools.records.writer import SET_FILES

log = logging.getLogger(__name__)
SHOWN, THRESHOLD = 10, 0.55  # matches on the screen; cosine
DESCRIPTION = """\
Merge packed sets to one training set in OUT: images byte for byte, new labels and header records,
identities.csv with each name and its set, and merge-report.json.

  python -m recordio_tools merge joined/ vggface2/ casia/ --same-name join
  python -m recordio_tools merge joined/ a/ copy/ --duplicates join            # the same images, byte for byte
  python -m recordio_tools merge clean/ data/ --exclude wrong.csv              # one set, filtered
  python -m recordio_tools merge plain/ data/ --plain                          # for mx.io.ImageRecordIter

Remove the identities of a test set, by name, or by the similarity of a model's embeddings:

  python -m recordio_tools merge clean/ data/ --exclude-names-of lfw/images
  python -m recordio_tools merge clean/ data/ --overlap-with lfw.bin cfp_fp.bin --model mobilefacenet,0 \\
      --matches matches.csv --dry-run

Identities are compared by the mean of their images' embeddings, and removed from a cosine of --threshold on. Check
the pairs in matches.csv before you trust a threshold; delete the wrong rows and pass it to --exclude.
The order of the INs matters: where two identities are the same, the earlier is kept."""
MODEL_HELP = """MXNet checkpoint that embeds faces, for --overlap-with and --duplicates"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("merge", help="several sets to one, without excluded identities",
                                   description=DESCRIPTION)
    parser.add_argument("out", metavar="OUT", help="folder to write to")
    parser.add_argument("sets", metavar="IN", nargs="+", help="data folder, .rec, or X of parts X_0.rec, X_1.rec, ...")
    parser.add_argument("--plain", action="store_true",
                        help="write no header records: what mx.io.ImageRecordIter and gluon's ImageRecordDataset read")
    out = parser.add_argument_group("exclusions")
    out.add_argument("--exclude", action="append", default=[], metavar="FILE.csv",
                     help="table with a column identity (a name), or label and, of several INs, set; with image (a "
                          "record key) only that image; rows that match nothing are reported; one must match")
    out.add_argument("--exclude-names-of", nargs="+", default=[], metavar="SET",
                     help="leave out identities that SET (a packed set with identities.csv, or a folder of image "
                          "folders) has a name of; case, spaces, _, - and . do not count, numbers alone are not names")
    out.add_argument("--overlap-with", nargs="+", default=[], metavar="SET_OR_BIN",
                     help="leave out identities that are similar to one of these (packed sets, folders of image "
                          "folders, .bin files); needs --model")
    out.add_argument("--min-images", type=at_least(1), default=1, metavar="K",
                     help="leave out identities with fewer images in the merged set")
    both = parser.add_argument_group("identities that are in the INs more than once")
    both.add_argument("--same-name", choices=("keep", "join", "drop"), default="keep",
                      help="those with the name of an earlier one: keep separate, join to it, or leave out")
    both.add_argument("--duplicates", choices=("keep", "join", "drop"), default="keep",
                      help="duplicates of an earlier one: join or leave out; without --model those of whose images "
                           "at least half are the other's, byte for byte, with it those with similar embeddings")
    model = parser.add_argument_group("similarity of embeddings")
    model.add_argument("--model", metavar="PREFIX,EPOCH", help=MODEL_HELP)
    model.add_argument("--threshold", type=float, default=THRESHOLD, metavar="T",
                       help="cosine from which two identities count as the same; it depends on the model (0.55: with "
                            "mobilefacenet-y1-ms1m, the halves of LFW's identities with four or more images match each "
                            "other in all but one or two of 610 cases, and 72 identities that are not in LFW match "
                            "none there; python -m benchmarks.similarity measures it for a model)")
    model.add_argument("--embed-images", type=at_least(1), default=10, metavar="N",
                       help="images embedded per identity, evenly spaced")
    model.add_argument("--devices", metavar="LIST", help=DEVICES)
    model.add_argument("--batch-size", type=at_least(1), default=64, help="images per forward pass, over all devices")
    model.add_argument("--layer", default="fc1", metavar="NAME", help=LAYER)
    parser.add_argument("--matches", metavar="FILE.csv", help="write the matched pairs of identities "
                                                              "(default: OUT/matches.csv, nothing in a dry run)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and write no set")
    parser.add_argument("--overwrite", action="store_true",
                        help="replace the set that is in OUT, and the FILE of --matches")
    add_workers(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Plan, then write or only report."""
    _check_arguments(args)
    out = Path(args.out)
    with contextlib.ExitStack() as stack:
        datasets = []
        for name in args.sets:
            if is_bin(Path(name)):
                raise UserError(f"{name}: is a verification set, not a training set; --overlap-with leaves its people "
                                "out of a merge, unpack writes its images to a folder")
            datasets.append(open_dataset(name, fewest=1))
            stack.enter_context(datasets[-1].record_file)
        _check_places(out, args.sets, [os.path.realpath(dataset.record_file.rec_path) for dataset in datasets])
        matches = _matches_path(args, out)
        read = [*args.exclude, *args.exclude_names_of, *args.overlap_with]
        for target in (*(() if args.dry_run else (out / name for name in SET_FILES)), *([matches] if matches else [])):
            check_apart(target, [*read, *(dataset.record_file.rec_path for dataset in datasets)])
        if matches:  # OUT/matches.csv of a merge that went no further may be replaced
            replace = args.overwrite or not args.matches and is_matches(matches)
            check_new_file(matches, replace)
        if not args.dry_run:
            check_none_of(out, SET_FILES, args.overwrite)
        image_size = check_sizes([(name, dataset.height, dataset.width) for name, dataset in zip(args.sets, datasets)])
        plan = Plan([packed_faces(name, dataset) for name, dataset in zip(args.sets, datasets)])
        details: dict[str, object] = {"unknown_rows": _take_out(plan, args)}
        if args.model:
            _by_similarity(plan, args, image_size)
            details.update(model=args.model, threshold=args.threshold)
        elif args.duplicates != "keep":
            plan.remove_joined()
            numbers = plan.kept()
            plan.similar(numbers, *pairs_sharing(plan, numbers, args.workers), args.duplicates,
                         "holds the images of an earlier one")
        _drop_small(plan, args.min_images, args.workers)
        details["matches"] = len(plan.matches)
        if matches:  # first: an hour's results are not lost to a full disk, or to too few identities
            with writing(matches):
                write_matches(plan, matches, replace)
        if args.dry_run:
            check_enough(plan, plan.output())
            report = {**count_taken(plan, plan.output()), **details}
        else:
            with writing(out):
                report = merge(plan, out, image_size, args.plain, args.workers, details, args.overwrite,
                               args.min_images)
    _tell(plan, report, args, matches)
    return 0


def _check_arguments(args: argparse.Namespace) -> None:
    if args.overlap_with and not args.model:
        raise UserError("--overlap-with compares embeddings: give the model, --model PREFIX,EPOCH")
    if args.model and not args.overlap_with and args.duplicates == "keep":
        raise UserError("--model: is only used with --overlap-with SET... or --duplicates join|drop")
    if args.threshold != THRESHOLD and not args.model:
        raise UserError("--threshold: is only used with --model PREFIX,EPOCH; without, duplicates have the same bytes")
    if not -1 < args.threshold <= 1:
        raise UserError(f"--threshold {args.threshold:g}: a cosine is between -1 and 1")


def _matches_path(args: argparse.Namespace, out: Path) -> Path | None:
    """The file of the matches, or None."""
    if args.matches:
        if Path(args.matches).name in SET_FILES or Path(args.matches).suffix in (".rec", ".idx"):
            raise UserError(f"--matches {args.matches}: is the name of a set's file; name another, as matches.csv")
        return Path(args.matches)
    looked = args.exclude_names_of or args.overlap_with or args.same_name != "keep" or args.duplicates != "keep"
    return out / "matches.csv" if looked and not args.dry_run else None


def _check_places(out: Path, names: list[str], places: list[str]) -> None:
    for name, place in zip(names, places):
        if os.path.dirname(place) == os.path.realpath(out):
            raise UserError(f"{name}: lies in OUT, which would be overwritten; name another OUT")
        if places.count(place) > 1:
            raise UserError(f"{name}: is given twice")


def _take_out(plan: Plan, args: argparse.Namespace) -> list[str]:
    """Exclusions and names; returns the rows without a match."""
    unknown = [line for name in args.exclude for line in exclusions.exclude(plan, Path(name))]
    warn_of(log, "row that matches nothing", unknown, len(unknown), None if args.dry_run else Path(args.out) / REPORT)
    for name in args.exclude_names_of:
        plan.remove_named(names_in(Path(name)), name)
    same = plan.same_names(args.same_name)
    if same and args.same_name == "keep":
        log.warning("%d identities have the name of an earlier one and are kept separate; --same-name join or drop if "
                    "they are the same identities", same)
    return unknown


def _by_similarity(plan: Plan, args: argparse.Namespace, image_size: tuple[int, int]) -> None:
    """Remove or join by embeddings; identities that are excluded already are not embedded."""
    prefix, epoch = cli.parse_checkpoint_name(args.model, "--model")
    embedder = MeanEmbedder(CheckpointSpec(prefix, epoch, args.devices, args.batch_size, args.layer, args.embed_images),
                            image_size)
    numbers = plan.kept()
    vectors = [np.empty((0, embedder.dimension), np.float32)]
    for source, faces in enumerate(plan.sets):
        vectors.append(embedder.means(faces, [plan.identities[number].images for number in numbers
                                              if plan.identities[number].source == source]))
    means = np.concatenate(vectors)
    for name in args.overlap_with:
        with open_faces(Path(name)) as others:
            places, cosines = best_matches(means, embedder.means(others, others.images))
            for number, place, cosine in zip(numbers, places.tolist(), cosines.tolist()):
                if cosine >= args.threshold:
                    plan.remove(number, f"similar to one of {name}")
                    plan.matches.append(Match(number, name, others.labels[place], others.names[place],
                                              len(others.images[place]), cosine, "removed"))
    plan.remove_joined()
    if args.duplicates != "keep":
        rest = [place for place, number in enumerate(numbers) if number not in plan.removed]
        pairs, cosines = pairs_above(means[rest], args.threshold)
        plan.similar([numbers[place] for place in rest], pairs, cosines, args.duplicates)


def _drop_small(plan: Plan, least: int, workers: int) -> None:
    """Of identities that are joined, equal images count once."""
    groups = plan.output()
    counts = np.array([sum(len(plan.identities[number].images) for number in group) for group in groups], np.int64)
    joined = [place for place, group in enumerate(groups) if len(group) > 1 and counts[place] >= least]
    if joined and least > 1:
        counts[joined] = distinct_images(plan, [groups[place] for place in joined], workers)
    for group in (groups[place] for place in np.flatnonzero(counts < least)):
        for number in group:
            plan.remove(number, f"fewer than {least} images")


def _tell(plan: Plan, report: dict, args: argparse.Namespace, matches: Path | None) -> None:
    alike = [(match.similarity, match) for match in plan.matches if match.similarity is not None]
    for similarity, match in sorted(alike, key=lambda one: -one[0])[:SHOWN]:
        other = f"{match.other_set}: {match.other_name or match.other_label}"
        print(shown(f"  {similarity:.3f}  {plan.title(match.one)} "
                        f"({len(plan.identities[match.one].images)} images)  {match.action}: {other} "
                        f"({match.other_images} images)"))
    if matches:
        print(f"{len(plan.matches)} matches in {matches}")
    would = "would be " if args.dry_run else ""
    most = "at most " if args.dry_run and report.get("identities_joined") else ""  # equal images are written once
    print(f"{most}{report['images']} images of {report['identities']} identities {would}in "
          f"{Path(args.out) / 'train.rec'}")
    for entry in report["inputs"]:
        print(f"  {entry['path']}: {entry['images_taken']} of {entry['images']} images, "
              f"{entry['identities_taken']} of {entry['identities']} identities")
    for reason, entry in report["removed"].items():
        print(f"  left out, {reason}: {entry['identities']} identities, {entry['images']} images")
    shared = report.get("images_of_several_identities", {"count": 0})
    if shared["count"]:
        first = shared["identities"][0]
        way = ("--same-name join" if len(set(map(name_key, first["names"]))) == 1 and args.same_name == "keep" else
               "--duplicates join (or drop), with --model where they share fewer than half of their images,")
        log.warning("%d images occur under several identities, byte for byte, e.g. %d of %s; %s merges such "
                    "identities, --exclude removes one", shared["count"], first["images"],
                    shown(" and ".join(first["names"][:3])), way)
    for name in ("images_excluded", "identities_joined", "repeated_images_left_out", "unusable_images_left_out"):
        if report.get(name):
            print(f"  {name.replace('_', ' ')}: {report[name]}")
