"""What headers say against what decoders see: OpenCV for sizes, Pillow for the kinds that OpenCV does not write."""
import io
import struct

import cv2
import mxnet as mx
import numpy as np
import pytest
from PIL import Image, ImageOps
from recordio_cases import picture

from images.codec import decode
from images.formats import describe, orientation_of, read_header, unlike_in_mxnet
from images.plain_jpeg import KnownHeaders
from images.prepare import Unusable, Wanted, treat


def encoded(suffix, image, *flags):
    done, data = cv2.imencode(suffix, image, list(flags))
    assert done
    return data.tobytes()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff", ".jp2", ".ppm"])
@pytest.mark.parametrize("height, width", [(112, 96), (33, 260), (1, 7)])
def test_sizes_and_kinds(suffix, height, width):
    if suffix == ".jp2" and height == 1:
        pytest.skip("OpenCV writes no JPEG 2000 of one row")
    told = describe(encoded(suffix, picture(0, height, width)))
    assert (told.height, told.width, told.odd) == (height, width, ())
    assert told.kind == {".jpg": "JPEG", ".tiff": "TIFF", ".webp": "WebP", ".jp2": "JPEG 2000",
                         ".ppm": "PNM"}.get(suffix, suffix[1:].upper())


@pytest.mark.parametrize("suffix, channels, dtype, odd", [
    (".jpg", 1, np.uint8, "grayscale"), (".png", 1, np.uint8, "grayscale"), (".bmp", 1, np.uint8, "grayscale"),
    (".tiff", 1, np.uint8, "grayscale"), (".pgm", 1, np.uint8, "grayscale"), (".jp2", 1, np.uint8, "grayscale"),
    (".png", 4, np.uint8, "alpha"), (".bmp", 4, np.uint8, "alpha"), (".webp", 4, np.uint8, "alpha"),
    (".png", 3, np.uint16, "16-bit"), (".tiff", 3, np.uint16, "16-bit"), (".ppm", 3, np.uint16, "16-bit"),
    (".jp2", 3, np.uint16, "16-bit")])
def test_channels_and_depth(suffix, channels, dtype, odd):
    image = picture(1, channels=channels, dtype=dtype)
    if channels == 4:
        image[:9, :9, 3] = 0
    told = describe(encoded(suffix, image))
    assert (told.height, told.width, told.odd) == (112, 112, (odd,))


def test_lossless_webp_and_pillows_kinds():
    image_module = pytest.importorskip("PIL.Image")
    import io
    for kind, options, mode, name, odd in (
            ("WebP", {"lossless": True}, "RGB", "WebP", ()), ("WebP", {"lossless": True}, "RGBA", "WebP", ("alpha",)),
            ("JPEG", {}, "CMYK", "JPEG", ("CMYK",)), ("JPEG", {"progressive": True}, "RGB", "JPEG", ()),
            ("TIFF", {}, "CMYK", "TIFF", ("CMYK",)), ("TIFF", {"compression": "tiff_lzw"}, "L", "TIFF", ("grayscale",)),
            ("PNG", {"transparency": 0}, "L", "PNG", ("grayscale", "alpha")), ("GIF", {}, "RGB", "GIF", ())):
        pixels = picture(3, 50, 70)
        pixels = np.dstack([pixels, pixels[..., :1]]) if mode == "RGBA" else pixels
        image = image_module.fromarray(pixels)
        stream = io.BytesIO()
        (image if image.mode == mode else image.convert(mode)).save(stream, kind, **options)
        told = describe(stream.getvalue())
        size = (0, 0) if kind == "GIF" else (50, 70)
        assert (told.kind, told.height, told.width, told.odd) == (name, *size, odd)


@pytest.mark.parametrize("most", [1, 15, 100, 127, 128, 200, 254, 255, 256, 1023, 4095, 32768, 40000, 65535])
def test_a_pnm_is_as_bright_as_it_says_with_any_maximum(most):
    """OpenCV scales the values of some; pictures were dark, down to black, or left out."""
    values = np.random.RandomState(most).randint(0, most + 1, (9, 7, 3))
    for kind in (2, 3, 5, 6):
        some = values[..., :1] if kind in (2, 5) else values
        data = (" ".join(map(str, some.ravel())).encode() if kind < 4 else
                some.astype(">u2" if most > 255 else np.uint8).tobytes())
        pixels = decode(b"P%d\n# made\n7 9\n%d\n%s\n" % (kind, most, data))
        assert np.abs(pixels - some * (255 / most)).max() < 1.01 and treat(
            b"P%d 7 9 %d\n%s\n" % (kind, most, data), Wanted(9, 7)).image


