"""A folder of photographs to a folder of aligned crops: reading, detection, warping and writing run in parallel."""
from __future__ import annotations

import errno
import functools
import hashlib
import itertools
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterable, Iterator, List, Mapping, Optional, Sequence

import numpy as np

from align.crop_files import is_crop, remove_crop, remove_leftovers, write_crop
from align.crop_list import CropList
from align.landmark_table import Journal, Row
from align.photographs import Listing, Picture, crop_names, read_photograph, read_picture
from align.report import FOUND, GIVEN, MISSED, RELAXED, SKIPPED, AlignReport
from common.errors import RunError, UserError
from common.files import write_json
from common.progress import progress
from common.workers import ordered_map
from images.alignment import align, misfit
from images.codec import encode_jpeg
from images.prepare import Unusable, fit, read_file
from images.sources import shown

if TYPE_CHECKING:  # needs MXNet, which landmarks from a table do not
    from align.mtcnn.finding import FoundFace

Find = Callable[[Sequence[np.ndarray]], "List[Optional[FoundFace]]"]
REPORT, TABLE = "align-report.json", "landmarks.csv"
GROUP = 16  # photographs per batch of detection
AHEAD = 8  # photographs per task of a thread: three tasks per thread are read ahead
KINDS = {"detected": FOUND, "relaxed": RELAXED}
# Settings that do not change a crop. Landmarks are compared directly, a detector by its content.
WITHOUT_EFFECT = frozenset(["source", "out", "workers", "devices", "overwrite", "detector", "landmarks",
                            "trust_landmarks"])
FOREIGN = "another file is in the place of its crop"
GOES_ON = "the crops there are whole, and the same command continues from them"


@dataclass(frozen=True)
class Crops:
    """The output: size in pixels, JPEG quality, whether a photograph without a face gives its centre crop, and whether
    existing crops are made again."""

    height: int = 112
    width: int = 112
    quality: int = 95
    keep_missed: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class _Job:
    """name: the photograph below SRC; source, target: whole paths; crop: the crop's path below OUT; foreign: what is
    at `target` was not written by this command, and is kept."""

    name: str
    source: str
    target: str
    crop: str
    foreign: bool = False


@dataclass(frozen=True)
class _Read:
    """A job after reading: done already, or an image to search, or the file's error. After the search the image is kept
    only where it is the whole photograph."""

    job: _Job
    done: bool = False
    picture: Picture | None = None
    reason: str = ""


@dataclass(frozen=True)
class _Outcome:
    job: _Job
    kind: str
    reason: str = ""
    row: Row | None = None
    done: bool = False


def align_by_detector(source: Path, out: Path, listing: Listing, find: Find, longest: int, crops: Crops, workers: int,
                      settings: dict) -> AlignReport:
    """Crop the faces that `find` detects, in up to GROUP images at a time, (H, W, 3) uint8 RGB, no longer than
    `longest`.

    Writes OUT/<path>.jpg as crop_names says, OUT/landmarks.csv and OUT/align-report.json. A file that cannot be used is
    counted and named in the report. RunError where OUT cannot be written; complete crops are kept, and the next run
    continues from there.
    """
    return _run(source, out, listing, functools.partial(_read, longest), functools.partial(_search, find), crops,
                workers, settings, lambda name: None)


def align_by_table(source: Path, out: Path, listing: Listing, rows: Mapping[str, Row], crops: Crops, workers: int,
                   settings: dict) -> AlignReport:
    """The same with landmarks by path; a photograph without a row counts as not found."""
    def look_up(read: Iterable[_Read]) -> Iterator[tuple[_Read, Row | None]]:
        return ((one, rows.get(one.job.name)) for one in read)

    return _run(source, out, listing, _Read, look_up, crops, workers, settings, rows.get)


