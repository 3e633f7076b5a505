"""What the console is told, against the store and what clients did."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from models.storage.base import CANDIDATE
from models.storage.directory import DirectoryStore as Store
from service import create_app
from service.settings import Settings
from tests.service.protocols.test_tfserving import PERSON
from tests.serving import wait_for


@pytest.fixture
def fresh(served: Path) -> FlaskClient:
    """A client of an application of its own, whose counts start at nothing."""
    return create_app(Settings(store=str(served))).test_client()


def state(client: FlaskClient) -> dict[str, Any]:
    reply = client.get("/console/state")
    assert reply.headers["Cache-Control"] == "no-store"
    content: dict[str, Any] = reply.get_json()
    return content


def model(client: FlaskClient, name: str) -> dict[str, Any]:
    (found,) = (m for m in state(client)["models"] if m["name"] == name)
    return dict(found)


def about(client: FlaskClient, name: str) -> dict[str, Any]:
    reply = client.get(f"/console/models/{name}/versions/1")
    assert reply.status_code == 200
    content: dict[str, Any] = reply.get_json()
    return content


def test_models_are_as_the_store_has_them(fresh: FlaskClient, served: Path) -> None:
    store, told = Store(served), state(fresh)
    assert [m["name"] for m in told["models"]] == store.names()
    assert told["unready"] == ""
    for each in told["models"]:
        label = store.labels(each["name"])["production"]
        assert (each["live"], each["live_since"]) == (label.version, label.since)
        (version,) = each["versions"]
        artefact = store.load(each["name"], 1)
        assert version["sha256"] == artefact.sha256
        assert version["metrics"] == artefact.manifest.metrics
        assert version["trained"] == store.run(each["name"], 1)["trained_at"]


def test_traffic_is_what_was_asked(fresh: FlaskClient) -> None:
    (before,) = model(fresh, "xor")["versions"]
    assert (before["answered"], before["failed"], before["within"]) == (0, 0, [])
    for _ in range(3):
        fresh.post("/v1/models/xor:predict", json={"instances": [[0, 1], [1, 1]]})
    fresh.post("/v1/models/xor:predict", json={"instances": [["a", 1]]})
    (after,) = model(fresh, "xor")["versions"]
    assert (after["answered"], after["rows"], after["failed"]) == (3, 6, 1)
    bounds, counts = zip(*after["within"], strict=True)
    assert bounds[-1] is None and list(bounds[:-1]) == sorted(bounds[:-1])
    assert counts[-1] == 3 and list(counts) == sorted(counts)
    (other,) = model(fresh, "people")["versions"]
    assert other["answered"] == 0


def test_drift_is_shown_where_it_is_measured(fresh: FlaskClient) -> None:
    (before,) = model(fresh, "people")["versions"]
    assert before["drift"] == {}
    # Half of those it learnt from are members.
    fresh.post("/v1/models/people:predict", json={"instances": [PERSON] * 400})
    (after,) = model(fresh, "people")["versions"]
    assert after["target"] == "Status"
    assert set(after["drift"]) <= {*PERSON, "Status"}
    assert after["drift"]["member"] > 0.25
    (other,) = model(fresh, "xor")["versions"]
    assert other["drift"] == {}


def test_the_bins_of_training_and_of_requests_are_side_by_side(
    fresh: FlaskClient,
) -> None:
    place = "/console/models/people/versions/1/drift"
    assert fresh.get(place).get_json() == []
    fresh.post("/v1/models/people:predict", json={"instances": [PERSON] * 400})
    told = {each["column"]: each for each in fresh.get(place).get_json()}
    (version,) = model(fresh, "people")["versions"]
    assert set(told) == set(version["drift"])
    reference = about(fresh, "people")["reference"]
    for name, each in told.items():
        labels = each.get("categories", each.get("edges"))
        assert len(each["now"]) == len(labels) + 2 == len(each["training"])
        assert (
            sum(each["now"]) == pytest.approx(1) == pytest.approx(sum(each["training"]))
        )
        if name in PERSON:
            shares = [*each["training"][: len(reference[name]["shares"])]]
            assert shares == pytest.approx(reference[name]["shares"])
    home = told["home"]["categories"].index(PERSON["home"])
    assert told["home"]["now"][home] == 1.0
    assert told["member"]["edges"] == [False, True]
    assert state(fresh)["drift_seconds"] == 3600


def test_a_candidate_has_its_share_and_its_comparison(
    served: Path, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(served, tmp_path / "store"))
    shutil.copytree(store / "xor" / "1", store / "xor" / "2")
    Store(store).promote("xor", 2, CANDIDATE, share=1.0)
    client = create_app(Settings(store=str(store))).test_client()
    assert model(client, "people")["candidate"] is None
    told = {"version": 2, "share": 1.0, "shadow": False, "compared": {}}
    assert model(client, "xor")["candidate"] == told
    for _ in range(3):
        client.post("/v1/models/xor:predict", json={"instances": [[0, 1], [1, 1]]})

    def compared() -> dict[str, float]:
        found: dict[str, float] = model(client, "xor")["candidate"]["compared"]
        return found

    wait_for("the comparison", lambda: compared().get("rows") == 6)
    assert compared() == {"rows": 6, "disagreements": 0, "difference": 0}


def test_a_version_that_is_refused_is_told(served: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(served, tmp_path / "store"))
    shutil.copytree(store / "xor" / "1", store / "xor" / "2")
    (store / "xor" / "2" / "model.npz").write_bytes(b"no")
    client = create_app(Settings(store=str(store))).test_client()
    told = model(client, "xor")
    assert (told["live"], told["refused"]) == (1, [2])


def test_without_a_label_there_is_no_time_of_promotion(
    served: Path, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(served, tmp_path / "store"))
    (store / "xor" / "labels.json").unlink()
    (store / "xor" / "1" / "run.json").write_text("{")
    told = model(create_app(Settings(store=str(store))).test_client(), "xor")
    assert (told["live"], told["live_since"]) == (1, None)
    assert told["versions"][0]["trained"] is None


def test_an_empty_store_has_no_models(tmp_path: Path) -> None:
    client = create_app(Settings(store=str(tmp_path / "none"))).test_client()
    told = state(client)
    assert (told["models"], told["unready"]) == ([], "no model loaded")


def test_a_form_has_a_row_to_start_from(fresh: FlaskClient) -> None:
    told = about(fresh, "people")
    names = [column["name"] for column in told["signature"]["columns"]]
    assert names == list(PERSON) == list(told["typical"])
    assert set(told["reference"]) == set(names)
    assert told["classes"] == ["bad", "good"]
    asked = {"instances": [told["typical"]]}
    reply = fresh.post("/v1/models/people:explain", json=asked).get_json()
    assert set(reply["explanations"][0]["attributions"].values()) == {0.0}


@pytest.mark.parametrize("name", ["people", "digits", "xor", "half_plus_two"])
def test_every_activation_finds_its_layer(fresh: FlaskClient, name: str) -> None:
    told = about(fresh, name)
    asked = {"instances": [told["typical"]], "activations": True}
    reply = fresh.post(f"/v1/models/{name}:explain", json=asked).get_json()
    for each in reply["explanations"][0]["activations"]:
        place = int(each["layer"].split()[1])
        title = each["layer"].partition("(")[2].rstrip(")")
        layer = told["layers"][place - 1]
        if title == "linear":
            assert layer == "output" or re.fullmatch(r"hidden \d+", layer)
        else:
            assert title in layer or title == "activation"
        assert "activation" not in layer
    assert told["layers"][-1] == "output"


def test_a_matrix_has_a_range_for_each_feature(fit: Any, tmp_path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    X = np.stack([rng.normal(0, 1, 80), rng.normal(500, 20, 80), np.full(80, 7.0)], 1)
    np.savez(tmp_path / "m.npz", X=X.astype(np.float32), y=(X[:, 0] > 0).astype(int))
    fit(tmp_path / "store", tmp_path / "m.npz")
    client = create_app(Settings(store=str(tmp_path / "store"))).test_client()
    unit, hundreds, constant = about(client, "m")["ranges"]
    assert unit[0] < -2 and unit[1] > 2 and unit[1] < 4
    assert 400 < hundreds[0] < 470 and 530 < hundreds[1] < 600
    assert constant[0] <= constant[1]
