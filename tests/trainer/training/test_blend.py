"""The linear model beside the networks: on laws it should have, and should not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.model import Model
from models.nn.network import Network
from trainer.data import read
from trainer.preparation.prepare import Prepared, prepare
from trainer.training.blend import blend
from trainer.training.ensemble import network_spec
from trainer.training.loop import train
from trainer.training.member import make_run

Prepare = Callable[..., Prepared]


@pytest.fixture
def prepared(write_csv: Callable[..., Path], configured: Callable[..., Any]) -> Prepare:
    def make(*settings: str, linear: bool, classes: bool = False) -> Prepared:
        rng = np.random.default_rng(0)
        x, z = rng.normal(size=(2, 320))
        law = x - 2 * z if linear else np.sign(x * z) * 3
        y = law + 0.3 * rng.normal(size=320)
        target = np.where(y > 0, "yes", "no") if classes else y
        columns = {"x": x.tolist(), "z": z.tolist(), "y": target.tolist()}
        config = configured("ensemble.members=2", "network.hidden=[16]", *settings)
        given = read(str(write_csv(columns)), "y")
        return prepare(given, None, None, config, lambda sentence: None)

    return make


LINEAR = "ensemble.linear=true"


def networks(given: Prepared) -> list[Network]:
    spec, streams = network_spec(given), np.random.SeedSequence(0).spawn(2)
    runs = [make_run(given, spec, n, streams[n]) for n in range(2)]
    for run in runs:
        train(run)
    return [run.network for run in runs]


def weight_of_linear(given: Prepared, found: Any) -> float:
    if len(found.networks) == 1:
        return 1.0
    return float(found.prepared.output.weights[-1]) if len(found.networks) > 2 else 0.0


@pytest.mark.parametrize("classes", [False, True])
def test_a_linear_table_gets_the_linear_model(classes: bool, prepared: Prepare) -> None:
    given = prepared(LINEAR, "train.epochs=2", linear=True, classes=classes)
    found = blend(given, networks(given))
    assert weight_of_linear(given, found) > 0.5
    assert any("a linear model has" in reason for reason in found.prepared.reasons)


def test_a_table_without_a_line_gets_no_linear_model(prepared: Prepare) -> None:
    given = prepared(LINEAR, "train.epochs=60", linear=False)
    found = blend(given, networks(given))
    assert weight_of_linear(given, found) < 0.2


@pytest.mark.parametrize("classes", [False, True])
def test_weights_add_up_to_one_and_none_is_zero(
    classes: bool, prepared: Prepare
) -> None:
    given = prepared(LINEAR, "train.epochs=6", linear=True, classes=classes)
    found = blend(given, networks(given))
    weights = found.prepared.output.weights
    assert not weights or sum(weights) == pytest.approx(1.0, abs=1e-6)
    assert all(weight > 0 for weight in weights)
    Model(given.inputs, found.networks, found.prepared.output)  # they fit together
    for part in found.held_out:
        assert not part.shares or sum(part.shares) == pytest.approx(1.0, abs=1e-6)


def test_without_the_setting_all_networks_are_equal(prepared: Prepare) -> None:
    given = prepared("ensemble.linear=false", "train.epochs=2", linear=True)
    trained = networks(given)
    found = blend(given, trained)
    assert found.networks == trained and found.prepared.output.weights == ()


def test_validation_rows_are_answered_by_networks_that_have_not_learnt_them(
    prepared: Prepare,
) -> None:
    given = prepared("ensemble.linear=false", "train.epochs=2", linear=True)
    trained = networks(given)
    found = blend(given, trained)
    for part, network, split in zip(found.held_out, trained, given.splits, strict=True):
        X = given.rows(given.part(split.validation)).X
        np.testing.assert_array_equal(part.Z, network.predict(X)[None])
