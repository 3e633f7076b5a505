"""MLflow's `ScoringServerClient` is content with /ping, /version and /invocations."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sklearn.datasets import load_digits

from service.monitoring.metrics import VERSION

ROWS: list[dict[str, Any]] = [
    {
        "income": 61.5,
        "home": "owner",
        "member": True,
        "since": "2024-05-01T00:00:00",
        "children": 2,
    },
    {"income": None, "home": None, "member": False, "since": None, "children": 0},
]
IMAGES = load_digits().images[:3].tolist()


@pytest.fixture(scope="module")
def found(serve: Callable[..., int], run_client: Callable[..., Any]) -> Any:
    """What the client returned, from one run."""
    ports = {"table_port": serve("people"), "tensor_port": serve("digits")}
    return run_client("mlflow", {**ports, "rows": ROWS, "images": IMAGES})


@pytest.mark.parametrize("sent", ["people", "typed", "reversed", "params", "records"])
def test_a_frame_gets_its_predictions(
    found: Any, model: Callable[..., Any], sent: str
) -> None:
    expected = model("people").answer_json(json.dumps(ROWS).encode())
    assert found[sent] == expected


def test_an_array_gets_its_predictions(found: Any, model: Callable[..., Any]) -> None:
    expected = model("digits").answer_json(json.dumps(IMAGES).encode())
    assert found["digits"] == expected


def test_predictions_become_a_frame_again(found: Any) -> None:
    assert found["columns"] == ["label", "probabilities"]
    assert found["frame_rows"] == len(IMAGES)


def test_the_version_is_text(found: Any) -> None:
    assert found["version"] == VERSION


def test_our_errors_are_seen(found: Any) -> None:
    assert "there is no column 'incme'; did you mean 'income'?" in found["wrong"]
    assert "row 0: expected shape [8, 8], found [63]" in found["array"]
