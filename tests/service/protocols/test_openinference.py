from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.server import drain


def xor(*pairs: tuple[float, float]) -> dict[str, Any]:
    x1, x2 = zip(*pairs, strict=True)
    n = len(pairs)
    return {
        "inputs": [
            {"name": "x1", "shape": [n], "datatype": "FP64", "data": list(x1)},
            {"name": "x2", "shape": [n, 1], "datatype": "INT64", "data": list(x2)},
        ]
    }


def infer(client: FlaskClient, model: str, body: Any) -> tuple[int, dict[str, Any]]:
    reply = client.post(f"/v2/models/{model}/infer", json=body)
    return reply.status_code, reply.get_json()


def test_server_metadata_with_and_without_a_slash(client: FlaskClient) -> None:
    for path in ("/v2", "/v2/"):
        reply = client.get(path)
        assert reply.status_code == 200
        assert set(reply.get_json()) == {"name", "version", "extensions"}
        assert "binary_tensor_data" in reply.get_json()["extensions"]


def test_health_says_live_and_ready(client: FlaskClient) -> None:
    assert client.get("/v2/health/live").get_json() == {"live": True}
    reply = client.get("/v2/health/ready")
    assert (reply.status_code, reply.get_json()["ready"]) == (200, True)


def test_a_draining_server_is_live_but_not_ready(client: FlaskClient) -> None:
    drain.begin()
    try:
        reply = client.get("/v2/health/ready")
        assert (reply.status_code, reply.get_json()["ready"]) == (503, False)
        assert client.get("/v2/health/live").status_code == 200
        assert infer(client, "xor", xor((0, 1)))[0] == 200
    finally:
        drain.end()
    assert client.get("/v2/health/ready").status_code == 200


