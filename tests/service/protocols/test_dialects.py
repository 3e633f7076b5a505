"""The same rows through every dialect get the same predictions, to the last digit."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from service import create_app
from service.settings import Settings
from tests.conftest import write_csv

#: The table's columns in signature order, and their datatypes.
DATATYPES = {
    "income": "FP64",
    "home": "BYTES",
    "member": "BOOL",
    "since": "BYTES",
    "children": "FP64",
}
Rows = list[dict[str, Any]]

PEOPLE = st.fixed_dictionaries(
    {
        "income": st.none() | st.floats(-1e6, 1e6),
        "home": st.none()
        | st.sampled_from(["owner", "rent", "castle"])
        | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
        "member": st.none() | st.booleans(),
        "since": st.none()
        | st.dates().map(str)
        | st.datetimes().map(lambda moment: moment.isoformat()),
        "children": st.none() | st.integers(-5, 5),
    }
).map(lambda row: {name: row[name] for name in DATATYPES})
#: A row that lacks a number, as json.dumps, pandas and tritonclient write it.
LACKING = {
    "/v1/models/people:predict": '{"instances":[ROW]}',
    "/v1/models/people:classify": '{"examples":[ROW]}',
    "/v1/models/people:explain": '{"instances":[ROW]}',
    "/invocations": '{"dataframe_records":[ROW]}',
    "/v2/models/people/infer": '{"inputs":[TENSORS]}',
}
PIXELS = st.lists(st.floats(-1e3, 1e3, width=32), min_size=64, max_size=64)


@pytest.fixture(scope="module")
def ask(served: Path) -> Callable[..., Any]:
    """Ask a model in one dialect; everything has a route of its own there."""
    clients: dict[str, FlaskClient] = {
        model: create_app(
            Settings(store=str(served), default_model=model)
        ).test_client()
        for model in ("people", "digits")
    }

    def ask(model: str, path: str, body: Any, code: int = 200, **headers: str) -> Any:
        raw = body if isinstance(body, str) else json.dumps(body)
        reply = clients[model].post(path, data=raw, headers=headers)
        assert reply.status_code == code, reply.text
        return reply.get_json() if reply.is_json else reply.text

    return ask


def written(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def b64(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return {"b64": base64.b64encode(value.encode()).decode()}


def scores(outputs: dict[str, Any]) -> list[Any]:
    """Labels and probabilities given apart, as one object a row."""
    pairs = zip(outputs["label"], outputs["probabilities"], strict=True)
    return [{"label": label, "probabilities": row} for label, row in pairs]


def apart(reply: Any, classes: int) -> list[Any]:
    """The reply of /infer, as one object a row."""
    label, flat = (output["data"] for output in reply["outputs"])
    rows = [flat[i : i + classes] for i in range(0, len(flat), classes)]
    return scores({"label": label, "probabilities": rows})


def table_bodies(rows: Rows, order: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the key and value of every body in JSON that holds the rows."""
    # Only income and home had gaps in training, and may be left out.
    present = [
        {k: v for k, v in row.items() if v is not None or k not in ("income", "home")}
        for row in rows
    ]
    yield "instances", rows
    yield "instances", present
    yield "instances", [list(row.values()) for row in rows]
    yield "instances", [{key: row[key] for key in order} for row in rows]
    yield "dataframe_records", rows
    yield "dataframe_split", {"data": [list(row.values()) for row in rows]}
    data = [[row[key] for key in order] for row in rows]
    yield "dataframe_split", {"columns": order, "index": [7], "data": data}
    yield "inputs", {key: [row[key] for row in rows] for key in order}


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(PEOPLE, min_size=1, max_size=6),
    order=st.permutations(list(DATATYPES)),
)
def test_a_table_is_the_same_in_every_dialect(
    ask: Callable[..., Any], rows: Rows, order: list[str]
) -> None:
    predict, invoke = "/v1/models/people:predict", "/invocations"
    expected = ask("people", predict, {"instances": rows})["predictions"]
    columns = {key: [row[key] for row in rows] for key in order}

    for key, value in table_bodies(rows, order):
        assert ask("people", invoke, {key: value}) == {"predictions": expected}
        if key == "instances":
            assert ask("people", predict, {key: value}) == {"predictions": expected}
    assert scores(ask("people", predict, {"inputs": columns})["outputs"]) == expected
    encoded = [{key: b64(value) for key, value in row.items()} for row in rows]
    assert ask("people", predict, {"instances": encoded})["predictions"] == expected

    classified = ask("people", "/v1/models/people:classify", {"examples": rows})
    assert classified["results"] == [
        [list(pair) for pair in zip(("bad", "good"), p["probabilities"], strict=True)]
        for p in expected
    ]

    tensors = [
        {"name": key, "shape": [len(rows)], "datatype": DATATYPES[key], "data": data}
        for key, data in columns.items()
    ]
    inferred = ask("people", "/v2/models/people/infer", {"inputs": tensors})
    assert apart(inferred, 2) == expected

    by_name = [[row[key] for key in order] for row in rows]
    in_order = [list(row.values()) for row in rows]
    for text in (written([order, *by_name]), written(in_order)):
        sent = {"Content-Type": "text/csv"}
        if "\0" in text:  # which CSV cannot have (RFC 4180, section 2)
            refused = ask("people", invoke, text, 400, **sent)
            assert "zero byte" in refused["error"]
            continue
        assert ask("people", invoke, text, **sent)["predictions"] == expected
        answered = ask("people", invoke, text, **sent, Accept="text/csv")
        lines = written([p["label"], *p["probabilities"]] for p in expected)
        assert answered == lines.replace("\r\n", "\n")


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(PIXELS, min_size=1, max_size=3))
def test_a_tensor_is_the_same_in_every_dialect(
    ask: Callable[..., Any], rows: list[list[float]]
) -> None:
    predict, invoke = "/v1/models/digits:predict", "/invocations"
    expected = ask("digits", predict, {"instances": rows})["predictions"]
    images = [[row[i : i + 8] for i in range(0, 64, 8)] for row in rows]

    for value in (rows, images, [{"x": x} for x in rows], [{"x": x} for x in images]):
        for path in (predict, invoke):
            reply = ask("digits", path, {"instances": value})
            assert reply == {"predictions": expected}
        reply = ask("digits", invoke, {"dataframe_records": value})
        assert reply["predictions"] == expected
    for value in (rows, images, {"x": rows}, {"x": images}):
        reply = ask("digits", predict, {"inputs": value})
        assert scores(reply["outputs"]) == expected
        assert ask("digits", invoke, {"inputs": value})["predictions"] == expected
    for frame in (
        {"data": rows},
        {"columns": [str(i) for i in range(64)], "data": rows},
        {"columns": ["x"], "data": [[image] for image in images]},
    ):
        reply = ask("digits", invoke, {"dataframe_split": frame})
        assert reply["predictions"] == expected

    examples = {"examples": [{"x": row} for row in rows]}
    classified = ask("digits", "/v1/models/digits:classify", examples)
    assert [[score for _, score in row] for row in classified["results"]] == [
        p["probabilities"] for p in expected
    ]
    shape = [len(rows), 8, 8]
    tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": images}
    inferred = ask("digits", "/v2/models/digits/infer", {"inputs": [tensor]})
    assert apart(inferred, 10) == expected
    sent = {"Content-Type": "text/csv"}
    assert ask("digits", invoke, written(rows), **sent)["predictions"] == expected


