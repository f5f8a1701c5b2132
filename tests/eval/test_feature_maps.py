"""The report's maps of local features and GNAP's weights, against the paper's equations in numpy."""
from __future__ import annotations

from types import SimpleNamespace

import mxnet as mx
import numpy as np
import pytest
from small_nets import (
    draw_parameters,
    draw_trained,
    forward,
    gnap_symbol,
    in_doubles,
    small_symbol,
    wrongly_fused_symbol,
)

from eval.report.faces import IN_MEAN, faces_by_group
from eval.report.feature_maps import FeatureMaps, feature_maps, find_layer
from eval.report.labelled_set import LabelledSet
from symbols.gnap import norm_aware_pooling
from symbols.symbol_utils import get_fc1, normalise_input

SIZE = 48


def test_maps_are_equations_one_to_three():
    symbol = gnap_symbol()
    arguments, auxiliary = draw_parameters(symbol, (SIZE, SIZE), 4)
    arguments["bn6f_gamma"][:] = 1
    images = np.random.RandomState(1).randint(0, 256, (19, SIZE, SIZE, 3)).astype(np.uint8)
    maps = feature_maps(symbol, arguments, auxiliary, list(images))
    features = forward(symbol.get_internals()["bn6f_output"], arguments, auxiliary, images).astype(np.float64)
    assert maps.gnap and maps.layer == "bn6f" and maps.norms.shape == (19, *features.shape[2:])
    for image in range(len(images)):
        norms = [[np.linalg.norm(features[image, :, row, column]) for column in range(features.shape[3])]
                 for row in range(features.shape[2])]
        np.testing.assert_allclose(maps.norms[image], norms, rtol=1e-4)
    pooled = norm_aware_pooling(mx.nd, mx.nd.array(features), features.shape[1]).asnumpy()
    np.testing.assert_allclose((features * maps.weights[:, None]).mean(axis=(2, 3)), pooled, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(maps.shares.sum(axis=(1, 2)), 1)
    np.testing.assert_allclose(maps.norms * maps.weights, maps.norms.mean(axis=(1, 2), keepdims=True)
                               * np.ones_like(maps.norms))  # behind GNAP all lengths are equal


def test_a_feature_without_norm_has_no_weight():
    maps = FeatureMaps(np.array([[[0.0, 2.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]), "x", True)
    np.testing.assert_allclose(maps.weights[0], [[0, 0.5], [1, 1]])
    assert not maps.weights[1].any() and not maps.shares[1].any()


def test_the_layer_is_the_last_map_before_the_head():
    assert find_layer(small_symbol(), (SIZE, SIZE)) == "conv2_output"
    body = mx.sym.Convolution(normalise_input(), name="conv", num_filter=4, kernel=(7, 7), stride=(7, 7))
    assert find_layer(get_fc1(body, 4, "GAP", input_channel=4), (SIZE, SIZE)) == "bn1_output"
    flat = mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.Variable("data")), num_hidden=3, name="fc1")
    with pytest.raises(ValueError, match="no feature map"):
        find_layer(flat, (SIZE, SIZE))


def test_maps_of_a_network_that_mxnet_fuses_wrongly():
    symbol = wrongly_fused_symbol()
    values = draw_trained(symbol, (1, 3, SIZE, SIZE))
    auxiliary = {name: values.pop(name) for name in symbol.list_auxiliary_states()}
    images = np.random.RandomState(1).randint(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8)
    maps = feature_maps(symbol, values, auxiliary, list(images))
    assert maps.layer == "sum"
    exact = in_doubles(symbol.get_internals()["sum_output"], values, auxiliary, images)
    np.testing.assert_allclose(maps.norms, np.sqrt((exact ** 2).sum(axis=1)), rtol=1e-4)


def test_the_faces_of_maps_are_the_first_of_each_identity_those_in_all_groups_before_others():
    random = np.random.RandomState(0)
    labels, groups = random.randint(0, 90, 300), random.choice(["", "a", "b", "c"], 300)
    pool = SimpleNamespace(image=lambda place: place - 1000)
    of = {(person, group): [number for number in range(300) if (labels[number], groups[number]) == (person, group)]
          for person in range(90) for group in "abc"}
    order = sorted(range(90), key=lambda person: not all(of[person, group] for group in "abc"))
    for group in faces_by_group(LabelledSet("set", labels, [], groups, (labels, None)), pool, 1000 + np.arange(300), 3):
        assert group.images == [of[person, group.name][0] for person in order if of[person, group.name]][:IN_MEAN]
    (alone,) = faces_by_group(LabelledSet("set", labels, [], np.full(300, ""), (labels, None)), pool,
                              1000 + np.arange(300), 3)
    assert alone.name == "face" and alone.images == [int(np.argmax(labels == one)) for one in np.unique(labels)][:64]
