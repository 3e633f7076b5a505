"""One network of an ensemble: what it starts from, and what comes back."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from models.nn.layers import Embeddings
from models.nn.network import Network
from tests.trainer.training.conftest import Make, streams
from trainer.engines.blas import find_blas
from trainer.training import member
from trainer.training.checkpoint import Checkpoints
from trainer.training.ensemble import network_spec
from trainer.training.initialization import initialize_from_data
from trainer.training.member import (
    SLOW_WAVE,
    MemberTask,
    SharedWork,
    fit_member,
    make_run,
)


@pytest.mark.parametrize("few", [True, False])
def test_of_few_rows_networks_differ_in_how_fast_their_waves_are(
    few: bool, prepared: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "SLOW_WAVE_ROWS", 1_000 if few else 10)
    given = prepared("network.architecture=realmlp", members=4)
    spec = network_spec(given)
    waves = []
    for number in range(4):
        run = make_run(given, spec, number, streams()[0])
        front = run.network.layers[0]
        assert isinstance(front, Embeddings)
        waves.append(np.abs(front.w[:, -1]))
    np.testing.assert_array_equal(waves[0], waves[2])
    times = 10.0 if few else 1.0
    np.testing.assert_allclose(waves[0], times * waves[1], rtol=1e-5)


@pytest.mark.parametrize("architecture", ["mlp", "realmlp"])
def test_a_run_starts_from_its_own_stream_rows_and_validation(
    architecture: str, prepared: Make
) -> None:
    given = prepared(f"network.architecture={architecture}", "train.averaging=0.5")
    spec = network_spec(given)
    run = make_run(given, spec, 1, streams()[1], 12.5)
    split = given.splits[1]
    rows = given.rows(given.part(split.train))
    assert run.validation is not None
    np.testing.assert_equal(tuple(run.rows), tuple(rows))
    np.testing.assert_equal(
        tuple(run.validation), tuple(given.rows(given.part(split.validation)))
    )
    assert run.limit == 12.5 and run.average is not None
    expected = Network(spec)
    starting, training = streams()[1].spawn(2)
    if architecture == "realmlp":
        rng = np.random.default_rng(starting)
        initialize_from_data(expected, rows.X, rng, SLOW_WAVE)
    else:
        expected.initialize(np.random.default_rng(starting))
    np.testing.assert_array_equal(run.network.parameters, expected.parameters)
    assert (
        run.rng.bit_generator.state
        == np.random.default_rng(training).bit_generator.state
    )


def test_tasks_and_results_are_plain_data(prepared: Make, nowhere: Checkpoints) -> None:
    given = prepared("train.epochs=1")
    shared = SharedWork(given, network_spec(given))
    task = MemberTask(0, streams()[0], 1, nowhere.file(0))
    shared, task = pickle.loads(pickle.dumps((shared, task)))
    messages: list[Any] = []
    fitted = fit_member(shared, task, messages.append)
    epoch, end = pickle.loads(pickle.dumps(messages))
    assert epoch.history == fitted.history and epoch.run is None and end is None
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.parameters, fitted.parameters)
    assert str(find_blas()) in copy.ran_on
