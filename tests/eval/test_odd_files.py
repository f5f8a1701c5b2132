"""Pipes and devices in the place of files that are read: refused at once, in one line."""
from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest
from recordio_cases import command
from small_sets import write_training_set

from common.errors import DataError, UserError
from eval.embedding_file import digest_of_network, load_embeddings
from eval.verification import VerificationSet
from recordio_tools.bins.binfile import read_bin
from recordio_tools.records.index import read_index
from training.cluster.hosts import read_hosts

pytestmark = pytest.mark.timeout(60)  # which only a hang reaches


@pytest.mark.parametrize("read", [read_bin, lambda path: VerificationSet(str(path), 10), load_embeddings, read_index,
                                  read_hosts])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_no_reader_waits_for_a_pipe_or_reads_a_device(tmp_path, read, kind):
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises((UserError, DataError)) as told:
        read(path)
    assert str(path) in str(told.value) and "\n" not in str(told.value)


def test_pipes_in_a_set_are_refused_or_passed_over(tmp_path):
    write_training_set(tmp_path / "set", 3, 2, 32)
    (tmp_path / "set/train.idx").unlink()
    os.mkfifo(tmp_path / "set/train.idx")
    for words in (("info",), ("unpack",), ("check",)):
        status, line = command(*words, tmp_path / "set", *([tmp_path / "out"] if words == ("unpack",) else []))
        assert status in (0, 1, 2) and "\n" not in line  # without the index, whose absence is told


@pytest.mark.parametrize("name, value", [("norms", np.nan), ("norms", np.inf), ("view_norms", np.nan),
                                         ("embeddings", np.nan), ("embeddings", np.inf)])
def test_embeddings_that_are_not_finite(tmp_path, name, value):
    arrays = {"embeddings": np.eye(3, 4, dtype=np.float32), "norms": np.ones(3), "view_norms": np.ones(3)}
    arrays[name] = arrays[name].copy()
    arrays[name].flat[1] = value
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match=f"{name.rstrip('s')}.* not finite"):
        load_embeddings(tmp_path / "x.npz")


def test_norms_of_another_kind(tmp_path):
    np.savez(tmp_path / "x.npz", embeddings=np.eye(3), norms=np.array(["a", "b", "c"]))
    with pytest.raises(UserError, match="norms are not finite"):
        load_embeddings(tmp_path / "x.npz")


def test_an_embeddings_file_that_is_larger_than_memory(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "x.npz", embeddings=np.zeros((4096, 512), np.float32))
    assert zipfile.ZipFile(tmp_path / "x.npz").infolist()[0].compress_size < 1 << 16
    monkeypatch.setattr("eval.embedding_file.free_memory", lambda: 1 << 20)
    with pytest.raises(UserError, match="8 MiB, and 1 MiB of memory are free"):
        load_embeddings(tmp_path / "x.npz")


@pytest.mark.parametrize("meta", [b'{"model": {"sha256": "5"}, "n": "Jos\xc3\xa9"}',
                                  '{"model": {"sha256": "5"}, "n": "Jos\u00e9"}'])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_metadata_as_bytes_or_text(tmp_path, meta, shape):
    np.savez(tmp_path / "x.npz", embeddings=np.eye(3), meta=np.full(shape, np.array(meta)))
    assert load_embeddings(tmp_path / "x.npz").meta == {"model": {"sha256": "5"}, "n": "Jos\u00e9"}
    assert digest_of_network(tmp_path / "x.npz") == "5"


@pytest.mark.parametrize("meta", [b"{'model': 5}", b"\xff", "", 5, ["{}", "{}"], np.array([None])])
def test_metadata_that_are_not_json(tmp_path, meta):
    np.savez(tmp_path / "x.npz", embeddings=np.eye(3), meta=meta)
    with pytest.raises(UserError, match="its meta (is|are pickled objects, which are never read; save)"):
        load_embeddings(tmp_path / "x.npz")


def test_names_as_bytes(tmp_path):
    names = np.array([b"a", "Jos\u00e9".encode(), b"\xff"])
    np.savez(tmp_path / "x.npz", embeddings=np.eye(3), norms=np.ones(3), names=names)
    assert load_embeddings(tmp_path / "x.npz").names.tolist() == ["a", "Jos\u00e9", "\udcff"]
