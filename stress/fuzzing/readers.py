"""The readers of each kind of case. Each must give a result, or a one-line error."""
from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path
from typing import Callable, Iterator

import cv2

from common.errors import RunError, UserError
from images.codec import ImageError, decode
from images.formats import is_cut_off, kind_of, read_header
from images.prepare import Wanted
from recordio_tools import __main__ as tools
from recordio_tools.bins.binfile import read_bin
from recordio_tools.pack.batches import Preparer
from recordio_tools.records.dataset import open_dataset
from recordio_tools.records.parts import open_records
from recordio_tools.records.recordio import RecordFile
from stress.fuzzing import (
    checkpoints,
    earlier_runs,
    evaluation,
    figures,
    galleries,
    matlab_and_journals,
    results,
    run_folders,
)
from stress.fuzzing.cases import FACES, SOUND

READ, REFUSED = "read", "refused"
Reader = Callable[[], object]


def command(*argv: object) -> str:
    """A command run as by a user; REFUSED where its exit status is not 0."""
    try:
        return REFUSED if tools.main([str(word) for word in argv]) else READ
    except SystemExit as error:
        if error.code not in (0, 2):
            raise RuntimeError(f"exit status {error.code}") from None
        return REFUSED


def run(name: str, reader: Reader) -> str:
    """READ or REFUSED; any exception but the errors for users propagates."""
    try:
        return REFUSED if reader() == REFUSED else READ
    except (UserError, RunError, ImageError) as error:
        if "\n" in str(error) or not str(error):
            raise RuntimeError(f"{name}: its message is not one line: {str(error)!r}") from None
        return REFUSED


def _read_all(folder: Path) -> None:
    with open_records(folder) as records:
        records.heads()
        for key in records.keys.tolist():
            try:
                records.read(key)
            except UserError:
                continue


def _read_without_index(path: Path) -> None:
    bare = path.with_name("bare.rec")
    shutil.copy(path, bare)
    try:
        with RecordFile(bare) as file:
            file.heads()
    finally:
        bare.unlink()


def _repair(*paths: Path) -> str:
    """Repair; the result must be sound."""
    out = paths[0].parent / "repaired" if paths[0].is_file() else paths[0] / "repaired"
    status = command("check", *paths, "--repair", out, "--workers", 1)
    if out.exists():
        if command("check", out, "--workers", 1) != READ:
            raise RuntimeError("what was repaired is not sound")
        if (out / "train.rec").exists():
            open_dataset(out).record_file.close()
    return status


def _of_set(folder: Path) -> Iterator[tuple[str, Reader]]:
    yield "open_records", lambda: _read_all(folder)
    if (folder / "train.rec").is_file():
        yield "RecordFile", lambda: _read_without_index(folder / "train.rec")
    yield "open_dataset", lambda: open_dataset(folder).record_file.close()
    yield "info", lambda: command("info", folder)
    yield "check", lambda: command("check", folder, "--json", "--workers", 2)
    yield "unpack", lambda: command("unpack", folder, folder / "out", "--workers", 1)
    yield "repair", lambda: _repair(folder)
    yield "pairs make", lambda: command("pairs", "make", folder, "--out", folder / "made.bin", "--pairs", 4, "--folds",
                                        2, "--workers", 1)
    yield "merge", lambda: command("merge", folder / "merged", folder, folder.parent / SOUND, "--same-name", "join",
                                   "--workers", 1)


def _of_exclusions(folder: Path) -> Iterator[tuple[str, Reader]]:
    yield "exclude", lambda: command("merge", folder / "merged", folder.parent / SOUND, "--exclude",
                                     folder / "exclude.csv", "--workers", 1)


def _of_bin(folder: Path) -> Iterator[tuple[str, Reader]]:
    path = folder / "x.bin"
    yield "read_bin", lambda: read_bin(path)
    yield "info", lambda: command("info", path)
    yield "check", lambda: command("check", path, "--json", "--workers", 2)
    yield "unpack", lambda: command("unpack", path, folder / "out", "--workers", 1)
    yield "repair", lambda: _repair(path)


def _of_list(name: str) -> Callable[[Path], Iterator[tuple[str, Reader]]]:
    def readers(folder: Path) -> Iterator[tuple[str, Reader]]:
        yield "pack", lambda: command("pack", folder / name, folder / "out", "--resize", "--workers", 1)
    return readers