@pytest.mark.parametrize("path", LACKING)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_nan_is_missing_in_every_dialect(
    ask: Callable[..., Any], path: str, mark: str
) -> None:
    row = {"income": None, "home": "NaN", "member": True, "since": None, "children": 1}
    tensors = ",".join(
        json.dumps({"name": n, "shape": [1], "datatype": DATATYPES[n], "data": [value]})
        for n, value in row.items()
    )
    body = LACKING[path].replace("ROW", json.dumps(row)).replace("TENSORS", tensors)
    kind = {"Content-Type": "application/json"}
    nan = mark + body.replace("null", "NaN")
    assert ask("people", path, nan, **kind) == ask("people", path, body, **kind)


WARNING = {"row": 1, "column": "home", "warning": "never seen"}
GOOD = {
    "income": 50,
    "home": "rent",
    "member": True,
    "since": "2024-05-01",
    "children": 1,
}


def test_a_reply_has_warnings_if_they_are_wanted(ask: Callable[..., Any]) -> None:
    rows = [GOOD, {**GOOD, "home": "castle"}]
    v1, wanted = "/v1/models/people", {"parameters": {"warnings": True}}
    columns = {name: [row[name] for row in rows] for name in GOOD}
    for verb, body in {
        "predict": {"instances": rows},
        "classify": {"examples": rows},
        "predict ": {"inputs": columns},
    }.items():
        reply = ask("people", f"{v1}:{verb.strip()}", {**body, **wanted})
        assert reply.pop("warnings") == [WARNING]
        assert reply == ask("people", f"{v1}:{verb.strip()}", body)
        none = {**body, "parameters": {"warnings": False, "other": 1}}
        assert reply == ask("people", f"{v1}:{verb.strip()}", none)


