"""The .bin reader: what the ecosystem writes is read, anything else is refused, and nothing is ever run."""
from __future__ import annotations

import base64
import os
import pickle
import pickletools
import struct
import tracemalloc

import numpy as np
import pytest
from foreign_pickles import PICKLES

from common.errors import DataError
from recordio_tools.bins.binfile import read_bin, write_bin
from stress.fuzzing import pickles

IMAGES = [b"\xff\xd8abc", b"x" * 300, b"\x00\n'\\\x80", b"\xff\xd8abc"]
SAME = [True, False]

# Written by Python 2.7: pickle and cPickle, protocols 0 to 2, of (['\xff\xd8abc', '\x00\n\'\\\x80'], [True]).
PYTHON_2 = [
    b"((lp0\nS'\\xff\\xd8abc'\np1\naS\"\\x00\\n'\\\\\\x80\"\np2\na(lp3\nI01\natp4\n.",
    b"((lp1\nS'\\xff\\xd8abc'\np2\naS\"\\x00\\n'\\\\\\x80\"\np3\na(lp4\nI01\nat.",
    b"(]q\x00(U\x05\xff\xd8abcq\x01U\x05\x00\n'\\\x80q\x02e]q\x03I01\natq\x04.",
    b"\x80\x02]q\x01(U\x05\xff\xd8abcq\x02U\x05\x00\n'\\\x80q\x03e]q\x04\x88a\x86.",
]


def load(tmp_path, content):
    path = tmp_path / "set.bin"
    path.write_bytes(content)
    return read_bin(path)


def refusal(tmp_path, content):
    with pytest.raises(DataError) as caught:
        load(tmp_path, content)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "set.bin")) and "\n" not in message
    return message


def test_what_is_written_reads_back_here_and_with_plain_pickle(tmp_path):
    path = tmp_path / "new" / "set.bin"
    write_bin(path, IMAGES, np.array(SAME))
    images, same = read_bin(path)
    assert images == IMAGES and same.dtype == bool and same.tolist() == SAME
    for options in ({}, {"encoding": "bytes"}, {"encoding": "latin1"}):
        with open(path, "rb") as file:
            assert pickle.load(file, **options) == (IMAGES, SAME)
    assert max(opcode.proto for opcode, _, _ in pickletools.genops(path.read_bytes())) == 2
    with pytest.raises(ValueError, match="3 images"):
        write_bin(tmp_path / "odd.bin", IMAGES[:3], SAME)
    assert os.listdir(tmp_path) == ["new"]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"], ids=["numpy1", "numpy2"])
@pytest.mark.parametrize("kind", ["bytes", "bytearray", "array", "view", "column", "all arrays", "numpy bool",
                                  "objects", "objects of arrays"])
def test_every_protocol_and_kind_of_image(tmp_path, protocol, core, kind):
    arrays = [np.frombuffer(image, np.uint8) for image in IMAGES]
    images = {"bytes": IMAGES, "bytearray": list(map(bytearray, IMAGES)), "numpy bool": IMAGES, "view": arrays,
              "column": [a[:, None] for a in arrays], "objects": np.array(IMAGES, object),
              "objects of arrays": np.array(arrays, object)}.get(kind, [a.copy() for a in arrays])
    same = {"all arrays": np.array(SAME), "numpy bool": [np.bool_(value) for value in SAME],
            "objects": np.array(SAME, object)}.get(kind, SAME)
    content = pickle.dumps((images, same), protocol=protocol)
    if protocol >= 4 and core == b"numpy._core":  # a name's length stands before it
        for module in (b"numpy.core.multiarray", b"numpy.core.numeric"):
            new = module.replace(b"numpy.core", core)
            content = content.replace(bytes([len(module)]) + module, bytes([len(new)]) + new)
        content = content[:2] + (b"\x95" + struct.pack("<Q", len(content) - 11) + content[11:]
                                 if content[2:3] == b"\x95" else content[2:])
    else:
        content = content.replace(b"cnumpy.core", b"c" + core)
    found, found_same = load(tmp_path, content)
    assert found == IMAGES and found_same.tolist() == SAME
    assert all(type(image) is bytes for image in found)


@pytest.mark.parametrize("content", PYTHON_2, ids=["pickle0", "cPickle0", "pickle1", "cPickle2"])
def test_python_2_strings(tmp_path, content):
    images, same = load(tmp_path, content)
    assert images == [b"\xff\xd8abc", b"\x00\n'\\\x80"] and same.tolist() == [True]


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_that_other_pythons_and_numpys_wrote(tmp_path, name):
    images, same = load(tmp_path, base64.b64decode(PICKLES[name]))
    assert images == [b"\xff\xd8abc", b"\x00\n'\\\x80"] and same.tolist() == [True]


