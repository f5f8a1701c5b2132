"""`ijb`: verification and identification of templates by the protocols of IJB-B and IJB-C."""
from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np

from common.arguments import image_size
from common.errors import UserError
from common.files import write_json
from common.progress import meter
from eval.arguments import add_model_flag, add_refused_flags, check_outputs, fpr_list
from eval.bootstrap import differences
from eval.embedding_file import digest_of_network
from eval.models import ModelName, network_digest, parse_models
from eval.opening import EmbeddingSettings
from eval.templates import ijb_files
from eval.templates.aggregation import Switches, TemplateSums
from eval.templates.flags import add_template_flags
from eval.templates.identification import Search, resampled, search
from eval.templates.identification_table import RANKS, Searched, as_row, table
from eval.templates.ijb_images import Lost, embed_images
from eval.templates.ijb_verification import Resampling, verify

log = logging.getLogger(__name__)
PROTOCOLS = ("1:1", "1:N")
DESCRIPTION = """\
Score a model by the protocols of IJB-B and IJB-C, whose unit is a template: several images and videos of one identity.

  python -m eval ijb --model runs/a/model,3 --images IJBC/loose_crop --meta IJBC/meta
  python -m eval ijb --model runs/a/model,3 --images IJBC/loose_crop --meta IJBC/meta --protocol 1:1 --image-norms drop

META holds *_name_5pts_score.txt, *_face_tid_mid.txt, for 1:1 *_template_pair_label.txt, and for 1:N *gallery*.csv and
*probe_mixed*.csv. Crops are made by the five landmarks. A template: the mean over the images of each medium, media
added, normalised. Three switches change it, named differently by every tool (docs/protocols.md has the table):
  --image-norms       keep: an image is weighted by its embedding's norm; drop: all equally
  --detector-score    use: an image is weighted by the detector's score; ignore: it is not
  --no-flip           the mirror image is not added
1:1 gives TPR by the convention of this project (the largest observed FPR that does not exceed the one asked for), and
at the point whose FPR is nearest, which published numbers use; 95% intervals are over identities where galleries and
probes name every template of the pairs, else over templates. 1:N gives rank accuracy for each gallery, and FNIR where
FPIR is the fraction of non-mated probes whose highest score is above the threshold.
Embedding takes hours: with --embeddings DIR finished parts are kept there, and an interrupted run continues."""

NO_SCORES = "the scores of millions of pairs are not written; --json has the rates and thresholds"


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("ijb", help="the template protocols of IJB-B and IJB-C", description=DESCRIPTION)
    add_model_flag(parser)
    parser.add_argument("--images", required=True, metavar="DIR", help="folder of the images, IJB's loose_crop")
    parser.add_argument("--meta", required=True, metavar="DIR", help="folder of the protocol's lists")
    parser.add_argument("--protocol", type=_protocols, default="1:1,1:N", metavar="1:1,1:N",
                        help="verification (1:1), identification (1:N), or both")
    parser.add_argument("--gallery", nargs="+", metavar="FILE.csv",
                        help="galleries of 1:N, TEMPLATE_ID,SUBJECT_ID (default: those in --meta)")
    parser.add_argument("--probe", nargs="+", metavar="FILE.csv", help="probes of 1:N (default: those in --meta)")
    parser.add_argument("--image-norms", choices=("keep", "drop"), default="keep",
                        help="weight images by their embedding's norm")
    parser.add_argument("--detector-score", choices=("use", "ignore"), default="use",
                        help="weight images by the detector's score")
    parser.add_argument("--image-size", type=image_size, default="112,112", metavar="H,W",
                        help="size of the crops in pixels, height,width")
    parser.add_argument("--fpr", type=fpr_list, default="1e-6,1e-5,1e-4,1e-3,1e-2,1e-1", metavar="RATE[,RATE...]",
                        help="false positive rates of 1:1")
    parser.add_argument("--fpir", type=fpr_list, default="0.01,0.1", metavar="RATE[,RATE...]",
                        help="false positive identification rates (FPIR) of 1:N")
    add_template_flags(parser, "a template", "--fpr and --fpir")
    add_refused_flags(parser, {"--scores": NO_SCORES})
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read the lists, embed, aggregate the templates, score, print."""
    check_outputs(args, ("json",), ("embeddings",))
    models = parse_models(args.model)
    meta, folder = Path(args.meta), Path(args.images)
    if not folder.is_dir() and not all(model.embeddings for model in models):
        raise UserError(f"--images {folder}: there is no such folder")
    images = ijb_files.read_images(meta)
    pairs = ijb_files.find(meta, ijb_files.PAIRS) if "1:1" in args.protocol else None
    searches = _searches(args, meta, images.templates) if "1:N" in args.protocol else None
    resampling = Resampling(args.bootstrap, args.seed, *_people(args, meta, images.templates)) if pairs else None
    switches = Switches(args.image_norms == "keep", args.detector_score == "use")
    rows: dict[str, dict[str, Any]] = {}
    first_verified: tuple[str, dict[str, Any], dict[str, np.ndarray]] | None = None
    first_found: dict[str, Searched] = {}
    for model in models:
        lost = Lost()
        unit = _templates(model, images, folder, switches, args, lost)
        line = f"{len(images.templates)} templates of {len(images.names)} images; image norms " \
               f"{'kept' if switches.keep_norms else 'dropped'}, detector score " \
               f"{'used' if switches.detector_score else 'ignored'}, mirror images " \
               f"{'left out' if args.no_flip else 'added'}"
        print(f"{model.text}: {line}")
        row: dict[str, Any] = {"templates": len(images.templates), "images": len(images.names),
                               "image_norms": args.image_norms, "detector_score": args.detector_score,
                               "flip": not args.no_flip, "layer": args.layer, "bootstrap": args.bootstrap,
                               "seed": args.seed, "lost_images": lost.count,
                               "model_sha256": digest_of_network(model.embeddings) if model.embeddings
                               else network_digest(model)}
        if lost.count:
            log.warning("%s: %d of %d images are unavailable and are ignored: %s%s", folder, lost.count,
                        len(images.names), ", ".join(lost.names), ", ..." if lost.count > len(lost.names) else "")
        if pairs is not None and resampling is not None:
            row["1:1"], verified = verify(unit, pairs, images.templates, args.fpr, resampling)
            first_verified = first_verified or (model.text, row["1:1"], verified)
            if verified and model.text != first_verified[0]:
                to, theirs, drawn = first_verified
                row["1:1"]["difference"] = differences(to, row["1:1"]["tpr_at_fpr"], theirs["tpr_at_fpr"], verified,
                                                       drawn)
        if searches is not None:
            found = _identify(model.text, unit, searches, args)
            first_found = first_found or found
            row["1:N"] = {name: as_row(one, args.fpir, first_found[name]) for name, one in found.items()}
        rows[model.text] = row
    if args.json:
        write_json(args.json, rows)
    return 0


def _searches(args: argparse.Namespace, meta: Path, templates: np.ndarray) -> dict[str, tuple[np.ndarray, ...]]:
    """By the gallery's name (places, subjects) of it and of the probes."""
    galleries = [Path(path) for path in args.gallery] if args.gallery else ijb_files.find_galleries(meta)
    probes = [Path(path) for path in args.probe] if args.probe else ijb_files.find_probes(meta)
    asked = ijb_files.read_subjects(probes, templates)
    stems = [path.stem for path in galleries]
    names = [stem if stems.count(stem) == 1 else str(path) for path, stem in zip(galleries, stems)]
    return {name: (*ijb_files.read_subjects([path], templates), *asked) for name, path in zip(names, galleries)}