def _run(source: Path, out: Path, listing: Listing, read: Callable[[_Job], _Read],
         search: Callable[[Iterable[_Read]], Iterator[tuple[_Read, Row | None]]], crops: Crops, workers: int,
         settings: dict, given: Callable[[str], Row | None]) -> AlignReport:
    report = AlignReport(settings, notes={"other_files": listing.others,
                                          "unreadable_folders": listing.unreadable_folders})
    try:
        remove_leftovers(out)
        crop_list = CropList(out)
        journal = Journal(out / TABLE)
        ours = {crop for name, row in journal.rows.items() for crop in _crops_of(name, row)}
        jobs = [_Job(name, os.path.join(source, name), os.path.join(out, crop), crop, crop not in ours and
                     os.path.lexists(os.path.join(out, crop)) and not crop_list.holds(crop))
                for name, crop in zip(listing.images, crop_names(listing.images))]
        made_of = MadeOf(settings, given)
        try:
            report.notes["crops_of_photographs_that_are_gone"], centre = _remove_gone(journal, ours, crop_list, jobs,
                                                                                      listing, out)
            begin = ordered_map(functools.partial(_begin, journal.rows, crops, read, made_of), jobs, workers, AHEAD)
            write = functools.partial(_write, crops, dict(journal.rows), crop_list)
            written = ordered_map(write, search(begin), workers, AHEAD)
            for outcome in progress(written, len(jobs), "align"):
                report.add(outcome.job.name, outcome.kind, outcome.reason)
                report.done_before += outcome.done
                report.centre_crops += outcome.kind == MISSED and crops.keep_missed
                if outcome.kind == MISSED and crops.keep_missed:
                    centre.append(outcome.job.crop)
                if not outcome.done:
                    row = outcome.row
                    journal.add(outcome.job.name, row and replace(row, made_of=made_of(outcome.job)))
        finally:
            crop_list.close()
            journal.close()
        crop_list.settle(centre)
        write_json(out / REPORT, report.as_dict(), named=False)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise RunError(f"{out}: {'the disk is full' if full else f'cannot be written ({error.strerror})'}; "
                       f"{GOES_ON}") from None
    return report


class MadeOf:
    """Decides whether a crop would be made of the same photograph, settings and given landmarks again, under the same
    name: DIGEST:CROP, without CROP where that is the photograph's name with .jpg for its ending."""

    def __init__(self, settings: dict, given: Callable[[str], Row | None]) -> None:
        kept = {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT}
        self._settings, self._given = json.dumps(kept, sort_keys=True, default=str).encode(), given

    def __call__(self, job: _Job) -> str:
        """Of a photograph; "" where it cannot be read."""
        row = self._given(job.name)
        try:
            content = read_file(job.source)
        except Unusable:
            return ""
        digest = hashlib.blake2b(b"\0".join([self._settings, ",".join(row.points if row else ()).encode(), content]),
                                 digest_size=8).hexdigest()
        return f"{digest}:{'' if job.crop == _plain_crop(job.name) else job.crop}"


def _plain_crop(name: str) -> str:
    return os.path.splitext(name)[0] + ".jpg"


def _crops_of(name: str, row: Row) -> list[str]:
    """Where the crop of an earlier run's row is; where it may be, for a run of a version that did not say."""
    digest, told, crop = row.made_of.partition(":")
    return [crop or _plain_crop(name)] if told else [_plain_crop(name), f"{name}.jpg"]