class Call:
    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_executed_and_the_global_is_named(tmp_path, protocol):
    mark = tmp_path / "ran"
    for function, arguments, name in ((os.mkdir, (str(mark),), "posix.mkdir"), (eval, ("1+1",), "eval"),
                                      (getattr, ("", "join"), "getattr"), (np.load, ("x",), "numpy"),
                                      (bytearray, (5,), "bytearray")):
        message = refusal(tmp_path, pickle.dumps(([Call(function, *arguments), b"a"], [True]), protocol=protocol))
        assert name in message and "nothing was run" in message
    assert not mark.exists()


def test_other_ways_to_run_something_are_refused(tmp_path):
    mark = tmp_path / "ran"
    text = str(mark).encode()
    for content in (b"(iposix\nmkdir\n.", b"(S'" + text + b"'\niposix\nmkdir\n.",
                    b"(cposix\nmkdir\nS'" + text + b"'\no.",
                    b"\x80\x02cposix\nmkdir\n(S'" + text + b"'\nt\x81.", b"Psomething\n.", b"\x82\x01.",
                    b"cnumpy\nndarray\n(K\x01tR.", b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR.",
                    b"]K\x01\x85R.", b"cposix\nmkdir\nsystem\n\x94."):
        refusal(tmp_path, content)
    assert not mark.exists()
    assert "posix.mkdir" in refusal(tmp_path, b"(iposix\nmkdir\n.")
    assert "NEWOBJ" in refusal(tmp_path, b"cnumpy\nndarray\n)\x81.")


@pytest.mark.parametrize("name", pickles.calls())
def test_every_operation_that_runs_or_makes_something_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    message = refusal(tmp_path, pickles.calls()[name])
    assert os.listdir(tmp_path) == ["set.bin"] and ("byte" in message or "nothing was run" in message)
    if name in ("GLOBAL and REDUCE", "STACK_GLOBAL", "INST", "OBJ"):  # it would have been seen
        pickle.loads(pickles.calls()[name])
        assert pickles.CANARY in os.listdir(tmp_path)


ENCODED = (b"\x80\x02c_codecs\nencode\nq\x00X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
           + b"X\6\0\0\0latin1\x86q\1")
