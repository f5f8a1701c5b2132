"""The lists of IJB-B and IJB-C: templates and media of images, landmarks, pairs of templates, galleries and probes."""
from __future__ import annotations

import glob
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import numpy as np

from common.errors import UserError
from common.tables import number, read_rows, read_table, whole_number
from common.text_files import open_text

TEMPLATES, PAIRS, LANDMARKS = "*_face_tid_mid.txt", "*_template_pair_label.txt", "*_name_5pts_score.txt"
GALLERIES, PROBES = "*gallery*.csv", ("*probe_mixed*.csv", "*probe*.csv")
CHUNK = 1 << 24  # letters of the list of pairs at once: some 1.3 million of them
COLUMNS = {"template_id": ("template",), "subject_id": ("subject",)}
PAIR = re.compile(rb"[0-9]{1,9} [0-9]{1,9} [01]")
FORM = "a first line TEMPLATE_ID,SUBJECT_ID"


@dataclass(frozen=True)
class Images:
    """The images of a protocol. names: (N,) different files; points: (N, 5, 2) landmarks, pixels; scores: (N,) of the
    detector. member_image, member_template, member_medium: (M,) the image, by its place, of each template and medium;
    templates: (T,) the templates' ids, ascending, and member_template an index into them."""

    names: list[str]
    points: np.ndarray
    scores: np.ndarray
    member_image: np.ndarray
    member_template: np.ndarray
    member_medium: np.ndarray
    templates: np.ndarray


def find(meta: Path, pattern: str) -> Path:
    """The file of a kind in the folder; UserError where there is none, or several."""
    found = sorted(glob.glob(str(Path(glob.escape(str(meta))) / pattern)))
    if len(found) != 1:
        raise UserError(f"`meta` {meta}: holds {len(found) or 'no'} files {pattern}; one is needed")
    return Path(found[0])


def read_images(meta: Path) -> Images:
    """Of `*_face_tid_mid.txt` (`image template medium`) and `*_name_5pts_score.txt` (`image`, ten coordinates, score).

    UserError names an invalid line, or an image without landmarks.
    """
    if not meta.is_dir():
        raise UserError(f"`meta` {meta}: there is no such folder")
    source = find(meta, LANDMARKS)
    places: dict[str, int] = {}
    numbers = []
    for where, (name, *values) in read_rows(source, "list of landmarks", "an image, ten coordinates and a score",
                                            lambda line: line.rsplit(None, 11), str, *[number] * 11):
        if places.setdefault(name, len(places)) != len(places) - 1:
            raise UserError(f"{where}: {name} occurs twice")
        numbers.append(values)
    listed = find(meta, TEMPLATES)
    members = []
    listing = read_rows(listed, "list of templates", "`image template medium`", lambda line: line.rsplit(None, 2),
                        str, whole_number, whole_number)
    for where, (name, template, medium) in listing:
        if name not in places:
            raise UserError(f"{where}: {name} has no landmarks in {source}")
        members.append((places[name], template, medium))
    if not members:
        raise UserError(f"{listed}: is empty")
    rows, table = np.array(members), np.array(numbers)
    templates, place = np.unique(rows[:, 1], return_inverse=True)
    return Images(list(places), table[:, :10].reshape(-1, 5, 2), table[:, 10], rows[:, 0], place, rows[:, 2], templates)


def read_pairs(path: Path, templates: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (left, right, same) of `t1 t2 0|1`, a few million pairs at a time: places in `templates`, and bool.

    UserError for an invalid line, or one with an unknown template.
    """
    rest, line = b"", 1
    with open_text(path) as stream:
        while True:
            read = stream.read(CHUNK).encode("utf-8", "surrogateescape")
            data = rest + read
            end = len(data) if not read else data.rfind(b"\n") + 1
            whole, rest = data[:end], data[end:]
            if whole.strip():
                yield _pairs_of(whole, path, line, templates)
            line += whole.count(b"\n")
            if not read:
                return


def _pairs_of(data: bytes, path: Path, first: int, templates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with warnings.catch_warnings():
        # for text that is not numbers: it stops early, which is reported
        warnings.simplefilter("ignore", DeprecationWarning)
        values = np.fromstring(data, np.int64, sep=" ")
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    rows = values.reshape(-1, 3) if len(values) % 3 == 0 else values[:0].reshape(0, 3)
    if len(rows) != lines or not ((rows[:, 2] == 0) | (rows[:, 2] == 1)).all() or not _three_a_line(data):
        lines_seen = 0
        for place, line in enumerate(data.split(b"\n")):
            fields = line.split()
            lines_seen += bool(fields)
            if fields and not PAIR.fullmatch(b" ".join(fields)):
                raise UserError(f"{path}: line {first + place} is not `template template 0` or `... 1`")
        rows = np.array(data.split(), np.int64).reshape(lines_seen, 3)  # there are empty lines
    places = np.searchsorted(templates, rows[:, :2])
    known = templates[np.minimum(places, len(templates) - 1)] == rows[:, :2]
    if not known.all():
        at = int(np.argmin(known.all(axis=1)))
        missing = rows[at, int(np.argmin(known[at]))]
        raise UserError(f"{path}: names template {missing}, which has no image")
    return places[:, 0], places[:, 1], rows[:, 2] == 1


def _three_a_line(data: bytes) -> bool:
    """Whether each line has three words, so that a longer line cannot compensate for a shorter one."""
    letters = np.frombuffer(data if data.endswith(b"\n") else data + b"\n", np.uint8)
    ends = np.flatnonzero((letters[:-1] > 32) & (letters[1:] <= 32))  # of words
    words = np.searchsorted(ends, np.flatnonzero(letters == 10))
    return bool((words == 3 * np.arange(1, len(words) + 1)).all())


def read_subjects(paths: list[Path], templates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(places in `templates`, subjects as text) of tables `TEMPLATE_ID,SUBJECT_ID`, each template once, in order.

    UserError for an invalid row, a template without images, or one with two subjects.
    """
    subjects: dict[int, str] = {}
    for path in paths:
        for row in read_table(path, COLUMNS, FORM):
            try:
                template = whole_number(row["template_id"])
            except ValueError:
                template = -1
            if template < 0 or not row["subject_id"]:
                raise UserError(f"{row.where} is not TEMPLATE_ID,SUBJECT_ID")
            place = int(np.searchsorted(templates, template))
            if place == len(templates) or templates[place] != template:
                raise UserError(f"{row.where}: template {template} has no image")
            if subjects.setdefault(place, row["subject_id"]) != row["subject_id"]:
                raise UserError(f"{row.where}: template {template} is of subject {subjects[place]} elsewhere")
    if not subjects:
        raise UserError(f"{paths[0]}: names no template")
    return np.array(list(subjects)), np.array(list(subjects.values()))


def find_galleries(meta: Path) -> list[Path]:
    """The galleries of 1:N in the folder, G1 and G2; UserError where there are none."""
    found = sorted(meta.glob(GALLERIES))
    if not found:
        raise UserError(f"`meta` {meta}: holds no {GALLERIES} for 1:N; give `gallery`, or `protocol` 1:1")
    return found


def find_probes(meta: Path) -> list[Path]:
    """The probes of 1:N: the mixed ones where there are such; UserError where there are none."""
    found = probes_of(meta)
    if not found:
        raise UserError(f"`meta` {meta}: holds no {PROBES[1]} for 1:N; give `probe`, or `protocol` 1:1")
    return found


def probes_of(meta: Path) -> list[Path]:
    """The probes of 1:N in the folder, where there are any."""
    return next((some for some in (sorted(meta.glob(pattern)) for pattern in PROBES) if some), [])
