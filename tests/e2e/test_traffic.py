"""What a server says of its traffic: real workers, what all of them have seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
