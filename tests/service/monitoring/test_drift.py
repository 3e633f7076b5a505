"""What is counted of requests, against a plain count of the same rows."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.features.histograms import Histogram, Shares
from models.features.inputs import RawColumns
from models.features.reference import Reference
from models.model import Model
from models.storage.artefact import Artefact
from models.storage.directory import DirectoryStore as Store
from service.monitoring.drift import MAX_COUNTED_ROWS, SLOTS, Bins, Drift
from service.registry.loaded import Entry, Loaded
from service.registry.registry import Registry
from service.server.shared_memory import mapped

HOMES = ["owner", "rent", "parents"]
MINUTE = 60.0


class Clock:
    """What `time` is to the module: a clock that is set, and counting that is free."""

    def __init__(self) -> None:
        self.now = 1e6

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("service.monitoring.drift.time", clock)
    return clock


@pytest.fixture(scope="session")
def registry(served: Path) -> Registry:
    registry = Registry(Store(served))
    registry.refresh()
    return registry


@pytest.fixture
def people(registry: Registry) -> Loaded:
    return registry.find("people")


def rows(n: int, seed: int = 0, shift: float = 0.0) -> dict[str, Any]:
    """Requests of the kind the model `people` has learnt, or with a shifted income."""
    rng = np.random.default_rng(seed)
    home = rng.choice(HOMES, n).tolist()
    return {
        "income": np.where(rng.random(n) < 0.1, np.nan, rng.normal(50 + shift, 15, n)),
        "home": [None if rng.random() < 0.1 else text for text in home],
        "member": (rng.random(n) < 0.5) * 1.0,
        "since": 1_704_067_200 + 86_400.0 * rng.integers(0, 700, n),
        "children": rng.integers(0, 4, n) * 1.0,
    }


def ask(drift: Drift, loaded: Loaded, raw: Any) -> None:
    drift.record(loaded, raw, loaded.artefact.model.predict(raw))


def indices(drift: Drift, registry: Registry) -> dict[str, float]:
    """The index of each column of `people`; nothing of a model without requests."""
    found = dict(drift.indices(registry.catalogue))
    assert all(key[:2] == ("people", "1") for key in found)
    return {key[2]: value for key, value in found.items()}


def index(p: Any, q: Any) -> float:
    """Σ (p − q) ln(p / q) of two counts of bins that either of them has rows in."""
    p, q = np.array(p, float), np.array(q, float)
    p, q = p[(p + q) > 0] + 0.5, q[(p + q) > 0] + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())


def expected(loaded: Loaded, raw: dict[str, Any]) -> dict[str, float]:
    """The indices by the plainest account."""
    reference: Reference = loaded.artefact.manifest.reference
    answer = loaded.artefact.model.predict(raw)
    sides = [(name, seen, reference.rows) for name, seen in reference.inputs.items()]
    sides += [("Status", reference.outputs["label"], reference.answered)]
    found = {}
    for name, seen, n in sides:
        values = answer["label"].tolist() if name == "Status" else list(raw[name])
        if isinstance(seen, Shares):
            counts = Counter(values)
            missing = counts.pop(None, 0)
            given = [counts.pop(category, 0) for category in seen.categories]
            given += [counts.total(), missing]
            learnt = [*seen.shares, seen.other, seen.missing]
        else:
            present = [value for value in values if value == value]
            ends = [-np.inf, *seen.edges, np.inf]
            given = [
                sum(low <= value < high for value in present)
                for low, high in itertools.pairwise(ends)
            ]
            given += [len(values) - len(present)]
            learnt = [*seen.shares, seen.missing]
        found[name] = index(np.array(learnt) * n, given)
    return found


def test_every_column_and_the_predictions_have_their_index(
    registry: Registry, people: Loaded, clock: Clock
) -> None:
    drift = Drift(3600)
    raw = rows(900)
    for start in range(0, 900, 300):
        part = {name: values[start : start + 300] for name, values in raw.items()}
        ask(drift, people, part)
    found = indices(drift, registry)
    assert found == pytest.approx(expected(people, raw))
    assert max(found.values()) < 0.25


def test_a_shifted_column_stands_out(
    registry: Registry, people: Loaded, clock: Clock
) -> None:
    drift = Drift(3600)
    ask(drift, people, rows(900, shift=30))
    found = indices(drift, registry)
    # The answers go with it.
    assert {name for name, index in found.items() if index > 0.25} == {
        "income",
        "Status",
    }


def test_too_few_rows_say_nothing(
    registry: Registry, people: Loaded, clock: Clock
) -> None:
    drift = Drift(3600)
    ask(drift, people, rows(20))
    assert indices(drift, registry) == {}


def test_the_window_slides(registry: Registry, people: Loaded, clock: Clock) -> None:
    """Shifted rows are seen at once, and gone when the window has passed them."""
    drift = Drift(SLOTS * MINUTE)
    ask(drift, people, rows(900, shift=30))
    clock.now += (SLOTS - 2) * MINUTE
    usual = rows(900, seed=1)
    ask(drift, people, usual)
    assert indices(drift, registry)["income"] > 0.3
    clock.now += 2 * MINUTE
    wanted = expected(people, usual)
    assert indices(drift, registry)["income"] == pytest.approx(wanted["income"])
    ask(drift, people, usual)  # over the slot of the shifted ones
    assert indices(drift, registry)["income"] < 0.25
    clock.now += SLOTS * MINUTE
    assert indices(drift, registry) == {}


def test_workers_are_added_up(
    registry: Registry,
    people: Loaded,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three that share a directory say the same, one of them having counted nothing."""
    workers = []
    for pid in (101, 102, 103):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        workers.append(Drift(3600))
        workers[-1].share(tmp_path)
        if pid != 103:
            ask(workers[-1], people, rows(450, seed=pid))
    both = {
        name: [*values, *rows(450, seed=102)[name]]
        for name, values in rows(450, seed=101).items()
    }
    wanted = expected(people, {**both, **_floats(both)})
    for worker in workers:
        assert indices(worker, registry) == pytest.approx(wanted)