@pytest.mark.parametrize("key", ["params", "parameters"])
def test_so_has_one_of_invocations(ask: Callable[..., Any], key: str) -> None:
    body = {"instances": [GOOD, {**GOOD, "home": "castle"}]}
    reply = ask("people", "/invocations", {**body, key: {"warnings": True}})
    assert reply.pop("warnings") == [WARNING]
    assert reply == ask("people", "/invocations", body)


def test_so_has_one_of_the_open_inference_protocol(ask: Callable[..., Any]) -> None:
    values = {**GOOD, "home": "castle"}
    inputs = [
        {"name": n, "shape": [2], "datatype": DATATYPES[n], "data": [GOOD[n], value]}
        for n, value in values.items()
    ]
    path, body = "/v2/models/people/infer", {"inputs": inputs}
    reply = ask("people", path, {**body, "parameters": {"warnings": True}})
    # Parameters of this protocol are single values.
    assert json.loads(reply.pop("parameters")["warnings"]) == [WARNING]
    assert reply == ask("people", path, body)


def test_unknown_categories_are_a_metric(ask: Callable[..., Any], served: Path) -> None:
    client = create_app(Settings(store=str(served))).test_client()
    body = {"instances": [GOOD, {**GOOD, "home": "castle"}]}
    for _ in range(2):
        client.post("/v1/models/people:predict", json=body)
    labels = 'column="home",model="people",version="1"'
    line = f"glassnet_unknown_categories_total{{{labels}}} 2.0"
    assert line in client.get("/metrics").text


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory, fit: Any) -> FlaskClient:
    """A client of a model that predicts a number, with intervals."""
    place = tmp_path_factory.mktemp("numbers")
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, 200)
    y = 3 * x + rng.normal(0, 0.1, 200)
    data = write_csv(place / "data.csv", {"x": x.tolist(), "y": y.tolist()})
    fit(place / "store", data, target="y", settings=("train.epochs=10",))
    return create_app(Settings(store=str(place / "store"))).test_client()


def test_a_number_has_an_interval_if_it_is_wanted(numbers: FlaskClient) -> None:
    path, rows = "/v1/models/m:predict", [{"x": 0.2}, {"x": 0.9}]
    bare = numbers.post(path, json={"instances": rows}).json["predictions"]
    wanted = {"parameters": {"interval": 0.9}}
    found = numbers.post(path, json={"instances": rows, **wanted}).json["predictions"]
    assert [each["value"] for each in found] == bare
    assert all(each["lower"] < each["value"] < each["upper"] for each in found)
    body = {"inputs": {"x": [0.2, 0.9]}, **wanted}
    assert numbers.post(path, json=body).json["outputs"] == {
        name: [each[name] for each in found] for name in ("value", "lower", "upper")
    }
    tensor = {"name": "x", "shape": [2], "datatype": "FP64", "data": [0.2, 0.9]}
    reply = numbers.post("/v2/models/m/infer", json={"inputs": [tensor], **wanted}).json
    assert {each["name"]: each["data"] for each in reply["outputs"]} == {
        name: [each[name] for each in found] for name in ("value", "lower", "upper")
    }
    body = {"instances": rows, **wanted}
    assert numbers.post("/invocations", json=body).json["predictions"] == found
    asked = {"inputs": [tensor], "outputs": [{"name": "upper"}]}
    reply = numbers.post("/v2/models/m/infer", json={**asked, **wanted}).json
    assert [each["name"] for each in reply["outputs"]] == ["upper"]
    assert numbers.post("/v2/models/m/infer", json=asked).status_code == 400


@pytest.mark.parametrize("level", [0.3, 1.0, -1, 2])
def test_a_level_that_is_none_gets_a_sentence(
    level: float, numbers: FlaskClient
) -> None:
    body = {"instances": [{"x": 0.2}], "parameters": {"interval": level}}
    reply = numbers.post("/v1/models/m:predict", json=body)
    assert reply.status_code == 400
    assert reply.json["error"].startswith("interval: expected a level from 0.5 to 0.9")


def test_classes_have_no_interval(ask: Callable[..., Any], served: Path) -> None:
    client = create_app(Settings(store=str(served))).test_client()
    body = {"instances": [GOOD], "parameters": {"interval": 0.9}}
    reply = client.post("/v1/models/people:predict", json=body)
    assert reply.status_code == 400
    assert "this model predicts classes" in reply.json["error"]