def _remove_gone(journal: Journal, of_rows: set[str], crop_list: CropList, jobs: Sequence[_Job], listing: Listing,
                 out: Path) -> tuple[list[str], list[str]]:
    """Remove the crops of an earlier run's photographs that no longer exist, and those under a name that is no
    longer their photograph's. of_rows: the crops of the journal's rows. Returns the names of the former, by the crop
    where no landmarks say of which, and the crops without landmarks that stay all the same.

    UserError where none of its photographs exists: they are of another SRC. Nothing is removed while folders of SRC
    cannot be listed.
    """
    names, crops = {job.name for job in jobs}, {job.crop for job in jobs}
    gone = [name for name in journal.rows if name not in names]
    alone = sorted(crop_list.known - of_rows - crops)
    others = [*gone, *alone]
    if others and len(gone) == len(journal.rows) and not crop_list.known & crops:
        raise UserError(f"{out}: holds crops of {len(others)} other photographs (e.g. {shown(others[0])}), none of "
                        "which is in SRC; name another OUT")
    if listing.unreadable_folders:
        return [], alone
    for crop in [*(of_rows - crops), *alone]:
        target = os.path.join(out, crop)
        inside = os.path.realpath(os.path.dirname(target))  # a table may name anything: only files in OUT are removed
        if crop.endswith(".jpg") and (inside + os.sep).startswith(os.path.realpath(out) + os.sep):
            remove_crop(target)
    for name in gone:
        journal.add(name, None)
    return [*gone, *alone], []


def _begin(rows: Mapping[str, Row], crops: Crops, read: Callable[[_Job], _Read], made_of: MadeOf,
           job: _Job) -> _Read:
    if job.foreign:
        return _Read(job, reason=FOREIGN)
    if not crops.overwrite and job.name in rows and is_crop(job.target, crops.height, crops.width):
        before, now = rows[job.name].made_of, made_of(job)
        if before and before in (now, now[:-1] if now.endswith(":") else now):  # the last as a former version wrote it
            return _Read(job, done=True)
    return read(job)


def _read(longest: int, job: _Job) -> _Read:
    try:
        return _Read(job, picture=read_picture(job.source, longest))
    except Unusable as error:
        return _Read(job, reason=str(error))


def _search(find: Find, read: Iterable[_Read]) -> Iterator[tuple[_Read, Row | None]]:
    read = iter(read)
    while True:
        group = list(itertools.islice(read, GROUP))
        if not group:
            return
        found = iter(find([one.picture.pixels for one in group if one.picture is not None]))
        for one in group:
            face = next(found) if one.picture is not None else None
            row = None
            if face is not None and one.picture is not None:
                row = Row.of(face.face.points / one.picture.scale, face.face.score,
                             "relaxed" if face.relaxed else "detected")
            if one.picture is not None and one.picture.scale != (1.0, 1.0):
                one = replace(one, picture=None)  # crops are of the whole photograph
            yield one, row


def _write(crops: Crops, rows: Mapping[str, Row], crop_list: CropList, item: tuple[_Read, Row | None]) -> _Outcome:
    """Warp and write one crop; where there is none to write, remove that of an earlier run."""
    read, row = item
    job = read.job
    if read.done:
        return _Outcome(job, KINDS.get(rows[job.name].found, GIVEN), done=True)
    try:
        if read.reason:
            raise Unusable(read.reason)
        if row is None and not crops.keep_missed:
            remove_crop(job.target)
            return _Outcome(job, MISSED)
        image = read.picture.pixels if read.picture is not None else read_photograph(job.source)
        if row is None:
            crop = fit(image, crops.height, crops.width)
        else:
            crop = _warped(image, row, crops)
        data = encode_jpeg(crop, crops.quality)
        crop_list.add(job.target)
        write_crop(job.target, data)
    except Unusable as error:
        if not job.foreign:
            remove_crop(job.target)
        return _Outcome(job, SKIPPED, str(error))
    return _Outcome(job, MISSED) if row is None else _Outcome(job, KINDS.get(row.found, GIVEN), row=row)


def _warped(image: np.ndarray, row: Row, crops: Crops) -> np.ndarray:
    points = row.array()
    fault = misfit(points) if row.found not in KINDS else ""
    middle = points.mean(axis=0)
    if not fault and not ((middle >= 0) & (middle < image.shape[1::-1])).all():
        fault = "landmarks outside the image"
    if fault:
        raise Unusable(fault)
    try:
        return align(image, points, crops.height, crops.width)
    except ValueError:
        raise Unusable("landmarks of no face") from None
