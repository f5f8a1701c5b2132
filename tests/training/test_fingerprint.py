"""What tells the data of a run from other data: each part of it, and nothing of where it is."""
import dataclasses
import shutil

import numpy as np
import pytest
from small_sets import draw, jpeg, write_training_set

from recordio_tools.records.dataset import open_dataset
from training.saving.fingerprint import NAMES, WHOLE_SET, fingerprint, people


@pytest.fixture
def folder(tmp_path):
    return write_training_set(tmp_path / "data", identities=4, images=3, size=32)


def told(folder, chosen=None, **changed):
    dataset = dataclasses.replace(open_dataset(folder), **changed)
    return fingerprint(dataset, np.arange(len(dataset)) if chosen is None else chosen)


def test_a_copy_elsewhere_is_the_same_data(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    first = told(folder)
    assert told(tmp_path / "copy") == first and (first["images"], first["identities"]) == (12, 4)
    assert people(open_dataset(tmp_path / "copy")) == people(open_dataset(folder))


def test_other_images_labels_or_choices_are_other_data(folder):
    first, labels = told(folder), open_dataset(folder).labels
    digests = {first["digest"], told(folder, labels=labels[::-1])["digest"], told(folder, np.arange(11))["digest"],
               told(folder, np.arange(1, 12))["digest"]}
    assert len(digests) == 4
    content, image = (folder / "train.rec").read_bytes(), jpeg(draw(2, 1, 32))
    assert content.count(image) == 1
    (folder / "train.rec").write_bytes(content.replace(image, image[:-3] + b"\0" + image[-2:]))  # of the same length
    changed = told(folder)
    assert changed["digest"] not in digests and changed["bytes"] == first["bytes"]


def test_the_people_are_those_of_the_names_and_of_the_whole_set(folder):
    table = folder / "identities.csv"
    shown = []
    for names in (None, "abcd", "abce", "abcd"):
        if names:
            table.write_text("label,identity,images\n" + "".join(f"{at},{name},3\n" for at, name in enumerate(names)))
        elif table.exists():
            table.unlink()
        shown.append(people(open_dataset(folder)))
    assert shown[0][NAMES] == "" and len({one[NAMES] for one in shown}) == 3 and shown[1] == shown[3]
    assert len({one[WHOLE_SET] for one in shown}) == 1
    dataset = open_dataset(folder)
    other = people(dataclasses.replace(dataset, labels=dataset.labels[::-1]))
    assert other[NAMES] == shown[3][NAMES] and other[WHOLE_SET] != shown[3][WHOLE_SET]
