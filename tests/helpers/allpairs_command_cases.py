"""What tests of several files use of allpairs command."""
from __future__ import annotations

import json

import mxnet as mx
import pytest
from small_nets import draw_parameters, small_symbol
from small_sets import draw, jpeg, write_training_set

from eval.__main__ import main

SIZE = 48


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two checkpoints of a small network, a folder of people with groups, and the same people packed."""
    folder = tmp_path_factory.mktemp("allpairs")
    symbol = small_symbol(16)
    for epoch in (1, 2):
        arguments, auxiliary = draw_parameters(symbol, (SIZE, SIZE), seed=epoch)
        mx.model.save_checkpoint(str(folder / "net"), epoch, symbol, arguments, auxiliary)
    for person in range(6):
        for index in range(5):
            name = folder / f"faces/p{person}/{'frontal' if index < 3 else 'profile'}/{index}.jpg"
            name.parent.mkdir(parents=True, exist_ok=True)
            name.write_bytes(jpeg(draw(person, index, SIZE)))
    write_training_set(folder / "packed", 6, 5, SIZE)
    return folder


def run(place, *flags, models=("1",)):
    """The rows of --json by model; models: epochs of the checkpoint, or what --model takes."""
    out = place / "out.json"
    argv = ["allpairs", "--model", *(f"{place}/net,{model}" if model.isdigit() else model for model in models),
            "--fpr", "0.1,0.02", "--bootstrap", "50", "--json", str(out), "--devices", "cpu:0", *map(str, flags)]
    assert main(argv) == 0
    return {model: row for model, rows in json.loads(out.read_text()).items() for row in rows.values()}
