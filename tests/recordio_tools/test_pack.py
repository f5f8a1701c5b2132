"""pack: what MXNet reads of it, odd images, the same bytes always, and nothing half made."""
import csv
import json
import os
import struct

import mxnet as mx
import numpy as np
import pytest
from recordio_cases import command, drawn_faces, picture, real_faces, write_image

from images.codec import decode
from images.prepare import fit
from images.sources import natural
from recordio_tools.pack import packing
from recordio_tools.records.dataset import open_dataset


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def report_of(folder):
    return json.loads((folder / "pack-report.json").read_text("utf-8"))


def test_real_faces_come_back_through_mxnet_byte_for_byte(shared_data, tmp_path):
    faces = real_faces(shared_data, tmp_path / "faces", 4, 3)
    assert command("pack", faces, tmp_path / "out") == (0, "")
    rec = mx.recordio.MXIndexedRecordIO(str(tmp_path / "out/train.idx"), str(tmp_path / "out/train.rec"), "r")
    assert rec.keys == list(range(1 + 12 + 4))
    header, rest = mx.recordio.unpack(rec.read_idx(0))
    assert header.flag == 2 and list(header.label) == [13, 17] and rest == b""
    names = sorted(os.listdir(faces))
    for label, name in enumerate(names):
        header, rest = mx.recordio.unpack(rec.read_idx(13 + label))
        assert header.flag == 2 and rest == b"" and list(header.label) == [1 + 3 * label, 4 + 3 * label]
        for index, file in enumerate(sorted(os.listdir(faces / name))):
            header, image = mx.recordio.unpack(rec.read_idx(1 + 3 * label + index))
            assert header.flag == 0 and header.label == label and header.id == 1 + 3 * label + index
            assert image == (faces / name / file).read_bytes()
    assert (tmp_path / "out/property").read_text() == "4,112,112\n"
    with open(tmp_path / "out/identities.csv", encoding="utf-8") as stream:
        assert list(csv.reader(stream)) == [["label", "identity", "images"],
                                            *([str(label), name, "3"] for label, name in enumerate(names))]
    dataset = open_dataset(tmp_path / "out")
    np.testing.assert_array_equal(dataset.labels, np.repeat(range(4), 3))
    assert (dataset.num_classes, dataset.height, dataset.width) == (4, 112, 112)