def test_pictures_whose_values_opencv_would_misread_are_told():
    """Values of another range became a white picture; a camera raw its thumbnail."""
    image = cv2.GaussianBlur(picture(4), (0, 0), 3)
    wanted = Wanted(112, 112)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "TIFF", tiffinfo={254: 1})
    single = io.BytesIO()
    Image.fromarray(image[..., 0].astype(np.float32)).save(single, "TIFF")
    canon = bytearray(encoded(".tiff", image))
    canon[8:11] = b"CR\2"
    for data, reason in (
            (encoded(".tiff", image.astype(np.float32)), "TIFF of more than 16 bits"),
            (encoded(".tiff", image / np.float32(255)), "TIFF of more than 16 bits"),
            (single.getvalue(), "TIFF of more than 16 bits"), (stream.getvalue(), "camera raw"),
            (bytes(canon), "camera raw")):
        with pytest.raises(Unusable, match=f"^{reason}, which is not read$"):
            treat(data, wanted)


def test_anything_at_all_is_described_without_an_error():
    random = np.random.RandomState(0)
    whole = [encoded(suffix, picture(2, 80, 90))
             for suffix in (".jpg", ".png", ".bmp", ".webp", ".tiff", ".jp2", ".ppm")]
    for _ in range(3000):
        data = bytearray(whole[random.randint(len(whole))])
        for _ in range(random.randint(1, 6)):
            data[random.randint(min(len(data), 200))] = random.randint(256)
        describe(bytes(data[:random.randint(1, len(data) + 1)]))
    describe(b"P5" + b" " * 100000)
    describe(b"P5" + b"#\n" * 50000)


def mutated(data, random, places):
    data = bytearray(data)
    for _ in range(random.randint(1, 4)):
        data[places[random.randint(len(places))]] = random.choice([0, 1, 2, 255, 0xd9, 0xda, random.randint(256)])
    if random.randint(4) == 0:
        del data[random.randint(20, len(data)):random.randint(20, len(data))]
    return bytes(data)


