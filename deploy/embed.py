"""`embed`: images, a folder, a packed set, a `.bin` or photographs to an embeddings file."""
from __future__ import annotations

import argparse
import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np

from align.cutting import ALL
from common.arguments import of_flag
from common.environment import usable_cores
from common.errors import RunError, UserError
from common.files import check_new_file, write_atomic
from common.package_versions import versions
from common.progress import meter
from common.tables import csv_bytes
from common.workers import ordered_map
from deploy import journal as journals
from deploy.cropping import alignment, crop_size, open_cutter, open_embedder
from deploy.embedding import embed_images
from deploy.image_sets import ImageSet, open_images
from deploy.journal import Journal, Row
from deploy.models import ServedModel
from deploy.reading import NAMED, Reader, content_digest, crop_reader, face_reader
from eval.embedding_file import Embeddings, save_embeddings
from eval.embedding_store import PACKAGES
from inference.engine import AnyEmbedder

log = logging.getLogger(__name__)
COLUMNS = ("path", "label", "reason")


def run(args: argparse.Namespace) -> int:
    """Embed the remaining images, write the files, report what was left out."""
    out = Path(args.out)
    if out.suffix != ".npz":
        raise UserError(f"--out {args.out}: expected a name that ends in .npz")
    folder, failures = journals.partial_folder(out), out.with_suffix(".failures.csv")
    with of_flag("--out"):
        check_new_file(args.out, args.overwrite)
        check_new_file(failures, args.overwrite or folder.is_dir())
    model = ServedModel(args)
    with open_images(args.source, not (args.no_labels or _takes_all_faces(args))) as images:
        size = crop_size(args, model, images)
        cutter = open_cutter(args, size, args.select)
        reader = face_reader(images, cutter) if cutter else crop_reader(images, size)
        embedder = open_embedder(args, model, size, images)
        making = {"model": model.sha256, "layer": model.layer, "flip": model.flip,
                  "alignment": alignment(cutter, size), "labels": images.labels is not None}
        with Journal(folder, making, embedder.dimension, anew=args.overwrite) as journal:
            try:
                _go_on(journal, images, reader, embedder, model.flip)
                count = _write(out, failures, journal, images, args, model, making)
            except KeyboardInterrupt:
                log.warning("%s: keeps %d of %d images; the same command continues from there", folder,
                            len(journal.rows), len(images))
                raise
            finally:
                begun = bool(journal.rows)
                missed = [row for row in journal.rows if row.reason]
            journals.remove(folder)
        _tell(missed, failures)
    if not count and not begun:
        raise RunError(f"{args.source[0]}: holds no images")
    if not count:
        sizes = cutter is None and any(row.reason.endswith("not {}x{}".format(*size)) for row in missed)
        raise RunError(f"{args.source[0]}: none of its {len(images)} images gave an embedding; see {failures}"
                       + "; `detector` MODELDIR crops faces from photographs" * sizes)
    print(f"{count} embeddings of {len(images)} images in {out}, {embedder.dimension}-d, by {model.name}")
    return 0


def _takes_all_faces(args: argparse.Namespace) -> bool:
    """Whether an image may have several embeddings, which are not all of its folder's identity; a crop has one."""
    return bool(args.detector) and args.select == ALL


def _go_on(journal: Journal, images: ImageSet, reader: Reader, embedder: AnyEmbedder, flip: bool) -> None:
    """Embed the images that the journal lacks."""
    done = _still_the_same(journal, images, embedder.batch_size)
    if done:
        log.info("%s: continues after %d of %d images", journal.folder, done, len(images))
    with meter(len(images), "embed", "images") as bar:
        bar.update(done)
        for ready in embed_images(embedder, reader(range(done, len(images))), flip):
            rows = [Row(images.names[one.image.number], one.image.sha256.hex(), one.norms.tolist(),
                        one.view_norms.tolist(), one.image.reason)
                    for one in ready]
            journal.add(rows, np.concatenate([one.unit for one in ready]))
            bar.update(len(rows))


def _still_the_same(journal: Journal, images: ImageSet, batch_size: int) -> int:
    """How many of the images in the journal are still the set's first ones; the others are discarded.

    It resumes at a batch, so that all batches are those of an uninterrupted command.
    """
    rows = journal.rows[:len(images)]
    digests = ordered_map(lambda number: content_digest(images, number).hex(), range(len(rows)), usable_cores())
    same = 0
    for row, digest, name in zip(rows, digests, images.names):
        if row.name != name or row.sha256 != digest:
            log.warning("%s: has changed since; embedding continues from there", name)
            break
        same += 1
    if same < len(images):
        faces = np.cumsum([0, *(len(row.norms) for row in rows[:same])])
        same = int(np.flatnonzero(faces % batch_size == 0)[-1])
    journal.keep(same)
    return same


def _write(out: Path, failures: Path, journal: Journal, images: ImageSet, args: argparse.Namespace, model: ServedModel,
           making: dict[str, Any]) -> int:
    """Write both files; returns the number of embeddings."""
    digest, names, labels, norms, view_norms, missed = hashlib.sha256(), [], [], [], [], []
    numbered = _takes_all_faces(args)
    for number, row in enumerate(journal.rows):
        digest.update(images.identity(number) + bytes.fromhex(row.sha256))
        label = -1 if images.labels is None else int(images.labels[number])
        faces = len(row.norms)
        names += [f"{row.name}#{face + 1}" if numbered else row.name for face in range(faces)]
        labels += [label] * faces
        norms += row.norms
        view_norms += row.view_norms
        if row.reason:
            missed.append((row.name, images.people[label] if images.people else "", row.reason))
    if missed or failures.exists():
        write_atomic(failures, csv_bytes(COLUMNS, missed))
    if not names:
        return 0
    meta = {"model": {"name": model.name, "sha256": model.sha256},
            "set": {"path": images.path, "sha256": digest.hexdigest(), "images": len(images), "failures": len(missed)},
            "layer": model.layer, "flip": making["flip"], "alignment": making["alignment"],
            "versions": versions(PACKAGES)}
    if images.people:
        meta["people"] = images.people
    save_embeddings(out, Embeddings(journal.embeddings(), np.array(norms), np.array(names),
                                    None if images.labels is None else np.array(labels), meta, np.array(view_norms)),
                    args.overwrite)
    return len(names)


def _tell(missed: list[Row], failures: Path) -> None:
    for row in missed[:NAMED]:
        log.warning("%s: %s", row.name, row.reason)
    if missed:
        log.warning("%d image%s no embedding; listed in %s", len(missed), " has" if len(missed) == 1 else "s have",
                    failures)
