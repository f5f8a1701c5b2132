"""The cases: reproducible files by kind, seed and number, mutated from sound ones."""
from __future__ import annotations

import functools
import random
import struct
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np

from recordio_tools.records import framing
from recordio_tools.records.recordio import RecordFile
from stress.fuzzing import (
    checkpoints,
    earlier_runs,
    evaluation,
    figures,
    galleries,
    matlab_and_journals,
    pickles,
    pictures,
    results,
    run_folders,
)
from stress.fuzzing.mutations import NUMBERS, mutate, mutate_text

IDENTITIES, IMAGES = 4, 3
FACES, SOUND = "faces", "sound"  # the folder of sound images for lists, and a sound set of them


class Corpus(NamedTuple):
    """Sound data to mutate: faces (JPEG, 112x112, of IDENTITIES people, IMAGES each), files of other kinds of images,
    verification sets, and whether it is real."""

    faces: list[bytes]
    pictures: list[bytes]
    bins: list[bytes]
    real: bool


class Case(NamedTuple):
    """files: name to bytes, to be put into a folder of their own; `reader` of readers.READERS takes it."""

    reader: str
    files: dict[str, bytes]


def load_corpus(data: Path) -> Corpus:
    """From the training set in the folder `data`/train where there is one, else synthetic."""
    real = (data / "train" / "train.rec").is_file()
    faces = _real_faces(data / "train" / "train.rec") if real else [
        pictures.cv2.imencode(".jpg", pictures.draw(seed))[1].tobytes() for seed in range(IDENTITIES * IMAGES)]
    return Corpus(faces, [*faces[:3], *pictures.kinds()], pickles.sets(faces), real)


def _real_faces(path: Path) -> list[bytes]:
    with RecordFile(path) as file:
        first = int(file.read(0).label[0])
        spans = [file.read(first + identity).label.astype(int) for identity in range(IDENTITIES)]
        return [file.read(int(span[0]) + number).content for span in spans for number in range(IMAGES)]


