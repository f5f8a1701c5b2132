"""Rows of a batch: the pixels of MXNet's own reader whatever a record is like, the short way and the long."""
import cv2
import mxnet as mx
import numpy as np
import pytest
from small_sets import draw, jpeg

from images.codec import decode
from images.plain_jpeg import MOST_KNOWN, MOST_LOOKS, FewScans
from recordio_tools.records import framing
from recordio_tools.records.dataset import open_dataset
from training.data.augmentation import Augmentation
from training.data.decode import Decoder

SIDE = 48


def coded(form, *settings):
    return lambda image: cv2.imencode(form, image, list(settings))[1].tobytes()


KINDS = [jpeg, coded(".png"), coded(".bmp"), lambda image: coded(".jpg")(image[..., 0]),
         coded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1), coded(".jpg", cv2.IMWRITE_JPEG_OPTIMIZE, 1),
         lambda image: jpeg(image) + b"\0" * (-len(jpeg(image)) % 4) + framing.MAGIC_BYTES * 2,  # a record in parts
         lambda image: b"nothing", lambda image: jpeg(image[:40]), lambda image: jpeg(image)[:-200]]
GOOD = 7  # the first of them


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Four images of each kind, of identities 0 and 1, every second one with two labels."""
    folder = tmp_path_factory.mktemp("mixed")
    record = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "w")
    for key in range(4 * len(KINDS)):
        label = float(key % 2) if key // 2 % 2 else [float(key % 2), 7.0]
        content = KINDS[key // 4](draw(key % 2, key, SIDE))
        record.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, label, key, 0), content))
    record.close()
    return open_dataset(folder)


def test_every_kind_of_record_gives_the_pixels_of_mxnet_or_is_replaced_with_its_fault(mixed, monkeypatch):
    index = np.random.RandomState(0).permutation(len(mixed))
    mirrored = np.arange(len(index)) % 3 == 0
    decoder = Decoder(mixed, np.arange(len(mixed)), Augmentation(), seed=3)
    at_length, long_way = decoder._decode_or_replace, []
    monkeypatch.setattr(decoder, "_decode_or_replace",
                        lambda row, *drawn: long_way.append(drawn[0]) or at_length(row, *drawn))
    for _ in range(2):  # then with headers known
        rows = np.zeros((len(index), SIDE, SIDE, 3), np.uint8)
        used, faults = decoder.decode(rows, index, mirrored, 1000)
        for row, image, turned in zip(rows, used, mirrored):
            content = mixed.record_file.read(int(mixed.keys[image])).content
            expected = mx.image.imdecode(content).asnumpy()
            np.testing.assert_array_equal(row, expected[:, ::-1] if turned else expected)
        good = mixed.keys[index] < 4 * GOOD
        np.testing.assert_array_equal(used[good], index[good])
        assert (mixed.keys[used] < 4 * GOOD).all() and set(mixed.keys[index[~good]]) == set(faults)
        assert {fault.split(",")[0] for fault in faults.values()} == {"is not an image that OpenCV reads",
                                                                     "is truncated", "is 40x48"}
    assert sorted(set(mixed.keys[long_way] // 4)) == [1, 2, 6, *sorted(set(mixed.keys[index[~good]] // 4))]


def test_an_image_is_the_same_in_any_company(mixed):
    """Also with drawn augmentation, and the replacements."""
    augmentation, index = Augmentation(True, 20, 2), np.arange(len(mixed))
    mirrored = index % 2 == 0
    rows = np.empty((len(index), SIDE, SIDE, 3), np.uint8)
    used, faults = Decoder(mixed, index, augmentation, 5).decode(rows, index, mirrored, 0)
    for row in index:
        alone = np.empty((1, SIDE, SIDE, 3), np.uint8)
        there, found = Decoder(mixed, index, augmentation, 5).decode(
            alone, index[row:row + 1], mirrored[row:row + 1], int(row))
        np.testing.assert_array_equal(alone[0], rows[row])
        assert there[0] == used[row] and found.items() <= faults.items()


def test_augmentation_is_drawn_from_seed_and_position_whatever_was_drawn_before(mixed):
    augmentation, index, first = Augmentation(False, cutoff=20, color=2), np.arange(GOOD), 2 ** 32 - 3
    rows, plain = (np.empty((len(index), SIDE, SIDE, 3), np.uint8) for _ in range(2))
    unmirrored = np.zeros(len(index), bool)
    Decoder(mixed, index, Augmentation(False), 5).decode(plain, index, unmirrored, first)
    decoder = Decoder(mixed, index, augmentation, 5)
    for _ in range(2):
        decoder.decode(rows, index, unmirrored, first)
        for number, row in enumerate(rows):
            position = first + number
            random = np.random.RandomState([5, 1, position % 2 ** 32, position // 2 ** 32])
            np.testing.assert_array_equal(row, augmentation.apply(plain[number], random))


def test_images_of_thousands_of_scans_are_classified_the_same_before_and_after_headers_are_known():
    image = draw(1, 1, SIDE)
    progressive, plain = coded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)(image), jpeg(image)
    many = progressive[:-2] + progressive[progressive.rindex(b"\xff\xda"):-2] * 2000 + progressive[-2:]
    odd = plain[:-2] + b"\xff\xda\0\x02" * 2000  # behind the one scan, where nothing reads it
    few_scans = FewScans()
    for _ in range(MOST_LOOKS):
        told = [few_scans.holds(b"head" + data, 4, 4 + len(data)) for data in (progressive, many, odd, plain, b"text")]
        assert told == [True, False, True, True, True]
    assert 1 <= len(few_scans.known) <= MOST_KNOWN and plain.startswith(few_scans.known)
    assert not progressive.startswith(few_scans.known)
    np.testing.assert_array_equal(decode(plain), cv2.imdecode(np.frombuffer(odd, np.uint8), 1)[..., ::-1])


def test_the_image_in_a_record_is_found_or_left_to_others():
    image = b"\xff\xd8image"
    for label in (3.0, [1.0, 2.0], list(range(9))):
        data = framing.frame(framing.pack(label, 5, image))
        begin, end = framing.image_in(data + b"the next")
        assert (data[begin:end], framing.unpack(data[8:8 + end - 8]).image) == (image, image)
        for cut in range(end):
            assert framing.image_in(data[:cut]) == (0, 0)
        assert framing.image_in(b"\1" + data[1:]) == (0, 0)
    assert framing.image_in(framing.frame(framing.pack(3.0, 5))) == (0, 0)
    in_parts = framing.frame(framing.pack(3.0, 5, image + b"." + framing.MAGIC_BYTES + b"...."))
    assert in_parts.count(framing.MAGIC_BYTES) == 2 and framing.image_in(in_parts) == (0, 0)
