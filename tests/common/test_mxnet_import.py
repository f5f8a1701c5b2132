"""MXNet as tests/conftest.py loads it: without what only delays it, operators compiled at the first call."""
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

from common import mxnet_import


def test_mxnet_is_loaded_without_packages_that_only_delay_it():
    """The packages are there, for those who use them."""
    from scipy import stats
    from sklearn.base import BaseEstimator
    assert mxnet.test_utils.ss is None is not stats
    assert mxnet.model.BASE_ESTIMATOR is object is not BaseEstimator


def operators():
    """By module and name: the digest of an operator's signature, text and code, but for its handle."""
    found = {}
    for module in (mxnet.nd.op, mxnet.sym.op):
        for name, value in vars(module).items():
            if isinstance(value, FunctionType) and value.__code__.co_filename == "<string>":
                code = value.__code__
                constants = [item for item in code.co_consts if type(item) is not int]  # an address: its handle
                shown = (inspect.signature(value), value.__doc__, value.__module__, value.__qualname__, code.co_names,
                         constants, code.co_code.hex())
                found[f"{module.__name__}.{name}"] = hashlib.sha256(repr(shown).encode()).hexdigest()
    return found


def test_each_operator_becomes_the_function_that_mxnet_makes_of_it():
    code = ("import hashlib, inspect, json, mxnet\nfrom types import FunctionType\n" + inspect.getsource(operators) +
            "print(json.dumps(operators()))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for value in [*vars(mxnet.nd.op).values(), *vars(mxnet.sym.op).values()]:
        if isinstance(value, FunctionType) and "_compiled" in (value.__kwdefaults__ or {}):
            value.__kwdefaults__["_compiled"]()
    theirs = json.loads(done.stdout)
    assert operators() == theirs and len(theirs) > 500


@pytest.fixture
def scaled():
    """An operator as MXNet writes one: y = x times factor."""
    module, namespace = {"np": np}, {}
    source = "\ndef scaled(x, factor=2, **kwargs):\n    return np.multiply(x, factor)"
    mxnet_import._define_operator(module, source, None, namespace)
    return namespace["scaled"]


def test_an_operator_is_compiled_at_its_first_call_and_stays_the_same_object(scaled):
    assert scaled.__name__ == scaled.__qualname__ == "scaled" and "factor" not in inspect.signature(scaled).parameters
    assert scaled(3) == 6
    assert str(inspect.signature(scaled).replace(parameters=list(inspect.signature(scaled).parameters.values())[:2])
               ) == "(x, factor=2)"
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


def test_what_defines_no_function_is_run_at_once():
    namespace = {}
    mxnet_import._define_operator({}, "value = 1 + 1", None, namespace)
    mxnet_import._define_operator({}, compile("other = 3", "<string>", "exec"), None, namespace)
    assert (namespace["value"], namespace["other"]) == (2, 3)
