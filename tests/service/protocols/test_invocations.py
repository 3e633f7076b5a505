"""MLflow's, SageMaker's and Vertex AI's requests, all to one model without a name."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import create_app
from service.monitoring.metrics import VERSION
from service.protocols.invocations import csv_lines
from service.server import drain
from service.settings import Settings

PERSON = {
    "income": 61.5,
    "home": "owner",
    "member": True,
    "since": "2024-05-01",
    "children": 2,
}
ROW = list(PERSON.values())
NAMES = list(PERSON)
LINE = "61.5,owner,true,2024-05-01,2\n"
JSON, CSV = "application/json", "text/csv"

Serve = Callable[..., FlaskClient]


@pytest.fixture(scope="module")
def serve(served: Path) -> Serve:
    """Return a client of a server whose default is a model; made once for each."""
    made: dict[Any, FlaskClient] = {}

    def serve(model: str = "", **more: Any) -> FlaskClient:
        key = (model, *more.items())
        if key not in made:
            chosen = {"max_body_bytes": 200_000, "max_rows": 500, **more}
            asked = Settings(store=str(served), default_model=model, **chosen)
            made[key] = create_app(asked).test_client()
        return made[key]

    return serve


@pytest.fixture
def people(serve: Serve) -> FlaskClient:
    return serve("people")


def ask(
    client: FlaskClient, body: Any, content_type: str | None = JSON, **headers: str
) -> tuple[int, Any]:
    """Post to /invocations; return the status and the JSON, or the text."""
    raw = body if isinstance(body, (bytes, str)) else json.dumps(body)
    reply = client.post(
        "/invocations", data=raw, content_type=content_type, headers=headers
    )
    return reply.status_code, reply.get_json() if reply.is_json else reply.text


def named(client: FlaskClient, model: str, instances: list[Any]) -> Any:
    """What the same rows get by name, in TensorFlow Serving's dialect."""
    reply = client.post(f"/v1/models/{model}:predict", json={"instances": instances})
    assert reply.status_code == 200
    return reply.get_json()


# MLflow


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": NAMES, "index": [0], "data": [ROW]}},
        {"dataframe_split": {"columns": NAMES[::-1], "data": [ROW[::-1]]}},
        {"dataframe_split": {"data": [ROW]}},
        {"dataframe_records": [PERSON]},
        {"instances": [PERSON]},
        {"instances": [ROW]},
        {"inputs": [ROW]},
        {"inputs": {name: [value] for name, value in PERSON.items()}},
        {"dataframe_records": [PERSON], "params": {"threshold": 0.5}},
        {"dataframe_records": [PERSON], "params": None, "else": 1},
    ],
)
def test_every_format_gets_the_prediction(people: FlaskClient, body: Any) -> None:
    expected = named(people, "people", [PERSON])
    for content_type in (JSON, "application/json; charset=utf-8", None):
        assert ask(people, body, content_type) == (200, expected)


def test_what_curl_sends_unasked_is_json(people: FlaskClient) -> None:
    form = "application/x-www-form-urlencoded"
    assert ask(people, {"instances": [PERSON]}, form)[0] == 200


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        (LINE, CSV),
        (LINE, "text/csv; header=absent"),
        (",".join(NAMES) + "\n" + LINE, CSV),
        (",".join(NAMES) + "\r\n" + LINE, "text/csv; charset=UTF-8; header=present"),
        (",".join(NAMES[1:]) + "\n" + LINE.partition(",")[2], CSV),
    ],
)
def test_csv_is_read_with_a_header_and_without(
    people: FlaskClient, text: str, content_type: str
) -> None:
    row = PERSON if "61.5" in text else {**PERSON, "income": None}
    assert ask(people, text, content_type) == (200, named(people, "people", [row]))


def test_nan_and_nat_are_missing_as_pandas_has_them(people: FlaskClient) -> None:
    data = '[[NaN, NaN, true, "NaT", 2], [1, "NaN \\" NaN", null, "2024-05-01", 0]]'
    split = f'{{"dataframe_split": {{"columns": {json.dumps(NAMES)}, "data": {data}}}}}'
    rows = [[None, None, True, None, 2], [1, 'NaN " NaN', None, "2024-05-01", 0]]
    assert ask(people, split) == (200, named(people, "people", rows))


