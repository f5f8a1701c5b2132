"""MXNet as tests/conftest.py loads it: without what only delays it, operators made at the first call."""
import hashlib
import inspect
import json
import subprocess
import sys
import threading
from types import FunctionType

import mxnet
import numpy as np
import pytest

from common import deferred_imports, mxnet_import

PACKAGES = (*mxnet_import.UNUSED, *deferred_imports.DEFERRED)


def printed(code):
    """What a process of its own that loads MXNet here prints, as JSON."""
    start = "import json, sys\nfrom common.mxnet_import import import_mxnet\nimport_mxnet()\n"
    return json.loads(subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, check=True
                                     ).stdout)


def test_mxnet_is_loaded_without_packages_that_only_delay_it():
    names = (*PACKAGES, "setuptools", "distutils")
    assert printed(f"print(json.dumps([name for name in {names} if name in sys.modules]))") == []


def test_training_is_loaded_without_packages_that_only_delay_it():
    names = ("sklearn", "scipy.sparse", "scipy.io", "requests", "onnx", "setuptools", "distutils")
    assert printed("import training.run\n"
                   f"print(json.dumps([name for name in {names} if name in sys.modules]))") == []


def test_what_needs_a_package_at_its_own_import_gets_it():
    """As PIL.ImageOps does its parent's modules: it is imported at once, and stays."""
    code = ("from common.deferred_imports import deferred_imports\n"
            "with deferred_imports():\n"
            "    import scipy.io\n"
            "    stand_in, taken = sys.modules['scipy.io'], scipy.io.loadmat\n"
            "found = sys.modules['scipy.io']\n"
            "print(json.dumps([found is not stand_in, found.loadmat is taken]))")
    assert printed(code) == [True, True]


def test_mxnet_uses_these_packages_as_ever():
    code = ("import mxnet as mx, onnx, requests, scipy.sparse, scipy.stats\n"
            "from sklearn.base import BaseEstimator\n"
            "from mxnet.onnx.mx2onnx._op_translations import _op_translations_opset13 as translations\n"
            "print(json.dumps([mx.nd.sparse.csr_matrix(scipy.sparse.eye(3).tocsr()).shape == (3, 3),\n"
            "                  mx.gluon.utils.requests.get is requests.get,\n"
            "                  mx.test_utils.ss.norm is scipy.stats.norm,\n"
            "                  mx.contrib.quantization.stats.entropy is scipy.stats.entropy,\n"
            "                  translations.onnx.TensorProto is onnx.TensorProto]))")
    assert printed(code) == [True] * 5


def test_mxnet_is_loaded_without_packages_that_are_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.delitem(sys.modules, "scipy.sparse", raising=False)
    with deferred_imports.deferred_imports():
        assert "scipy.sparse" not in sys.modules


def operators():
    """By module and name: the digest of an operator's signature and code, but for its handle."""
    found = {}
    for module in (mxnet.nd.op, mxnet.sym.op, mxnet.nd.contrib, mxnet.sym.contrib, mxnet.npx, mxnet.nd.numpy._internal):
        for name, value in vars(module).items():
            if isinstance(value, FunctionType) and value.__code__.co_filename == "<string>":
                code = value.__code__
                constants = [item for item in code.co_consts if type(item) is not int]  # an address: its handle
                shown = (inspect.signature(value), value.__module__, value.__qualname__, code.co_names, constants,
                         code.co_code.hex())
                found[f"{module.__name__}.{name}"] = hashlib.sha256(repr(shown).encode()).hexdigest()
    return found


def test_each_operator_becomes_the_function_that_mxnet_makes_of_it():
    code = ("import hashlib, inspect, json, mxnet\nfrom types import FunctionType\n" + inspect.getsource(operators) +
            "print(json.dumps(operators()))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout)
    for name in theirs:
        module, _, function = name.rpartition(".")
        made = (getattr(sys.modules[module], function).__kwdefaults__ or {}).get("_made")
        if made:
            made()
    assert operators() == theirs and len(theirs) > 900


@pytest.fixture
def scaled():
    """An operator as MXNet makes one: y = x times factor."""
    def make(handle, operator, name):
        namespace = {}
        exec(f'def {name}(x, factor={handle}, **kwargs):\n    "{operator}"\n    return np.multiply(x, factor)',
             {"np": np}, namespace)
        return namespace[name]
    return mxnet_import.make_later(make, 2, "_scaled", "scaled")


def test_an_operator_is_made_at_its_first_call_and_stays_the_same_object(scaled):
    assert scaled.__name__ == scaled.__qualname__ == "scaled" and "factor" not in inspect.signature(scaled).parameters
    assert scaled(3) == 6
    assert str(inspect.signature(scaled)) == "(x, factor=2, **kwargs)" and scaled.__doc__ == "_scaled"
    assert (scaled(3, 5), scaled(x=3, factor=7)) == (15, 21)
    with pytest.raises(TypeError, match=r"scaled\(\) missing 1 required positional argument: 'x'"):
        scaled()


def test_a_wrong_call_is_reported_as_ever_at_the_first_call_too(scaled):
    with pytest.raises(TypeError, match=r"scaled\(\) missing 1 required positional argument: 'x'"):
        scaled()


def test_several_threads_may_call_an_operator_first(scaled):
    ready, results = threading.Barrier(8), []

    def call(number):
        ready.wait()
        results.append(scaled(number) - 2 * number)
    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0] * 8

