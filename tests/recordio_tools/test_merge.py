"""merge: what MXNet's own reader finds in the joined set, and who stays out."""
import csv
import os
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest
from merge_cases import contents, images, named_set, names, report, two  # noqa: F401
from recordio_cases import command, drawn_faces, picture, real_faces, write_image
from repository import REPO
from small_sets import jpeg, write_training_set

from recordio_tools.merge import merging
from recordio_tools.records.dataset import open_dataset


def test_sets_of_every_layout_are_joined(tmp_path):
    ours = named_set(tmp_path / "a", {"Ann": [1, 2], "Bob": [3]})
    theirs = write_training_set(tmp_path / "b", identities=2, images=3)
    for part, keys in enumerate(([0, 1], [2, 3])):
        plain = mx.recordio.MXRecordIO(str(tmp_path / f"c.rec.part00{part}"), "w")
        for key in keys:
            plain.write(mx.recordio.pack(mx.recordio.IRHeader(0, [1 - key % 2, 9.0], key, 0), jpeg(picture(20 + key))))
        plain.close()
    assert command("merge", tmp_path / "out", ours, theirs, tmp_path / "c", "--workers", 2) == (0, "")
    found = contents(tmp_path / "out")
    assert found[0] == images([1, 2]) and found[1] == images([3])
    other = contents(theirs)
    assert (found[2], found[3]) == (other[0], other[1])
    assert found[4] == [jpeg(picture(21)), jpeg(picture(23))] and found[5] == [jpeg(picture(20)), jpeg(picture(22))]
    assert names(tmp_path / "out") == ["Ann", "Bob", "", "", "", ""]
    assert command("check", tmp_path / "out") == (0, "")
    rows = list(csv.DictReader(open(tmp_path / "out/identities.csv")))
    assert [int(row["images"]) for row in rows] == [2, 1, 3, 3, 2, 2]
    assert rows[5]["source"] == str(tmp_path / "c") and rows[5]["label"] == "5"
    entry = report(tmp_path / "out")
    assert (entry["images"], entry["identities"], entry["inputs"][1]["images_taken"]) == (13, 6, 6)


def test_the_bytes_do_not_depend_on_the_workers(two, tmp_path):
    for workers in (1, 3):
        assert command("merge", tmp_path / f"out{workers}", *two, "--workers", workers) == (0, "")
    for name in ("train.rec", "train.idx", "property", "identities.csv", "merge-report.json"):
        assert (tmp_path / "out1" / name).read_bytes() == (tmp_path / "out3" / name).read_bytes()


def test_a_plain_set_is_read_by_mxnets_iterators(shared_data, tmp_path):
    real_faces(shared_data, tmp_path / "faces", identities=5, images=3)
    assert command("pack", tmp_path / "faces", tmp_path / "set")[0] == 0
    assert command("merge", tmp_path / "out", tmp_path / "set", "--plain") == (0, "")
    expected = [(label, data) for label, data in sorted(contents(tmp_path / "set").items()) for data in data]
    dataset = mx.gluon.data.vision.ImageRecordDataset(str(tmp_path / "out/train.rec"))
    assert len(dataset) == 15
    decoded = [mx.image.imdecode(data).asnumpy() for _, data in expected]
    for position in range(15):
        image, label = dataset[position]
        assert label == expected[position][0]
        np.testing.assert_array_equal(image.asnumpy(), decoded[position])
    batches = mx.io.ImageRecordIter(path_imgrec=str(tmp_path / "out/train.rec"), batch_size=5, shuffle=False,
                                    path_imgidx=str(tmp_path / "out/train.idx"), data_shape=(3, 112, 112),
                                    preprocess_threads=1)
    labels, pixels = zip(*((batch.label[0].asnumpy(), batch.data[0].asnumpy()) for batch in batches))
    assert np.concatenate(labels).tolist() == [label for label, _ in expected]
    np.testing.assert_array_equal(np.concatenate(pixels).transpose(0, 2, 3, 1), decoded)
    ours = open_dataset(tmp_path / "out")
    assert ours.num_classes == 5 and ours.keys.tolist() == list(range(15))


@pytest.mark.parametrize("action, expected", [
    ("keep", [[1, 2, 3], [4, 5], [6], [9, 10], [2, 7], [8]]), ("join", [[1, 2, 3, 7], [4, 5, 8], [6], [9, 10]]),
    ("drop", [[1, 2, 3], [4, 5], [6], [9, 10]])])