@pytest.mark.parametrize("flags", [(), (cv2.IMWRITE_JPEG_RST_INTERVAL, 3), (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
                                   (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_a_known_header_lets_through_decodes(flags, channels):
    """Damaged in any way: whatever is recognised decodes to the size, as the whole decoding finds."""
    random = np.random.RandomState(len(flags) + channels)
    known, passed = KnownHeaders(), 0
    data = encoded(".jpg", picture(channels, channels=channels), *flags)
    header = read_header(data)
    known.remember(data, header, "note")
    assert (known.recognise(data) == "note") == (cv2.IMWRITE_JPEG_PROGRESSIVE not in flags)
    for round_ in range(1500):
        damaged = mutated(data, random, range(header.scan if round_ % 2 else len(data) * 3 // 4, len(data))
                          if round_ % 5 else range(len(data)))
        if known.recognise(damaged):
            passed += 1
            assert decode(damaged).shape == (112, 112, 3)
    assert passed > 100 or cv2.IMWRITE_JPEG_PROGRESSIVE in flags
    assert known.recognise(data[:header.scan] + b"\xff\xd9") is None
    assert known.recognise(data[:-2]) is None and known.recognise(data[:header.scan]) is None


XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>"


def exif(orientation, form=3, order="<"):
    value = {3: "HH", 4: "I", 1: "Bxxx"}[form]
    return (b"Exif\0\0" + (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IHHHI", 8, 1, 0x112, form, 1)
            + struct.pack(order + value, *[orientation, 0][:value.count("H") or 1]) + bytes(4))


@pytest.mark.parametrize("segments", [
    [exif(6)], [XMP, exif(6)], [exif(6), XMP], [XMP, exif(8), exif(3)], [exif(6), exif(1)], [exif(1), exif(6)],
    [exif(6, 4)], [exif(6, 4, ">")], [exif(6, 1)], [exif(6, 1, ">")], [exif(6, 3, ">")], [exif(9)]])
def test_a_jpeg_is_turned_as_pillow_turns_it(segments):
    plain = encoded(".jpg", cv2.resize(picture(4, 5, 10), (80, 40)))
    data = plain[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in segments) + plain[2:]
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    image = decode(data)
    assert image.shape == upright.shape and np.abs(image.astype(int) - upright).mean() < 3
    turned = upright.shape[0] == 80
    assert (orientation_of(data) != 1) == turned == ("rotated by EXIF" in describe(data).odd)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_mxnet_reads_otherwise_is_known(orientation):
    whole = cv2.resize(picture(4, 5, 10), (80, 40))
    for kind, more in (("TIFF", {"tiffinfo": {0x112: orientation}}), ("JPEG", {"exif": exif(orientation)})):
        file = io.BytesIO()
        Image.fromarray(whole).save(file, kind, **more)
        ours, theirs = decode(file.getvalue()), mx.image.imdecode(file.getvalue()).asnumpy()
        same = ours.shape == theirs.shape and np.abs(ours.astype(int) - theirs).mean() < 3
        assert bool(unlike_in_mxnet(file.getvalue())) == (not same)


@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate", "jpeg",
                                         "group4"])
def test_tiffs_that_mxnet_does_not_decode_are_known_and_converted(mode, compression):
    if compression == "group4" and mode != "1" or compression == "jpeg" and mode == "1":
        pytest.skip("no such TIFF")
    file = io.BytesIO()
    Image.fromarray(picture(4, 40, 56)).convert(mode).save(file, "TIFF", compression=compression)
    data = file.getvalue()
    try:
        decodes = mx.image.imdecode(data).shape == (40, 56, 3)
    except mx.MXNetError:
        decodes = False
    assert (unlike_in_mxnet(data) == "") == decodes
    assert mx.image.imdecode(treat(data, Wanted(40, 56, any_kind=True)).image).shape == (40, 56, 3)
    assert (treat(data, Wanted(40, 56, any_kind=True)).change == "copied") == decodes


def big_tiff(image, order):
    """(H, W, 3) uint8 RGB as an uncompressed BigTIFF."""
    height, width = image.shape[:2]
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 0x0008_0008_0008), (259, 3, 1, 1), (262, 3, 1, 2),
            (273, 16, 1, 0), (277, 3, 1, 3), (278, 4, 1, height), (279, 16, 1, image.size), (284, 3, 1, 1)]
    form = {3: "H6x", 4: "I4x", 16: "Q"}
    pixels = 16 + 8 + 20 * len(tags) + 8
    entries = b"".join(struct.pack(f"{order}HHQ", tag, kind, count) + (
        struct.pack(order + "HHHxx", 8, 8, 8) if count == 3 else
        struct.pack(order + form[kind], pixels if tag == 273 else value)) for tag, kind, count, value in tags)
    head = (b"II+\0" if order == "<" else b"MM\0+") + struct.pack(order + "HHQQ", 8, 0, 16, len(tags))
    return head + entries + bytes(8) + image.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_big_tiff_is_a_tiff(order):
    image = picture(5, 40, 56)
    data = big_tiff(image, order)
    told = describe(data)
    assert (told.kind, told.height, told.width, told.odd) == ("TIFF", 40, 56, ())
    np.testing.assert_array_equal(decode(data), image)
    made = treat(data, Wanted(40, 56, any_kind=True))
    with pytest.raises(mx.MXNetError):
        mx.image.imdecode(data)
    assert made.change == "converted" and "BigTIFF" in unlike_in_mxnet(data)
    for end in range(4, 300, 7):
        describe(data[:end])


@pytest.mark.parametrize("suffix, first", [(".png", 60), (".webp", 40)])
def test_an_image_of_which_only_the_header_can_be_read_is_damaged(suffix, first):
    data = bytearray(encoded(suffix, picture(6)))
    data[first:-400] = b"\x55" * (len(data) - 400 - first)
    with pytest.raises(Unusable, match="^damaged$"):
        treat(bytes(data), Wanted(112, 112))
    with pytest.raises(Unusable, match="^no image$"):
        treat(b"text", Wanted(112, 112))


def test_a_short_exif_in_a_jpeg_is_none():
    data = encoded(".jpg", picture(0, 24, 24))
    for head in (b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0", b"II*\0", b"II*\0\x08\0\0\0"):
        body = b"Exif\0\0" + head
        odd = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
        assert orientation_of(odd) == 1 and decode(odd).shape == (24, 24, 3)
