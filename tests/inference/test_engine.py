"""`--engine`: MXNet and onnxruntime give the same; auto takes the faster where they do, and MXNet where not."""
from __future__ import annotations

import json
import logging

import mxnet as mx
import numpy as np
import pytest
from small_nets import draw_parameters, forward, small_symbol
from small_sets import write_verification_set

from common.errors import UserError
from deploy.__main__ import main as deploy
from eval.__main__ import main
from inference import engine
from inference.embedder import Embedder
from inference.onnx_embedder import OnnxEmbedder

SIZE = (32, 24)


@pytest.fixture
def parts():
    symbol = small_symbol()
    return symbol, *draw_parameters(symbol, SIZE, seed=2)


def opened(name, parts, devices=None):
    return engine.open_engine(name, *parts, devices or [mx.cpu()], 8, SIZE)


@pytest.mark.parametrize("name, kind", [("mxnet", Embedder), ("onnx", OnnxEmbedder)])
def test_each_engine_gives_mxnets_embeddings(parts, name, kind):
    embedder = opened(name, parts)
    assert isinstance(embedder, kind)
    images = np.random.RandomState(0).randint(0, 256, (5, *SIZE, 3)).astype(np.uint8)
    (views,) = embedder.embed([images], flip=True)
    for view, given in zip(views, (images, images[:, :, ::-1])):
        np.testing.assert_allclose(view, forward(*parts, given), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("slow, kind", [(Embedder, OnnxEmbedder), (OnnxEmbedder, Embedder)])
def test_auto_takes_the_faster(parts, monkeypatch, slow, kind, caplog):
    clock = [0.0]
    for one in (Embedder, OnnxEmbedder):
        def embed(self, batches, flip=False, *, right=one.embed, seconds=2.0 if one is slow else 1.0):
            for batch in batches:
                clock[0] += seconds  # the test's own time: how fast this machine is does not matter
                yield from right(self, [batch], flip)
        monkeypatch.setattr(one, "embed", embed)
    monkeypatch.setattr(engine.time, "perf_counter", lambda: clock[0])
    with caplog.at_level(logging.INFO):
        assert type(opened("auto", parts)) is kind
    assert ("engine: onnxruntime" if kind is OnnxEmbedder else "engine: MXNet (MXNet") in caplog.text


def test_auto_takes_mxnet_where_they_do_not_agree(parts, monkeypatch, caplog):
    right = OnnxEmbedder.embed
    monkeypatch.setattr(OnnxEmbedder, "embed", lambda self, batches, flip=False: (
        views + 1e-2 * np.abs(views).max() for views in right(self, batches, flip)))
    assert type(opened("auto", parts)) is Embedder
    assert ", more than 1e-05" in caplog.text


def test_a_network_without_a_form_in_onnx(parts, caplog):
    symbol = mx.sym.softmax(mx.sym.Flatten(parts[0]), name="odd")
    given = (symbol, parts[1], parts[2])
    with caplog.at_level(logging.INFO):
        assert type(opened("auto", given)) is Embedder
    assert "cannot be converted to ONNX" in caplog.text
    with pytest.raises(UserError, match="`engine` onnx: odd is of the operator softmax.*`engine` mxnet computes it"):
        opened("onnx", given)


def test_embed_names_no_detector_where_the_engine_is_the_reason(tmp_path):
    symbol = mx.sym.LeakyReLU(small_symbol(16), act_type="gelu", name="odd")
    mx.model.save_checkpoint(str(tmp_path / "net"), 0, symbol, *draw_parameters(symbol, (48, 48), seed=1))
    write_verification_set(tmp_path / "faces.bin", pairs=2, size=48)
    with pytest.raises(UserError, match="--engine mxnet computes it$"):
        deploy(["embed", "--model", f"{tmp_path}/net,0", f"{tmp_path}/faces.bin", "--out", f"{tmp_path}/x.npz",
                "--layer", "odd", "--engine", "onnx"])


def test_verify_takes_the_flag(tmp_path, capsys):
    symbol = small_symbol(16)
    mx.model.save_checkpoint(str(tmp_path / "net"), 0, symbol, *draw_parameters(symbol, (48, 48), seed=1))
    write_verification_set(tmp_path / "faces.bin", pairs=20, size=48)
    rows = {}
    for name in engine.ENGINES:
        main(["verify", "--model", str(tmp_path / "net,0"), "--bins", str(tmp_path / "faces.bin"), "--engine", name,
              "--bootstrap", "0", "--json", str(tmp_path / "rows.json")])
        (rows[name],) = [by_set["faces"] for by_set in json.loads((tmp_path / "rows.json").read_text()).values()]
    for key in ("accuracy", "auc", "eer", "tpr"):
        assert rows["mxnet"][key] == pytest.approx(rows["onnx"][key], abs=1e-9) == rows["auto"][key]
