"""merge: what cannot be joined is told before, and what is cut short leaves the old set."""
import csv
import errno

import pytest
from merge_cases import contents, images, named_set, names, report, two  # noqa: F401
from recordio_cases import command
from small_sets import write_training_set, write_verification_set

from recordio_tools.merge import merging


@pytest.mark.parametrize("rows, message", [
    ("label\n0\n", "line 2: gives a label without its set"), ("image\n5\n", "line 2: gives an image without its set"),
    ("set,label\na,x\n", "line 2: label 'x' is not a whole number"),
    ("set,label\na,.0\n", "line 2: label '.0' is not a whole number"),
    ("set,image\na,face\n", "line 2: image 'face' is not"),
    ("set,image\na,p/001.jpg\n", "line 2: image 'p/001.jpg' is not a record key, nor a file as unpack names it"),
    ("Path;identity\np/a.jpg;Ann\n", "line 2: image 'p/a.jpg' is not a record key"),
    ("who\nAnn\n", "not a first line that names the columns"), ("", "line 1 is"),
    ("set,identity\na,\n", "line 2: names neither"),
    ("identity\nAnne\nBob\n", "line 2: there is no identity Anne, and no other row matches anything"),
    ("set,label\nc,0\n", "line 2: there is no set c, label 0, and no other row matches anything"),
    (None, "there is no such file|cannot be read")])
def test_tables_that_are_none(two, tmp_path, rows, message):
    if rows is not None:
        (tmp_path / "x.csv").write_text(rows)
    status, line = command("merge", tmp_path / "out", *two, "--exclude", tmp_path / "x.csv")
    assert status == 2 and "x.csv" in line and any(part in line for part in message.split("|"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rows, message", [("identity\n0007\n12\n", "line 3: there is no identity 12, but 0012;"),
                                           ("name,set\n7.0,\n", "line 2: there is no identity 7.0, but 0007;"),
                                           ("identity,image\n7,1\n", "line 2: there is no identity 7, but 0007;")])
def test_numbers_that_a_spreadsheet_made_of_names_do_not_lose_an_exclusion(tmp_path, rows, message):
    people = named_set(tmp_path / "p", {"0007": [1], "0012": [2], "Ann": [3], "Bob": [4]})
    (tmp_path / "x.csv").write_text(rows)
    status, line = command("merge", tmp_path / "out", people, "--exclude", tmp_path / "x.csv")
    assert status == 2 and f"x.csv: {message}" in line and not (tmp_path / "out").exists()


def test_what_cannot_be_joined_is_reported_before_anything_is_written(two, tmp_path):
    wide = named_set(tmp_path / "w", {"Ann": [1], "Bob": [2]}, size=(112, 96))
    bad = write_training_set(tmp_path / "bad")
    (bad / "train.rec").write_bytes((bad / "train.rec").read_bytes()[:-8])
    before = (two[0] / "train.rec").read_bytes()
    (tmp_path / "loop").symlink_to("loop")
    pairs = write_verification_set(tmp_path / "x.bin", pairs=10)
    out, duplicates = tmp_path / "out", ("--duplicates", "join", "--model")
    for argv, message in (((out, two[0], wide), "its images are 112x96, those of"), ((two[0], *two), "lies in OUT"),
                          ((out, two[0], two[0] / "train.rec"), "is given twice"), ((out, bad, two[0]), "truncated"),
                          ((tmp_path / "loop", *two), "loop: is not a folder"),
                          ((out, tmp_path / "none"), "no such file"),
                          ((out, two[0], pairs), "x.bin: is a verification set, not a training set; --overlap-with"),
                          ((two[0] / "property", two[1]), "is not a folder"),
                          ((out, *two, "--overlap-with", two[1]), "--model PREFIX,EPOCH"),
                          ((out, *two, "--model", "a,0"), "is only used with"),
                          ((out, *two, *duplicates, "a,0", "--threshold", "50"), "is between"),
                          ((out, *two, "--duplicates", "join", "--threshold", "0.7"), "is only used with --model"),
                          *(((out, *two, "--overwrite", "--dry-run", "--matches", file), "is the name of a set's file")
                            for file in (two[0] / "identities.csv", out / "train.rec", two[1] / "train.idx")),
                          ((out, *two, *duplicates, tmp_path / "a,0"), "there is no")):
        status, line = command("merge", *argv)
        assert status == 2 and message in line, line
    assert not (tmp_path / "out").exists() and (two[0] / "train.rec").read_bytes() == before


def test_a_dry_run_writes_nothing(two, tmp_path, capsys):
    assert command("merge", tmp_path / "out", *two, "--same-name", "join", "--dry-run") == (0, "")
    assert "11 images of 4 identities would be in" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert command("merge", tmp_path / "out", *two, "--same-name", "drop", "--dry-run", "--matches",
                   tmp_path / "m.csv") == (0, "")
    assert [row["action"] for row in csv.DictReader(open(tmp_path / "m.csv"))] == ["removed"] * 2


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["write", "close"])
def test_what_is_cut_short_leaves_the_old_set(two, tmp_path, monkeypatch, failure, where):
    assert command("merge", tmp_path / "old", two[0]) == (0, "")
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}
    calls = []
    original = getattr(merging.RecordWriter, where)

    def fail(self, *args):
        calls.append(args)
        if len(calls) % 5 == 0 or where == "close":
            raise failure
        return original(self, *args)

    monkeypatch.setattr(merging.RecordWriter, where, fail)
    for target in ("old", "new"):
        if isinstance(failure, OSError):
            status, line = command("merge", tmp_path / target, *two, "--overwrite")
            assert status == 1 and "the disk is full; what was there before was not touched" in line
        else:
            with pytest.raises(KeyboardInterrupt):
                command("merge", tmp_path / target, *two, "--overwrite")
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_a_merge_that_joins_everything_says_so(tmp_path):
    sets = [named_set(tmp_path / "a", {"Ann": [1, 2], "ann": [3]}), named_set(tmp_path / "b", {"ANN": [4], "Ann": [5]})]
    status, line = command("merge", tmp_path / "out", *sets, "--same-name", "join")
    assert status == 2 and "1 of 4 identities would be left" in line
    assert "joined with others: 3 (--same-name and --duplicates, whose default, keep, leaves them apart)" in line
    assert command("merge", tmp_path / "out", *sets) == (0, "")