def _floats(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: np.array(v, float) for name, v in columns.items() if name != "home"}


def test_what_the_dead_have_counted_stays_as_long_as_it_counts(
    registry: Registry,
    people: Loaded,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: 2**22 + 1)  # beyond any process
        dead = Drift(60)
        dead.share(tmp_path)
        ask(dead, people, rows(900))
    living = Drift(60)
    living.share(tmp_path)
    assert indices(living, registry)
    clock.now += 120
    assert indices(living, registry) == {}
    Drift(60).share(tmp_path)  # another worker starts
    assert list((tmp_path / "drift").iterdir()) == []


def test_a_worker_continues_the_counts_of_one_that_has_ended(
    registry: Registry,
    people: Loaded,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for pid in range(2**22 + 1, 2**22 + 9):  # beyond any process
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        worker = Drift(3600)
        worker.share(tmp_path)
        ask(worker, people, rows(100, seed=pid))
    assert len(list((tmp_path / "drift").iterdir())) == 1
    (window,) = worker._windows.values()
    assert window.slots[:, 1:].sum() > 7 * 100 * 5  # rows times columns


def test_what_is_unloaded_is_counted_no_more(
    registry: Registry, people: Loaded, clock: Clock, tmp_path: Path
) -> None:
    drift = Drift(3600)
    drift.share(tmp_path)
    ask(drift, people, rows(900))
    drift.forget(people)
    assert list((tmp_path / "drift").iterdir()) == []
    assert indices(drift, registry) == {}


def test_without_room_a_worker_counts_for_itself(
    registry: Registry,
    people: Loaded,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    drift = Drift(3600)
    drift.share(tmp_path)
    ask(drift, people, rows(900))
    assert indices(drift, registry) == {}


def test_a_window_of_no_seconds_counts_nothing(
    registry: Registry, people: Loaded, tmp_path: Path
) -> None:
    drift = Drift(0)
    drift.share(tmp_path)
    ask(drift, people, rows(900))
    assert indices(drift, registry) == {}


def test_of_a_large_request_some_rows_are_counted(people: Loaded) -> None:
    model, bins = people.artefact.model, Bins(people.artefact)
    raw = rows(3 * MAX_COUNTED_ROWS + 1)
    counts = bins.count(raw, model.predict(raw))
    assert counts.sum() == (3 * MAX_COUNTED_ROWS + 1) // 4 * 6 + 6
    every = {name: values[::4] for name, values in raw.items()}
    assert (counts == bins.count(every, model.predict(every))).all()


@pytest.mark.parametrize("apart", [1e-4, 1.0])
def test_counting_takes_a_hundredth_of_the_time(
    people: Loaded, clock: Clock, monkeypatch: pytest.MonkeyPatch, apart: float
) -> None:
    """Where counting takes a millisecond, and requests come so far apart."""
    random.seed(0)
    counted = 0

    class Counting(Bins):
        def count(self, raw: RawColumns, answer: Any) -> Any:
            nonlocal counted
            counted += 1
            return super().count(raw, answer)

    ticks = itertools.count()
    monkeypatch.setattr(clock, "thread_time", lambda: next(ticks) * 1e-3)
    monkeypatch.setattr("service.monitoring.drift.Bins", Counting)
    drift, raw = Drift(3600), rows(1)
    answer = people.artefact.model.predict(raw)
    for _ in range(20_000):
        clock.now += apart
        drift.record(people, raw, answer)
    seconds = 20_000 * apart
    if apart == 1.0:
        assert counted > 0.98 * 20_000
    else:
        assert 0.005 < counted * 1e-3 / seconds < 0.02


KINDS = st.sampled_from(
    [Histogram((0.0, 1.0), (0.2, 0.3, 0.4), 0.1), Shares(("a",), (0.5,), 0.2, 0.3)]
)


@given(
    st.dictionaries(st.sampled_from(["income", "home", "x", "Status"]), KINDS),
    st.dictionaries(st.sampled_from(["label", "value", "x"]), KINDS),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_reference_that_fits_no_column_costs_no_request(
    people: Loaded,
    inputs: dict[str, Histogram | Shares],
    outputs: dict[str, Histogram | Shares],
) -> None:
    """An artefact may say of its columns what it likes."""
    manifest = people.artefact.manifest
    reference = Reference(inputs, outputs, 300, 60)
    model: Model = people.artefact.model
    artefact = Artefact(
        msgspec.structs.replace(manifest, reference=reference), model, "0" * 64
    )
    raw = rows(300)
    drift = Drift(3600)
    loaded = Loaded("people", 1, artefact, people.since)
    drift.record(loaded, raw, model.predict(raw))
    entry = Entry({1: loaded}, {}, 1, {})
    assert len(list(drift.indices({"people": entry}))) <= len(inputs) + 1


def test_first_requests_that_come_at_once_share_one_window(
    people: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def slowly(path: Path, size: int) -> Any:
        opened.append(path)
        time.sleep(0.2)
        return mapped(path, size)

    monkeypatch.setattr("service.monitoring.drift.mapped", slowly)
    drift = Drift(3600)
    drift.share(tmp_path)
    raw = rows(300)
    answer = people.artefact.model.predict(raw)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(drift.record, people, raw, answer) for _ in range(4)]:
            done.result()
    assert len(opened) == 1
