"""Inference in bytes as in JSON: the binary tensor and classification extensions."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service import create_app
from service.settings import Settings

HEAD = "Inference-Header-Content-Length"
#: What NumPy calls the datatypes, on the wire.
DTYPES = {
    **{f"INT{8 << i}": f"<i{1 << i}" for i in range(4)},
    **{f"UINT{8 << i}": f"<u{1 << i}" for i in range(4)},
    **{f"FP{8 << i}": f"<f{1 << i}" for i in range(1, 4)},
    "BOOL": "?",
}
bounded = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def tensor(name: str, datatype: str, values: Any) -> tuple[dict[str, Any], bytes]:
    """Return a tensor in JSON, and the bytes it is in the binary extension."""
    if datatype == "BYTES":
        array = np.array(values, object)
        texts = [str(text).encode() for text in array.ravel()]
        raw = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    else:
        array = np.asarray(values, DTYPES[datatype])
        raw = array.tobytes()
    shape, data = list(array.shape), array.ravel().tolist()
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}, raw


def in_bytes(*tensors: tuple[dict[str, Any], bytes], **more: Any) -> tuple[bytes, int]:
    """Return a body with every tensor in bytes, and the length of its head."""
    inputs = [
        {**{k: v for k, v in head.items() if k != "data"},
         "parameters": {"binary_data_size": len(raw)}}
        for head, raw in tensors
    ]  # fmt: skip
    head = json.dumps({"inputs": inputs, **more}).encode()
    return head + b"".join(raw for _, raw in tensors), len(head)


def post(client: FlaskClient, model: str, body: bytes, head: object = None) -> Any:
    headers = {} if head is None else {HEAD: str(head)}
    return client.post(f"/v2/models/{model}/infer", data=body, headers=headers)


def outputs(reply: Any) -> dict[str, Any]:
    """Read the outputs of a reply as a client does: lists by name."""
    length = reply.headers.get(HEAD)
    end = len(reply.data) if length is None else int(length)
    expected = "application/json" if length is None else "application/octet-stream"
    assert reply.mimetype == expected
    assert reply.content_length == len(reply.data)
    found = {}
    for each in json.loads(reply.data[:end])["outputs"]:
        size = each.get("parameters", {}).get("binary_data_size")
        if size is None:
            values: NDArray[Any] = np.array(each["data"], object)
        else:
            raw, end = reply.data[end : end + size], end + size
            values = unpacked(raw, each["datatype"])
        found[each["name"]] = values.reshape(each["shape"]).tolist()
    assert end == len(reply.data)
    return found


def unpacked(raw: bytes, datatype: str) -> NDArray[Any]:
    if datatype != "BYTES":
        return np.frombuffer(raw, DTYPES[datatype])
    texts = []
    while raw:
        (size,) = struct.unpack_from("<I", raw)
        texts.append(raw[4 : 4 + size].decode())
        raw = raw[4 + size :]
    return np.array(texts, object)


PIXELS = (np.arange(128) % 17).reshape(2, 8, 8)
IMAGES = tensor("x", "FP32", PIXELS)
PEOPLE = (
    tensor("income", "FP64", [51.5, 20.25]),
    tensor("home", "BYTES", ["owner", "château"]),
    tensor("member", "BOOL", [True, False]),
    tensor("since", "BYTES", ["2024-05-01", "2025-01-31"]),
    tensor("children", "INT8", [2, 0]),
)


@pytest.mark.parametrize(
    ("model", "tensors"), [("digits", (IMAGES,)), ("people", PEOPLE)]
)
def test_every_form_gives_the_same_answer(
    client: FlaskClient, model: str, tensors: Any
):  # type: ignore[no-untyped-def]
    plain = json.dumps({"inputs": [head for head, _ in tensors]}).encode()
    expected = outputs(post(client, model, plain))
    for binary in (False, True):
        parameters = {"parameters": {"binary_data_output": binary}}
        reply = post(client, model, *in_bytes(*tensors, **parameters))
        assert reply.status_code == 200, reply.data
        assert (HEAD in reply.headers) == binary
        assert outputs(reply) == expected
    whole = {"inputs": [head for head, _ in tensors], **parameters}
    assert outputs(post(client, model, json.dumps(whole).encode())) == expected


def test_inputs_in_json_and_in_bytes_go_together(client: FlaskClient) -> None:
    expected = outputs(post(client, "people", *in_bytes(*PEOPLE)))
    inputs, tail = [], b""
    for place, (head, raw) in enumerate(PEOPLE):
        if place % 2:
            inputs.append(head)
        else:
            size = {"binary_data_size": len(raw)}
            bare = {k: v for k, v in head.items() if k != "data"}
            inputs.append({**bare, "parameters": size})
            tail += raw
    body = json.dumps({"inputs": inputs}).encode()
    assert outputs(post(client, "people", body + tail, len(body))) == expected


def test_an_output_says_its_own_form(client: FlaskClient) -> None:
    reply = post(
        client,
        "digits",
        *in_bytes(
            IMAGES,
            id="7",
            outputs=[
                {"name": "probabilities"},
                {"name": "label", "parameters": {"binary_data": False}},
            ],
            parameters={"binary_data_output": True, "priority": 3},
        ),
    )
    head = json.loads(reply.data[: int(reply.headers[HEAD])])
    assert head["id"] == "7"
    first, second = head["outputs"]
    assert first == {
        "name": "probabilities",
        "datatype": "FP64",
        "shape": [2, 10],
        "parameters": {"binary_data_size": 160},
    }
    assert second.keys() == {"name", "datatype", "shape", "data"}


def test_the_head_may_be_the_whole_body(client: FlaskClient) -> None:
    body = json.dumps({"inputs": [IMAGES[0]]}).encode()
    assert post(client, "digits", body, len(body)).status_code == 200


@bounded
@given(st.data(), st.sampled_from(sorted(DTYPES.keys() - {"BOOL"})))
def test_numbers_of_any_datatype_are_the_same_in_json_and_in_bytes(
    client: FlaskClient, data: st.DataObject, datatype: str
) -> None:
    integer = "INT" in datatype
    element = st.integers(0, 16) if integer else st.floats(0, 16, width=16)
    values = data.draw(st.lists(element, min_size=64, max_size=64))
    head, raw = tensor("x", datatype, np.array(values).reshape(1, 8, 8))
    plain = post(client, "digits", json.dumps({"inputs": [head]}).encode())
    binary = post(client, "digits", *in_bytes((head, raw)))
    assert plain.status_code == 200
    assert plain.data == binary.data


# Raw


def test_a_raw_body_is_the_only_input(client: FlaskClient) -> None:
    expected = outputs(post(client, "digits", *in_bytes(IMAGES)))
    reply = post(client, "digits", IMAGES[1], 0)
    assert reply.status_code == 200
    assert outputs(reply) == expected
    assert HEAD in reply.headers
    halves = post(client, "half_plus_two", np.array([2.0, 3, 4]).tobytes(), 0)
    np.testing.assert_allclose(outputs(halves)["value"], [3, 3.5, 4], atol=0.2)


@pytest.mark.parametrize(
    ("model", "body", "said"),
    [
        ("digits", b"", "expected whole rows of 256 bytes (FP32, shape [-1, 8, 8])"),
        ("digits", bytes(255), "found 255 bytes"),
        ("digits", bytes(257), "found 257 bytes"),
        ("people", bytes(8), "needs a model of one input, this one has 5"),
    ],
)
def test_a_raw_body_that_is_no_tensor_is_refused(
    client: FlaskClient, model: str, body: bytes, said: str
) -> None:
    reply = post(client, model, body, 0)
    assert reply.status_code == 400
    assert said in reply.get_json()["error"]


def test_a_raw_text_is_one_row(
    tmp_path: Path, fit: Callable[..., Any], people_csv: Path
) -> None:
    """As in Triton, it stands without its length."""
    lines = [line.split(",") for line in people_csv.read_text().splitlines()]
    two = [lines[0].index("home"), lines[0].index("Status")]
    homes = tmp_path / "homes.csv"
    homes.write_text("\n".join(",".join(line[i] for i in two) for line in lines))
    store = tmp_path / "store"
    fit(store, homes, target="Status", model="homes", settings=("train.epochs=2",))
    client = create_app(Settings(store=str(store))).test_client()
    expected = outputs(
        post(client, "homes", *in_bytes(tensor("home", "BYTES", ["rent"])))
    )
    assert outputs(post(client, "homes", b"rent", 0)) == expected
    assert post(client, "homes", b"\xff", 0).status_code == 400


# Classification


def classified(
    client: FlaskClient, model: str, *tensors: Any, **parameters: Any
) -> Any:
    chosen = [{"name": "probabilities", "parameters": parameters}]
    return post(client, model, *in_bytes(*tensors, outputs=chosen))


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("k", [1, 3, 10, 99])
def test_the_likeliest_classes_stand_in_order(
    client: FlaskClient, k: int, binary: bool
) -> None:
    P = outputs(post(client, "digits", *in_bytes(IMAGES)))["probabilities"]
    reply = classified(client, "digits", IMAGES, classification=k, binary_data=binary)
    assert reply.status_code == 200
    ranked = outputs(reply)["probabilities"]
    for row, probabilities in zip(ranked, P, strict=True):
        assert len(row) == min(k, 10)
        best = sorted(range(10), key=lambda i: -probabilities[i])[:k]
        for text, i in zip(row, best, strict=True):
            value, index, label = text.split(":", 2)
            assert float(value) == probabilities[i]
            assert (int(index), label) == (i, str(i))


def test_a_class_is_named_by_its_label(client: FlaskClient) -> None:
    reply = classified(client, "people", *PEOPLE, classification=2)
    for row in outputs(reply)["probabilities"]:
        named = dict(text.split(":", 2)[1:] for text in row)
        assert named == {"0": "bad", "1": "good"}


# Faults

X = {"name": "x", "shape": [1, 64], "datatype": "FP32"}
BINARY = {**X, "parameters": {"binary_data_size": 256}}
LABEL = {"name": "label", "parameters": {"classification": 1}}


@pytest.mark.parametrize(
    ("head", "tail", "said"),
    [
        ({"inputs": [BINARY]}, b"", "binary_data_size is 256, but 0 bytes are left"),
        ({"inputs": [BINARY]}, bytes(255), "is 256, but 255 bytes are left"),
        ({"inputs": [BINARY]}, bytes(257), "1 bytes follow the last binary input"),
        ({"inputs": [{**X, "data": [0] * 64}]}, b"x", "1 bytes follow"),
        ({"inputs": [{**BINARY, "data": [0] * 64}]}, b"",
         "expected either 'data' or a binary_data_size, found both"),
        ({"inputs": [{**BINARY, "shape": [2, 64]}]}, bytes(256),
         "128 FP32 values are 512 bytes, found 256"),
        ({"inputs": [{**BINARY, "shape": [1 << 60, 64]}]}, bytes(256), "more than 500"),
        ({"inputs": [{**BINARY, "shape": [-1, 64]}]}, bytes(256), "-64 FP32 values"),
        ({"inputs": [{**BINARY, "shape": [1 << 63, 64]}]}, bytes(256),
         "inputs[0].shape[0]: expected a whole number <="),
        ({"inputs": [{**BINARY, "shape": [1.5, 64]}]}, bytes(256),
         "inputs[0].shape[0]: expected a whole number, got a number"),
        ({"inputs": [{**BINARY, "datatype": "FP64"}]}, bytes(256), "are 512 bytes"),
        ({"inputs": [{**BINARY, "datatype": "BOOL"}]}, bytes(256),
         "input 'x': expected datatype FP32, found BOOL"),
        ({"inputs": [{**X, "parameters": {"binary_data_size": -1}}]}, b"",
         "inputs[0].parameters.binary_data_size: expected a whole number >= 0"),
        ({"inputs": [{**X, "parameters": {"binary_data_size": 1 << 70}}]}, b"",
         "inputs[0].parameters.binary_data_size: expected a whole number <="),
        ({"inputs": [{**X, "parameters": {"binary_data_size": True}}]}, b"",
         "binary_data_size: expected a whole number or null, got true or false"),
        ({"inputs": [{**X, "parameters": {"shared_memory_region": "r"}}]}, b"",
         "input 'x': shared memory is not supported"),
        ({"inputs": [BINARY], "outputs": [
            {"name": "label", "parameters": {"shared_memory_region": "r"}}]},
         bytes(256), "output 'label': shared memory is not supported"),
        ({"inputs": [BINARY], "outputs": [LABEL]}, bytes(256),
         "output 'label': classification needs an output with a number per"),
        ({"inputs": [BINARY], "outputs": [
            {"name": "probabilities", "parameters": {"classification": 0}}]},
         bytes(256), "parameters.classification: expected a whole number >= 1"),
        ({"inputs": [BINARY], "parameters": {"binary_data_output": 1}}, bytes(256),
         "parameters.binary_data_output: expected true or false"),
    ],
)  # fmt: skip
def test_a_size_that_is_not_true_is_refused(
    client: FlaskClient, head: Any, tail: bytes, said: str
) -> None:
    raw = json.dumps(head).encode()
    reply = post(client, "digits", raw + tail, len(raw))
    assert reply.status_code == 400
    assert said in reply.get_json()["error"]


def test_a_number_is_no_class(client: FlaskClient) -> None:
    body, head = in_bytes(
        tensor("x", "FP64", [1.0]),
        outputs=[{"name": "value", "parameters": {"classification": 1}}],
    )
    reply = post(client, "half_plus_two", body, head)
    assert reply.status_code == 400
    assert "this has none" in reply.get_json()["error"]


@pytest.mark.parametrize(
    "length", ["-1", "x", "", " ", "1e2", "1_0", "٣", "99999999999", "9" * 5000, "0x0"]
)
def test_a_length_of_the_head_that_is_none_is_refused(
    client: FlaskClient, length: str
) -> None:
    body, _ = in_bytes(IMAGES)
    headers = {HEAD: length.encode().decode("latin-1")}
    reply = client.post("/v2/models/digits/infer", data=body, headers=headers)
    assert reply.status_code == 400
    assert HEAD in reply.get_json()["error"] or "JSON" in reply.get_json()["error"]


def test_bytes_without_the_length_of_the_head_are_no_json(client: FlaskClient) -> None:
    body, _ = in_bytes(IMAGES)
    reply = post(client, "digits", body)
    assert reply.status_code == 400
    assert "not valid JSON" in reply.get_json()["error"]


@settings(parent=bounded, max_examples=400)
@given(st.data(), st.sampled_from(["digits", "people", "half_plus_two"]))
def test_no_change_to_a_good_body_is_a_server_error(
    client: FlaskClient, data: st.DataObject, model: str
) -> None:
    good = {
        "digits": (IMAGES,),
        "people": PEOPLE,
        "half_plus_two": (tensor("x", "FP64", [1.0, 2.0]),),
    }
    chosen = [{"name": "probabilities", "parameters": {"classification": 1}}]
    more = {"outputs": chosen} if data.draw(st.booleans()) else {}
    body, head = in_bytes(*good[model], **more)
    if data.draw(st.booleans()):
        plain = {"inputs": [json_head for json_head, _ in good[model]], **more}
        body = json.dumps(plain).encode()
        head = len(body)
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        match data.draw(st.integers(0, 3)):
            case 0:
                changed[at] = data.draw(st.integers(0, 255))
            case 1:
                changed[at : at + data.draw(st.integers(0, 20))] = b""
            case 2:
                changed[at:at] = data.draw(st.binary(max_size=8))
            case 3:
                changed[at : at + 1] = data.draw(st.sampled_from(b"[]{}\",:019-").map(
                    lambda code: bytes([code])))  # fmt: skip
        changed = changed or bytearray(b"x")
    off = data.draw(st.sampled_from([None, 0, -1, 1, 5]))
    length = None if off is None else head + off
    reply = post(client, model, bytes(changed), length)
    assert reply.status_code in (200, 400), reply.data
    if reply.status_code == 400:
        assert list(reply.get_json()) == ["error"]
    else:
        outputs(reply)
