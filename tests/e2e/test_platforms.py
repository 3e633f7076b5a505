"""The server as platforms start it and ask it: plain HTTP to a real gunicorn."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from models.features.predictions import Regression
from models.features.reference import Reference
from models.features.tensor import TensorInput
from models.model import Model
from models.nn.architectures import mlp
from models.nn.network import Network
from models.storage.artefact import Fingerprint, Golden, Manifest, Recipe, dump
from models.storage.base import ARTEFACT
from models.storage.directory import DirectoryStore as Store

pytestmark = pytest.mark.e2e

JSON, CSV = "application/json", "text/csv"


class Reply(NamedTuple):
    status: int
    content_type: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    port: int, method: str, path: str, body: str | None = None, **headers: str
) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, names)
        reply = connection.getresponse()
        return Reply(reply.status, reply.headers["Content-Type"], reply.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def half_plus_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model of TensorFlow Serving's tests, y = x / 2 + 2, exactly."""
    inputs = TensorInput((1,), 0.0, 10.0, [0.0], [1.0])
    output = Regression(0.0, 1.0)
    network = Network(mlp([1, 1]))
    network.parameters[:] = [0.5, 2.0]
    model = Model(inputs, [network], output)
    rows = [[2.0], [3.0], [4.0]]
    raw = np.array(rows, np.float32)
    manifest = Manifest(
        task="regression",
        inputs=inputs,
        output=output,
        target="y",
        network=network.spec,
        recipe=Recipe(()),
        config={},
        data=Fingerprint("0" * 64, 3, 1, 3, 0, 0),
        metrics={},
        history=[{"loss": [0.0]}],
        reference=Reference.fit(inputs, raw, output, model.predict(raw)),
        golden=Golden(rows, model.answer_json(msgspec.json.encode(rows))),
    )
    store = tmp_path_factory.mktemp("half") / "store"
    Store(store).publish("default", {ARTEFACT: dump(manifest, [network])})
    return store