BOMBS = {
    "claimed length": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"abc",
    "claimed text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 63) + b"abc",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", (1 << 64) - 1) + b"]",
    "memo indices": b"\x80\x02]" + b"".join(b"r" + struct.pack("<I", 977 * n) for n in range(300_000)) + b".",
    "claimed bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"abc",
    "negative length": b"T" + struct.pack("<i", -1) + b"abc.",
    "memo index": b"\x80\x02]r\xff\xff\xff\xff0j\xff\xff\xff\x7f.",
    "copies": ENCODED + b"".join(b"h\0h\1R" for _ in range(3000)) + b".",
    "nested lists": b"](" + b"](" * 400_000,
    "nested tuples": b")" + b"\x85" * 90_000 + b".",
    "deep pair": b"](" + b")" + b"\x85" * 90_000 + b"e]\x88a\x86.",
    "bytearray of a length": b"\x80\x02]c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85Ra\x88a\x86.",
    "bytearray copies": ENCODED.replace(b"_codecs\nencode", b"__builtin__\nbytearray") + b"h\0h\1R" * 3000 + b".",
    "many memos": b"\x80\x04]" + b"\x94" * 3_000_000,
    "long number": b"I" + b"9" * 1_000_000 + b"\n.",
    "shape": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nI0\ntS'b'\ntR(I1\n(I99999\nI99999\nt"
             b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntRI00\nS'ab'\ntb.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_pickle_that_claims_too_much_gives_an_error_in_little_memory(tmp_path, name):
    tracemalloc.start()
    refusal(tmp_path, BOMBS[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * len(BOMBS[name]) + 30e6


def test_a_damaged_file_is_an_error_wherever_it_is_cut_or_changed(tmp_path):
    arrays = [np.frombuffer(image, np.uint8) for image in IMAGES]
    for whole in (pickle.dumps((arrays, SAME), protocol=2), pickle.dumps((arrays, SAME), protocol=5), PYTHON_2[0]):
        assert "truncated" in refusal(tmp_path, whole[:-1])
        for end in range(1, len(whole), 3):
            refusal(tmp_path, whole[:end])
        random = np.random.RandomState(3)
        for _ in range(300):
            broken = bytearray(whole)
            broken[random.randint(len(whole))] = random.randint(256)
            try:
                images, same = load(tmp_path, bytes(broken))
            except DataError:
                continue
            assert len(images) == 2 * len(same)


def test_what_is_not_a_set_of_pairs_is_reported_in_one_line(tmp_path):
    def told(images, same):
        return refusal(tmp_path, pickle.dumps((images, same), protocol=2))
    assert "odd number of images, 3 for 1 pairs" in told(IMAGES[:3], [True])
    assert "4 images for 3 pairs" in told(IMAGES, [True, False, True])
    assert "no pairs" in told([], [])
    assert "image 1" in told([b"a", b""], [True])
    assert "image 1" in told([b"a", "text"], [True])
    assert "shape (4, 4, 3)" in told([b"a", np.zeros((4, 4, 3), np.uint8)], [True])
    assert "'f4'" in told([b"a", np.zeros(4, np.float32)], [True])
    assert "posix.mkdir" in told([b"a", np.array([os.mkdir], object)], [True])
    assert "'O8', shape (2, 2)" in told([b"a", np.array([[b"a", b"b"], [1, None]])], [True])
    assert "list of bool" in told(IMAGES, np.full((8, 8), True, object))
    assert "by an array" in told(IMAGES, [np.full((1, 8, 8), True, object), True])
    assert "pair 1" in told(IMAGES, [True, 2])
    assert "list of bool" in told(IMAGES, 1)
    assert "not a verification set" in refusal(tmp_path, pickle.dumps({"images": 1}.keys().__len__()))
    assert "is empty" in refusal(tmp_path, b"")
    with pytest.raises(DataError, match="no such file"):
        read_bin(tmp_path / "none.bin")
    with pytest.raises(DataError, match="cannot be read"):
        read_bin(tmp_path)


DTYPE = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR"
SCALAR, EMPTY = b"cnumpy.core.multiarray\nscalar\n", b"cnumpy.core.multiarray\n_reconstruct\n"
NUMPY_PARTS = {
    "dtype with fields": b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NU\x01aU\x01aK\x00K\x00K\x00tb",
    "dtype of a subarray": b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|U\x01aNNK\x00K\x00K\x00tb",
    "scalar of two bytes": SCALAR + b"(" + DTYPE + b"U\x02\x01\x01tR",
    "scalar of objects": SCALAR + b"(" + DTYPE.replace(b"u1", b"O8") + b"U\x08\x01" + 7 * b"\0" + b"tR",
    "scalar of none": SCALAR + b"(" + DTYPE + b"U\x00tR",
    "scalar of a list": SCALAR + b"(" + DTYPE + b"]tR",
    "array of a subclass": EMPTY + b"(cnumpy\ndtype\nK\x00\x85U\x01btR",
    "array of too many axes": EMPTY + b"(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01(" + b"K\x01" * 33 + b"t" + DTYPE
                              + b"\x89U\x01\x01tb",
    "array of less than its bytes": EMPTY + b"(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x01\x85" + DTYPE
                                    + b"\x89U\x02\x01\x01tb",
    "array of negative lengths": EMPTY + b"(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01" + b"J\xff\xff\xff\xff" * 2
                                 + b"\x86" + DTYPE + b"\x89U\x01\x01tb",
    "state of a list": b"](K\x01t" + b"b", "state of bytes": b"U\x01\x01(K\x01tb",
    "items of a tuple": b")K\x01a", "call of a text": b"U\x01a)R", "arguments in a list": DTYPE.replace(b"tR", b"lR"),
    "bytes of another encoding": b"c_codecs\nencode\n(X\x01\x00\x00\x00aU\x05utf-8tR",
}


@pytest.mark.parametrize("name", NUMPY_PARTS)
def test_numpy_parts_that_are_not_those_of_a_plain_array_are_refused(tmp_path, name):
    """Each in the place of a value of same, where the plain scalar 1 is read."""
    def whole(part):
        return b"\x80\x02](U\x05\xff\xd8abcU\x05\xff\xd8abce](" + part + b"e\x86."
    assert load(tmp_path, whole(SCALAR + b"(" + DTYPE + b"U\x01\x01tR"))[1].tolist() == [True]
    told = refusal(tmp_path, whole(NUMPY_PARTS[name]))
    assert "pickle is invalid at byte" in told or "nothing was run" in told


def test_an_array_without_a_state_is_empty(tmp_path):
    array = EMPTY + b"(cnumpy\nndarray\nK\x00\x85U\x01btR"
    assert pickle.loads(b"\x80\x02" + array + b".").shape == (0,)
    image = b"U\x05\xff\xd8abc"
    for images, same, words in ((image + image, b"](" + array + b"e", "pair 0 (from 0) is marked by an array"),
                                (image + image, array, "expected a list of bool"),
                                (array + image, b"]\x88a", "image 0 (from 0) is a numpy array of 'i1', shape (0,)")):
        assert words in refusal(tmp_path, b"\x80\x02](" + images + b"e" + same + b"\x86.")


def test_bytearrays_of_python_2_are_read(tmp_path):
    one = b"c__builtin__\nbytearray\n(X\x07\x00\x00\x00\xc3\xbf\xc3\x98abcU\x07latin-1tR"
    assert load(tmp_path, b"\x80\x02](" + one + one + b"e]\x88a\x86.") == ([b"\xff\xd8abc"] * 2, [True])
    for arguments in (b"X\x01\x00\x00\x00aU\x05utf-8", b"]K\x01a", b"c__builtin__\nbytearray\n", b"U\x01aU\x01a"):
        refusal(tmp_path, b"\x80\x02](c__builtin__\nbytearray\n(" + arguments + b"tRe]\x88a\x86.")