def _of_pairs(folder: Path) -> Iterator[tuple[str, Reader]]:
    yield "pairs csv", lambda: command("pairs", "csv", "--pairs", folder / "pairs.csv", "--out", folder / "x.bin")


def _of_lfw(folder: Path) -> Iterator[tuple[str, Reader]]:
    yield "pairs lfw", lambda: command("pairs", "lfw", "--images", folder.parent / FACES, "--pairs",
                                       folder / "pairs.txt", "--out", folder / "x.bin")


def _of_cfp(folder: Path) -> Iterator[tuple[str, Reader]]:
    yield "pairs cfp", lambda: command("pairs", "cfp", "--images", folder.parent, "--protocol", folder, "--kind", "FP",
                                       "--out", folder / "x.bin")


def _of_image(folder: Path) -> Iterator[tuple[str, Reader]]:
    path = folder / "photographs" / "a" / "x.jpg"
    data = path.read_bytes()

    def batch() -> None:
        for wanted in (Wanted(112, 112), Wanted(96, 80, resize=True)):
            Preparer(wanted)([os.fsencode(path), os.fsencode(path) + b"\0" + b"10\t10\t90\t90"])
    yield "decode", lambda: decode(data)
    yield "formats", lambda: (kind_of(data), is_cut_off(data), read_header(data))
    yield "batch", batch
    yield "pack", lambda: command("pack", folder / "photographs", folder / "out", "--resize", "--workers", 1)
    yield "align", lambda: command("align", folder / "photographs", folder / "aligned", "--landmarks",
                                   folder / "landmarks.csv", "--workers", 1)


def _of_landmarks(folder: Path) -> Iterator[tuple[str, Reader]]:
    yield "align", lambda: command("align", folder.parent / FACES, folder / "aligned", "--landmarks",
                                   folder / "landmarks.csv", "--workers", 1)


def _of_model(folder: Path) -> Iterator[tuple[str, Reader]]:
    yield "eval", lambda: checkpoints.read(folder)


def _of_run(folder: Path) -> Iterator[tuple[str, Reader]]:
    yield "resume", lambda: run_folders.read(folder)


def _of_results(folder: Path) -> Iterator[tuple[str, Reader]]:
    yield "table", lambda: REFUSED if results.read_table_of_runs(folder) else READ
    yield "card", lambda: results.read_card(folder)


def _of_tables(folder: Path) -> Iterator[tuple[str, Reader]]:
    for name in results.LISTS:
        yield name, functools.partial(results.read_lists, folder, name)


def _of_crops(folder: Path) -> Iterator[tuple[str, Reader]]:
    yield "align", lambda: REFUSED if earlier_runs.read_crops(folder) else READ


def _of_evaluation(name: str, read: Callable[[Path], object]) -> Callable[[Path], Iterator[tuple[str, Reader]]]:
    def readers(folder: Path) -> Iterator[tuple[str, Reader]]:
        yield name, lambda: read(folder)
    return readers


READERS: dict[str, Callable[[Path], Iterator[tuple[str, Reader]]]] = {
    "set": _of_set, "bin": _of_bin, "lst": _of_list("faces.lst"), "table": _of_list("faces.csv"), "pairs": _of_pairs,
    "lfw": _of_lfw, "cfp": _of_cfp, "exclude": _of_exclusions, "landmarks": _of_landmarks,
    "image": _of_image, "model": _of_model, "run": _of_run,
    "npz": _of_evaluation("load_embeddings", evaluation.read_embeddings),
    "ijb": _of_evaluation("ijb lists", evaluation.read_ijb),
    "results": _of_results, "tables": _of_tables, "crops": _of_crops,
    "aside": _of_evaluation("recover", earlier_runs.read_aside),
    "against": _of_evaluation("earlier run", figures.read_against),
    "study": _of_evaluation("study table", figures.read_scores),
    "gallery": _of_evaluation("search", galleries.read_gallery),
    "scores": _of_evaluation("choose_threshold", galleries.read_scores),
    "onnx": _of_evaluation("read_onnx", evaluation.read_onnx_file),
    "mat": _of_evaluation("read_variable", matlab_and_journals.read_matlab),
    "journal": _of_evaluation("Journal", matlab_and_journals.read_journal)}


def quiet() -> None:
    """One thread for OpenCV: many processes run at once."""
    cv2.setNumThreads(1)
