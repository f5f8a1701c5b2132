"""What is wrong with the landmarks of many faces: most cannot be a face's, or fit far better in another order or in the
other layout of ten numbers (x1,y1 to x5,y5; x1 to x5, then y1 to y5)."""
from __future__ import annotations

import collections
import logging

import numpy as np

from common.errors import UserError
from common.files import PathLike
from images.alignment import HELP, NO_FACE, TEMPLATE, misfit

log = logging.getLogger(__name__)
PARTS = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner of the mouth")
# The expected one first, then the nose in other places; with other parts exchanged the points fit no face at all.
ORDERS = np.array([(*(0, 1, 3, 4)[:place], 2, *(0, 1, 3, 4)[place:]) for place in (2, 0, 1, 3, 4)])
FAR_BETTER = 0.7  # of the residual in the expected order
ENOUGH = 5  # faces that another order must fit far better
LAYOUTS = "x1,y1,...,x5,y5", "x1..x5 y1..y5"  # of ten numbers that were read as the other one
CHUNK = 1000  # faces whose orders are compared at once


def doubt(text: str, trust: bool | None) -> None:
    """UserError for landmarks that are most probably of another form, and may be right all the same; with `trust` that
    is logged. None: where the user cannot say so."""
    if not trust:
        way_out = "" if trust is None else "; if they are right, `trust_landmarks` uses them as they are"
        raise UserError(f"{text}{way_out}")
    log.warning("%s", text)


class LandmarkFaults:
    """Counts the faults of faces' landmarks, one face after another.

    Another order of the points counts where it leaves less than FAR_BETTER of the residual. Where the order is right,
    none does so with real faces, frontal or profiles, nor with three quarters of heads that all are turned by 70
    degrees or more and nod by 30; where the nose is in another place, the true one does with 0.8 and more.
    """

    def __init__(self) -> None:
        self._faults: collections.Counter[str] = collections.Counter()
        self._waiting: list[np.ndarray] = []
        readings = len(ORDERS) + len(LAYOUTS)
        self._better, self._residuals, self._compared = np.zeros(readings, int), np.zeros(readings), 0

    def add(self, points: np.ndarray) -> None:
        """Count a face's (5, 2) points."""
        fault = misfit(points)
        self._faults[fault] += 1
        if fault in ("", NO_FACE):
            self._waiting.append(points)
        if len(self._waiting) >= CHUNK:
            self._compare()

    def refuse(self, path: PathLike, what: str, enough: int, trust: bool | None = None) -> None:
        """UserError where most of the faces, and at least `enough`, cannot be faces; a `doubt` where another order fits
        three quarters far better. what: "rows" or "faces" of the file `path`."""
        total = sum(self._faults.values())
        wrong = total - self._faults[""]
        if wrong >= enough and 2 * wrong > total:
            fault, count = (self._faults - collections.Counter({"": total})).most_common(1)[0]
            raise UserError(f"{path}: {count} of its {total} {what} have {fault}; {HELP[fault]}")
        self._compare()
        usual = (self._better >= ENOUGH) & (4 * self._better > 3 * self._compared)
        if usual.any():
            best = int(np.where(usual, self._residuals, np.inf).argmin())
            if best >= len(ORDERS):
                better = (f"{LAYOUTS[best - len(ORDERS)]} than in the layout that is expected (x1,y1,...,x5,y5 in a "
                          "table, x1..x5 y1..y5 in a .lst); put the numbers into that, or name a table's columns in "
                          "its first line")
            else:
                better = (f"{', '.join(PARTS[place] for place in ORDERS[best])} than in the order that is expected; "
                          f"put the columns into the order {', '.join(PARTS)}, as the image shows them")
            doubt(f"{path}: the landmarks of {self._better[best]} of its {total} {what} fit a face far better as "
                  f"{better}", trust)

    def _compare(self) -> None:
        if self._waiting:
            found = residuals(np.array(self._waiting, np.float64))
            self._better += (found < FAR_BETTER * found[:, :1]).sum(axis=0)
            self._residuals += found.sum(axis=0)
            self._compared += len(found)
            self._waiting.clear()


def residuals(points: np.ndarray) -> np.ndarray:
    """(N, 7) root mean square, in pixels of 112, that the similarity leaves of (N, 5, 2) points in each of ORDERS, then
    of their ten numbers in each of LAYOUTS."""
    paired, apart = points.transpose(0, 2, 1).reshape(-1, 5, 2), points.reshape(-1, 2, 5).transpose(0, 2, 1)
    return np.hstack([_residuals(points, ORDERS), _residuals(paired, ORDERS[:1]), _residuals(apart, ORDERS[:1])])


def _residuals(points: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """(N, M), of (N, 5, 2) points in each of some orders, (M, 5).

    In the complex plane a similarity is a factor, so the rest is that of a regression on one variable.
    """
    middled = points - points.mean(axis=1, keepdims=True)
    source = middled[..., 0] + 1j * middled[..., 1]
    target = (TEMPLATE - TEMPLATE.mean(axis=0)) @ [1, 1j]
    spread = np.maximum((np.abs(source) ** 2).sum(axis=1), 1e-12)  # ten numbers may coincide in one layout alone
    explained = np.abs(source @ target[orders].conj().T) ** 2 / spread[:, None]
    return np.sqrt(np.maximum((np.abs(target) ** 2).sum() - explained, 0) / len(target))
