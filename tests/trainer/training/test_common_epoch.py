"""The epoch that all networks share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.nn.architectures import mlp
from models.nn.network import Network
from trainer.training.common_epoch import MOST, Snapshots, common_epoch, kept_epochs
from trainer.training.history import History


def history(*losses: float, planned: int = 0) -> History:
    return History(
        planned=planned or len(losses), loss=list(losses), validation_loss=list(losses)
    )


def test_an_easy_window_alone_does_not_decide() -> None:
    easy, usual = history(0.3, 0.2, 0.1, 0.0), history(0.9, 0.5, 0.8, 1.5)
    assert common_epoch([easy, usual], 2) == 2
    assert common_epoch([easy], 2) == 4


def test_the_first_ones_decide() -> None:
    early, late = history(0.3, 0.2, 0.4), history(0.9, 0.5, 0.1)
    assert common_epoch([early, late, late], 1) == 2


def test_only_epochs_that_all_reached_count() -> None:
    short, long = history(0.5, 0.4, planned=3), history(0.5, 0.4, 0.1)
    for first in (1, 2):
        assert common_epoch([short, long], first) == 2
        assert common_epoch([long, short], first) == 2


@given(st.integers(1, 500))
def test_the_first_and_last_are_kept_and_the_others_are_even(planned: int) -> None:
    kept = kept_epochs(planned)
    assert kept[-1] == planned and kept[0] == 1 and len(kept) <= MOST + 1
    assert len(set(np.diff(kept[1:]))) <= 1
    assert planned > MOST or kept == list(range(1, planned + 1))


@pytest.mark.parametrize("planned", [3, 2 * MOST])
def test_snapshots_are_the_weights_after_each_kept_epoch(planned: int) -> None:
    network = Network(mlp([2, 3, 1], batch_norm=True))
    snapshots = Snapshots(network, planned)
    for epoch in range(1, planned + 1):
        network.parameters[...], network.state[...] = epoch, -epoch
        snapshots.keep(network, epoch)
    assert snapshots.parameters[:, 0].tolist() == kept_epochs(planned)
    assert (-snapshots.state[:, 0]).tolist() == kept_epochs(planned)
