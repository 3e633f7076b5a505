from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from models.storage.base import ARTEFACT
from models.storage.directory import DirectoryStore as Store
from service import create_app
from service.settings import Settings

PERSON = {
    "income": 61.5,
    "home": "owner",
    "member": True,
    "since": "2024-05-01",
    "children": 2,
}


def ask(client: FlaskClient, path: str, body: Any) -> tuple[int, dict[str, Any]]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = client.post(path, data=raw)
    return reply.status_code, reply.get_json()


def predict(client: FlaskClient, model: str, body: Any) -> tuple[int, dict[str, Any]]:
    return ask(client, f"/v1/models/{model}:predict", body)


def test_half_plus_two_answers_rows_with_bare_numbers(client: FlaskClient) -> None:
    status, reply = predict(client, "half_plus_two", {"instances": [2, 3, 4]})
    assert status == 200
    assert list(reply) == ["predictions"]
    assert reply["predictions"] == pytest.approx([3.0, 3.5, 4.0], abs=0.05)


def test_half_plus_two_answers_columns_with_outputs(client: FlaskClient) -> None:
    status, reply = predict(client, "half_plus_two", {"inputs": [2, 3, 4]})
    assert status == 200
    assert list(reply) == ["outputs"]
    assert reply["outputs"] == pytest.approx([3.0, 3.5, 4.0], abs=0.05)


def test_a_column_may_be_named_or_nested(client: FlaskClient) -> None:
    expected = predict(client, "half_plus_two", {"inputs": [2, 3]})
    for inputs in ({"x": [2, 3]}, {"x": [[2], [3]]}, [[2], [3]]):
        assert predict(client, "half_plus_two", {"inputs": inputs}) == expected


def test_xor_is_told_apart_with_confidence(client: FlaskClient) -> None:
    rows = [[0, 0], [0, 1], [1, 0], [1, 1]]
    _, reply = predict(client, "xor", {"instances": rows})
    assert [p["label"] for p in reply["predictions"]] == [0, 1, 1, 0]
    sides = [p["probabilities"][1] for p in reply["predictions"]]
    assert sides[0] < 0.1 < 0.9 < sides[1]
    assert sides[3] < 0.1 < 0.9 < sides[2]


def test_a_row_is_the_same_by_name_and_in_order(client: FlaskClient) -> None:
    by_name = predict(client, "people", {"instances": [PERSON]})
    in_order = predict(client, "people", {"instances": [list(PERSON.values())]})
    columns = {name: [value] for name, value in PERSON.items()}
    by_column = predict(client, "people", {"inputs": columns})
    assert by_name == in_order
    (row,) = by_name[1]["predictions"]
    assert by_column[1]["outputs"] == {key: [value] for key, value in row.items()}
    assert row["label"] in ("good", "bad")
    assert sum(row["probabilities"]) == pytest.approx(1.0)


def test_missing_and_never_seen_values_are_ordinary(client: FlaskClient) -> None:
    absent = {k: v for k, v in PERSON.items() if k not in ("income", "home")}
    rows = [{**PERSON, "income": None, "home": "castle"}, absent]
    rows.append({**PERSON, "member": None, "children": None, "since": None})
    status, reply = predict(client, "people", {"instances": rows})
    assert status == 200
    assert len(reply["predictions"]) == 3


def test_digits_take_images_nested_or_flat(client: FlaskClient) -> None:
    digits = load_digits()
    nested = predict(client, "digits", {"instances": digits.images[:20].tolist()})
    flat = predict(client, "digits", {"instances": digits.data[:20].tolist()})
    named = [{"x": image.tolist()} for image in digits.images[:20]]
    assert nested == flat == predict(client, "digits", {"instances": named})
    labels = [p["label"] for p in nested[1]["predictions"]]
    assert sum(a == b for a, b in zip(labels, digits.target[:20], strict=True)) >= 18


def test_an_example_is_classified_by_every_class(client: FlaskClient) -> None:
    _, predicted = predict(client, "people", {"instances": [PERSON, PERSON]})
    expected = [
        [["bad", p["probabilities"][0]], ["good", p["probabilities"][1]]]
        for p in predicted["predictions"]
    ]
    rest = {key: PERSON[key] for key in ("income", "home")}
    context = {key: PERSON[key] for key in ("member", "since", "children")}
    lists = {key: [value] for key, value in PERSON.items()}
    for body in (
        {"examples": [PERSON, PERSON]},
        {"examples": [PERSON, lists], "signature_name": "serving_default"},
        {"examples": [rest, rest], "context": context},
        {"examples": [PERSON, PERSON], "context": None, "else": 1},
    ):
        reply = ask(client, "/v1/models/people:classify", body)
        assert reply == (200, {"results": expected})


