"""Networks fitted side by side: what each gets, and what ends them all."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ConfigError, TrainingDiverged
from models.nn.layers import EmbeddingsSpec
from models.nn.network import count_parameters
from models.storage.directory import DirectoryStore
from tests.trainer.training.conftest import Make, streams
from trainer.engines.wire import RemoteFunction, build, flatten, pack, unpack
from trainer.preparation.prepare import Prepared
from trainer.training import ensemble, rounds
from trainer.training.checkpoint import Checkpoint, Checkpoints
from trainer.training.ensemble import (
    MAX_PARAMETERS,
    fit_members,
    members_of,
    network_spec,
)
from trainer.training.history import History
from trainer.training.loop import TrainingRun, train
from trainer.training.member import make_run
from trainer.training.progress import Progress

LONG = ("train.epochs=1000000", "train.patience=1000000")


def learned(given: Prepared, checkpoints: Checkpoints, **more: Any) -> Any:
    watch = more.pop("watch", lambda standing: None)
    spec = network_spec(given)
    fitted, seconds = fit_members(given, spec, streams(), watch, checkpoints, **more)
    return members_of(fitted, spec), seconds


# The network.


def test_a_plain_network_is_as_wide_as_its_columns(prepared: Make) -> None:
    given = prepared("network.architecture=mlp", "network.hidden=[8, 4]")
    spec = network_spec(given)
    assert spec.n_in == given.inputs.width
    assert spec.n_out == given.output.width == 1
    assert not any(isinstance(layer, EmbeddingsSpec) for layer in spec.layers)


def test_realmlp_begins_with_embeddings(prepared: Make) -> None:
    spec = network_spec(prepared("network.architecture=realmlp"))
    assert isinstance(spec.layers[0], EmbeddingsSpec)


def test_all_networks_together_must_fit_into_an_artefact(prepared: Make) -> None:
    wide = ("network.architecture=mlp", "network.hidden=[15000, 15000]")
    n = count_parameters(network_spec(prepared(*wide, members=1)))[0]
    assert n < MAX_PARAMETERS < 2 * n
    with pytest.raises(ConfigError, match=r"network\.hidden=\[15000, 15000\] makes"):
        network_spec(prepared(*wide, members=2))


# All of them.


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_each_network_is_what_it_is_alone(
    threads: int, prepared: Make, nowhere: Checkpoints
) -> None:
    given = prepared("train.epochs=4", f"runtime.threads={threads}")
    spec = network_spec(given)
    fitted, seconds = fit_members(given, spec, streams(), lambda now: None, nowhere)
    members = members_of(fitted, spec)
    assert seconds > 0
    for number, (member, stream) in enumerate(zip(members, streams(), strict=False)):
        alone = make_run(given, spec, number, stream)
        history = train(alone)
        np.testing.assert_array_equal(
            member.network.parameters, alone.network.parameters
        )
        assert member.history.curves() == history.curves()


class Clock:
    """Seconds that pass only when a network is fitted, which helpers see at 0."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: list[float]) -> None:
        self.now = 100.0
        self.limits: list[float] = []
        for clock in ("perf_counter", "time"):
            monkeypatch.setattr(ensemble.time, clock, lambda: self.now)
        make = make_run

        def made(*arguments: Any) -> TrainingRun:
            self.limits.append(arguments[4])
            return make(*arguments)

        def trained(run: TrainingRun, tell: Any, keep: Any) -> History:
            self.now += seconds[len(self.limits) - 1]
            run.history.seconds = run.limit
            return run.history

        monkeypatch.setattr("trainer.training.member.make_run", made)
        monkeypatch.setattr("trainer.training.member.train", trained)


@pytest.mark.parametrize(
    ("seconds", "limits"),
    [
        ([20.0, 20.0, 20.0], [20.0, 20.0, 20.0]),  # each takes its share
        ([6.0, 10.0, 1.0], [20.0, 27.0, 44.0]),  # what one leaves is the others'
        ([70.0, 1.0, 1.0], [20.0, -5.0, -11.0]),  # it took more than all
    ],
)
def test_a_limit_is_shared(
    seconds: list[float],
    limits: list[float],
    prepared: Make,
    nowhere: Checkpoints,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch, seconds)
    learned(prepared("runtime.threads=1"), nowhere, limit=60.0)
    assert clock.limits == limits