def test_mxnets_image_iterator_reads_the_images(shared_data, tmp_path):
    """It cannot pass over header records, so an image-only copy made with MXNet's writer from ours is read."""
    faces = real_faces(shared_data, tmp_path / "faces", 3, 2)
    command("pack", faces, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    rec = mx.recordio.MXIndexedRecordIO(str(tmp_path / "out/train.idx"), str(tmp_path / "out/train.rec"), "r")
    only = mx.recordio.MXIndexedRecordIO(str(tmp_path / "i.idx"), str(tmp_path / "i.rec"), "w")
    for key in dataset.keys.tolist():
        only.write_idx(key, rec.read_idx(key))
    only.close()
    batch = next(mx.io.ImageRecordIter(path_imgrec=str(tmp_path / "i.rec"), data_shape=(3, 112, 112), batch_size=6,
                                       preprocess_threads=1, shuffle=False))
    np.testing.assert_array_equal(batch.label[0].asnumpy(), dataset.labels)
    ours = np.stack([decode(dataset.record_file.read(key).content) for key in dataset.keys.tolist()])
    np.testing.assert_array_equal(batch.data[0].asnumpy(), ours.transpose(0, 3, 1, 2))


def test_the_bytes_do_not_depend_on_workers_and_depend_on_the_seed(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 12, 7, height=60, width=80)
    write_image(faces / "person3/odd.png", picture(5))
    (faces / "person4/odd.jpg").write_bytes(b"no image")
    flags = ["--resize", "--max-images", 5, "--shuffle", "--quality", 80]
    for name, more in (("one", ["--workers", 1]), ("many", ["--workers", 5]), ("seed", ["--seed", 1])):
        assert command("pack", faces, tmp_path / name, *flags, *more)[0] == 0
    one, many, seed = (contents(tmp_path / name) for name in ("one", "many", "seed"))
    assert one == many and one.keys() == seed.keys()
    assert one["train.rec"] != seed["train.rec"] and one["identities.csv"] != seed["identities.csv"]
    images = {row[1]: int(row[2]) for row in csv.reader(one["identities.csv"].decode().splitlines()[1:])}
    assert images == {f"person{number}": 4 if number == 4 else 5 for number in range(12)}


def test_identities_are_in_natural_order_and_keep_names_of_any_script(tmp_path):
    names = ["n9", "n10", "山田", "Ä, \"b\"", "n010", "n1x"]
    for seed, name in enumerate(names):
        write_image(tmp_path / "faces" / name / "1.jpg", picture(seed))
    assert command("pack", tmp_path / "faces", tmp_path / "out")[0] == 0
    with open(tmp_path / "out/identities.csv", encoding="utf-8") as stream:
        assert [row[1] for row in csv.reader(stream)][1:] == ["n1x", "n9", "n010", "n10", "Ä, \"b\"", "山田"]
    assert sorted(["a2b10", "a2b9", "a10", "a1"], key=natural) == ["a1", "a2b9", "a2b10", "a10"]


def exif_rotated(data):
    """The JPEG with an EXIF segment that says orientation 6: turn it by 90 degrees to the right to see it upright."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    body = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def test_other_kinds_of_images_become_rgb_jpegs(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 2, 1)
    odd, expected = faces / "z", {}
    for name in ("a.png", "b.bmp", "c.webp", "d.tiff"):
        expected[name] = picture(1)
    expected["e-gray.png"], expected["f-gray.jpg"] = picture(2, channels=1), picture(3, channels=1)
    expected["g-alpha.png"], expected["h-16bit.png"] = picture(4, channels=4), picture(5, dtype=np.uint16)
    for name, image in expected.items():
        write_image(odd / name, image)
    upright = picture(6)
    write_image(odd / "i-exif.jpg", np.rot90(upright))
    (odd / "i-exif.jpg").write_bytes(exif_rotated((odd / "i-exif.jpg").read_bytes()))
    expected["i-exif.jpg"] = upright
    assert command("pack", faces, tmp_path / "out", "--quality", 98)[0] == 0
    dataset = open_dataset(tmp_path / "out")
    for key, (name, image) in zip(dataset.keys[dataset.labels == 2].tolist(), sorted(expected.items())):
        content = dataset.record_file.read(key).content
        assert content.startswith(b"\xff\xd8\xff")
        rgb = (image // 257).astype(np.uint8) if image.dtype == np.uint16 else image
        rgb = np.repeat(rgb, 3, 2) if rgb.shape[2] == 1 else rgb[..., :3]
        assert np.abs(decode(content).astype(int) - rgb).mean() < 4, name
        # what MXNet sees is what we see
        np.testing.assert_array_equal(mx.image.imdecode(content).asnumpy(), decode(content))
    treatment = report_of(tmp_path / "out")["images_by_treatment"]
    assert treatment == {"converted": 8, "copied": 3}  # the gray JPEG is copied


def test_a_cmyk_jpeg_is_converted(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    faces = drawn_faces(tmp_path / "faces", 2, 1)
    image_module.fromarray(picture(7)).convert("CMYK").save(faces / "person0/cmyk.jpg", quality=95)
    assert command("pack", faces, tmp_path / "out")[0] == 0
    assert report_of(tmp_path / "out")["images_by_treatment"] == {"converted": 1, "copied": 2}
    dataset = open_dataset(tmp_path / "out")
    got = decode(dataset.record_file.read(2).content).astype(int)
    assert np.abs(got - picture(7)).mean() < 6


def test_files_that_are_not_images_are_left_out_counted_and_named(shared_data, tmp_path, caplog):
    faces = real_faces(shared_data, tmp_path / "faces", 3, 3)
    first, second = sorted(faces.iterdir())[:2]
    whole = sorted(first.iterdir())[0].read_bytes()
    (first / "a.jpg").write_bytes(b"this is text")
    (first / "b.jpg").write_bytes(b"")
    (first / "c.jpg").write_bytes(whole[:len(whole) * 2 // 3])
    (second / "d.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (second / "notes.txt").write_text("no image by its name")
    (faces / "nobody").mkdir()
    assert command("pack", faces, tmp_path / "out")[0] == 0
    report = report_of(tmp_path / "out")
    assert report["images"] == 9 and report["identities"] == 3 and report["other_files"] == 1
    assert report["other_files_first"] == [str(second / "notes.txt")]
    assert report["images_skipped"] == {"broken link": 1, "empty": 1, "no image": 1, "truncated": 1}
    assert report["files_skipped"]["truncated"] == [str(first / "c.jpg")]
    assert f"left out, no image: {first / 'a.jpg'}" in caplog.text
    assert len(open_dataset(tmp_path / "out")) == 9


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_a_file_cut_off_anywhere_is_never_packed(tmp_path, suffix):
    faces = drawn_faces(tmp_path / "faces", 2, 1)
    data = write_image(tmp_path / f"x{suffix}", picture(3)).read_bytes()
    for share in range(1, 20):
        (faces / f"person0/cut{share}{suffix}").write_bytes(data[:len(data) * share // 20])
    assert command("pack", faces, tmp_path / "out")[0] == 0
    assert report_of(tmp_path / "out")["images"] == 2


def test_an_identity_counts_its_usable_images_for_min_images(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 4, 3)
    (faces / "person1/0.jpg").write_bytes(b"broken")
    assert command("pack", faces, tmp_path / "out", "--min-images", 3)[0] == 0
    report = report_of(tmp_path / "out")
    assert report["identities_left_out"] == [{"identity": "person1", "images": 2}]
    dataset = open_dataset(tmp_path / "out")
    np.testing.assert_array_equal(dataset.labels, np.repeat([0, 1, 2], 3))
    assert report["images"] == sum(report["images_by_treatment"].values()) == 9


def test_resize_covers_and_cuts(tmp_path):
    image = np.zeros((60, 120, 3), np.uint8)
    image[:, 30:90] = 200
    scaled = fit(image, 112, 112)
    assert scaled.shape == (112, 112, 3) and scaled[:, 1:-1].min() == 200
    assert fit(picture(0, 300, 100), 112, 96).shape == (112, 96, 3)
    assert fit(picture(0, 1, 1000), 112, 112).shape == (112, 112, 3)
    faces = drawn_faces(tmp_path / "faces", 2, 2, height=150, width=130)
    assert command("pack", faces, tmp_path / "out", "--resize", "--image-size", "128,96")[0] == 0
    assert (tmp_path / "out/property").read_text() == "2,128,96\n"
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.height, dataset.width) == (128, 96)


def test_an_insightface_list(shared_data, tmp_path):
    faces = real_faces(shared_data, tmp_path / "faces", 3, 2)
    paths = [path for folder in sorted(faces.iterdir()) for path in sorted(folder.iterdir())]
    labels = [40, 40, 7, 7, 1000, 1000]
    lines = [f"1\t{path.relative_to(faces)}\t{label}\t0\t0\t112\t112" + "\t1.5" * 10 + "\r\n"
             for path, label in zip(paths, labels)]
    (tmp_path / "faces.lst").write_text("".join(lines))
    assert command("pack", faces, tmp_path / "out", "--lst", tmp_path / "faces.lst")[0] == 0
    assert (tmp_path / "out/identities.csv").read_text() == "label,identity,images\n0,7,2\n1,40,2\n2,1000,2\n"
    dataset = open_dataset(tmp_path / "out")
    assert dataset.record_file.read(1).content == paths[2].read_bytes()
    (faces / "here.lst").write_text("".join(lines))
    assert command("pack", faces / "here.lst", tmp_path / "again")[0] == 0
    assert contents(tmp_path / "again")["train.rec"] == contents(tmp_path / "out")["train.rec"]


def test_a_failing_disk_leaves_the_old_set_alone(tmp_path, monkeypatch):
    faces = drawn_faces(tmp_path / "faces")
    command("pack", faces, tmp_path / "out")
    before = contents(tmp_path / "out")
    write_image(faces / "person0/more.jpg", picture(77))

    def full(self, framed, lengths, extend=packing.RecordWriter.extend):
        if self.count >= 5:
            raise OSError(28, "No space left on device")
        return extend(self, framed, lengths)

    monkeypatch.setattr(packing.RecordWriter, "extend", full)
    status, line = command("pack", faces, tmp_path / "out", "--overwrite")
    assert status == 1 and "the disk is full" in line
    assert contents(tmp_path / "out") == before
