"""`identify`: 1:N identification on own folders, closed and open set."""
from __future__ import annotations

import argparse
import hashlib
import logging
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import write_atomic, write_json
from common.name_forms import composed
from common.progress import meter
from common.tables import csv_bytes
from eval.arguments import add_model_flag, check_outputs, fpr_list
from eval.face_sets import FaceSet, open_face_set
from eval.models import ModelName, parse_models
from eval.opening import EmbeddingSettings, OpenModel
from eval.score_folders import refuse_these, score_folders
from eval.scores import normalise
from eval.set_embeddings import embed_faces, image_size
from eval.templates.flags import add_template_flags
from eval.templates.identification import Search, resampled, search
from eval.templates.identification_table import RANKS, Searched, as_row, table

log = logging.getLogger(__name__)
DESCRIPTION = """\
Search every image of a probe set in a gallery of identities, and report rank accuracy and open-set rates.

  python -m eval identify --model runs/a/model,3 --gallery enrolled/ --probe visits/ --unknown others/

Each is a folder of folders by identity, or a packed set. A gallery entry is the normalised sum of an identity's
normalised embeddings; a probe is an image (--by-person: an identity's images together). Identities are matched by name:
probes of identities that are not in the gallery, and all of --unknown, are non-mated. With non-mated probes, FNIR at
FPIR: the fraction of mated probes that are missed at the threshold at which the fraction of non-mated probes with a
match is FPIR."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("identify", help="1:N identification, closed and open set", description=DESCRIPTION)
    add_model_flag(parser, embeddings=False)
    parser.add_argument("--gallery", required=True, metavar="G", help="the enrolled identities")
    parser.add_argument("--probe", required=True, metavar="P", help="other images, mated and non-mated")
    parser.add_argument("--unknown", metavar="U", help="non-mated probes: identities that are not in the gallery")
    parser.add_argument("--by-person", action="store_true", help="a probe is all images of an identity together")
    parser.add_argument("--fpir", "--fpr", type=fpr_list, default="0.01,0.1", metavar="RATE[,RATE...]",
                        help="false positive identification rates (FPIR), which are the FPR of a search")
    parser.add_argument("--scores", metavar="DIR", help="write each probe's result to DIR/identify.csv (with several "
                        "models, to DIR/MODEL-identify.csv)")
    add_template_flags(parser, "a search", "--fpir")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Embed the sets, search, print, write."""
    check_outputs(args, ("json",), ("scores", "embeddings"))
    models = parse_models(args.model)
    for model in models:
        if model.embeddings:
            raise UserError(f"--model {model.text}: three sets are embedded, so a network is needed")
    scores = {text: Path(args.scores) / (f"{folder}-identify.csv" if folder else "identify.csv")
              for text, folder in score_folders(models).items()} if args.scores else {}
    refuse_these(args, ("json",), scores.values(), f"--scores {args.scores}")
    rows: dict[str, Any] = {}
    first: Searched | None = None
    with ExitStack() as stack:
        gallery, probe = (_open(path, stack) for path in (args.gallery, args.probe))
        unknown = _open(args.unknown, stack) if args.unknown else None
        _check(args, gallery, probe, unknown)
        for model in models:
            found, names, digests = _search(model, gallery, [probe, *([unknown] if unknown else [])], args)
            draws = resampled(found, RANKS, args.fpir, args.bootstrap, args.seed) if args.bootstrap else {}
            if len(models) > 1:
                print(f"{model.text}:")
            print(table({f"{len(gallery.people)} identities of {args.gallery}": found},
                        {f"{len(gallery.people)} identities of {args.gallery}": draws}, args.fpir))
            made = Searched(model.text, found, draws)
            first = first or made
            rows[model.text] = {args.gallery: {
                **as_row(made, args.fpir, first), **digests, "gallery": args.gallery, "probe": args.probe,
                "unknown": args.unknown, "by_person": args.by_person, "flip": not args.no_flip, "layer": args.layer,
                "bootstrap": args.bootstrap, "seed": args.seed}}
            if scores:
                _write(scores[model.text], found, names, sorted(set(gallery.people)))
    if args.json:
        write_json(args.json, rows)
    return 0


def _open(path: str, stack: ExitStack) -> FaceSet:
    """The set, its identities' names in one Unicode form."""
    faces = stack.enter_context(open_face_set(Path(path)))
    return replace(faces, people=list(map(composed, faces.people)))