def write_sound(corpus: Corpus, scratch: Path) -> None:
    """FACES/personN/N.jpg and LFW's FACES/Person_N/Person_N_0001.jpg, which lists name, and the set SOUND."""
    folder = scratch / FACES
    for number, face in enumerate(corpus.faces):
        identity, image = divmod(number, IMAGES)
        for path in (folder / f"person{identity}" / f"{image}.jpg",
                     folder / f"Person_{identity}" / f"Person_{identity}_{image + 1:04d}.jpg"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(face)
    (scratch / SOUND).mkdir()
    for name, data in _sound_set(corpus, random.Random(0)).items():
        (scratch / SOUND / name).write_bytes(data)


def make_case(corpus: Corpus, kind: str, seed: int, number: int) -> Case:
    """The files of one case; the same for the same arguments and corpus."""
    return MAKERS[kind](corpus, random.Random(f"{kind} {seed} {number}"))


def _without_corpus(kind: str, make: Callable[[random.Random], dict[str, bytes]], _: Corpus,
                    chance: random.Random) -> Case:
    return Case(kind, make(chance))


def _sound_set(corpus: Corpus, chance: random.Random) -> dict[str, bytes]:
    """The files of a packed set in one of the layouts that are read."""
    headers, wide = chance.random() < 0.7, chance.random() < 0.3
    faces = list(corpus.faces)
    if chance.random() < 0.2:  # a record in parts
        image = bytearray(pictures.cv2.imencode(".bmp", pictures.draw(chance.randrange(9)))[1].tobytes())
        image[200:204] = image[404:408] = framing.MAGIC_BYTES
        faces[chance.randrange(len(faces))] = bytes(image)
    contents = [framing.pack([number // IMAGES, 1.0] if wide else float(number // IMAGES), number + 1, face)
                for number, face in enumerate(faces)]
    if headers:
        last = len(faces) + 1
        contents.insert(0, framing.pack([last, last + IDENTITIES], 0))
        contents += [framing.pack([1 + IMAGES * identity, 1 + IMAGES * (identity + 1)], last + identity)
                     for identity in range(IDENTITIES)]
    pieces = [framing.frame(content) for content in contents]
    offsets = np.cumsum([0, *map(len, pieces)])
    index = "".join(f"{key}\t{offset}\n" for key, offset in zip(range(not headers, 99), offsets[:-1].tolist()))
    names = b"".join(b"%d,person %d,3\n" % (identity, identity) for identity in range(IDENTITIES))
    return {"train.rec": b"".join(pieces), "train.idx": index.encode(),
            "property": f"{IDENTITIES},112,112\n".encode(),
            "identities.csv": b"label,identity,images\n" + names}


def _rec(corpus: Corpus, chance: random.Random) -> Case:
    files = _sound_set(corpus, chance)
    data = bytearray(files["train.rec"])
    for _ in range(chance.randint(1, 4)):
        starts = [at for at in range(0, len(data) - 44, 4) if data[at:at + 4] == framing.MAGIC_BYTES] or [0]
        at, way = chance.choice(starts), chance.randrange(10)
        if way == 0:
            data[at + 4:at + 8] = struct.pack("<I", chance.choice(NUMBERS))
        elif way == 1:
            word = struct.unpack_from("<I", data + bytes(8), at + 4)[0]
            data[at + 4:at + 8] = struct.pack("<I", word & framing.MAX_LENGTH | chance.randrange(8) << 29)
        elif way == 2:
            data[at + 8:at + 12] = struct.pack("<I", chance.choice(NUMBERS))  # labels
        elif way == 3:
            value = chance.choice((np.nan, np.inf, -np.inf, -1, 0.5, 1e9, 3e38, 1e-45, 16777217, chance.randrange(9)))
            place = at + chance.choice((12, 32, 36))
            data[place:place + 4] = struct.pack("<f", value)
        elif way == 4:
            data[at + 16:at + 24] = struct.pack("<Q", chance.choice((0, 1, (1 << 64) - 1, 1 << 63, 1 << 62)))
        elif way == 5:
            other = chance.choice(starts)
            data[at:at] = data[other:chance.choice(starts) if chance.random() < 0.3 else other + 5000]
        elif way == 6:
            data[at:at + 4] = bytes(chance.choice((1, 4, 8)))
        elif way == 7:
            image = pictures.mutate_image(chance.choice(corpus.pictures), chance)
            label = chance.choice((0.0, 1.0, [1.0, 2.0], [2.0], [0.0] * 5))
            data[at:at] = framing.frame(framing.pack(label, chance.randrange(99), image))
        elif way == 8:  # a record in parts that never ends, or late
            first, middle = (framing.FRAME.pack(framing.MAGIC, kind << 29) for kind in (framing.FIRST, framing.MIDDLE))
            data[at:at] = first + middle * chance.choice((1, 20_000))
        else:
            data[:] = mutate(bytes(data), chance, 3)
        if not data:
            break
    files["train.rec"] = bytes(data)
    for name in ("train.idx", "property", "identities.csv"):
        if chance.random() < 0.3:
            del files[name]
        elif chance.random() < 0.1:
            files[name] = mutate_text(files[name], chance)
    if chance.random() < 0.1:  # a set in parts
        cut = chance.choice((0, len(data) // 2 & ~3))
        files = {"x_0.rec": files["train.rec"][:cut], "x_1.rec": files["train.rec"][cut:]}
    return Case("set", files)


def _idx(corpus: Corpus, chance: random.Random) -> Case:
    files = _sound_set(corpus, chance)
    name = chance.choice(("train.idx", "train.idx", "property", "identities.csv"))
    files[name] = mutate_text(files[name], chance)
    if chance.random() < 0.2:
        files["train.idx"] = mutate_text(files["train.idx"], chance)
    return Case("set", files)


def _bin(corpus: Corpus, chance: random.Random) -> Case:
    if chance.random() < 0.35:
        return Case("bin", {"x.bin": pickles.harmful(chance, corpus.faces)})
    return Case("bin", {"x.bin": pickles.mutate_set(chance.choice(corpus.bins), chance)})


def _lst(corpus: Corpus, chance: random.Random) -> Case:
    lines = []
    for number in range(IDENTITIES * IMAGES):
        identity, image = divmod(number, IMAGES)
        name = f"../{FACES}/person{identity}/{image}.jpg"
        rest = chance.choice(("", "", "\t10\t10\t90\t90", "\t10\t10\t90\t90\t38\t73\t56\t41\t70\t51\t51\t71\t92\t92"))
        lines.append(f"{0 if rest else chance.randrange(2)}\t{name}\t{identity}{rest}\n")
    return Case("lst", {"faces.lst": mutate_text("".join(lines).encode(), chance)})


def _csv(corpus: Corpus, chance: random.Random) -> Case:
    return chance.choice((_table, _pairs_table, _lfw_pairs, _cfp_protocol, _exclusions, _landmarks))(chance)


def _table(chance: random.Random) -> Case:
    rows = [f"../{FACES}/person{number // IMAGES}/{number % IMAGES}.jpg,name {number // IMAGES},x"
            for number in range(IDENTITIES * IMAGES)]
    return Case("table", {"faces.csv": mutate_text("\n".join(["path,identity,other", *rows, ""]).encode(), chance)})


def _pairs_table(chance: random.Random) -> Case:
    rows = [f"../{FACES}/person{number % IDENTITIES}/{number % IMAGES}.jpg,../{FACES}/person"
            f"{(number + number % 2) % IDENTITIES}/{(number + 1) % IMAGES}.jpg,{1 - number % 2},{number // 2}"
            for number in range(24)]
    return Case("pairs", {"pairs.csv": mutate_text("\n".join(["left,right,same,fold", *rows, ""]).encode(), chance)})


def _lfw_pairs(chance: random.Random) -> Case:
    rows = [line for number in range(10) for line in (
        f"Person_{number % 4}\t{number % IMAGES + 1}\t{(number + 1) % IMAGES + 1}",
        f"Person_{number % 4}\t{number % IMAGES + 1}\tPerson_{(number + 1) % 4}\t{(number + 2) % IMAGES + 1}")]
    return Case("lfw", {"pairs.txt": mutate_text("\n".join(["10\t1", *rows, ""]).encode(), chance)})


def _exclusions(chance: random.Random) -> Case:
    rows = ["label,identity,image,set", ",person 2,,", ",,7,", "0,person 0,2,", ""]
    return Case("exclude", {"exclude.csv": mutate_text("\n".join(rows).encode(), chance)})


def _landmark_table(names: list[str]) -> bytes:
    columns = ",".join(f"{axis}{number}" for number in range(1, 6) for axis in "xy")
    rows = [f"{name},38.3,51.7,73.5,51.5,56.0,71.7,41.5,92.4,70.7,92.2,1" for name in names]
    return "\n".join([f"path,{columns},score", *rows, ""]).encode()


def _landmarks(chance: random.Random) -> Case:
    table = _landmark_table([f"person{number // IMAGES}/{number % IMAGES}.jpg" for number in range(8)])
    return Case("landmarks", {"landmarks.csv": mutate_text(table, chance)})


def _cfp_protocol(chance: random.Random) -> Case:
    listed = "".join(f"{number + 1} ../{FACES}/person{number // IMAGES}/{number % IMAGES}.jpg\n"
                     for number in range(12)).encode()
    files = {"Pair_list_F.txt": listed, "Pair_list_P.txt": listed}
    for split in range(1, 11):
        for name, step in (("same", 1), ("diff", 5)):
            files[f"Split/FP/{split:02d}/{name}.txt"] = "".join(
                f"{number + 1},{(number + step) % 12 + 1}\n" for number in range(2)).encode()
    for name in chance.sample(sorted(files), chance.choice((1, 1, 3))):
        files[name] = mutate_text(files[name], chance)
    return Case("cfp", files)


def _image(corpus: Corpus, chance: random.Random) -> Case:
    image = pictures.mutate_image(chance.choice(corpus.pictures), chance)
    return Case("image", {"photographs/a/x.jpg": image, "photographs/a/y.jpg": corpus.faces[0],
                          "photographs/b/z.jpg": corpus.faces[4],
                          "landmarks.csv": _landmark_table(["a/x.jpg", "a/y.jpg", "b/z.jpg"])})


MAKERS: dict[str, Callable[[Corpus, random.Random], Case]] = {
    "rec": _rec, "idx": _idx, "bin": _bin, "lst": _lst, "csv": _csv, "image": _image}
for _kind, _make in (("model", checkpoints.mutated), ("run", run_folders.mutated), ("npz", evaluation.embeddings),
                     ("gallery", galleries.gallery), ("scores", galleries.scores), ("ijb", evaluation.ijb),
                     ("onnx", evaluation.onnx_file), ("mat", matlab_and_journals.matlab),
                     ("journal", matlab_and_journals.journal), ("results", results.of_run),
                     ("tables", results.tables), ("crops", earlier_runs.crops), ("aside", earlier_runs.aside),
                     ("against", figures.against), ("study", figures.scores)):
    MAKERS[_kind] = functools.partial(_without_corpus, _kind, _make)
KINDS = tuple(MAKERS)