def test_those_at_once_have_the_same_share(
    prepared: Make, nowhere: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch, [0.0] * 5)
    given = prepared("runtime.threads=2", members=5)
    members, _ = learned(given, nowhere, limit=60.0)
    # Three turns: two, two and one.
    limits = [member.history.seconds for member in members]
    assert limits == [20.0, 20.0, 30.0, 30.0, 60.0]


def test_without_a_limit_each_has_for_ever(
    prepared: Make, nowhere: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch, [5.0] * 3)
    members, _ = learned(prepared(), nowhere)
    assert [member.history.seconds for member in members] == [math.inf] * 3


@pytest.mark.parametrize("limit", [1e-6, 0.0, -1.0])
def test_a_limit_that_is_up_leaves_every_network_one_step(
    limit: float, prepared: Make, nowhere: Checkpoints
) -> None:
    members, _ = learned(prepared("train.epochs=100"), nowhere, limit=limit)
    assert [member.history.epochs for member in members] == [1, 1, 1]
    assert all(member.history.out_of_time for member in members)


# What is told.


def test_a_network_that_stopped_early_takes_no_more_time(
    prepared: Make, nowhere: Checkpoints
) -> None:
    still = ("train.epochs=100", "train.patience=1", "train.learning_rate=1e-30")
    told: list[Progress] = []
    learned(prepared(*still, "runtime.threads=1"), nowhere, watch=told.append)
    assert len(told) == 6  # each stops after two epochs of a hundred
    assert all(now.history.epochs <= 2 for now in told)
    assert told[-1].left < 98 * 60


def test_no_more_is_left_than_the_limit_leaves(
    prepared: Make, nowhere: Checkpoints
) -> None:
    told: list[Progress] = []
    learned(prepared(*LONG), nowhere, limit=0.3, watch=told.append)
    assert told
    assert all(now.left <= 0.3 for now in told)


# What ends them all.


