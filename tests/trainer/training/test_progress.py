"""How far a run is, and how long it still takes at most."""

from __future__ import annotations

import math

import pytest

from trainer.training import progress
from trainer.training.history import History
from trainer.training.progress import Progress, ProgressTracker


class Seen:
    """A tracker whose clock a test sets, and what its watcher was told."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, count: int, limit: float = math.inf
    ) -> None:
        self.now = 50.0
        monkeypatch.setattr(progress.time, "perf_counter", lambda: self.now)
        self.told: list[Progress] = []
        self.tracker = ProgressTracker(count, self.told.append, limit)

    def tell(self, number: int, epochs: int, at: float, planned: int = 10) -> Progress:
        self.now = 50.0 + at
        history = History(planned=planned, loss=[0.5] * epochs)
        self.tracker.update(number, history)
        assert self.told[-1].history is history
        return self.told[-1]


def test_one_network_takes_as_long_for_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = Seen(monkeypatch, 1)
    for epochs in range(1, 11):
        told = seen.tell(0, epochs, at=3.0 * epochs)
        assert (told.number, told.count) == (1, 1)
        assert told.left == pytest.approx(3.0 * (10 - epochs))


def test_networks_that_go_side_by_side_share_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = Seen(monkeypatch, 4)
    for epochs in range(1, 11):
        seen.tell(0, epochs, at=2.0 * epochs)
        told = seen.tell(1, epochs, at=2.0 * epochs)
        assert (told.number, told.count) == (2, 4)
        # Forty epochs in all, one a second.
        assert told.left == pytest.approx(40 - 2 * epochs)


def test_one_that_stops_early_leaves_the_others_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = Seen(monkeypatch, 2)
    seen.tell(0, 1, at=1.0)
    seen.tell(0, 2, at=2.0)
    seen.tracker.finish(0)
    # The other may take all its ten epochs, nine of them after this.
    assert seen.tell(1, 1, at=3.0).left == pytest.approx(9.0)


def test_what_an_earlier_start_did_took_no_time_of_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = Seen(monkeypatch, 2)
    seen.tracker.finish(0)  # it was over when it was found
    told = seen.tell(1, 8, at=5.0)
    assert told.left == pytest.approx(10.0)
    assert seen.tell(1, 10, at=10.0).left == 0.0


def test_no_more_is_left_than_the_limit_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch, 1, limit=7.0)
    found = [seen.tell(0, epochs, at=2.0 * epochs).left for epochs in (1, 2, 3, 4)]
    assert found == [5.0, 3.0, 1.0, 0.0]
    near = Seen(monkeypatch, 1, limit=1e6)
    assert near.tell(0, 5, at=5.0, planned=6).left < 26


def test_a_first_epoch_in_no_time_divides_by_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Seen(monkeypatch, 1).tell(0, 1, at=0.0)
    assert math.isfinite(told.left)