def test_the_classes_of_an_example_are_texts(client: FlaskClient) -> None:
    image = [0.0] * 64
    for x in (image, [[0.0] * 8] * 8):
        path = "/v1/models/digits/versions/1:classify"
        status, reply = ask(client, path, {"examples": [{"x": x}]})
        assert status == 200
        ((*pairs,),) = reply["results"]
        assert [label for label, _ in pairs] == [str(digit) for digit in range(10)]
        assert sum(score for _, score in pairs) == pytest.approx(1.0)


def test_an_example_is_regressed_to_a_number(client: FlaskClient) -> None:
    _, predicted = predict(client, "half_plus_two", {"instances": [2, 3, 4]})
    for path in ("half_plus_two", "half_plus_two/labels/production"):
        body = {"examples": [{"x": 2.0}, {"x": 3}, {"x": [4]}]}
        reply = client.post(f"/v1/models/{path}:regress", json=body)
        assert reply.get_json() == {"results": predicted["predictions"]}
        assert reply.headers["X-Model-Version"] == "1"


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("people:regress", {"examples": [PERSON]}, 400, "use :classify or :predict"),
        ("half_plus_two:classify", {"examples": [{"x": 1}]}, 400, "use :regress or"),
        ("people:classify", {}, 400, "missing required field examples"),
        ("people:classify", {"examples": []}, 400, "at least one row"),
        (
            "people:classify",
            {"examples": [PERSON, 5]},
            400,
            "row 1: expected an object",
        ),
        ("people:classify", {"examples": [PERSON] * 501}, 400, "rows in one request"),
        (
            "people:classify",
            {"examples": [{}] * 50, "context": {"home": "x" * 5_000}},
            400,
            "a context of 5011 bytes for each of 50 examples is more than 200000 bytes",
        ),
        (
            "people:classify",
            {"examples": [{}, PERSON], "context": {"home": "rent"}},
            400,
            "row 1: 'home' is in 'context' too",
        ),
        (
            "people:classify",
            {"examples": [{**PERSON, "incme": 1}]},
            400,
            "row 0: there is no column 'incme'; did you mean 'income'?",
        ),
        (
            "people:classify",
            {"examples": [{**PERSON, "income": [1, 2]}]},
            400,
            "row 0, column 'income': expected a number or null, got a list",
        ),
        (
            "people:classify",
            {"examples": [PERSON], "signature_name": "classify"},
            400,
            "unknown signature",
        ),
        ("nope:classify", {}, 404, "unknown model 'nope'"),
        ("people:clasify", {}, 404, "verb ':clasify'; did you mean 'classify'?"),
        ("people/versions/1", {}, 405, "expected GET"),
    ],
)
def test_examples_that_do_not_fit_get_a_sentence(
    client: FlaskClient, path: str, body: Any, status: int, said: str
) -> None:
    found, reply = ask(client, f"/v1/models/{path}", body)
    assert (found, list(reply)) == (status, ["error"])
    assert said in reply["error"]


def b64(text: str) -> dict[str, str]:
    return {"b64": base64.b64encode(text.encode()).decode()}


def test_a_text_may_be_in_base64(client: FlaskClient) -> None:
    expected = predict(client, "people", {"instances": [PERSON]})
    encoded = {**PERSON, "home": b64("owner"), "since": b64("2024-05-01")}
    assert predict(client, "people", {"instances": [encoded]}) == expected
    in_order = {"instances": [list(encoded.values())]}
    assert predict(client, "people", in_order) == expected
    columns = {"inputs": {key: [value] for key, value in encoded.items()}}
    assert predict(client, "people", columns)[0] == 200
    slashed = {"instances": [{**PERSON, "home": b64("???")}]}
    spaced = json.dumps(slashed, indent=2).replace("/", r"\/").encode()
    plain = {"instances": [{**PERSON, "home": "???"}]}
    assert b"Pz8\\/" in spaced
    assert predict(client, "people", spaced) == predict(client, "people", plain)
    status, reply = ask(client, "/v1/models/people:classify", {"examples": [encoded]})
    (row,) = expected[1]["predictions"]
    assert (status, [p for _, p in reply["results"][0]]) == (200, row["probabilities"])


