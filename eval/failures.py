"""Failures to acquire: faces not detected or not decodable. Leaving them out of a set makes rates look better."""
from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np

from common.errors import UserError
from common.files import PathLike, read_regular
from common.foreign import shown
from common.name_lookup import canonical, canonical_path
from common.tables import header, read_table
from common.text_files import read_lines
from eval.listed_images import ListedImages
from eval.metrics import FewPairs, accuracy_10fold, check_pairs, point_at_fpr
from eval.operating_points import FEW, given, marked
from eval.scores import held_out, projected_scores
from recordio_tools.pairs.lists import TRUTH

PAIR_COLUMNS = {"left": (), "right": (), "same": ("issame", "is_same")}
IMAGE_COLUMNS = {"path": ("key", "image", "file", "name", "filename"), "label": ("person", "identity")}
FORM = "a list of images, a table with path or left,right,same, or align-report.json"


@dataclass(frozen=True)
class Failures:
    """images: their names in the set, or those they would have; labels: the identity of each, "" where it is not known;
    pairs: same or not, of each pair that is not in the set
    because one of its images failed."""

    path: str
    images: list[str]
    pairs: list[bool]
    labels: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Readings:
    """Rates without the lost pairs, and with them as errors: a lost genuine pair counts as rejected, and no lost pair
    is classified correctly. FPR is that of the pairs that could be compared; false_accepts: behind each TPR."""

    lost_genuine: int
    lost_impostors: int
    without: dict[str, float | None]
    counted: dict[str, float | None]
    false_accepts: dict[str, int] = field(default_factory=dict)

    def as_row(self) -> dict[str, object]:
        """For JSON."""
        return {"lost_genuine": self.lost_genuine, "lost_impostors": self.lost_impostors, "without": self.without,
                "counted": self.counted, "false_accepts": self.false_accepts}

    def __str__(self) -> str:
        rates = "; ".join(f"{name} {self._percent(self.without, name)} without, {self._percent(self.counted, name)} "
                          "counted" for name in self.without)
        return (f"{self.lost_genuine} genuine and {self.lost_impostors} impostor pairs could not be compared; as "
                f"errors: {rates}")

    def _percent(self, rates: Mapping[str, float | None], name: str) -> str:
        """A TPR on few false accepts is marked."""
        rate, _, behind = marked(rates[name], self.false_accepts.get(name, FEW)).partition(" ")
        return rate if rate == "-" else f"{rate}% {behind}".rstrip()


def read_failures(path: PathLike) -> Failures:
    """The list in a file; UserError where it is invalid or empty."""
    path = Path(path)
    if path.suffix == ".json":
        names = _of_report(path)
        found = Failures(str(path), names, [], [""] * len(names))
    else:
        found = _of_text(path)
    if not found.images and not found.pairs:
        raise UserError(f"{path}: names no image; expected {FORM}")
    return found