@pytest.mark.parametrize("failing", [0, 1, 7])
def test_when_one_fails_none_is_waited_for(
    failing: int,
    prepared: Make,
    nowhere: Checkpoints,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make = make_run

    def one_fails(given: Any, spec: Any, number: int, *more: Any) -> TrainingRun:
        if number == failing:
            raise TrainingDiverged(f"network {number}")
        return make(given, spec, number, *more)

    monkeypatch.setattr("trainer.training.member.make_run", one_fails)
    settings = LONG if failing < 2 else ()
    with pytest.raises(TrainingDiverged, match=f"network {failing}"):
        learned(prepared(*settings, "runtime.threads=2", members=8), nowhere)


def test_ctrl_c_ends_them_and_what_they_did_is_kept(
    prepared: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.training.checkpoint.LEAST_SECONDS", 0.0)
    given = prepared(*LONG, "runtime.threads=2")
    seen: dict[int, int] = {}

    def watch(standing: Progress) -> None:
        seen[standing.number] = standing.history.epochs
        if min(seen.get(1, 0), seen.get(2, 0)) >= 3:
            raise KeyboardInterrupt

    checkpoints = Checkpoints(DirectoryStore(tmp_path).scratch, "m", pytest.fail, "key")
    with pytest.raises(KeyboardInterrupt):
        learned(given, checkpoints, watch=watch)
    for number in (0, 1):
        run = make_run(given, network_spec(given), number, streams()[number])
        assert Checkpoint(checkpoints.file(number), pytest.fail).restore(run)
        assert run.history.epochs > 0


def test_of_a_full_disk_all_say_one_sentence(
    prepared: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Checkpoint, run: TrainingRun) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("trainer.training.checkpoint.LEAST_SECONDS", 0.0)
    monkeypatch.setattr(Checkpoint, "_write", full)
    said: list[str] = []
    checkpoints = Checkpoints(DirectoryStore(tmp_path).scratch, "m", said.append, "key")
    learned(prepared("train.epochs=3", "runtime.threads=2"), checkpoints)
    (sentence,) = said
    assert "(No space left on device)" in sentence


def test_what_was_done_before_is_gone_on_from(
    prepared: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.training.checkpoint.LEAST_SECONDS", 0.0)
    given = prepared("train.epochs=6", "runtime.threads=1")
    spec = network_spec(given)
    said: list[str] = []
    checkpoints = Checkpoints(DirectoryStore(tmp_path).scratch, "m", said.append, "key")

    def ends(number: int, epochs: int) -> Callable[[Progress], None]:
        def watch(standing: Progress) -> None:
            if (standing.number, standing.history.epochs) == (number, epochs):
                raise CancelledError

        return watch

    with pytest.raises(CancelledError):
        fit_members(given, spec, streams(), ends(2, 4), checkpoints)
    seen: list[tuple[int, int]] = []

    def watch(standing: Progress) -> None:
        seen.append((standing.number, standing.history.epochs))

    fitted, _ = fit_members(given, spec, streams(), watch, checkpoints)
    whole, _ = fit_members(
        *(given, spec, streams(), lambda standing: None),
        Checkpoints(DirectoryStore(tmp_path).scratch, "other", said.append, "key"),
    )
    for found, expected in zip(fitted, whole, strict=True):
        np.testing.assert_array_equal(found.parameters, expected.parameters)
        assert found.history.curves() == expected.history.curves()
    # The first was over; the second was left after its third epoch or sooner.
    assert {number for number, _ in seen} == {2, 3}
    assert 3 <= sum(number == 2 for number, _ in seen) <= 5
    assert said == []


def test_the_seconds_before_an_interruption_count(
    prepared: Make, nowhere: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def restored(self: Checkpoint, run: TrainingRun) -> bool:
        run.history.seconds = 600.0
        return True

    monkeypatch.setattr(Checkpoint, "restore", restored)
    _, seconds = learned(prepared("train.epochs=1", "runtime.threads=2"), nowhere)
    # Three networks of ten minutes, two at once.
    assert 900.0 <= seconds < 960.0


LARGE = ("network.hidden=[500, 500]", "train.batch_size=64", "train.epochs=1")


def test_the_number_of_cores_changes_no_byte_of_a_lone_network(
    prepared: Make, nowhere: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for cores in (1, 2, 8):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, n=cores: range(n))
        members, _ = learned(prepared(*LARGE, members=1), nowhere)
        found.add(members[0].network.parameters.tobytes())
    assert len(found) == 1


@pytest.mark.parametrize(
    ("members", "settings", "expected"),
    [(1, (), 1), (1, ("runtime.threads=2",), 2), (2, ("runtime.threads=2",), 1)],
)
def test_only_a_lone_network_has_the_blas_threads_that_are_asked_for(
    members: int,
    settings: tuple[str, ...],
    expected: int,
    prepared: Make,
    nowhere: Checkpoints,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits: list[int] = []

    def limited(limit: int, user_api: str) -> Any:
        limits.append(limit)
        return nullcontext()

    monkeypatch.setattr(ensemble, "threadpool_limits", limited)
    learned(prepared("train.epochs=1", *settings, members=members), nowhere)
    assert limits == [expected]


@pytest.mark.parametrize(("live", "seen"), [(True, {1, 2}), (False, set())])
def test_a_watcher_gets_live_runs_where_it_asks_for_them(
    live: bool, seen: set[int], prepared: Make, nowhere: Checkpoints
) -> None:
    told: list[Progress] = []
    given = prepared("train.epochs=2", "runtime.threads=2", members=2)
    learned(given, nowhere, watch=told.append, live=live)
    assert {standing.number for standing in told if standing.run} == seen
    assert len(told) == 4


class OverTheWire:
    """An engine that runs every task as another machine would."""

    size, shares_memory = 2, False

    def map(self, function: Any, shared: Any, tasks: Any, on_message: Any) -> list[Any]:
        remote = RemoteFunction.named(RemoteFunction.of(function).name)
        results = []
        for number, task in enumerate(tasks):

            def report(message: Any, number: int = number) -> None:
                on_message(number, build(remote.message, *flatten(message)))

            write = task.checkpoint.write
            result = remote.call(
                build(remote.shared, *flatten(shared)),
                build(remote.task, *flatten(task), write=write),
                report,
            )
            results.append(unpack(remote.result, pack(result)))
        return results


@pytest.mark.parametrize(
    "settings",
    [
        ("network.architecture=mlp",),
        ("network.architecture=realmlp",),
        ("train.class_weights=balanced",),
    ],
)
def test_json_and_arrays_are_all_that_a_network_depends_on(
    settings: tuple[str, ...],
    prepared: Make,
    nowhere: Checkpoints,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = prepared("train.epochs=3", *settings)
    here, _ = learned(given, nowhere)
    nowhere.clear()
    monkeypatch.setattr(ensemble, "open_engine", lambda *_: nullcontext(OverTheWire()))
    told: list[Progress] = []
    there, _ = learned(given, nowhere, watch=told.append)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.network.parameters, other.network.parameters)
        assert one.history.curves() == other.history.curves()
    assert len(told) == 9
    again, _ = learned(given, nowhere)  # their last checkpoints came back, too
    for one, other in zip(here, again, strict=True):
        np.testing.assert_array_equal(one.network.parameters, other.network.parameters)


# Effort by evidence: rounds, a common epoch.

EVIDENCE = (
    "network.architecture=realmlp",
    "train.epochs=8",
    "ensemble.minimum_gain=0.000001",
    "train.choose_epoch=together",
)


@pytest.mark.parametrize("threads", [1, 2])
def test_all_networks_are_at_one_epoch_however_many_processes(
    threads: int,
    prepared: Make,
    nowhere: Checkpoints,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "FEW_ROWS_ROUND", 4)
    given = prepared(*EVIDENCE, f"runtime.threads={threads}", members=6)
    members, _ = learned(given, nowhere)
    assert len(members) in (4, 6)
    (epoch,) = {member.history.best_epoch for member in members}
    assert 1 <= epoch <= 8
    assert {member.history.epochs for member in members[:4]} == {8}
    assert {member.history.epochs for member in members[4:]} <= {epoch}
    digest = [member.network.parameters.tobytes() for member in members]
    other = prepared(*EVIDENCE, f"runtime.threads={3 - threads}", members=6)
    again, _ = learned(other, nowhere)
    assert digest == [member.network.parameters.tobytes() for member in again]


def test_the_common_epoch_is_that_of_the_lowest_mean_loss(
    prepared: Make, nowhere: Checkpoints
) -> None:
    settings = ("train.epochs=6", "train.choose_epoch=together")
    members, _ = learned(prepared(*settings), nowhere)
    losses = np.mean([m.history.validation_loss for m in members], axis=0)
    assert {m.history.best_epoch for m in members} == {int(losses.argmin()) + 1}


def test_later_networks_are_the_same_if_they_are_trained_for_longer(
    prepared: Make, nowhere: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """... as those of `--member` are, which do not know what the first ones chose."""
    monkeypatch.setattr(rounds, "FEW_ROWS_ROUND", 4)
    given = prepared("train.epochs=6", "train.choose_epoch=together", members=6)
    spec = network_spec(given)
    for_less, _ = learned(given, nowhere)
    whole, _ = fit_members(
        given, spec, streams(), lambda now: None, nowhere, numbers=range(6)
    )
    assert {arrays.history.epochs for arrays in whole} == {6}
    for less, more in zip(for_less, members_of(whole, spec), strict=True):
        assert less.network.parameters.tobytes() == more.network.parameters.tobytes()
        assert less.history.curves() == more.history.curves()
        assert less.history.best_epoch == more.history.best_epoch
