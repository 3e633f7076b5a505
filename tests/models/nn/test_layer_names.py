"""Each layer has a name of its own that says where it is and what it does."""

from __future__ import annotations

from models.features.table import Layout
from models.nn.architectures import mlp, realmlp
from models.nn.layer_names import layer_names


def test_hidden_layers_are_counted_and_the_last_is_the_output() -> None:
    assert layer_names(mlp([4, 3, 2], batch_norm=True, dropout=0.1)) == [
        "hidden 1",
        "hidden 1 (batch norm)",
        "hidden 1 (relu)",
        "hidden 1 (dropout)",
        "output",
    ]


def test_layers_at_the_front_have_no_number() -> None:
    names = layer_names(realmlp(Layout(2, 1, ()), [8, 8], 1))
    assert names[:3] == ["embeddings", "scaling", "hidden 1"]
    assert names[-2:] == ["hidden 2 (selu)", "output"]
    assert len(names) == len(set(names))


def test_a_network_without_hidden_layers_is_its_output() -> None:
    assert layer_names(mlp([4, 2])) == ["output"]