def test_a_tensor_is_taken_from_frames_arrays_and_csv(serve: Serve) -> None:
    digits = serve("digits")
    image = [[float((7 * i + j) % 17) for j in range(8)] for i in range(8)]
    flat = [value for line in image for value in line]
    expected = (200, named(digits, "digits", [image, image]))
    for body in (
        {"inputs": [image, image]},
        {"inputs": {"x": [image, image]}},
        {"instances": [flat, flat]},
        {"dataframe_records": [{"x": image}, {"x": image}]},
        {"dataframe_split": {"columns": ["x"], "data": [[image], [image]]}},
        {"dataframe_split": {"columns": list(range(64)), "data": [flat, flat]}},
        {"dataframe_split": {"data": [flat, flat]}},
    ):
        assert ask(digits, body) == expected
    assert ask(digits, f"{','.join(map(str, flat))}\n" * 2, CSV) == expected


def test_ping_health_and_version_are_what_clients_wait_for(people: FlaskClient) -> None:
    for path in ("/ping", "/health"):
        reply = people.get(path)
        assert (reply.status_code, reply.data) == (200, b"")
    reply = people.get("/version")
    assert (reply.status_code, reply.text) == (200, VERSION)
    assert reply.mimetype == "text/plain"


def test_a_server_that_drains_or_has_nothing_does_not_answer_a_ping(
    people: FlaskClient, tmp_path: Path
) -> None:
    drain.begin()
    try:
        reply = people.get("/ping")
    finally:
        drain.end()
    assert (reply.status_code, reply.get_json()) == (503, {"error": "draining"})
    empty = create_app(Settings(store=str(tmp_path))).test_client()
    assert empty.get("/ping").status_code == 503
    assert ask(empty, {"instances": [1]}) == (404, {"error": "no model is loaded"})


# Which model


def test_of_several_models_one_must_be_named(serve: Serve) -> None:
    status, reply = ask(serve(), {"instances": [PERSON]})
    assert status == 404
    assert "(digits, half_plus_two, people, xor)" in reply["error"]
    assert "GLASSNET_DEFAULT_MODEL" in reply["error"]
    status, reply = ask(serve("peeple"), {"instances": [PERSON]})
    assert (status, "did you mean 'people'?" in reply["error"]) == (404, True)


def test_the_only_model_needs_no_name(served: Path, tmp_path: Path) -> None:
    (tmp_path / "xor").symlink_to(served / "xor")
    client = create_app(Settings(store=str(tmp_path))).test_client()
    reply = client.post("/invocations", json={"instances": [[0, 1]]})
    assert reply.get_json()["predictions"][0]["label"] == 1
    assert reply.headers["X-Model-Version"] == "1"


# SageMaker


def test_rows_of_csv_are_answered_with_lines_of_csv(people: FlaskClient) -> None:
    second = ",,,,0\n"
    header = {"X-Amzn-SageMaker-Custom-Attributes": "trace=1"}
    status, text = ask(people, LINE + second, CSV, Accept=CSV, **header)
    assert status == 200
    missing = {**dict.fromkeys(NAMES), "children": 0}
    expected = named(people, "people", [PERSON, missing])["predictions"]
    lines = list(csv.reader(io.StringIO(text)))
    assert [line[0] for line in lines] == [p["label"] for p in expected]
    assert [[*map(float, line[1:])] for line in lines] == [
        p["probabilities"] for p in expected
    ]


def test_a_number_is_a_line_of_its_own(serve: Serve) -> None:
    half = serve("half_plus_two")
    expected = named(half, "half_plus_two", [2, 3, 4])["predictions"]
    status, text = ask(half, "2\n3\n4", CSV, Accept="text/csv")
    assert (status, text) == (200, "".join(f"{value}\n" for value in expected))