@contextmanager
def running(*command: str, **environment: object) -> Iterator[int]:
    """Start `service` with a free port, `PORT` in the environment's values; stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {
        key: str(value).replace("PORT", str(port)) for key, value in environment.items()
    }
    fast = {"GLASSNET_WORKERS": "1", "GLASSNET_DRAIN_SECONDS": "0"}
    process = subprocess.Popen(
        [sys.executable, *command], env={**os.environ, **fast, **given}
    )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert process.poll() is None, "the server ended"
            with suppress(OSError):
                if ask(port, "GET", "/ping").status == 200:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        assert process.wait(60) == 0


@pytest.fixture(scope="module")
def half_server(half_plus_two: Path) -> Iterator[int]:
    bind = "127.0.0.1:PORT"
    run = ("-m", "service.cli", "run")
    with running(*run, GLASSNET_BIND=bind, GLASSNET_STORE=half_plus_two) as port:
        yield port


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("default:predict", {"instances": [2, 3, 4]}, {"predictions": [3, 3.5, 4]}),
        ("default:predict", {"inputs": [2, 3, 4]}, {"outputs": [3, 3.5, 4]}),
        ("default:predict", {"instances": [{"x": 2}]}, {"predictions": [3]}),
        ("default:predict", {"inputs": {"x": [[2], [3]]}}, {"outputs": [3, 3.5]}),
        ("default:regress", {"examples": [{"x": 2}]}, {"results": [3]}),
        ("default:regress", {"examples": [{"x": [2]}, {"x": 4}]}, {"results": [3, 4]}),
        (
            "default/versions/1:predict",
            {"instances": [1, 2]},
            {"predictions": [2.5, 3]},
        ),
    ],
)
def test_half_plus_two_answers_as_tensorflow_serving_does(
    half_server: int, path: str, body: Any, expected: Any
) -> None:
    reply = ask(half_server, "POST", f"/v1/models/{path}", json.dumps(body))
    assert (reply.status, reply.json) == (200, expected)


def test_half_plus_two_has_a_status_and_metadata(half_server: int) -> None:
    status = ask(half_server, "GET", "/v1/models/default").json
    assert status["model_version_status"] == [
        {
            "version": "1",
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
    ]
    metadata = ask(half_server, "GET", "/v1/models/default/metadata").json
    spec = {"name": "default", "signature_name": "", "version": "1"}
    assert metadata["model_spec"] == spec
    definitions = metadata["metadata"]["signature_def"]["signature_def"]
    assert definitions["serving_default"]["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}],
            "unknown_rank": False,
        },
        "name": "x:0",
    }


PERSON = {
    "income": 61.5,
    "home": "owner",
    "member": True,
    "since": "2024-05-01",
    "children": 2,
}
LINE = "61.5,owner,true,2024-05-01,2\n"


def test_vertex_ai_asks_at_the_paths_it_names(served: Path) -> None:
    """Its variables stand beside those of the image, which it overrules."""
    predict = "/v1/endpoints/7/deployedModels/9:predict"
    health = "/v1/endpoints/7/deployedModels/9"
    vertex = {
        "AIP_HTTP_PORT": "PORT",
        "AIP_PREDICT_ROUTE": predict,
        "AIP_HEALTH_ROUTE": health,
        "AIP_STORAGE_URI": "",
        "AIP_MODE": "PREDICTION",
    }
    image = {"GLASSNET_STORE": served, "GLASSNET_DEFAULT_MODEL": "people"}
    run = ("-m", "service.cli", "run", "--bind", "127.0.0.1:1")
    with running(*run, **image, **vertex) as port:
        assert ask(port, "GET", health).status == 200
        body = json.dumps({"instances": [PERSON] * 3, "parameters": {"top": 1}})
        reply = ask(port, "POST", predict, body, Content_Type=JSON)
        assert (reply.status, reply.content_type) == (200, JSON)
        assert list(reply.json) == ["predictions"]
        assert len(reply.json["predictions"]) == 3
        wrong = ask(port, "POST", predict, json.dumps({"instance": []}))
        assert wrong.status == 400
        assert "did you mean 'instances'?" in wrong.json["error"]


def test_a_store_that_cannot_be_is_told_at_the_start(served: Path) -> None:
    environment = {
        "AIP_STORAGE_URI": "gcs://bucket/model",
        "GLASSNET_STORE": str(served),
    }
    found = subprocess.run(
        [sys.executable, "-m", "service.cli", "run"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 2
    assert "AIP_STORAGE_URI: store 'gcs://bucket/model'" in found.stderr
    assert "unknown scheme 'gcs'; did you mean 'gs'?" in found.stderr


#: As `docker run IMAGE serve` does, with another place for SageMaker's directory.
SERVE = """
import sys
from pathlib import Path
from service import cli
cli.SAGEMAKER_MODEL = Path(sys.argv.pop(1))
cli.main()
"""


def test_sagemaker_starts_it_with_serve_and_asks_in_csv(
    served: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"  # what the archive of a model held
    model.mkdir()
    shutil.copytree(served / "people", model / "people")
    image = {"GLASSNET_STORE": tmp_path / "none", "SAGEMAKER_BIND_TO_PORT": "PORT"}
    with running("-c", SERVE, str(model), "serve", **image) as port:
        ping = ask(port, "GET", "/ping")
        assert (ping.status, ping.body) == (200, b"")
        sent = {
            "Content_Type": CSV,
            "Accept": CSV,
            "X_Amzn_SageMaker_Custom_Attributes": "trace=1",
            "X_Amzn_SageMaker_Inference_Id": "7",
        }
        reply = ask(port, "POST", "/invocations", LINE * 3, **sent)
        assert (reply.status, reply.content_type) == (200, "text/csv; charset=utf-8")
        lines = reply.body.decode().splitlines()
        assert len(lines) == 3
        body = json.dumps({"instances": [PERSON]})
        sent |= {"Content_Type": JSON, "Accept": JSON}
        (prediction,) = ask(port, "POST", "/invocations", body, **sent).json[
            "predictions"
        ]
        label, *scores = lines[0].split(",")
        assert label == prediction["label"]
        # Alone or in a batch: float32 sums in another order.
        assert [*map(float, scores)] == pytest.approx(
            prediction["probabilities"], abs=1e-6
        )


def test_sagemaker_without_a_model_of_its_own_serves_the_images(
    half_plus_two: Path, tmp_path: Path
) -> None:
    image = {"GLASSNET_STORE": half_plus_two, "SAGEMAKER_BIND_TO_PORT": "PORT"}
    with running("-c", SERVE, str(tmp_path), "serve", **image) as port:
        reply = ask(port, "POST", "/invocations", "2\n3\n", Content_Type=CSV)
        assert reply.json == {"predictions": [3.0, 3.5]}