def _check(args: argparse.Namespace, gallery: FaceSet, probe: FaceSet, unknown: FaceSet | None) -> None:
    """UserError where no probe's identity is in the gallery, or one of --unknown is."""
    known = set(gallery.people)
    for flag, faces in (("probe", probe), ("unknown", unknown)):
        numbers = known & set(faces.people) & (gallery.nameless | faces.nameless) if faces else ()
        if faces and numbers:
            log.warning("--gallery %s and --%s %s: %d identities have no name and are matched by the numbers of their "
                        "labels; where equal numbers are not one identity, put an identities.csv (label,identity) "
                        "beside each set, or give folders by identity", args.gallery, flag, faces.path, len(numbers))
    if not known & set(probe.people):
        raise UserError(f"--probe {args.probe}: has no identity of --gallery {args.gallery}; an identity "
                        "must have the same name in both, as a folder or in identities.csv")
    inside = sorted(known & set(unknown.people)) if unknown else []
    if inside:
        raise UserError(f"--unknown {args.unknown}: {inside[0]} is in the gallery"
                        + (f", and {len(inside) - 1} others are" if len(inside) > 1 else ""))
    non_mated = sorted(set(probe.people) - known)
    if non_mated:
        log.info("%s: %d identities are not in the gallery and count as non-mated, %s the first", args.probe,
                 len(non_mated), non_mated[0])
    size = image_size(gallery)
    for faces in (probe, *([unknown] if unknown else [])):
        if image_size(faces) != size:
            raise UserError(f"{faces.path}: its images are {'x'.join(map(str, image_size(faces)))}, those of --gallery "
                            f"{'x'.join(map(str, size))}; align crops faces from photographs")
    copies = len({_digest(gallery, number) for number in range(len(gallery.names))}
                 & {_digest(probe, number) for number in range(len(probe.names))})
    if copies:
        log.warning("%s: %d images are in the gallery too; finding them does not measure a model", args.probe, copies)


def _digest(faces: FaceSet, number: int) -> bytes:
    return hashlib.blake2b(faces.read(number), digest_size=16).digest()


def _search(model: ModelName, gallery: FaceSet, asked: list[FaceSet],
            args: argparse.Namespace) -> tuple[Search, list[tuple[str, str]], dict[str, Any]]:
    """The results, (image or identity, identity) of each probe, and the sha256 of the model and the sets."""
    opened = OpenModel(model, EmbeddingSettings.of(args))
    made = [embed_faces(opened, faces) for faces in (gallery, *asked)]
    digests = dict(zip(("set_sha256", "probe_sha256", "unknown_sha256"), (one.digest_of("set") for one in made)))
    entries = _by_person(gallery, made[0].embeddings)
    probes, names = [], []
    for faces, unit in zip(asked, (one.embeddings for one in made[1:])):
        people = np.asarray(faces.people)
        probes.append(_by_person(faces, unit) if args.by_person else unit)
        names += [(name, name) for name in faces.people] if args.by_person else list(zip(
            faces.names, people[faces.labels].tolist()))
    subjects = [subject for _, subject in names]
    with meter(len(names), "search", "probes") as bar:
        found = search(entries, gallery.people, np.concatenate(probes), subjects, bar.update)
    return found, names, {"model_sha256": opened.digest, **digests}


def _by_person(faces: FaceSet, unit: np.ndarray) -> np.ndarray:
    """(people, D) the normalised sum of each identity's normalised embeddings."""
    sums = np.zeros((len(faces.people), unit.shape[1]))
    np.add.at(sums, faces.labels, unit)
    return normalise(sums).astype(np.float32)


def _write(path: Path, found: Search, names: list[tuple[str, str]], people: list[str]) -> None:
    """A row for each probe: its identity, the most similar one, and its own identity's rank and score."""
    rows = []
    for number, (name, person) in enumerate(names):
        own = [int(found.rank[number]), f"{found.score[number]:.6f}"] if found.mated[number] else ["", ""]
        rows.append([name, person, int(found.mated[number]), people[found.best[number]],
                     f"{found.best_score[number]:.6f}", *own])
    write_atomic(path, csv_bytes(("probe", "person", "in_gallery", "best", "best_cosine", "rank", "cosine"), rows))
    log.info("%d results in %s", len(names), path)