def test_a_class_of_any_spelling_is_a_field() -> None:
    labels = np.array([True, 'a"b', "a,b", "a\rb", "a\nb", 7], object)
    scores = np.full((6, 2), 0.5)
    text = csv_lines({"label": labels, "probabilities": scores})
    assert text.startswith("true,0.5,0.5\n")
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert [line[0] for line in found] == ["true", *labels[1:-1], "7"]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", JSON),
        ("application/json", JSON),
        ("text/html, */*;q=0.8", JSON),
        ("text/*", CSV),
        ("application/json;q=0.5, text/csv", CSV),
        ("application/json; charset=utf-8", JSON),
        ("application/json;verbose=true;q=0.9, text/csv; q=0.1", JSON),
        ("text/csv; charset=utf-8", CSV),
        ("text/csv;q=0, */*", JSON),
    ],
)
def test_the_reply_comes_as_it_is_accepted(
    people: FlaskClient, accept: str, expected: str
) -> None:
    reply = people.post(
        "/invocations", json={"instances": [PERSON]}, headers={"Accept": accept}
    )
    assert (reply.status_code, reply.mimetype) == (200, expected)


# Vertex AI


def test_vertex_names_its_own_paths(serve: Serve) -> None:
    predict = "/v1/endpoints/7/deployedModels/9:predict"
    client = serve("xor", aip_predict_route=predict, aip_health_route="/v1/models/xor")
    body = {"instances": [[0, 1], [1, 1]], "parameters": {"confidence": 0.5}}
    reply = client.post(predict, json=body)
    assert reply.get_json() == named(client, "xor", body["instances"])
    assert client.get("/v1/models/xor").data == b""  # the platform's word goes first
    assert client.get("/ping").status_code == 200
    assert client.get("/v1/models/people").get_json()["ready"] is True


def test_vertex_may_name_paths_that_are_there_already(serve: Serve) -> None:
    paths = {"aip_predict_route": "/invocations", "aip_health_route": "/ping"}
    client = serve("xor", **paths)
    assert ask(client, {"instances": [[0, 1]]})[0] == 200
    root = serve("xor", aip_predict_route="/", aip_health_route="/")
    assert root.get("/").data == b""
    assert root.post("/", json={"instances": [[0, 1]]}).status_code == 200


# What does not fit

SPLIT = {"columns": NAMES, "data": [ROW]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "expected exactly one of dataframe_split, dataframe_records, instances,"),
        ({"dataframe_recods": []}, "found none; did you mean 'dataframe_records'?"),
        ({"instances": [ROW], "inputs": [ROW]}, "found instances and inputs"),
        ([ROW], "expected an object, got a list"),
        (b"", "the body is empty"),
        (b'{"instances": [[NaN', "not valid JSON"),
        (b'{"instances": [[-Infinity]]}', "expected a finite number, found Infinity"),
        (b'{"instances": ' + b"[" * 100_000, "nested too deeply"),
        ({"instances": [ROW], "params": 3}, "params: expected an object or null"),
        ({"dataframe_split": {**SPLIT, "colums": NAMES}}, "unknown field colums"),
        ({"dataframe_split": {"columns": NAMES}}, "missing required field data"),
        ({"dataframe_split": {"data": ROW}}, "row 0: expected a list, got a number"),
        ({"dataframe_split": {"columns": [["a", "b"]], "data": []}}, "columns[0]: exp"),
        ({"dataframe_split": {**SPLIT, "data": []}}, "at least one row, found none"),
        ({"dataframe_split": {"columns": [], "data": [[]]}}, "at least one row"),
        (
            {"dataframe_split": {**SPLIT, "data": [ROW, ROW[:2]]}},
            "row 1: expected 5 values, found 2",
        ),
        (
            {"dataframe_split": {"columns": ["incme", *NAMES[1:]], "data": [ROW]}},
            "no column 'incme'; did you mean 'income'?",
        ),
        (
            {"dataframe_split": {"columns": [0, 1, 2, 3, 4], "data": [ROW]}},
            "there is no column '0'",
        ),
        (
            {"dataframe_split": {"columns": NAMES[:1] * 5, "data": [ROW]}},
            "a column is named twice",
        ),
        (
            {"dataframe_split": {**SPLIT, "data": [ROW, ["lots", *ROW[1:]]]}},
            "row 1, column 'income': expected a number or null, got a string",
        ),
        (
            {"dataframe_split": {"columns": NAMES[:3], "data": [ROW[:3]]}},
            "column 'since' is missing",
        ),
        ({"dataframe_records": [{"incme": 1}]}, "no column 'incme'; did you mean"),
        ({"dataframe_records": PERSON}, "expected a list of rows"),
        ({"inputs": 5}, "expected a list of rows"),
        ({"instances": [ROW] * 501}, "501 rows in one request"),
        ({"dataframe_split": {"data": [ROW] * 501}}, "501 rows in one request"),
    ],
)
def test_a_body_that_does_not_fit_gets_a_sentence(
    people: FlaskClient, body: Any, said: str
) -> None:
    status, reply = ask(people, body)
    assert (status, list(reply)) == (400, ["error"])
    assert said in reply["error"]


