"""Parameter names, shapes and outputs against the ecosystem's own, of the plain and of the accelerated graph."""
import csv

import mxnet as mx
import numpy as np
import pytest

import symbols
from symbols.prelu_rewrite import accelerate, flatten_inputs

SHAPE = (1, 3, 112, 112)
NETWORKS = {"r18_E_512": ("r18", "E", 512), "r50_E_512": ("r50", "E", 512),
            "y1_GDC_128": ("y1", "GDC", 128), "y1_GNAP_128": ("y1", "GNAP", 128)}
GRAPHS = {"plain": lambda symbol: symbol, "accelerated": lambda symbol: accelerate(symbol, SHAPE),
          "flattened": flatten_inputs, "both": lambda symbol: flatten_inputs(accelerate(symbol, SHAPE))}


def built(case):
    network, head, emb_size = NETWORKS[case]
    return symbols.build(network, emb_size, head)


def parameter_rows(symbol):
    """kind, name, shape of every parameter, in the symbol's own order."""
    arguments, _, states = symbol.infer_shape(data=SHAPE)
    rows = [("arg", *row) for row in zip(symbol.list_arguments(), arguments) if row[0] != "data"]
    return rows + [("aux", *row) for row in zip(symbol.list_auxiliary_states(), states)]


def drawn(rows):
    """The parameters by the README of the reference values: arguments sorted by name, then states sorted by name."""
    random = np.random.RandomState(7)
    values = {}
    for kind, name, shape in sorted(rows):
        if kind == "aux":
            mean = name.endswith("mean")
            values[name] = random.normal(0, 0.1, shape) if mean else random.uniform(0.5, 1.5, shape)
        elif name.endswith("_gamma") and "relu" in name:
            values[name] = np.full(shape, 0.25)
        elif name.endswith("_gamma"):
            values[name] = random.uniform(0.5, 1.5, shape)
        elif name.endswith(("_beta", "_bias")):
            values[name] = random.normal(0, 0.1, shape)
        else:
            values[name] = random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
    return {name: mx.nd.array(value.astype(np.float32)) for name, value in values.items()}


def test_every_reference_file_has_its_network(reference):
    for files in ("params_*.csv", "output_*.npz"):
        assert {path.stem.split("_", 1)[1] for path in reference.glob(files)} == set(NETWORKS)


def test_the_references_are_those_they_were_copied_from(reference, shared_reference):
    names = {path.name for pattern in ("params_*.csv", "output_*.npz", "y1_scores.json")
             for path in shared_reference.glob(pattern)}
    assert len(names) == 2 * len(NETWORKS) + 1
    assert all((reference / name).read_bytes() == (shared_reference / name).read_bytes() for name in names)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("case", NETWORKS)
def test_parameters_match_the_reference_in_name_order_and_shape(reference, case, graph):
    with open(reference / f"params_{case}.csv", newline="") as file:
        expected = [(row["kind"], row["name"], tuple(map(int, row["shape"].split("x"))))
                    for row in csv.DictReader(file)]
    assert parameter_rows(GRAPHS[graph](built(case))) == expected


@pytest.mark.parametrize("case", NETWORKS)
def test_the_embedding_is_that_of_the_reference(reference, case):
    expected = np.load(reference / f"output_{case}.npz")["embedding"]
    data = np.random.RandomState(11).randint(0, 256, SHAPE).astype(np.float32)
    values = drawn(parameter_rows(built(case)))  # tens of millions of numbers, once for all graphs
    for graph, made in GRAPHS.items():
        symbol = made(built(case))
        arguments = {name: values[name] for name in symbol.list_arguments() if name != "data"}
        states = {name: values[name] for name in symbol.list_auxiliary_states()}
        bound = symbol.bind(mx.cpu(), {**arguments, "data": mx.nd.array(data)}, aux_states=states, grad_req="null")
        embedding = bound.forward(is_train=False)[0].asnumpy()
        assert embedding.shape == expected.shape and embedding.dtype == np.float32
        difference = np.abs(embedding - expected).max() / np.abs(expected).max()
        assert difference < 1e-4, graph