def test_a_text_that_only_looks_like_base64_stays_text(client: FlaskClient) -> None:
    text = '{"b64": "!"} \\'
    status, reply = predict(client, "people", {"instances": [{**PERSON, "home": text}]})
    unseen = {"instances": [{**PERSON, "home": "castle"}]}
    assert (status, reply) == predict(client, "people", unseen)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"b64": "!"}, "expected base64 in a 'b64' value"),
        ({"b64": "a"}, "expected base64 in a 'b64' value"),
        ({"b64": "/w=="}, "expected UTF-8 text in a 'b64' value"),
        ({"b64": 5}, "row 0, column 'home': expected a string or null, got an object"),
        ({"b64": "", "c": ""}, "column 'home': expected a string or null, got an obje"),
    ],
)
def test_base64_that_is_none_gets_a_sentence(
    client: FlaskClient, value: Any, said: str
) -> None:
    status, reply = predict(
        client, "people", {"instances": [{**PERSON, "home": value}]}
    )
    assert status == 400
    assert said in reply["error"]


def test_base64_of_a_number_is_no_number(client: FlaskClient) -> None:
    status, reply = predict(client, "half_plus_two", {"instances": [b64("2")]})
    assert (status, "expected a number" in reply["error"]) == (400, True)


def test_version_and_label_are_named_in_the_header(client: FlaskClient) -> None:
    for path in ("xor", "xor/versions/1", "xor/labels/production"):
        reply = client.post(f"/v1/models/{path}:predict", json={"instances": [[0, 1]]})
        assert reply.status_code == 200
        assert reply.headers["X-Model-Version"] == "1"


@pytest.mark.parametrize(
    ("model", "body", "status", "said"),
    [
        ("people", b"{", 400, "not valid JSON"),
        ("people", b"", 400, "the body is empty"),
        ("people", b"\xff\xfe", 400, "not valid JSON"),
        ("people", b'{"instances": ' + b"[" * 100_000, 400, "nested too deeply"),
        ("people", b"[" * 100_000, 400, "expected an object"),
        ("people", b"[{}]", 400, 'as {"instances": [...]}, got a list'),
        ("people", b'{"instances": [{"income": NaN}]}', 400, "column 'member' is mis"),
        ("people", b'{"instances": [{"income": Infinity}]}', 400, "found Infinity"),
        (
            "people",
            json.dumps({"instances": [PERSON]}).replace("61.5", "1e999").encode(),
            400,
            "row 0, column 'income': number out of range",
        ),
        ("people", {}, 400, "either 'instances' (rows) or 'inputs' (columns)"),
        ("people", {"instances": [], "inputs": {}}, 400, "either 'instances'"),
        ("people", {"instance": []}, 400, "(columns); did you mean 'instances'?"),
        ("people", {"instances": []}, 400, "at least one row"),
        ("people", {"instances": 5}, 400, "expected a list of rows"),
        (
            "people",
            {"instances": [PERSON, {**PERSON, "income": "lots"}]},
            400,
            "row 1, column 'income': expected a number or null, got a string",
        ),
        (
            "people",
            {"instances": [{**PERSON, "member": 1}]},
            400,
            "row 0, column 'member': expected true or false or null, got a number",
        ),
        (
            "people",
            {"instances": [{**PERSON, "incme": 1}]},
            400,
            "row 0: there is no column 'incme'; did you mean 'income'?",
        ),
        (
            "people",
            {"instances": [{k: v for k, v in PERSON.items() if k != "children"}]},
            400,
            "row 0: column 'children' is missing",
        ),
        (
            "people",
            {"instances": [{**PERSON, "since": "yesterday"}]},
            400,
            "row 0, column 'since': expected a date or time as ISO 8601",
        ),
        (
            "people",
            {"instances": [[1, "rent"]]},
            400,
            "row 0: expected 5 values, found 2",
        ),
        (
            "xor",
            {"instances": [[0, 1], [0, 1, 1]]},
            400,
            "row 1: expected 2 values, found 3",
        ),
        (
            "xor",
            {"inputs": {"x1": [0, 1], "x2": [0]}},
            400,
            "column 'x2' has 1 values, column 'x1' has 2",
        ),
        ("digits", {"instances": [[1, 2]]}, 400, "row 0: expected shape [8, 8]"),
        (
            "digits",
            {"instances": [[[0] * 8] * 8, [[0] * 8] * 7]},
            400,
            "row 1: expected shape [8, 8], found [7, 8]",
        ),
        ("digits", {"instances": [[1e39] * 64]}, 400, "row 0: a number is too large"),
        ("digits", {"instances": [["a"] * 64]}, 400, "expected a number, got a string"),
        ("xor", {"instances": [[0, 1]] * 501}, 400, "501 rows in one request, at most"),
        ("xor", {"instances": [[0, 1]] * 50_000}, 413, "larger than 200000 bytes"),
        (
            "digit",
            {"instances": []},
            404,
            "unknown model 'digit'; did you mean 'digits'",
        ),
        ("xor/versions/9", {"instances": []}, 404, "no version 9 loaded; it has 1"),
        (
            "xor/versions/new",
            {"instances": []},
            404,
            "expected a whole number as version",
        ),
        ("xor/versions/" + "9" * 5_000, {}, 404, "has no version"),
        ("xor/labels/prodction", {}, 404, "did you mean 'production'?"),
        (
            "xor",
            {"instances": [[0, 1]], "signature_name": "other"},
            400,
            "unknown signature",
        ),
    ],
)
def test_bad_requests_get_a_sentence(
    client: FlaskClient, model: str, body: Any, status: int, said: str
) -> None:
    found, reply = predict(client, model, body)
    assert found == status
    assert list(reply) == ["error"]
    assert said in reply["error"]


