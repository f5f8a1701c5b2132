"""The whole set: identities rendered in processes, written beside the output folder and renamed when it is complete."""
from __future__ import annotations

import contextlib
import csv
import functools
from pathlib import Path
from typing import Generator, Iterator

import cv2

from common.errors import UserError
from common.folders import new_folder
from common.progress import progress
from common.workers import process_map
from synth import protocol, seeds
from synth.album import COLUMNS, Album, Settings, albums, draw_album

TABLE = "landmarks.csv"
PROTOCOLS = 9  # the random stream that samples pairs, distinct from those of images


def generate(out: Path, identities: int, images: int, people: int, seed: int, workers: int = 1,
             size: tuple[int, int] = (112, 112), quality: int = 95, keep_photographs: bool = False,
             overwrite: bool = False) -> int:
    """Render the set into the folder `out`, which must be empty or absent, or, to `overwrite`, hold such a set; returns
    the number of images.

    The same arguments give the same bytes in every file, whatever `workers` is. After a failure partial output is
    removed. UserError for a folder in use or a number of identities that is unfit for the protocols.
    """
    if people and people < protocol.LEAST_PEOPLE:
        raise UserError(f"`verify_identities` {people}: ten folds need {protocol.LEAST_PEOPLE} identities or more; "
                        "0 leaves the verification sets out")
    if people > 999:
        raise UserError(f"`verify_identities` {people}: CFP's folders 001, 002, ... end at 999")
    if not identities and not people:
        raise UserError("`identities` 0 and `verify_identities` 0: nothing to render")
    work = albums(identities, images, people)
    with new_folder(out, overwrite, TABLE, ",".join(COLUMNS)) as folder:
        settings = Settings(folder, seed, size, quality, keep_photographs)
        rows = [row for rows in _draw(work, settings, workers) for row in rows]
        if people:
            protocol.write_lfw(folder / "verify", people, seeds.stream(seed, seeds.VERIFY, 0, PROTOCOLS, 0))
            protocol.write_cfp(folder / "cfp", people, seeds.stream(seed, seeds.VERIFY, 0, PROTOCOLS, 1))
        with open(folder / TABLE, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *rows])
    return len(rows)


def _draw(work: list[Album], settings: Settings, workers: int) -> Iterator[list[list[str]]]:
    """The rows of each album, in order, with a progress bar that counts images."""
    results = (_alone(work, settings) if workers <= 1 else
               process_map(functools.partial(draw_album, settings=settings), work, min(workers, len(work))))
    with contextlib.closing(results):
        rows = ([row] for rows in results for row in rows)
        yield from progress(rows, sum(len(album.images) for album in work), "render")


def _alone(work: list[Album], settings: Settings) -> Generator[list[list[str]], None, None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for album in work:
            yield draw_album(album, settings)
    finally:
        cv2.setNumThreads(threads)