def test_the_same_name_in_two_sets(two, tmp_path, caplog, action, expected):
    assert command("merge", tmp_path / "out", *two, "--same-name", action) == (0, "")
    assert list(contents(tmp_path / "out").values()) == [images(seeds) for seeds in expected]
    entry = report(tmp_path / "out")
    assert entry["identities_joined"] == 2 * (action == "join")
    assert entry["repeated_images_left_out"] == (action == "join")  # picture 2 of Ann is in both
    assert ("2 identities have the name of an earlier one" in caplog.text) == (action == "keep")
    if action == "drop":
        assert entry["removed"] == {"same name as an earlier one": {"identities": 2, "images": 3}}
        assert {reason: len(who) for reason, who in entry["identities_removed"].items()} == {
            "same name as an earlier one": 2}
    if action == "join":
        rows = list(csv.DictReader(open(tmp_path / "out/identities.csv")))
        assert rows[0]["source"] == f"{two[0]}; {two[1]}" and rows[0]["images"] == "4"


def test_numbers_are_not_names(tmp_path):
    one = named_set(tmp_path / "a", {"0": [1], "1": [2]})
    other = named_set(tmp_path / "b", {"0": [3], "1": [4]})
    assert command("merge", tmp_path / "out", one, other, "--same-name", "join") == (0, "")
    assert len(contents(tmp_path / "out")) == 4


def test_names_of_a_packed_set_and_of_a_folder(two, tmp_path):
    assert command("merge", tmp_path / "out", two[0], "--exclude-names-of", two[1]) == (2, f"1 of 3 identities would "
                   f"be left, a training set needs two; removed: 2 named in {two[1]}")
    (tmp_path / "people").mkdir()
    write_image(tmp_path / "people/CY/1.jpg", picture(1))
    assert command("merge", tmp_path / "out", *two, "--exclude-names-of", tmp_path / "people") == (0, "")
    assert names(tmp_path / "out") == ["Ann", "Bob Roy", "Dee", "ann", "bob_roy"]
    rows = list(csv.DictReader(open(tmp_path / "out/matches.csv")))
    assert [(row["identity"], row["other_identity"], row["action"]) for row in rows] == [("Cy", "CY", "removed")]
    status, line = command("merge", tmp_path / "out", *two, "--overwrite", "--exclude-names-of",
                           write_training_set(tmp_path / "nameless"))
    assert status == 2 and "has no identities.csv" in line
    status, line = command("merge", tmp_path / "out", *two, "--overwrite", "--exclude-names-of",
                           named_set(tmp_path / "numbers", {"001": [1], "002": [2]}))
    assert status == 2 and "numbers/set: has only numbers for names" in line


@pytest.mark.parametrize("rows, expected, unknown", [
    ("identity\nANN\n", [[4, 5], [6], [9, 10], [8]], []),
    ("identity,set\nann,b\n", [[1, 2, 3], [4, 5], [6], [9, 10], [8]], []),
    ("set,label\n{b},0\n{a},2\n", [[1, 2, 3], [4, 5], [2, 7], [8]], []),
    ("set,identity,image\na,Ann,2\n", [[1, 3], [4, 5], [6], [9, 10], [2, 7], [8]], []),
    ("set,image\na,2.jpg\n{a},6.jpg\n", [[1, 3], [4, 5], [9, 10], [2, 7], [8]], []),
    ("note,identity\nx,Nobody\ny,Cy\n", [[1, 2, 3], [4, 5], [9, 10], [2, 7], [8]],
     ["line 2: there is no identity Nobody"]),
    ("Name;file\nAnn;2.jpg\nCy;\n", [[1, 3], [4, 5], [9, 10], [2, 7], [8]], []),
    ("set,label,identity\na,7,\nz,0,\nz,,Ann\nb,,Ann\n", [[1, 2, 3], [4, 5], [6], [9, 10], [8]],
     ["line 2: there is no set a, label 7", "line 3: there is no set z, label 0",
      "line 4: there is no set z, identity Ann"]),
    ("set,image\na,Ann/2.jpg\na,faces\\Cy\\6.JPG\na,Cy/1.jpg\n", [[1, 3], [4, 5], [9, 10], [2, 7], [8]],
     ["line 4: there is no set a, image Cy/1.jpg"]),
    ("set,label,image\na,,1.0\nb,1.0,\n", [[2, 3], [4, 5], [6], [9, 10], [8]], []),
    ("set,image\na,77\nz,1\na,1\n", [[2, 3], [4, 5], [6], [9, 10], [2, 7], [8]],
     ["line 2: there is no set a, image 77", "line 3: there is no set z, image 1"]),
    ("identity,action\nAnn,joined\nCy,removed\n", [[1, 2, 3], [4, 5], [9, 10], [2, 7], [8]], [])])