def test_status_names_every_version(client: FlaskClient) -> None:
    assert client.get("/v1/models").get_json() == {
        "models": ["digits", "half_plus_two", "people", "xor"]
    }
    for path in ("xor", "xor/versions/1", "xor/labels/production"):
        reply = client.get(f"/v1/models/{path}").get_json()
        assert reply == {
            "name": "xor",
            "ready": True,
            "model_version_status": [
                {
                    "version": "1",
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
            ],
        }
    assert client.get("/v1/models/nope").status_code == 404
    assert client.get("/v1/models/xor/versions/2").status_code == 404


def test_a_refused_version_has_a_status_and_is_not_ready(
    served: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    content = Store(served).path("xor", 1).read_bytes()
    store.publish("xor", {ARTEFACT: content})
    store.publish("xor", {ARTEFACT: content[:-1]})
    client = create_app(Settings(store=str(tmp_path))).test_client()
    reply = client.get("/v1/models/xor").get_json()
    states = {v["version"]: v["state"] for v in reply["model_version_status"]}
    assert (reply["ready"], states) == (True, {"1": "AVAILABLE", "2": "END"})
    reply = client.get("/v1/models/xor/versions/2").get_json()
    assert (reply["ready"], len(reply["model_version_status"])) == (False, 1)
    assert reply["model_version_status"][0]["state"] == "END"


def test_metadata_has_tensorflows_shape_and_our_words(client: FlaskClient) -> None:
    reply = client.get("/v1/models/digits/metadata").get_json()
    assert reply["model_spec"]["version"] == "1"
    metadata = reply["metadata"]
    signature = metadata["signature_def"]["signature_def"]["serving_default"]
    x = signature["inputs"]["x"]
    assert x["dtype"] == "DT_FLOAT"
    sizes = [dim["size"] for dim in x["tensor_shape"]["dim"]]
    assert sizes == ["-1", "8", "8"]
    assert metadata["classes"] == list(range(10))
    assert metadata["task"] == "multiclass"
    people = client.get("/v1/models/people/metadata").get_json()["metadata"]
    columns = {c["name"]: c for c in people["signature"]["columns"]}
    assert columns["home"]["categories"] == ["owner", "parents", "rent"]
    assert columns["home"]["nullable"]
    assert columns["children"]["minimum"] == 0
    assert people["classes"] == ["bad", "good"]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.sampled_from(["b64", "x"]), inner)
    ),
    max_leaves=20,
)
ROWS = st.lists(
    st.dictionaries(st.sampled_from([*PERSON, "other"]), ANY_JSON)
    | st.lists(ANY_JSON)
    | ANY_JSON
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    model=st.sampled_from(["people", "digits", "xor", "half_plus_two"]),
    verb=st.sampled_from(["predict", "classify", "regress"]),
    key=st.sampled_from(["instances", "inputs", "examples"]),
    value=ROWS | ANY_JSON,
    context=st.none() | ANY_JSON,
)
def test_no_json_is_a_server_error(
    client: FlaskClient, model: str, verb: str, key: str, value: Any, context: Any
) -> None:
    body = {key: value, "context": context}
    status, reply = ask(client, f"/v1/models/{model}:{verb}", body)
    assert status in (200, 400)
    if status == 400:
        assert list(reply) == ["error"]
    assert not any(math.isnan(x) or math.isinf(x) for x in numbers(reply))


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [x for inner in value.values() for x in numbers(inner)]
    if isinstance(value, list):
        return [x for inner in value for x in numbers(inner)]
    return [value] if isinstance(value, float) else []
