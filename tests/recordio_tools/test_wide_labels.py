"""Labels up to 2**24, headers that claim as many: memory and work go with what a file holds, not with what it says."""
import csv
import json
import tracemalloc

import numpy as np
import pytest
from recordio_cases import command, picture
from small_sets import jpeg

from recordio_tools.records import framing
from recordio_tools.records.framing import is_range
from recordio_tools.records.writer import RecordWriter

MOST = (1 << 24) - 1
BOUND = 16e6  # bytes; a number for each label would be 128 MiB


def write(folder, labels, zero=None, property_text=None):
    """A set of few images; zero: what record 0 claims, before honest headers of identities 0 and 1."""
    images = [jpeg(picture(number)) for number in range(len(labels))]
    with RecordWriter(folder / "train.rec") as writer:
        if zero:
            writer.write(0, framing.pack(zero, 0))
        for key, (label, image) in enumerate(zip(labels, images), bool(zero)):
            writer.write(key, framing.pack(float(label), key, image))
        for key, span in ((4, (1, 2)), (5, (2, 4))) if zero else ():
            writer.write(key, framing.pack(span, key))
    if property_text:
        (folder / "property").write_text(property_text)
    return images


@pytest.fixture
def bounded():
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < BOUND


@pytest.mark.parametrize("told", [None, f"{MOST},112,112\n"])
def test_a_set_whose_largest_label_is_enormous(tmp_path, caplog, bounded, told):
    largest = MOST - 1 if told else MOST
    images = write(tmp_path / "set", (0, 5, largest, 5), property_text=told)
    (tmp_path / "set/identities.csv").write_text("label,identity,images\n5,Ann,2\n7,Nobody,0\n")
    assert command("info", tmp_path / "set") == (0, "")
    assert command("unpack", tmp_path / "set", tmp_path / "out") == (0, "")
    assert f"{largest - 2} labels have no image" in caplog.text
    rows = list(csv.DictReader(open(tmp_path / "out/identities.csv")))
    assert [tuple(row.values()) for row in rows] == [
        ("0", "", "1", "00000000"), ("5", "Ann", "2", "00000005_Ann"), (f"{largest}", "", "1", f"{largest}")]
    assert (tmp_path / f"out/{largest}/2.jpg").read_bytes() == images[2]
    assert (tmp_path / "out/unpack.lst").read_text().splitlines()[-1] == f"1\t{largest}/2.jpg\t{largest}"
    assert command("merge", tmp_path / "joined", tmp_path / "set") == (0, "")
    assert (tmp_path / "joined/property").read_text() == "3,112,112\n"
    assert command("check", tmp_path / "set") == (1, "")
    assert command("pairs", "make", tmp_path / "set", "--out", tmp_path / "x.bin", "--pairs", 2, "--folds", 2)[0] == 2


def test_repair_names_the_first_of_millions_of_lost_identities(tmp_path, bounded):
    write(tmp_path / "set", (0, 5, MOST - 1, 5), property_text=f"{MOST},112,112\n")
    assert command("check", tmp_path / "set", "--repair", tmp_path / "out") == (1, "")
    report = json.loads((tmp_path / "out/repair-report.json").read_text())["training_sets"][0]
    assert report["identities_lost"] == MOST - 3
    named = [entry["label"] for entry in report["identities_lost_named"]]
    assert named == [label for label in range(1002) if label not in (0, 5)]


def test_record_0_claims_millions_of_headers(tmp_path, bounded):
    write(tmp_path / "set", (0, 1, 1), zero=[4.0, float(MOST)])
    assert command("check", tmp_path / "set", "--repair", tmp_path / "out") == (1, "")
    assert command("check", tmp_path / "out") == (0, "")
    for argv in (("unpack", tmp_path / "set", tmp_path / "new"), ("merge", tmp_path / "new", tmp_path / "set")):
        status, line = command(*argv)
        assert status == 2 and "the index lists 2 such records" in line and not (tmp_path / "new").exists()


def test_ranges():
    keys = np.arange(4, 9)
    assert is_range(keys, 4.0, 9.0) and is_range(keys[:0], 3.0, 3.0)
    for first, last in ((4.0, 10.0), (3.0, 8.0), (4.5, 9.5), (-5.0, 0.0), (float("nan"), 9.0), (0.0, float("inf"))):
        assert not is_range(keys, first, last)
    assert not is_range(np.array([4, 5, 7, 8, 9]), 4.0, 9.0)