def test_model_metadata_names_every_tensor(client: FlaskClient) -> None:
    reply = client.get("/v2/models/people").get_json()
    assert reply["name"] == "people"
    assert reply["versions"] == ["1"]
    assert reply["platform"] == "glassnet_npz"
    assert {i["name"]: i["datatype"] for i in reply["inputs"]} == {
        "income": "FP64",
        "home": "BYTES",
        "member": "BOOL",
        "since": "BYTES",
        "children": "FP64",
    }
    assert reply["outputs"] == [
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP64", "shape": [-1, 2]},
    ]
    assert reply["classes"] == ["bad", "good"]
    digits = client.get("/v2/models/digits/versions/1").get_json()
    assert digits["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 8, 8]}]


def test_the_configuration_says_it_as_triton_does(client: FlaskClient) -> None:
    for path in ("digits", "digits/versions/1"):
        reply = client.get(f"/v2/models/{path}/config").get_json()
        assert reply == {
            "name": "digits",
            "platform": "glassnet_npz",
            "backend": "glassnet",
            "max_batch_size": 500,
            "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [8, 8]}],
            "output": [
                {"name": "label", "data_type": "TYPE_INT64", "dims": [1]},
                {"name": "probabilities", "data_type": "TYPE_FP64", "dims": [10]},
            ],
        }
    home = client.get("/v2/models/people/config").get_json()["input"][1]
    assert home == {"name": "home", "data_type": "TYPE_STRING", "dims": [1]}
    assert client.get("/v2/models/nope/config").status_code == 404


def test_model_ready(client: FlaskClient) -> None:
    for path in ("xor", "xor/versions/1"):
        reply = client.get(f"/v2/models/{path}/ready")
        assert reply.get_json() == {"name": "xor", "ready": True}
    assert client.get("/v2/models/nope/ready").status_code == 404


def test_infer_answers_all_outputs_and_echoes_the_id(client: FlaskClient) -> None:
    body = {"id": "42", "model_name": "ignored", **xor((0, 0), (0, 1), (1, 0), (1, 1))}
    status, reply = infer(client, "xor", body)
    assert status == 200
    assert reply["model_name"] == "xor"
    assert reply["model_version"] == "1"
    assert reply["id"] == "42"
    label, probabilities = reply["outputs"]
    assert label == {
        "name": "label",
        "shape": [4],
        "datatype": "INT64",
        "data": [0, 1, 1, 0],
    }
    assert probabilities["shape"] == [4, 2]
    assert len(probabilities["data"]) == 8


def test_what_is_null_is_absent(client: FlaskClient) -> None:
    nothing = {"id": None, "outputs": None, "parameters": None}
    inputs = [{**each, "parameters": None} for each in xor((0, 1))["inputs"]]
    status, reply = infer(client, "xor", {"inputs": inputs, **nothing})
    assert status == 200
    assert "id" not in reply
    assert len(reply["outputs"]) == 2


def test_infer_without_an_id_has_none(client: FlaskClient) -> None:
    assert "id" not in infer(client, "xor", xor((0, 0)))[1]


def test_infer_gives_only_the_outputs_asked_for(client: FlaskClient) -> None:
    body = {**xor((0, 1)), "outputs": [{"name": "label"}]}
    _, reply = infer(client, "xor", body)
    assert [output["name"] for output in reply["outputs"]] == ["label"]


def test_v2_and_v1_agree_to_the_last_digit(client: FlaskClient) -> None:
    image = [[float((7 * i + j) % 17) for j in range(8)] for i in range(8)]
    v1 = client.post("/v1/models/digits:predict", json={"instances": [image]})
    (prediction,) = v1.get_json()["predictions"]
    flat = [value for row in image for value in row]
    for shape, data in (
        ([1, 8, 8], flat),
        ([1, 8, 8], [image]),
        ([1, 64], flat),
        ([1, 64], [flat]),
    ):
        tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": data}
        _, v2 = infer(client, "digits", {"inputs": [tensor]})
        label, probabilities = v2["outputs"]
        assert label["data"] == [prediction["label"]]
        assert probabilities["data"] == prediction["probabilities"]


def test_texts_booleans_and_missing_values(client: FlaskClient) -> None:
    def column(name: str, datatype: str, *data: Any) -> dict[str, Any]:
        return {"name": name, "shape": [2], "datatype": datatype, "data": data}

    inputs = [
        column("member", "BOOL", True, None),
        column("home", "BYTES", "owner", "castle"),
        column("since", "BYTES", "2024-05-01", "2024-05-01T10:00:00Z"),
        column("children", "INT32", 1, 2),
    ]
    status, reply = infer(client, "people", {"inputs": inputs})  # income is absent
    assert status == 200
    assert set(reply["outputs"][0]["data"]) <= {"good", "bad"}


X1 = {"name": "x1", "shape": [1], "datatype": "FP64", "data": [0]}
X2 = {"name": "x2", "shape": [1], "datatype": "FP64", "data": [0]}


@pytest.mark.parametrize(
    ("model", "body", "status", "said"),
    [
        ("xor", {}, 400, "missing required field inputs"),
        ("xor", {"inputs": []}, 400, "at least one row"),
        ("xor", {"inputs": [X1]}, 400, "column 'x2' is missing"),
        ("xor", {"inputs": [X1, X1]}, 400, "an input occurs twice"),
        ("xor", {"inputs": [X1, {**X2, "name": "x3"}]}, 400, "no column 'x3'"),
        ("xor", {"inputs": [X1, {**X2, "shape": [2]}]}, 400, "'x2': shape [2]"),
        ("xor", {"inputs": [X1, {**X2, "shape": [-1]}]}, 400, "'x2': shape [-1]"),
        ("xor", {"inputs": [X1, {**X2, "datatype": "BYTES"}]}, 400, "datatype FP64"),
        ("xor", {"inputs": [X1, {**X2, "data": ["a"]}]}, 400, "row 0, column 'x2'"),
        ("xor", {"inputs": [X1, {**X2, "datatype": "INT8", "data": [1.5]}]}, 400,
         "row 0, column 'x2': expected a whole number or null, got a number"),
        ("xor", {"inputs": [X1, {**X2, "datatype": "UINT8", "data": [256]}]}, 400,
         "row 0, column 'x2': expected a whole number <= 255"),
        ("xor", {"inputs": [X1, {**X2, "datatype": "FP46"}]}, 400,
         "input 'x2': there is no datatype 'FP46'; did you mean 'FP"),
        ("xor", {"inputs": [X1, X2], "id": 7}, 400, "id: expected a string or null"),
        ("xor", {"inputs": [X1, {**X2, "parameters": 7}]}, 400,
         "inputs[1].parameters: expected an object or null"),
        ("xor", {"inputs": [X1, {"name": "x2", "shape": [1], "datatype": "FP64"}]},
         400, "input 'x2': expected 'data'"),
        ("xor", {"inputs": [X1, X2], "outputs": [{"name": "lable"}]}, 400,
         "no output 'lable'; did you mean 'label'"),
        ("xor", {"inputs": [X1, X2], "outputs": [{"name": "label"}] * 2}, 400, "twice"),
        ("digits", {"inputs": [X1]}, 400, "expected the one input 'x'"),
        ("digits", {"inputs": [{**X1, "name": "x", "shape": [1, 63]}]}, 400,
         "expected shape [-1, 8, 8], found [1, 63]"),
        ("digits", {"inputs": [{**X1, "name": "x", "shape": [2, 64]}]}, 400,
         "needs 128 values, found 1"),
        ("nope", {}, 404, "unknown model 'nope'"),
        ("xor/versions/7", {}, 404, "no version 7"),
    ],
)  # fmt: skip
def test_bad_requests_get_a_sentence(
    client: FlaskClient, model: str, body: Any, status: int, said: str
) -> None:
    found, reply = infer(client, model, body)
    assert found == status
    assert list(reply) == ["error"]
    assert said in reply["error"]


SCALARS = st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=3)
TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "x1", "x2", "income", "home"]),
        "shape": st.lists(st.integers(-2, 70), max_size=4),
        "datatype": st.sampled_from(["FP32", "FP64", "INT64", "BOOL", "BYTES", "?"]),
        "data": st.lists(SCALARS | st.lists(SCALARS, max_size=3), max_size=5) | SCALARS,
    }
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    model=st.sampled_from(["people", "digits", "xor", "half_plus_two"]),
    inputs=st.lists(TENSORS, max_size=3),
)
def test_no_tensor_is_a_server_error(
    client: FlaskClient, model: str, inputs: list[Any]
) -> None:
    status, reply = infer(client, model, {"inputs": inputs})
    assert status in (200, 400)
    assert ("error" in reply) == (status == 400)
