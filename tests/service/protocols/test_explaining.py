"""The verb :explain as a client meets it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from service.protocols import explaining
from tests.service.protocols.test_tfserving import (
    ANY_JSON,
    PERSON,
    ROWS,
    ask,
    predict,
)


def explain(client: FlaskClient, model: str, body: Any) -> tuple[int, dict[str, Any]]:
    return ask(client, f"/v1/models/{model}:explain", body)


def test_a_row_of_a_table_is_explained_by_column(client: FlaskClient) -> None:
    status, reply = explain(client, "people", {"instances": [PERSON, PERSON]})
    assert status == 200
    assert list(reply) == ["explanations", "baseline", "warnings", "model_version"]
    assert reply["warnings"] == []
    assert reply["model_version"] == "1"
    one, two = reply["explanations"]
    # To float32: which row of a product it is may decide how BLAS sums it.
    assert one["attributions"] == pytest.approx(two["attributions"], rel=1e-5, abs=1e-6)
    assert list(one["attributions"]) == list(PERSON)
    change = one["output"] - one["baseline_output"]
    total = sum(one["attributions"].values())
    assert one["completeness_error"] == pytest.approx(total - change, abs=1e-9)
    assert total == pytest.approx(change, rel=0.01)
    (answer,) = predict(client, "people", {"instances": [PERSON]})[1]["predictions"]
    assert one["target"] == answer["label"]
    assert one["output"] == pytest.approx(max(answer["probabilities"]), rel=1e-5)


def test_contributions_add_up_as_people_read_them(client: FlaskClient) -> None:
    """... also far along the path, over the kinks of every SELU."""
    rows = [
        {**PERSON, "income": income, "home": home, "member": member}
        for income in (0, 4, 8, 20, 90)
        for home in (None, "owner", "rent", "parents")
        for member in (True, False)
    ]
    reply = explain(client, "people", {"instances": rows})[1]
    errors = [abs(one["completeness_error"]) for one in reply["explanations"]]
    assert max(errors) < 0.002  # a fifth of a percentage point


def test_the_baseline_is_a_row_that_predict_takes(client: FlaskClient) -> None:
    body = {"instances": [PERSON], "target": "good"}
    reply = explain(client, "people", body)[1]
    (at,) = predict(client, "people", {"instances": [reply["baseline"]]})[1][
        "predictions"
    ]
    (one,) = reply["explanations"]
    assert one["target"] == "good"
    # Classes stand in order: bad, good.
    assert one["baseline_output"] == pytest.approx(at["probabilities"][1], rel=1e-5)


def test_missing_and_never_seen_values_have_their_part(client: FlaskClient) -> None:
    rows = [{**PERSON, "income": None}, {**PERSON, "home": "castle"}]
    whole = explain(client, "people", {"instances": [PERSON], "target": "good"})
    gaps = explain(client, "people", {"instances": rows, "target": "good"})
    (usual,) = whole[1]["explanations"]
    missing, unseen = gaps[1]["explanations"]
    assert missing["attributions"]["income"] != usual["attributions"]["income"]
    assert unseen["attributions"]["home"] != usual["attributions"]["home"]


def test_rows_and_columns_are_explained_alike(client: FlaskClient) -> None:
    columns = {name: [value] for name, value in PERSON.items()}
    rows = explain(client, "people", {"instances": [PERSON]})
    assert explain(client, "people", {"inputs": columns}) == rows


def test_a_value_is_explained_in_its_own_units(client: FlaskClient) -> None:
    status, reply = explain(client, "half_plus_two", {"instances": [2.0, 4.0]})
    assert status == 200
    assert [e["target"] for e in reply["explanations"]] == ["value"] * 2
    two, four = (e["attributions"]["x"] for e in reply["explanations"])
    assert four - two == pytest.approx(1.0, abs=0.1)


def test_an_image_is_explained_pixel_by_pixel(client: FlaskClient) -> None:
    image = load_digits().images[3]
    body = {"instances": [image.tolist()], "target": 3, "activations": True}
    status, reply = explain(client, "digits", body)
    assert status == 200
    (one,) = reply["explanations"]
    assert one["target"] == 3
    assert [len(row) for row in one["attributions"]] == [8] * 8
    for ink, parts in zip(image, one["attributions"], strict=True):
        for pixel, part in zip(ink, parts, strict=True):
            assert pixel > 0 or part == 0.0
    total = sum(map(sum, one["attributions"]))
    change = one["output"] - one["baseline_output"]
    assert one["completeness_error"] == pytest.approx(total - change, abs=1e-9)
    assert total == pytest.approx(change, rel=0.01)
    assert len(one["activations"][-1]["values"]) == 10
    assert one["activations"][0]["layer"].startswith("layer 1 (")


def test_versions_and_labels_are_addressed(client: FlaskClient) -> None:
    body = {"instances": [[0, 1]]}
    for path in ("xor", "xor/versions/1", "xor/labels/production"):
        reply = client.post(f"/v1/models/{path}:explain", json=body)
        assert reply.status_code == 200
        assert reply.headers["X-Model-Version"] == "1"


@pytest.mark.parametrize(
    ("model", "body", "status", "said"),
    [
        ("people", {}, 400, "either 'instances' (rows) or 'inputs' (columns)"),
        ("people", {"instances": []}, 400, "at least one row"),
        (
            "people",
            {"instances": [PERSON], "target": "goood"},
            400,
            "target: there is no class 'goood'; did you mean 'good'?",
        ),
        ("people", {"instances": [PERSON], "target": ["good"]}, 400, "target: "),
        (
            "people",
            {"instances": [PERSON], "activations": "yes"},
            400,
            "activations: expected true or false, got a string",
        ),
        (
            "half_plus_two",
            {"instances": [1], "target": 7},
            400,
            "this model predicts a number, 'value', and no class",
        ),
        (
            "people",
            {"instances": [{**PERSON, "incme": 1}]},
            400,
            "row 0: there is no column 'incme'; did you mean 'income'?",
        ),
        ("xor", {"instances": [[0, 1]] * 501}, 400, "501 rows in one request"),
        ("persons", {"instances": [PERSON]}, 404, "unknown model 'persons'"),
    ],
)
def test_faults_are_told(
    client: FlaskClient, model: str, body: Any, status: int, said: str
) -> None:
    code, reply = explain(client, model, body)
    assert code == status
    assert said in reply["error"]


def test_more_rows_than_are_explained_at_once(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "MAX_ROWS", 2)
    status, reply = explain(client, "xor", {"instances": [[0, 1]] * 3})
    assert status == 400
    assert reply["error"].startswith("3 rows to explain in one request, at most 2")


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    model=st.sampled_from(["people", "digits", "xor", "half_plus_two"]),
    body=st.fixed_dictionaries(
        {"instances": ROWS | ANY_JSON},
        optional={"target": ANY_JSON, "activations": ANY_JSON},
    ),
)
def test_no_json_is_a_server_error(client: FlaskClient, model: str, body: Any) -> None:
    status, reply = explain(client, model, json.dumps(body).encode())
    assert status in (200, 400)
    if status == 400:
        assert list(reply) == ["error"]


def test_an_explanation_always_names_what_is_unlike_training(
    client: FlaskClient,
) -> None:
    row = {**PERSON, "home": "castle"}
    reply = explain(client, "people", {"instances": [PERSON, row]})[1]
    assert reply["warnings"] == [{"row": 1, "column": "home", "warning": "never seen"}]
