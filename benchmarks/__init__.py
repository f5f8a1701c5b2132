"""Benchmarks: each prints both sides and their ratio in one run. MXNet is loaded as the commands load it."""
import contextlib

from common.mxnet_import import import_mxnet

with contextlib.suppress(ImportError):  # PyTorch's side has none; a benchmark that uses it fails at its own import
    import_mxnet()
