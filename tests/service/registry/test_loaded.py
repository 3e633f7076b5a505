"""Which requests a candidate answers, over HTTP in one process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from models.model import Model
from models.storage.base import ARTEFACT, CANDIDATE
from models.storage.directory import DirectoryStore as Store
from service import create_app
from service.inference.model_server import ModelServer
from service.registry.loaded import unit_hash
from service.settings import Settings

IDS = [f"request-{i}" for i in range(400)]


@given(st.lists(st.text(), unique=True, max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_has_the_requests_of_a_smaller_one(
    ids: list[str], one: float, other: float
) -> None:
    small, large = sorted([one, other])
    chosen = {name for name in ids if unit_hash(name) < small}
    assert chosen <= {name for name in ids if unit_hash(name) < large}
    assert {name for name in ids if unit_hash(name) < 1} == set(ids)
    assert {name for name in ids if unit_hash(name) < 0} == set()


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("form", ["{}", "{:032x}", "user-{}-a"])
def test_of_many_ids_the_share_is_chosen(share: float, form: str) -> None:
    n = 20_000
    chosen = sum(unit_hash(form.format(i)) < share for i in range(n))
    assert abs(chosen - share * n) < 5 * (share * (1 - share) * n) ** 0.5


class Trialled:
    """An application on a store with two versions of `xor` and of `half_plus_two`."""

    def __init__(self, store: Path) -> None:
        self.store = Store(store)
        for name in ("xor", "half_plus_two"):
            content = self.store.path(name, 1).read_bytes()
            self.store.publish(name, {ARTEFACT: content})
        app = create_app(Settings(store=str(store)))
        self.model_server: ModelServer = app.extensions["glassnet"]
        self.client: FlaskClient = app.test_client()

    def candidate(self, **how: Any) -> None:
        self.store.promote("xor", 2, CANDIDATE, **how)
        self.model_server.registry.refresh()

    def versions(self, path: str = "/v1/models/xor:predict") -> dict[str, str]:
        """The version that answered, by the id of the request."""
        return {name: self.ask(path, name) for name in IDS}

    def ask(self, path: str, request_id: str) -> str:
        reply = self.client.post(
            path,
            json={"instances": [[0, 1]]},
            headers={"X-Request-Id": request_id},
        )
        assert reply.status_code == 200, reply.get_json()
        assert reply.get_json()["predictions"][0]["label"] == 1
        return str(reply.headers["X-Model-Version"])

    def count(self, sample: str, **labels: str) -> float:
        text = self.client.get("/metrics").get_data(as_text=True)
        return sum(
            each.value
            for family in text_string_to_metric_families(text)
            for each in family.samples
            if each.name == f"glassnet_{sample}"
            and labels.items() <= each.labels.items()
        )


@pytest.fixture
def trialled(served: Path, tmp_path: Path) -> Trialled:
    shutil.copytree(served, tmp_path / "store")
    return Trialled(tmp_path / "store")


def test_a_share_of_the_requests_goes_to_the_candidate(trialled: Trialled) -> None:
    assert set(trialled.versions().values()) == {"1"}
    trialled.candidate(share=0.3)
    first = trialled.versions()
    assert {name for name, v in first.items() if v == "2"} == {
        name for name in IDS if unit_hash(name) < 0.3
    }
    assert trialled.versions() == first
    trialled.candidate()  # it is a label again and nothing more
    assert set(trialled.versions().values()) == {"1"}


@pytest.mark.parametrize("place", ["versions/1", "labels/production"])
def test_who_names_a_version_or_a_label_gets_it(trialled: Trialled, place: str) -> None:
    trialled.candidate(share=1.0)
    path = f"/v1/models/xor/{place}:predict"
    assert {trialled.ask(path, name) for name in IDS[:20]} == {"1"}
    path = "/v1/models/xor/labels/candidate:predict"
    assert {trialled.ask(path, name) for name in IDS[:20]} == {"2"}
    # What is said of the model is said of production.
    reply = trialled.client.get("/v1/models/xor/metadata")
    assert reply.get_json()["model_spec"]["version"] == "1"


COLUMNS = [
    {"name": "x1", "datatype": "FP64", "shape": [1], "data": [0]},
    {"name": "x2", "datatype": "FP64", "shape": [1], "data": [1]},
]
BODIES = {
    "/v1/models/xor:predict": {"instances": [[0, 1]]},
    "/v1/models/xor:classify": {"examples": [{"x1": 0, "x2": 1}]},
    "/v2/models/xor/infer": {"inputs": COLUMNS},
    "/invocations": {"instances": [[0, 1]]},
}


@pytest.mark.parametrize("path", BODIES)
def test_every_dialect_takes_part(
    served: Path, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    shutil.copytree(served / "xor", store / "xor")
    content = Store(store).path("xor", 1).read_bytes()
    Store(store).publish("xor", {ARTEFACT: content})
    Store(store).promote("xor", 2, CANDIDATE, share=1.0)
    app = create_app(Settings(store=str(store)))

    def version() -> str:
        reply = app.test_client().post(path, json=BODIES[path])
        assert reply.status_code == 200, reply.get_json()
        named = reply.headers.get("X-Model-Version")
        return named or str(reply.get_json()["model_version"])

    assert version() == "2"
    candidate = app.extensions["glassnet"].registry.find("xor", 2)
    monkeypatch.setattr(candidate.artefact.model, "predict", broken)
    assert version() == "1"


def broken(*_: object) -> None:
    raise RuntimeError("a bad candidate")


def test_a_candidate_that_raises_costs_no_request(
    trialled: Trialled, monkeypatch: pytest.MonkeyPatch
) -> None:
    trialled.candidate(share=0.3)
    model: Model = trialled.model_server.registry.find("xor", 2).artefact.model
    monkeypatch.setattr(model, "predict", broken)
    assert set(trialled.versions().values()) == {"1"}
    chosen = sum(unit_hash(name) < 0.3 for name in IDS)
    about = {"model": "xor", "version": "2", "reason": "fallback"}
    assert trialled.count("comparison_failures_total", **about) == chosen
    answered = trialled.count("http_requests_total", code="200")
    assert answered == len(IDS)


def test_a_candidate_of_another_signature_costs_no_request(
    trialled: Trialled,
) -> None:
    """It takes three numbers and not two, so to it every request is wrong."""
    people = trialled.store.path("people", 1).read_bytes()
    assert trialled.store.publish("xor", {ARTEFACT: people}) == 3
    trialled.store.promote("xor", 1)
    trialled.store.promote("xor", 3, CANDIDATE, share=1.0)
    trialled.model_server.registry.refresh()
    assert set(trialled.versions().values()) == {"1"}


def test_a_candidate_that_cannot_be_loaded_costs_no_request(
    trialled: Trialled,
) -> None:
    trialled.store.publish("xor", {ARTEFACT: b"damaged"})
    trialled.store.promote("xor", 3, CANDIDATE, share=1.0)
    trialled.store.promote("xor", 1)
    trialled.model_server.registry.refresh()
    assert set(trialled.versions().values()) == {"1"}


@pytest.mark.parametrize("how", [{"share": 1.0}, {"shadow": True}])
def test_a_request_at_fault_is_refused_as_ever(
    trialled: Trialled, how: dict[str, Any]
) -> None:
    trialled.candidate(**how)
    reply = trialled.client.post(
        "/v1/models/xor:predict", json={"instances": [["a", 1]]}
    )
    assert reply.status_code == 400
    assert "row 0" in reply.get_json()["error"]
    # It is no fault of the candidate's, and was asked of production but once.
    assert trialled.count("comparison_failures_total") == 0
    failed = {"model": "xor", "version": "1"}
    assert trialled.count("inference_failures_total", **failed) == 1


def test_a_shadow_answers_no_client_and_is_compared(
    trialled: Trialled, until: Callable[..., None]
) -> None:
    trialled.candidate(shadow=True)
    assert set(trialled.versions().values()) == {"1"}
    about = {"model": "xor", "version": "2"}

    def compared() -> bool:
        return trialled.count("comparison_rows_total", **about) == len(IDS)

    until("all rows to be compared", compared)
    assert trialled.count("comparison_disagreements_total", **about) == 0
    assert trialled.count("comparison_difference_max", **about) == 0
    assert trialled.count("comparison_duration_seconds_count", **about) == len(IDS)
    # What clients got is counted apart.
    assert trialled.count("inference_rows_total", **about) == 0


def test_a_shadow_that_raises_is_counted(
    trialled: Trialled, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    trialled.candidate(shadow=True)
    model: Model = trialled.model_server.registry.find("xor", 2).artefact.model
    monkeypatch.setattr(model, "predict", broken)
    assert set(trialled.versions().values()) == {"1"}
    about = {"model": "xor", "version": "2", "reason": "error"}

    def failed() -> bool:
        return trialled.count("comparison_failures_total", **about) == len(IDS)

    until("all failures to be counted", failed)
