"""KServe's `InferenceRESTClient` is content with both protocols."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sklearn.datasets import load_digits

ROWS: list[dict[str, Any]] = [
    {
        "income": 61.5,
        "home": "owner",
        "member": True,
        "since": "2024-05-01",
        "children": 2.0,
    },
    {
        "income": None,
        "home": None,
        "member": False,
        "since": "2025-11-30T08:00:00",
        "children": 0.0,
    },
]
DATATYPES = {
    "income": "FP64",
    "home": "BYTES",
    "member": "BOOL",
    "since": "BYTES",
    "children": "FP64",
}
IMAGES = load_digits().images[:3].tolist()


@pytest.fixture(scope="module")
def found(serve: Callable[..., int], run_client: Callable[..., Any]) -> Any:
    """What the client returned, from one run."""
    facts = {"rows": ROWS, "datatypes": DATATYPES, "images": IMAGES}
    url = f"http://127.0.0.1:{serve('people')}"
    return run_client("kserve", {"url": url, **facts})


@pytest.fixture(scope="module")
def expected(model: Callable[..., Any]) -> dict[str, Any]:
    """What the models answer, without a server."""
    return {
        "people": model("people").answer_json(json.dumps(ROWS).encode()),
        "digits": model("digits").answer_json(json.dumps(IMAGES).encode()),
    }


def test_v1_finds_server_and_model_alive(found: Any) -> None:
    assert (found["v1"]["live"], found["v1"]["ready"]) == (True, True)


@pytest.mark.parametrize("name", ["people", "digits"])
def test_v1_predicts(found: Any, expected: Any, name: str) -> None:
    assert found["v1"][name] == {"predictions": expected[name]}


def test_v1_reads_our_errors(found: Any) -> None:
    assert found["v1"]["unknown"].startswith("404 unknown model 'peeple'; did you mean")
    assert found["v1"]["wrong"].startswith("400 row 0: there is no column 'incme'; did")


def test_v2_finds_server_and_model_ready(found: Any) -> None:
    v2 = found["v2"]
    assert (v2["live"], v2["ready"], v2["model_ready"]) == (True, True, True)
    assert v2["unknown_ready"] is False


@pytest.mark.parametrize(("name", "request_id"), [("people", "r-1"), ("digits", "r-2")])
def test_v2_infers(found: Any, expected: Any, name: str, request_id: str) -> None:
    reply = found["v2"][name]
    assert (reply["id"], reply["model"]) == (request_id, name)
    labels = [answer["label"] for answer in expected[name]]
    scores = [answer["probabilities"] for answer in expected[name]]
    assert reply["outputs"] == {"label": labels, "probabilities": scores}


def test_v2_reads_our_errors(found: Any) -> None:
    assert found["v2"]["wrong"].startswith("400 there is no column 'x'")