def test_exclusion_tables(tmp_path, caplog, rows, expected, unknown):
    one = named_set(tmp_path / "1", {"Ann": [1, 2, 3], "Bob Roy": [4, 5], "Cy": [6]})
    other = named_set(tmp_path / "2", {"ann": [2, 7], "bob_roy": [8], "Dee": [9, 10]})
    for source, name in ((one, "a"), (other, "b")):
        source.rename(tmp_path / name)
    (tmp_path / "x.csv").write_text(rows.format(a=tmp_path / "a", b=tmp_path / "b"))
    assert command("merge", tmp_path / "out", tmp_path / "a", tmp_path / "b", "--exclude",
                   tmp_path / "x.csv") == (0, "")
    assert list(contents(tmp_path / "out").values()) == [images(seeds) for seeds in expected]
    assert report(tmp_path / "out")["unknown_rows"] == [f"{tmp_path / 'x.csv'}: {line}" for line in unknown]
    assert all(line in caplog.text for line in unknown)


def test_one_set_needs_no_set_column_and_small_ones_go(two, tmp_path):
    (tmp_path / "x.csv").write_text("label,image\n0,1\n1,\n")
    assert command("merge", tmp_path / "out", two[0], "--exclude", tmp_path / "x.csv") == (0, "")
    assert list(contents(tmp_path / "out").values()) == [images([2, 3]), images([6])]
    assert command("merge", tmp_path / "again", two[0], *("--exclude", tmp_path / "x.csv") * 2) == (0, "")
    assert contents(tmp_path / "again") == contents(tmp_path / "out") and not report(tmp_path / "again")["unknown_rows"]
    assert command("merge", tmp_path / "few", *two, "--min-images", 2, "--same-name", "join") == (0, "")
    assert names(tmp_path / "few") == ["Ann", "Bob Roy", "Dee"]
    assert report(tmp_path / "few")["removed"] == {"fewer than 2 images": {"identities": 1, "images": 1}}
    assert report(tmp_path / "few")["identities_removed"] == {"fewer than 2 images": ["Cy"]}


def test_rows_that_name_nothing_are_counted_on_the_screen_and_listed_in_the_report(two, tmp_path, caplog):
    (tmp_path / "x.csv").write_text("identity\ncy\n" + "".join(f"nobody{number}\n" for number in range(5)))
    assert command("merge", tmp_path / "out", *two, "--exclude", tmp_path / "x.csv") == (0, "")
    assert caplog.text.count("there is no identity") == 3
    assert f"2 more, see {tmp_path / 'out/merge-report.json'}" in caplog.text
    assert len(report(tmp_path / "out")["unknown_rows"]) == 5


def test_merging_alone_needs_no_mxnet_and_keeps_odd_names(tmp_path):
    drawn_faces(tmp_path / "faces", identities=2, images=1)
    os.rename(os.fsencode(tmp_path / "faces/person1"), os.fsencode(tmp_path) + b"/faces/b\xff\xc3\xb6")
    assert command("pack", tmp_path / "faces", tmp_path / "set")[0] == 0
    code = "import sys; sys.modules['mxnet'] = None; from recordio_tools.__main__ import main; main(sys.argv[1:])"
    run = subprocess.run([sys.executable, "-c", code, "merge", tmp_path / "out", tmp_path / "set"], cwd=REPO,
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert b"b\xff\xc3\xb6" in (tmp_path / "out/identities.csv").read_bytes()
    assert merging.REPORT in os.listdir(tmp_path / "out")


def test_sets_without_names_get_none_that_a_later_merge_would_take_for_real(tmp_path):
    first = write_training_set(tmp_path / "x" / "data", identities=3, images=2)
    second = write_training_set(tmp_path / "y" / "data", identities=3, images=2, size=112, labels=[2, 1, 0])
    for name, source in (("c1", first), ("c2", second)):
        assert command("merge", tmp_path / name, source) == (0, "")
        assert names(tmp_path / name) == ["", "", ""]
    assert command("merge", tmp_path / "all", tmp_path / "c1", tmp_path / "c2", "--same-name", "join") == (0, "")
    assert len(contents(tmp_path / "all")) == 6


def test_copies_do_not_count_for_the_least_images(tmp_path, capsys):
    one = named_set(tmp_path / "a", {"Ann": [1, 2, 3], "Bob": [4, 5], "Eve": [8, 9, 10]})
    other = named_set(tmp_path / "b", {"Ann": [1, 2, 3], "Bob": [6, 7], "Eve": [8, 9, 11]})
    flags = "--same-name", "join", "--min-images", 4
    capsys.readouterr()
    assert command("merge", tmp_path / "out", one, other, *flags, "--dry-run") == (0, "")
    assert "at most 10 images of 2 identities would be" in capsys.readouterr().out
    assert command("merge", tmp_path / "out", one, other, *flags) == (0, "")
    assert names(tmp_path / "out") == ["Bob", "Eve"]
    assert {label: len(images) for label, images in contents(tmp_path / "out").items()} == {0: 4, 1: 4}