def test_frames_that_do_not_fit_a_tensor_get_a_sentence(serve: Serve) -> None:
    for frame, said in (
        ({"columns": ["x"], "data": [[1, 2]]}, "row 0: expected 1 values, found 2"),
        ({"columns": ["x"], "data": [[[1, 2]]]}, "row 0: expected shape [8, 8]"),
        ({"data": [[1, 2]]}, "row 0: expected 64 values, found 2"),
        ({"data": []}, "expected at least one row"),
    ):
        status, reply = ask(serve("digits"), {"dataframe_split": frame})
        assert status == 400
        assert said in reply["error"]


@pytest.mark.parametrize(
    ("content_type", "headers", "status", "said"),
    [
        ("application/vnd.apache.parquet", {}, 415, "application/json or text/csv"),
        ("application/x-npy", {}, 415, "application/json or text/csv"),
        ("text/csv; charset=latin-1", {}, 415, "expected a body in UTF-8"),
        (JSON, {"Accept": "application/x-npy"}, 406, "application/json or text/csv"),
    ],
)
def test_types_that_are_not_spoken_are_told(
    people: FlaskClient,
    content_type: str,
    headers: dict[str, str],
    status: int,
    said: str,
) -> None:
    found, reply = ask(people, {"instances": [ROW]}, content_type, **headers)
    assert found == status
    assert said in reply["error"]


MANY = "more than 500 rows in one request (GLASSNET_MAX_ROWS)"


def test_too_many_lines_are_told(people: FlaskClient) -> None:
    status, reply = ask(people, LINE * 501, CSV)
    assert (status, reply) == (400, {"error": MANY})


def test_a_body_too_large_is_told(people: FlaskClient) -> None:
    assert ask(people, LINE * 10_000, CSV)[0] == 413


ANY = st.recursive(
    st.none() | st.booleans() | st.floats(allow_infinity=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, "x", "data", "columns"]), inner)
    ),
    max_leaves=12,
)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    model=st.sampled_from(["people", "digits", "xor", "half_plus_two"]),
    key=st.sampled_from(
        ["dataframe_split", "dataframe_records", "instances", "inputs"]
    ),
    value=ANY
    | st.fixed_dictionaries({"data": ANY, "columns": ANY | st.permutations(NAMES)}),
)
def test_no_json_is_a_server_error(
    serve: Serve, model: str, key: str, value: Any
) -> None:
    status, reply = ask(serve(model), {key: value})
    assert status in (200, 400)
    assert ("error" in reply) == (status == 400)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    model=st.sampled_from(["people", "digits", "xor", "half_plus_two"]),
    raw=st.binary() | st.text(st.sampled_from(',"\n01.x')).map(str.encode),
    content_type=st.sampled_from([JSON, CSV, "text/csv; header=present"]),
)
def test_no_bytes_are_a_server_error(
    serve: Serve, model: str, raw: bytes, content_type: str
) -> None:
    assert ask(serve(model), raw, content_type)[0] in (200, 400)
