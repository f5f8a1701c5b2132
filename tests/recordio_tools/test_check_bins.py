"""check of verification sets: every kind of fault of a `.bin` is found, counted, and its place named."""
import gzip
import io
import json
import pickle
import re
import tarfile

import pytest
from check_cases import check_bin
from recordio_cases import command, picture
from small_sets import jpeg, write_training_set

from common.errors import DataError
from recordio_tools.bins.binfile import write_bin
from recordio_tools.records.dataset import open_dataset


@pytest.mark.parametrize("pairs, same, broken, expected", [
    (20, None, {}, set()), (9, None, {}, {"few-pairs"}), (20, True, {}, {"one-class-fold"}),
    (20, None, {3: b"text"}, {"undecodable"}), (20, None, {4: jpeg(picture(0, 96, 96))}, {"size"}),
    (20, None, {5: jpeg(picture())[:1500]}, {"cut-off-image"})])
def test_verification_sets(tmp_path, pairs, same, broken, expected):
    images = [broken.get(number, jpeg(picture(number % 7))) for number in range(2 * pairs)]
    write_bin(tmp_path / "x.bin", images, [number % 2 == 0 if same is None else same for number in range(pairs)])
    status, _ = command("check", tmp_path / "x.bin")
    assert status == int(bool(expected))
    report = check_bin(tmp_path / "x.bin", 2)
    assert set(report.faults) == expected
    for kind, fault in report.faults.items():
        if broken:
            assert fault.record == list(broken)[0], kind


@pytest.mark.parametrize("same, helps", [([True, False], True), ([True] * 10, False), ([True], False), ([], False)])
def test_other_folds_are_advised_only_where_they_help(tmp_path, capsys, same, helps):
    write_bin(tmp_path / "x.bin", [jpeg(picture(number)) for number in range(2 * len(same))], same)
    assert command("check", tmp_path / "x.bin", "--folds", 3)[0] == 1
    assert ("give --folds" in capsys.readouterr().out) == helps
    assert (command("check", tmp_path / "x.bin", "--folds", 2)[0] == 0) == helps


def test_a_bin_that_is_none(tmp_path, capsys):
    (tmp_path / "x.bin").write_bytes(b"no pickle")
    assert command("check", tmp_path / "x.bin") == (1, "")
    assert "bin-file" in capsys.readouterr().out


def bin_faults(path, capsys):
    status, _ = command("check", path, "--json")
    report, = json.loads(capsys.readouterr().out)["files"]
    assert status == int(bool(report["faults"]))
    return {fault["kind"]: (fault["count"], fault["file"], fault["first_byte"], fault["first_record"])
            for fault in report["faults"]}


def test_bins(tmp_path, capsys):
    path = tmp_path / "x.bin"
    images = [jpeg(picture(number)) for number in range(48)]
    same = [number % 2 == 0 for number in range(24)]

    def write(changes=None, same=same, count=48):
        values = [(changes or {}).get(number, image) for number, image in enumerate(images[:count])]
        path.write_bytes(pickle.dumps((values, same), protocol=2))
        content = path.read_bytes()
        return lambda number: content.index(values[number].decode("latin-1").encode("utf-8"))
    write()
    assert bin_faults(path, capsys) == {}
    at = write({7: b"text that is no image", 5: b"neither is this"})
    assert bin_faults(path, capsys) == {"undecodable": (2, "bin", at(5), 5)}
    write({9: b"", 11: 3})
    assert bin_faults(path, capsys) == {"undecodable": (2, None, None, 9)}
    at = write({6: images[6][:1500]})
    assert bin_faults(path, capsys) == {"cut-off-image": (1, "bin", at(6), 6)}
    at = write({0: jpeg(picture(1, 96, 96)), 30: jpeg(picture(2, 96, 112))})
    assert bin_faults(path, capsys) == {"size": (2, "bin", at(0), 0)}
    write(count=47)
    assert bin_faults(path, capsys) == {"pair-count": (1, None, None, None)}
    at = write(same=same[:20])
    assert bin_faults(path, capsys) == {"pair-count": (1, "bin", at(40), None)}
    at = write(same=same[:9], count=18)
    assert bin_faults(path, capsys) == {"few-pairs": (1, "bin", at(0), None)}
    at = write(same=[True] * 6 + same[6:])
    assert bin_faults(path, capsys) == {"one-class-fold": (2, "bin", at(0), 0)}
    write_bin(path, images, same)
    content = path.read_bytes()
    path.write_bytes(content[:5000])
    count, file, byte, _ = bin_faults(path, capsys)["bin-file"]
    assert (count, file) == (1, "bin") and 0 < byte < 5000  # the operation whose bytes go on past the end
    path.write_bytes(b"")
    assert bin_faults(path, capsys) == {"bin-file": (1, "bin", 0, None)}


@pytest.mark.parametrize("name", ["x.BIN", "x.pkl", "x"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bin_of_another_name_is_one(tmp_path, capsys, name, protocol):
    images = [jpeg(picture(number)) for number in range(48)]
    (tmp_path / name).write_bytes(pickle.dumps((images, [number % 2 == 0 for number in range(24)]), protocol))
    assert command("check", tmp_path / name) == (0, "") and command("info", tmp_path / name) == (0, "")
    assert command("unpack", tmp_path / name, tmp_path / "out") == (0, "")
    assert "24 pairs of 48 different images" in capsys.readouterr().out
    if name == "x.BIN":
        assert command("check", tmp_path) == (0, "")
    (tmp_path / name).write_bytes(b"a\tb\n")
    assert command("check", tmp_path / name)[0] == (1 if name == "x.BIN" else 2)


@pytest.mark.parametrize("name, what", [
    ("gzip", "gzip-compressed, not a .rec; unpack it first"), ("tar", "a tar archive, not a .rec; unpack it first"),
    ("lfs", "a Git LFS pointer, not a .rec; `git lfs pull` fetches the file itself"),
    ("page", "a web page, not a .rec, perhaps from a download that needs a login; download it again"),
    ("text", "a text file, not a .rec")])
def test_what_is_no_rec_is_named_by_every_command(tmp_path, capsys, name, what):
    folder, sound = (write_training_set(tmp_path / name, 3, 3, 32) for name in ("set", "sound"))
    rec = folder / "train.rec"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(rec, "train.rec")
    rec.write_bytes({"gzip": gzip.compress(rec.read_bytes()), "tar": stream.getvalue(),
                     "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
                     "page": b"\xef\xbb\xbf\n<!DOCTYPE HTML>\n" + b"\0" * 100, "text": b"Quota exceeded. " * 9}[name])
    for _ in range(2):
        for arguments in (("unpack", folder, tmp_path / "out"), ("info", rec), ("merge", tmp_path / "out", folder)):
            assert command(*arguments) == (2, f"{rec}: is {what}")
        capsys.readouterr()
        assert command("check", folder, sound, "--json") == (1, "")  # not sound, as a .bin of another kind
        one, other = json.loads(capsys.readouterr().out)["files"]
        assert [(fault["kind"], fault["message"]) for fault in one["faults"]] == [("rec-file", f"{rec}: is {what}")]
        assert "images" not in one and one["bytes"] == rec.stat().st_size
        assert other["sound"] and other["images"] == 9
        assert command("check", folder, "--repair", tmp_path / "out") == (
            1, f"{rec}: is {what}; nothing can be recovered, nothing was written")
        with pytest.raises(DataError, match="is " + re.escape(what)):
            open_dataset(folder)
        (folder / "train.idx").unlink(missing_ok=True)
    assert not (tmp_path / "out").exists()