def pairs_readings(failures: Failures, scores: np.ndarray, same: np.ndarray, fpr: list[float], folds: int,
                   embeddings: np.ndarray | None = None, pca: int = 0) -> Readings:
    """Of (pairs,) squared distances of a `.bin`, whose images are named by position; UserError where the list names
    others, or nothing is left. With pca the (2 * pairs, D) embeddings are projected again, without the lost pairs."""
    lost = np.zeros(len(same), bool)
    for name in failures.images:
        if not (re.fullmatch("[0-9]{1,18}", name) and int(name) < 2 * len(same)):
            raise UserError(f"`failures` {failures.path}: {name[:60]!r} is not an image of a .bin; they are named by "
                            f"position, 0 to {2 * len(same) - 1}, and pairs that are not in it by left,right,same")
        lost[int(name) // 2] = True
    kept, kind = ~lost, np.asarray(same, bool)
    try:
        check_pairs(kind[kept], folds)
        left = by_fold = scores[kept]
        if pca and embeddings is not None:
            by_fold = projected_scores(embeddings[np.repeat(kept, 2)], pca, folds)
            left = held_out(by_fold)
    except UserError as error:
        fix = f"; {FewPairs.FIX}" if isinstance(error, FewPairs) else ""
        raise UserError(f"`failures` {failures.path}: without these, {error}{fix}") from None
    listed = np.array(failures.pairs, bool)
    lost_genuine, lost_impostors = (int((lost & one).sum() + those.sum()) for one, those in (
        (kind, listed), (~kind, ~listed)))
    genuine, pairs = int((kept & kind).sum()), int(kept.sum())
    behind: dict[str, int] = {}
    without: dict[str, float | None] = {"accuracy": accuracy_10fold(by_fold, kind[kept], folds)[0]}
    for target in fpr:
        tpr, _, _, accepts = point_at_fpr(left, kind[kept], target)
        without[f"{target:g}"], behind[f"{target:g}"] = given(tpr, accepts), accepts
    over = {"accuracy": (pairs, lost_genuine + lost_impostors)}
    return Readings(lost_genuine, lost_impostors, without, {
        name: counted(value, *over.get(name, (genuine, lost_genuine))) for name, value in without.items()},
        behind)


@dataclass(frozen=True)
class LostFaces:
    """failed: (N,) whether each image of a set is on the list. absent: (identity, group) of images on it that are not
    in the set; identities from `people` on are not in it either; a group that is a folder is in canonical form."""

    failed: np.ndarray
    absent_labels: np.ndarray
    absent_groups: np.ndarray


def lost_faces(failures: Failures, names: Sequence[str], labels: np.ndarray, people: Sequence[str],
               groups: Mapping[str, str] | None = None, root: str = "") -> LostFaces:
    """The images and identities of a list, by the images' paths below the set's folder `root` or their keys. groups: of
    images by their names, None where they are the folders. UserError for a list of pairs, or an image whose identity is
    not known: neither in the set, nor in a folder, nor with a label."""
    if failures.pairs:
        raise UserError(f"`failures` {failures.path}: lists pairs; a labelled set needs images, a line each or in a "
                        "column path")
    source = f"`failures` {failures.path}"
    listed, grouped = ListedImages(names, root, source), ListedImages(names, root, "`groups`")
    places = {name: number for number, name in enumerate(names)}
    numbers = Identities(people, source)
    grouped.match(groups or {})  # which may show where the paths of the others begin
    table = {canonical_path(grouped.below(name) or name): group for name, group in (groups or {}).items()}
    failed, absent = np.zeros(len(names), bool), {}
    for name, label in zip(failures.images, failures.labels):
        known = listed.find(name)
        if known is not None:
            failed[places[known]] = True
            continue
        path = listed.below(name) or ""
        folders = path.split("/")[:-1]
        person = label or (folders[0] if folders else "")
        if not person:
            raise UserError(f"{source}: {name[:60]!r} is not in the set, and its identity is not known; give its path "
                            "below the set's folder, IDENTITY/..., or a column label")
        form = canonical_path(path or name)
        absent[numbers.of(person), form] = canonical_path("/".join(folders[1:])) if groups is None else table.get(
            form, "")
    return LostFaces(failed, np.array([number for number, _ in absent], np.int64), np.array([*absent.values()], str))


class Identities:
    """Numbers of identities by name: those of a set, and from there on others; names that look equal are of one."""

    def __init__(self, people: Sequence[str], source: str) -> None:
        self._numbers, self._source = {name: number for number, name in enumerate(people)}, source
        self._forms: dict[str, str] = {}
        self._several = {canonical(name) for name in people if self._forms.setdefault(canonical(name), name) != name}

    def of(self, person: str) -> int:
        """UserError where two of the set's identities could be meant."""
        form = canonical(person)
        if person not in self._numbers and form in self._several:
            raise UserError(f"{self._source}: {shown(person)} could be several identities of the set, as "
                            f"{shown(self._forms[form])}; name it as the set does")
        name = person if person in self._numbers else self._forms.setdefault(form, person)
        return self._numbers.setdefault(name, len(self._numbers))


def counted(rate: float | None, pairs: int, lost: int) -> float | None:
    """A rate over `pairs` when `lost` more of them count as errors."""
    return None if rate is None else rate * pairs / (pairs + lost)


def _of_report(path: Path) -> list[str]:
    try:
        report = json.loads(read_regular(path, 1 << 28).decode("utf-8"))
        missed, skipped = list(report["files_not_found"]), dict(report["files_skipped"])
        names = [*missed, *(name for files in skipped.values() for name in files)]
        count = int(report["not_found"]) + int(report["skipped"])
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise UserError(f"{path}: is not a report of align; expected {FORM}") from None
    if len(names) < count:
        raise UserError(f"{path}: names only the first {len(names)} of {count} photographs; give a list of all")
    return [str(name) for name in names]


def _of_text(path: Path) -> Failures:
    lines = [line.strip() for _, line in read_lines(path, "list of failures")]
    first = lines[0].lower() if lines else ""
    plain = {name.strip().strip('"') for name in first.replace(";", ",").replace("\t", ",").split(",")}
    if "same" in plain or "left" in plain:
        if header(path, PAIR_COLUMNS, FORM) != set(PAIR_COLUMNS):
            raise UserError(f"{path}: line 1 is {lines[0][:60]!r}; expected {FORM}")
        pairs = []
        for row in read_table(path, PAIR_COLUMNS, FORM):
            if row["same"].lower() not in TRUTH:
                raise UserError(f"{row.where}: same is {row['same'][:20]!r}, not 1 or 0")
            pairs.append(TRUTH[row["same"].lower()])
        return Failures(str(path), [], pairs)
    if plain & {name for names in ({"path"}, IMAGE_COLUMNS["path"]) for name in names}:
        labels = {row["path"]: row["label"] for row in read_table(path, IMAGE_COLUMNS, FORM) if row["path"]}
        return Failures(str(path), list(labels), [], list(labels.values()))
    names = list(dict.fromkeys(line for line in lines if line))
    return Failures(str(path), names, [], [""] * len(names))
