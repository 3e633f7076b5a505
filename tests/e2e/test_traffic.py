"""What a server says of its traffic: real workers, what all of them have seen."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.storage.base import ARTEFACT, CANDIDATE
from models.storage.directory import DirectoryStore as Store
from service.registry.loaded import unit_hash
from tests.conftest import people

pytestmark = pytest.mark.e2e


def asked(n: int, seed: int, raised: float = 0.0) -> list[dict[str, Any]]:
    """Rows as the model `people` has learnt them, or with an income that is raised."""
    columns = people(n, seed)
    del columns["Status"]
    names = list(columns)
    rows = [
        dict(zip(names, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    ]
    for row in rows:
        if row["income"] is not None:
            row["income"] += raised
    return rows


def test_a_column_that_is_shifted_shows_up_in_the_metrics(
    start: Callable[..., Any], served: Path, until: Callable[..., None]
) -> None:
    server = start(served, drift_seconds=3600)
    seed = iter(range(10_000))

    def drifting(raised: float) -> set[str]:
        server.predict("people", asked(200, next(seed), raised))
        found = server.metrics().get("glassnet_drift_psi", {})
        assert all(dict(labels)["model"] == "people" for labels in found)
        assert all(dict(labels)["version"] == "1" for labels in found)
        columns = {dict(labels)["column"]: value for labels, value in found.items()}
        if set(columns) != {*asked(1, 0)[0], "Status"}:
            return {"too few rows yet"}
        return {column for column, value in columns.items() if value > 0.25}

    until("usual rows", lambda: drifting(0.0) == set())
    until("the shift", lambda: drifting(60.0) >= {"income"})
    # Whoever is asked: all workers have counted.
    first = server.metrics()["glassnet_drift_psi"]
    assert all(server.metrics()["glassnet_drift_psi"] == first for _ in range(10))
    # Only it has moved, and what is predicted from it.
    moved = {dict(labels)["column"] for labels, index in first.items() if index > 0.25}
    assert moved <= {"income", "Status"}


@pytest.fixture
def store(served: Path, tmp_path: Path) -> Store:
    """A store with another model for people, that no server has loaded yet."""
    shutil.copytree(served, tmp_path / "store")
    store = Store(tmp_path / "store")
    content = store.path("people", 1).read_bytes()
    assert store.publish("people", {ARTEFACT: content}) == 2
    store.promote("people", 1)
    return store


def answering(port: int, ids: list[str]) -> dict[str, str]:
    """Ask for one row under each id, and return the versions that answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = json.dumps({"instances": asked(1, 0)})
    found = {}
    for name in ids:
        connection.request(
            "POST", "/v1/models/people:predict", body, {"X-Request-Id": name}
        )
        reply = connection.getresponse()
        content = reply.read()
        assert reply.status == 200, content
        found[name] = reply.headers["X-Model-Version"]
    connection.close()
    return found


@pytest.mark.long
def test_a_candidate_answers_its_share_in_every_worker(
    start: Callable[..., Any], store: Store, until: Callable[..., None]
) -> None:
    server = start(store.root, poll_seconds=0.1)
    ids = [f"r{i}" for i in range(300)]
    assert set(answering(server.port, ids).values()) == {"1"}
    store.promote("people", 2, CANDIDATE, share=0.2)
    meant = {name: "2" if unit_hash(name) < 0.2 else "1" for name in ids}
    until("the candidate", lambda: answering(server.port, ids) == meant)
    for _ in range(5):  # on connections that either worker takes
        assert answering(server.port, ids) == meant

    def compared(sample: str) -> float:
        found = server.metrics().get(f"glassnet_comparison_{sample}", {})
        assert all(dict(labels)["version"] == "2" for labels in found)
        return sum(found.values())

    chosen = sum(version == "2" for version in meant.values())
    until("comparisons", lambda: compared("rows_total") >= 6 * chosen)
    assert compared("disagreements_total") == compared("difference_max") == 0
    store.promote("people", 2)  # into production
    until("version 2", lambda: set(answering(server.port, ids).values()) == {"2"})


def test_a_damaged_candidate_is_not_noticed(
    start: Callable[..., Any], store: Store, until: Callable[..., None]
) -> None:
    server = start(store.root, poll_seconds=0.1)
    store.publish("people", {ARTEFACT: b"damaged"})
    store.promote("people", 3, CANDIDATE, share=1.0)

    def refused() -> bool:
        found = server.metrics().get("glassnet_reloads_total", {})
        return (
            sum(n for labels, n in found.items() if ("result", "refused") in labels)
            == 2
        )

    until("both workers to refuse it", refused)
    ids = [f"r{i}" for i in range(100)]
    assert set(answering(server.port, ids).values()) == {"1"}
