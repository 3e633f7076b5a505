"""Which layer is to blame, at which step, and that nothing comes of such a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from models.features.table import Layout
from models.nn.architectures import mlp, realmlp
from models.nn.network import Network
from models.storage.directory import DirectoryStore as Store
from trainer.training.divergence import diverged


def network(spec: Any = None) -> Network:
    made = Network(spec or mlp([3, 4, 4, 1], "leaky_relu"))
    made.initialize(np.random.default_rng(0))
    return made


X = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)


def test_it_tells_the_step_the_rate_and_what_to_do() -> None:
    told = str(diverged(network(), X, 123, 0.0456789))
    assert told.startswith("training diverged at step 123: ")
    assert "(0.0457)" in told
    assert "train.learning_rate" in told and "train.clip_norm=1" in told


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("number", [1, 3, 5])
def test_the_layer_whose_weights_are_gone_is_named(number: int, value: float) -> None:
    broken = network()
    for block in broken.blocks:
        if block.name == f"layer {number} (linear)":
            broken.parameters[block.slice.start] = value
    told = str(diverged(broken, X, 1, 0.1))
    assert f": the weights of layer {number} (linear) are no longer finite; " in told


def test_of_several_the_first_is_named() -> None:
    broken = network()
    broken.parameters[...] = np.nan
    assert "weights of layer 1 (linear)" in str(diverged(broken, X, 1, 0.1))


@pytest.mark.parametrize("number", [1, 3, 5])
def test_the_first_layer_that_overflows_is_named(number: int) -> None:
    large = network()
    for block in large.blocks:
        if block.name == f"layer {number} (linear)":
            large.parameters[block.slice] = 3e38
    told = str(diverged(large, 1 + np.abs(X), 1, 0.1))
    assert f": the outputs of layer {number} (linear) overflow; " in told


def test_outputs_that_are_numbers_are_too_large_for_the_loss() -> None:
    large = network()
    large.parameters[...] = 0.0
    large.parameters[-1] = 1e30  # its square overflows
    told = str(diverged(large, X, 1, 0.1))
    assert ": the outputs of layer 5 (linear) are too large for the loss; " in told


def test_every_layer_of_realmlp_can_be_named() -> None:
    whole = network(realmlp(Layout(2, 1, ()), [4], 1))
    for block in whole.blocks:
        broken = network(realmlp(Layout(2, 1, ()), [4], 1))
        broken.parameters[block.slice] = np.nan
        assert f"the weights of {block.name} " in str(diverged(broken, X, 1, 0.1))


@pytest.mark.parametrize("members", [1, 3])
def test_the_command_says_it_in_one_sentence_and_publishes_nothing(
    members: int,
    command: Callable[..., Result],
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
    store: Store,
) -> None:
    whole = table(200)
    data = write_csv({name: whole[name] for name in ("size", "colour", "price")})
    told = command(
        *("fit", data, "--target", "price", "--model", "m"),
        *("--set", "train.optimizer=gradient_descent"),
        *("--set", "train.learning_rate=1e6"),
        *("--set", f"ensemble.members={members}"),
        code=1,
    ).stderr
    *_, last = told.splitlines()
    assert last.startswith("Error: training diverged at step ")
    assert "; the learning rate (" in last
    assert "Traceback" not in told
    assert not store.root.exists()
