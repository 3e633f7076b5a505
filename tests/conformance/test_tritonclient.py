"""Triton's own client, as it comes, against a real server of two workers."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient import http as triton
from tritonclient._plugin import InferenceServerClientPlugin
from tritonclient.http import aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from models.storage.base import ARTEFACT
from models.storage.directory import DirectoryStore as Store

pytestmark = pytest.mark.e2e

PIXELS = (np.arange(3 * 64) % 17).reshape(3, 8, 8)
PEOPLE = {
    "income": np.array([51.5, np.nan]),
    "home": np.array(["owner", "château"], object),
    "member": np.array([True, False]),
    "since": np.array([b"2024-05-01", b"2025-01-31"], object),
    "children": np.array([2, 0], np.int8),
}


class Administrator(InferenceServerClientPlugin):  # type: ignore[misc]
    """Sends the token that loading and unloading take."""

    def __init__(self, server: Any) -> None:
        self.server = server

    def __call__(self, request: Any) -> None:
        request.headers.update(self.server.admin)


@contextmanager
def client(server: Any, kind: Any = triton) -> Iterator[Any]:
    with kind.InferenceServerClient(f"127.0.0.1:{server.port}") as found:
        found.register_plugin(Administrator(server))
        yield found


@pytest.fixture
def asked(server: Any) -> Iterator[Any]:
    """A client of the server for all tests."""
    with client(server) as found:
        yield found


@pytest.fixture
def store(served: Path, tmp_path: Path) -> Path:
    """A copy of the served store that a test may write to."""
    copy = tmp_path / "store"
    shutil.copytree(served, copy)
    return copy


def given(name: str, values: NDArray[Any], binary: bool = True) -> Any:
    tensor = triton.InferInput(name, values.shape, np_to_triton_dtype(values.dtype))
    return tensor.set_data_from_numpy(values, binary_data=binary)


def image(dtype: Any = np.float32, binary: bool = True) -> list[Any]:
    return [given("x", PIXELS.astype(dtype), binary)]


def probabilities(server: Any) -> list[list[float]]:
    """What another dialect answers, to the last digit."""
    return [row["probabilities"] for row in server.predict("digits", PIXELS.tolist())]


@contextmanager
def only(server: Any, worker: int) -> Iterator[None]:
    """Let one worker answer alone: the others are stopped in the meantime."""
    others = [pid for pid in server.workers() if pid != worker]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


# What it is


def test_health_and_metadata(asked: Any) -> None:
    assert asked.is_server_live()
    assert asked.is_server_ready()
    about = asked.get_server_metadata()
    assert about["name"] == "glassnet"
    assert {
        "binary_tensor_data",
        "classification",
        "model_repository",
        "statistics",
    } <= set(about["extensions"])
    assert asked.is_model_ready("digits")
    assert asked.is_model_ready("digits", "1")
    assert not asked.is_model_ready("digits", "2")
    assert not asked.is_model_ready("nope")
    model = asked.get_model_metadata("digits")
    assert model["versions"] == ["1"]
    assert model["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 8, 8]}]
    config = asked.get_model_config("digits", "1")
    assert config["max_batch_size"] > 0
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [8, 8]}]
    texts = {each["name"]: each for each in asked.get_model_config("people")["input"]}
    assert texts["home"] == {"name": "home", "data_type": "TYPE_STRING", "dims": [1]}


# Inference


def test_its_defaults_are_bytes_both_ways(asked: Any, server: Any) -> None:
    found = asked.infer("digits", image(), request_id="7")
    head = found.get_response()
    assert (head["id"], head["model_version"]) == ("7", "1")
    assert all("binary_data_size" in each["parameters"] for each in head["outputs"])
    P = found.as_numpy("probabilities")
    assert P.dtype == np.float64
    assert P.tolist() == probabilities(server)
    assert found.as_numpy("label").tolist() == P.argmax(axis=1).tolist()


DTYPES = [
    *(f"{sign}int{8 << i}" for sign in ("", "u") for i in range(4)),
    *("float16", "float32", "float64"),
]


@pytest.mark.parametrize(
    ("dtype", "binary"),
    [
        *((dtype, binary) for dtype in DTYPES for binary in (True, False)),
        (ml_dtypes.bfloat16, True),  # it has no form in JSON
    ],
)
def test_numbers_of_every_datatype_are_taken(
    asked: Any, server: Any, dtype: Any, binary: bool
) -> None:
    wanted = [triton.InferRequestedOutput("probabilities", binary_data=binary)]
    found = asked.infer("digits", image(dtype, binary), outputs=wanted)
    assert found.as_numpy("probabilities").tolist() == probabilities(server)
    assert found.as_numpy("label") is None


@pytest.mark.parametrize("binary", [True, False])
def test_texts_booleans_and_missing_numbers(
    asked: Any, server: Any, binary: bool
) -> None:
    # JSON has no NaN: the client would write invalid JSON.
    columns = {k: v for k, v in PEOPLE.items() if binary or k != "income"}
    tensors = [given(name, values, binary) for name, values in columns.items()]
    found = asked.infer("people", tensors)
    rows = [
        {"income": 51.5 if binary else None, "home": "owner", "member": True,
         "since": "2024-05-01", "children": 2},
        {"income": None, "home": "château", "member": False,
         "since": "2025-01-31", "children": 0},
    ]  # fmt: skip
    expected = server.predict("people", rows)
    P = found.as_numpy("probabilities").tolist()
    assert [row["probabilities"] for row in expected] == P
    labels = [label.decode() for label in found.as_numpy("label")]
    assert labels == [row["label"] for row in expected]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_both_ways(asked: Any, server: Any, algorithm: str) -> None:
    many = [given("x", np.tile(PIXELS, (50, 1, 1)).astype(np.float32))]
    found = asked.infer(
        "digits",
        many,
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    P = found.as_numpy("probabilities").tolist()
    # To float32: BLAS may sum a row otherwise in a larger product.
    np.testing.assert_allclose(P, probabilities(server) * 50, rtol=1e-5, atol=1e-7)
    as_json = [triton.InferRequestedOutput("probabilities", binary_data=False)]
    found = asked.infer(
        "digits", many, outputs=as_json, response_compression_algorithm=algorithm
    )
    assert found.as_numpy("probabilities").tolist() == P


def test_classes_are_ranked(asked: Any, server: Any) -> None:
    wanted = [triton.InferRequestedOutput("probabilities", class_count=3)]
    ranked = asked.infer("digits", image(), outputs=wanted).as_numpy("probabilities")
    assert ranked.shape == (3, 3)
    for row, P in zip(ranked, probabilities(server), strict=True):
        values = [float(text.decode().split(":")[0]) for text in row]
        assert values == sorted(P, reverse=True)[:3]


def test_asynchronously(asked: Any, server: Any) -> None:
    waiting = [asked.async_infer("digits", image()) for _ in range(20)]
    expected = probabilities(server)
    for each in waiting:
        assert each.get_result().as_numpy("probabilities").tolist() == expected

    async def twenty() -> list[Any]:
        async with aio.InferenceServerClient(f"127.0.0.1:{server.port}") as found:
            return await asyncio.gather(
                *(found.infer("digits", image()) for _ in range(20))
            )

    for each in asyncio.run(twenty()):
        assert each.as_numpy("probabilities").tolist() == expected


def test_parameters_of_its_own_are_let_pass(asked: Any) -> None:
    asked.infer(
        "digits",
        image(),
        priority=1,
        timeout=1000,
        sequence_id=3,
        parameters={"mine": "x"},
        query_params={"a": "b"},
    )


@pytest.mark.parametrize(
    ("model", "version", "values", "output", "status", "said"),
    [
        ("nope", "", PIXELS.astype("f4"), "label", "404", "unknown model 'nope'"),
        ("digits", "9", PIXELS.astype("f4"), "label", "404", "no version 9"),
        ("digits", "", PIXELS[:, :7].astype("f4"), "label", "400",
         "input 'x': expected shape [-1, 8, 8], found [3, 7, 8]"),
        ("digits", "", PIXELS.astype(bool), "label", "400",
         "input 'x': expected datatype FP32, found BOOL"),
        ("digits", "", PIXELS.astype("f4") * np.nan, "label", "400",
         "row 0: expected numbers, found NaN or infinity"),
        ("digits", "", PIXELS.astype("f4"), "lable", "400",
         "no output 'lable'; did you mean 'label'?"),
        ("people", "", PIXELS.astype("f4"), "label", "400", "there is no column 'x'"),
    ],
)  # fmt: skip
def test_errors_are_sentences(
    asked: Any,
    model: str,
    version: str,
    values: Any,
    output: str,
    status: str,
    said: str,
) -> None:
    wanted = [triton.InferRequestedOutput(output)]
    with pytest.raises(InferenceServerException) as caught:
        asked.infer(model, [given("x", values)], version, outputs=wanted)
    assert caught.value.status() == status
    assert said in caught.value.message()


def test_what_there_is_not_is_told(asked: Any) -> None:
    shared = triton.InferInput("x", [1, 8, 8], "FP32")
    shared.set_shared_memory("region", 256)
    with pytest.raises(InferenceServerException, match="shared memory is not"):
        asked.infer("digits", [shared])
    with pytest.raises(InferenceServerException, match="unknown path"):
        asked.get_trace_settings()
    with pytest.raises(InferenceServerException, match="come only from the store"):
        asked.load_model("xor", config="{}")


def test_a_raw_body_and_one_in_chunks(server: Any) -> None:
    """Neither comes from this client."""
    raw = PIXELS.astype("<f4").tobytes()
    for body, more in (
        (raw, {}),
        (zlib.compress(raw), {"Content-Encoding": "deflate"}),
        (iter([raw[:100], raw[100:]]), {"Transfer-Encoding": "chunked"}),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        headers = {"Inference-Header-Content-Length": "0", **more}
        connection.request(
            "POST",
            "/v2/models/digits/infer",
            body,
            headers,
            encode_chunked="Transfer-Encoding" in more,
        )
        reply = connection.getresponse()
        content, length = reply.read(), reply.headers["Inference-Header-Content-Length"]
        connection.close()
        assert reply.status == 200
        head, tail = content[: int(length)], content[int(length) :]
        sizes = [
            each["parameters"]["binary_data_size"]
            for each in json.loads(head)["outputs"]
        ]
        assert sum(sizes) == len(tail)
        P = np.frombuffer(tail[sizes[0] :]).reshape(3, 10)
        assert P.tolist() == probabilities(server)


def test_a_bomb_is_refused_and_the_server_lives(start: Any, served: Path) -> None:
    server = start(served, max_body_bytes=1_000_000)
    pids = server.workers()
    bomb = zlib.compress(bytes(500_000_000), 9)
    assert len(bomb) < 1_000_000
    for path in ("/v2/models/digits/infer", "/v1/models/digits:predict"):
        status, reply = server.request(
            "POST", path, bomb, **{"Content-Encoding": "deflate"}
        )
        assert status == 413
        assert "1000000 bytes" in reply["error"]
    assert server.workers() == pids


# The repository, over two workers


def index(found: Any) -> dict[tuple[str, str | None], str]:
    rows = found.get_model_repository_index()
    return {(row["name"], row.get("version")): row["state"] for row in rows}


def test_what_one_worker_is_told_all_do(start: Any, store: Path) -> None:
    server = start(store, poll_seconds=3600)  # the watcher does not look by itself
    with client(server) as found:
        assert set(index(found).values()) == {"READY"}
        found.unload_model("xor")
    for pid in server.workers():
        with only(server, pid), client(server) as found:
            assert not found.is_model_ready("xor")
            assert index(found)["xor", None] == "UNAVAILABLE"
            with pytest.raises(InferenceServerException, match="'xor' is unloaded"):
                found.get_model_metadata("xor")
            assert found.is_model_ready("digits")
    content = Store(store).path("xor", 1).read_bytes()
    Store(store).promote("xor", Store(store).publish("xor", {ARTEFACT: content}))
    with client(server) as found:
        found.load_model("xor")
    for pid in server.workers():
        with only(server, pid), client(server) as found:
            assert index(found)["xor", "2"] == "READY"
            assert found.is_model_ready("xor", "2")
            tensors = [given(name, np.array([1.0])) for name in ("x1", "x2")]
            answered = found.infer("xor", tensors).get_response()
            assert answered["model_version"] == "2"


def test_loading_and_unloading_need_a_token(server: Any) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as found:
        for change in (found.load_model, found.unload_model):
            with pytest.raises(InferenceServerException, match="expected a bearer"):
                change("xor")
        assert found.is_model_ready("xor")
        found.load_model("xor", headers=server.admin)


def test_a_worker_that_starts_later_knows_what_is_unloaded(
    start: Any, store: Path, until: Callable[..., None]
) -> None:
    server = start(store, poll_seconds=3600)
    with client(server) as found:
        found.unload_model("xor")
    first = server.workers()
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    until("new workers", lambda: len(set(server.workers()) - set(first)) == 2)
    with client(server) as found:
        until("an answer", found.is_server_live)
    for pid in server.workers():
        with only(server, pid), client(server) as found:
            assert not found.is_model_ready("xor")
            assert found.is_model_ready("digits")
    with client(server) as found:
        found.load_model("xor")  # sockets of killed workers do no harm
        assert found.is_model_ready("xor")


def test_a_reload_of_the_server_keeps_what_is_unloaded(
    start: Any, store: Path, until: Callable[..., None]
) -> None:
    server = start(store)
    with client(server) as found:
        found.unload_model("xor")
    first = set(server.workers())
    server.process.send_signal(signal.SIGHUP)
    until("new workers", lambda: len(set(server.workers()) - first) == 2)
    until("old ones to go", lambda: not first & set(server.workers()))
    with client(server) as found:
        assert not found.is_model_ready("xor")


def test_nothing_is_lost_while_models_come_and_go(start: Any, store: Path) -> None:
    server = start(store)

    def ask(_: int) -> None:
        with client(server) as found:
            for _ in range(20):
                found.infer("digits", image())

    def change(_: int) -> None:
        with client(server) as found:
            for _ in range(10):
                found.unload_model("xor")
                found.load_model("xor")

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(work, 0) for work in (ask, change, ask, ask)]
        for each in done:
            each.result()
    with client(server) as found:
        assert set(index(found).values()) == {"READY"}
    assert [line for line in server.log() if line["level"] == "error"] == []


def test_an_unloaded_server_is_not_ready_and_a_damaged_model_is_told(
    start: Any, store: Path
) -> None:
    server = start(store)
    with client(server) as found:
        for name in ("digits", "half_plus_two", "people", "xor"):
            found.unload_model(name)
        assert found.is_server_live()
        assert not found.is_server_ready()
        Store(store).path("xor", 1).write_bytes(b"damaged")
        with pytest.raises(InferenceServerException, match="failed to load 'xor'"):
            found.load_model("xor")
        assert not found.is_server_ready()
        found.load_model("digits")
        assert found.is_server_ready()


# Statistics, over two workers


def test_requests_over_two_workers_are_counted_once(start: Any, served: Path) -> None:
    server = start(served)

    def ask(number: int) -> None:
        with client(server) as found:
            for _ in range(25):
                found.infer("digits", image())
            with pytest.raises(InferenceServerException):
                found.infer("digits", [given("x", PIXELS.astype(bool))])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    for pid in server.workers():
        with only(server, pid), client(server) as found:
            (stats,) = found.get_inference_statistics("digits", "1")["model_stats"]
            assert (stats["name"], stats["version"]) == ("digits", "1")
            assert stats["inference_count"] == 600
            assert stats["execution_count"] == 200
            times = stats["inference_stats"]
            assert times["success"]["count"] == times["compute_infer"]["count"] == 200
            assert times["fail"]["count"] == 8
            assert times["success"]["ns"] > times["compute_infer"]["ns"] > 0
            everything = found.get_inference_statistics()["model_stats"]
            assert len(everything) == 4
