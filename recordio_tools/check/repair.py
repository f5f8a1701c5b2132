"""`check --repair OUT`: writes what can be recovered of checked sets to a new folder, with a report of what was
lost."""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Sequence

from common.errors import RunError, UserError
from common.files import read_regular, write_json
from common.folders import check_apart, check_free, new_folder
from recordio_tools.check.check_bin import FOLDS, CheckedBin
from recordio_tools.check.check_rec import Checked
from recordio_tools.check.repair_bin import repair_bin
from recordio_tools.check.repair_rec import repair_set
from recordio_tools.data_files import RecordSet

REPORT = "repair-report.json"
MOST_BYTES = 1 << 30


def check_out(out: Path, sets: Sequence[RecordSet], bins: Sequence[Path], overwrite: bool = False) -> None:
    """UserError, before any work, where the repaired files cannot all be written to `out`."""
    sources = [path for found in sets for path in found.paths] + list(bins)
    if any(os.path.realpath(path.parent) == os.path.realpath(out) for path in sources):
        raise UserError(f"`repair` {out}: is the folder of the data itself, which is never changed; name another")
    check_apart(out, sources, inside=True)
    check_free(out, overwrite, REPORT)
    others = sorted(set(os.listdir(out)) - _written(out / REPORT)) if overwrite and out.is_dir() else []
    if others:
        raise UserError(f"`repair` {out}: holds {others[0]}, which it did not write and `overwrite` would remove; move "
                        "it away, or name another folder")
    if len(sets) > 1:
        raise UserError(f"`repair` {out}: there are {len(sets)} training sets ({sets[0].paths[0]}, {sets[1].paths[0]}"
                        f"{', ...' if len(sets) > 2 else ''}), and a folder holds one; repair them one by one")
    if not all(found.complete for found in sets):
        raise UserError(f"`repair` {out}: {sets[0].paths[0]} is one part of a set; name all parts, or their folder")
    names = [path.name for path in bins]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"`repair` {out}: there are {names.count(name)} files {name}; repair them one by one")


def _written(report: Path) -> set[str]:
    """The names of all files that the repair of this report wrote."""
    try:
        told = json.loads(read_regular(report, MOST_BYTES).decode("utf-8"))["verification_sets"]
        bins = {Path(str(one["files"][0])).name for one in told}
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        bins = set()
    return {REPORT, "train.rec", "train.idx", "property", "identities.csv", *bins}


def repair(sets: Sequence[Checked], bins: Sequence[CheckedBin], out: Path, overwrite: bool = False,
           folds: int = FOLDS) -> dict:
    """Write the sets and repair-report.json, which is returned; all or nothing. folds: of the verification sets.
    RunError where nothing can be recovered."""
    with new_folder(out, overwrite, REPORT) as folder:
        try:
            training = [repair_set(checked, folder) for checked in sets]
            pairs = [repair_bin(checked, folder / Path(checked.report.path).name, folds) for checked in bins]
        except RunError as error:
            raise RunError(f"{error}{'; name the other files alone' if len(sets) + len(bins) > 1 else ''}") from None
        report = {"training_sets": training, "verification_sets": pairs,
                  "found": [one.as_dict() for one in [part for checked in sets for part in checked.reports]
                            + [checked.report for checked in bins]]}
        write_json(folder / REPORT, report)
    return report


def lines(report: dict, out: Path) -> list[str]:
    """The report for the screen."""
    told = []
    for one in report["training_sets"]:
        told.append(f"{out / 'train.rec'}: {one['images']} images of {one['identities']} identities, "
                    f"{one['height']}x{one['width']}")
        told += [f"  lost, {reason:<19}{count:>10}" for reason, count in one["images_lost"].items()]
        told += [f"  lost, {name:<19}{count:>10}" for name, count in
                 (("index entries", one["index_entries_lost"]["count"]), ("identities", one["identities_lost"]))
                 if count]
    for one in report["verification_sets"]:
        told.append(f"{out / Path(one['files'][0]).name}: {one['pairs']} pairs ({one['same']} same); folds: "
                    f"{one['folds']}")
        told += [f"  lost, {reason:<25}{count:>4}" for reason, count in one["pairs_lost"].items()]
    return [*told, f"{out / REPORT} lists what was lost"]