def _people(args: argparse.Namespace, meta: Path, templates: np.ndarray) -> tuple[np.ndarray | None, str]:
    """(T,) the subjects of templates by galleries and probes, "" where none is named; None and why not where there are
    no such lists, or they contradict each other."""
    lists = [Path(path) for path in args.gallery] if args.gallery else sorted(meta.glob(ijb_files.GALLERIES))
    lists += [Path(path) for path in args.probe] if args.probe else ijb_files.probes_of(meta)
    if not lists:
        return None, "there are no lists of galleries and probes"
    try:
        places, subjects = ijb_files.read_subjects(lists, templates)
    except UserError as error:
        if args.gallery or args.probe:
            raise
        return None, str(error)
    people = np.zeros(len(templates), subjects.dtype)
    people[places] = subjects
    return people, ""


def _templates(model: ModelName, images: ijb_files.Images, folder: Path, switches: Switches, args: argparse.Namespace,
               lost: Lost) -> np.ndarray:
    sums = TemplateSums(len(images.templates), images.member_image, images.member_template, images.member_medium,
                        images.scores, switches)
    for first, unit, norms in embed_images(model, images, folder, args.image_size, EmbeddingSettings.of(args), lost,
                                           switches.keep_norms):
        sums.add(first, unit, norms)
    return sums.templates()


def _identify(model: str, unit: np.ndarray, searches: dict[str, tuple[np.ndarray, ...]],
              args: argparse.Namespace) -> dict[str, Searched]:
    """1:N for each gallery, printed."""
    found: dict[str, Search] = {}
    for name, (gallery, subjects, probes, asked) in searches.items():
        with meter(len(probes), name, "probes") as bar:
            found[name] = search(unit[gallery], subjects, unit[probes], asked, bar.update)
        if not found[name].mated.any():
            raise UserError(f"{name}: no probe is of an identity of this gallery; do the subject ids match?")
    draws = {name: resampled(one, RANKS, args.fpir, args.bootstrap, args.seed) if args.bootstrap else {}
             for name, one in found.items()}
    print("\n".join("  " + line for line in table(found, draws, args.fpir).splitlines()))
    return {name: Searched(model, one, draws[name]) for name, one in found.items()}


def _protocols(text: str) -> list[str]:
    found = list(dict.fromkeys(part.strip().upper() for part in text.split(",")))
    if not all(part in PROTOCOLS for part in found):
        raise argparse.ArgumentTypeError(f"{text!r} is not 1:1, 1:N or 1:1,1:N")
    return found
