"""The statistics extension in one process; tests/conformance has several workers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service import create_app
from service.settings import Settings

PHASES = ("compute_input", "compute_infer", "compute_output")


@pytest.fixture
def fresh(served: Path) -> FlaskClient:
    """A client of an application of its own, whose counts start at nothing."""
    return create_app(Settings(store=str(served))).test_client()


def stats(client: FlaskClient, path: str) -> list[dict[str, Any]]:
    reply = client.get(f"/v2/models/{path}")
    assert reply.status_code == 200
    found: list[dict[str, Any]] = reply.get_json()["model_stats"]
    return found


def test_requests_rows_and_failures_are_counted(fresh: FlaskClient) -> None:
    before = time.time()
    for n in (1, 2, 4):
        inputs = [
            {"name": name, "shape": [n], "datatype": "FP64", "data": [0] * n}
            for name in ("x1", "x2")
        ]
        assert fresh.post("/v2/models/xor/infer", json={"inputs": inputs}).status_code
    fresh.post("/v2/models/xor/infer", json={"inputs": inputs[:1]})
    fresh.post("/v1/models/xor:predict", json={"instances": [["a", 1]]})
    (found,) = stats(fresh, "xor/stats")
    assert (found["name"], found["version"]) == ("xor", "1")
    assert before - 0.001 <= found["last_inference"] / 1e3 <= time.time()
    assert (found["inference_count"], found["execution_count"]) == (7, 3)
    times = found["inference_stats"]
    assert {what: each["count"] for what, each in times.items()} == {
        "success": 3,
        "fail": 2,
        "queue": 3,
        **dict.fromkeys(PHASES, 3),
    }
    parts = [times[phase]["ns"] for phase in PHASES]
    assert all(part > 0 for part in parts)
    assert times["success"]["ns"] == pytest.approx(sum(parts), rel=1e-6)
    assert times["fail"]["ns"] > 0
    assert found["batch_stats"] == []


def test_a_version_without_requests_has_no_statistics(fresh: FlaskClient) -> None:
    (found,) = stats(fresh, "digits/versions/1/stats")
    assert found["inference_count"] == found["last_inference"] == 0
    assert found["inference_stats"]["success"] == {"count": 0, "ns": 0}


def test_without_a_name_all_are_listed(fresh: FlaskClient) -> None:
    names = [each["name"] for each in stats(fresh, "stats")]
    assert names == ["digits", "half_plus_two", "people", "xor"]


@pytest.mark.parametrize("path", ["nope/stats", "xor/versions/9/stats"])
def test_unknown_names_are_told(fresh: FlaskClient, path: str) -> None:
    reply = fresh.get(f"/v2/models/{path}")
    assert reply.status_code == 404
    assert list(reply.get_json()) == ["error"]
