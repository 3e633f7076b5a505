"""Write a run to an MLflow server, by its REST interface 2.0 and without its library.

The run belongs to the experiment that is called as the model. It has the settings as
parameters, the figures as metrics, and artefact and report as files, if the server
stores files for its clients, as `mlflow server` does unless told otherwise.
"""

from __future__ import annotations

import base64
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec

from models.errors import ConfigError
from models.storage.base import ARTEFACT, REPORT, ArtefactStore
from trainer.config import environment
from trainer.operations.notifications import opener
from trainer.types import Say

if TYPE_CHECKING:
    from trainer.pipeline import FitResult

#: Seconds for one request.
TIMEOUT = 30.0
#: Parameters in one request, and characters of a value, that MLflow takes.
BATCH, LENGTH = 100, 6000
#: How the address of files begins that the server stores for its clients.
PROXIED = "mlflow-artifacts:/"
#: Characters that MLflow does not allow in a name.
_ODD = re.compile(r"[^\w./ -]")


def check_address(url: str) -> str:
    """Return the address of a server; raise ConfigError if it cannot be one."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise ConfigError(
            "--track: expected http://HOST:PORT or https://HOST of an MLflow server, "
            "without a password, which MLFLOW_TRACKING_PASSWORD or "
            "MLFLOW_TRACKING_TOKEN holds"
        )
    return url.rstrip("/")


def track(url: str, store: ArtefactStore, result: FitResult, say: Say) -> None:
    """Write a run that published a version; `say` tells where, or why it is not there.

    The version is in the store in either case.
    """
    try:
        say(f"tracked: {_write(MlflowClient(url), store, result)}")
    except urllib.error.HTTPError as error:
        with error:
            message = _message(error.read())
        say(f"--track: the server answered {error.code}: {message}")
    except (OSError, HTTPException, msgspec.MsgspecError, KeyError) as error:
        inner = getattr(error, "reason", error)
        reason = getattr(inner, "strerror", None) or inner
        say(
            f"--track: the run was not written to {url} ({reason}); version "
            f"{result.version} of {result.model} is in the store"
        )


class MlflowClient:
    """The requests that write one run."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.headers = {"User-Agent": "glassnet", **_authorization()}

    def send(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        """Send a request and return the object of its reply; raises OSError."""
        request = urllib.request.Request(
            f"{self.url}/api/2.0/{path}", body, self.headers, method=method
        )
        if body is not None and path.startswith("mlflow/"):
            request.add_header("Content-Type", "application/json")
        with opener.open(request, timeout=TIMEOUT) as reply:
            return msgspec.json.decode(reply.read() or b"{}", type=dict[str, Any])

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        """Call a method of the interface."""
        return self.send("POST", f"mlflow/{path}", msgspec.json.encode(fields))

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is made if it does not exist."""
        query = f"mlflow/experiments/get-by-name?experiment_name={quote(name)}"
        try:
            found = self.send("GET", query, None)["experiment"]
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 404:
                    raise
            found = self.post("experiments/create", name=name)
        return str(found["experiment_id"])


def _write(client: MlflowClient, store: ArtefactStore, result: FitResult) -> str:
    """Write the run, file by file, and return the address of its page."""
    now = round(time.time() * 1000)
    experiment = client.experiment(result.model)
    info = client.post(
        "runs/create",
        experiment_id=experiment,
        run_name=f"{result.model} {result.version}",
        start_time=now - round(result.timing["total_s"] * 1000),
        tags=_pairs(_tags(result, store)),
    )["run"]["info"]
    run = info["run_id"]
    parameters = _pairs(dict(_flat(result.config, ".")))
    for start in range(0, len(parameters), BATCH):
        client.post(
            "runs/log-batch", run_id=run, params=parameters[start : start + BATCH]
        )
    metrics = [
        {"key": key, "value": float(value), "timestamp": now, "step": 0}
        for key, value in _flat(_figures(result), "/")
        if isinstance(value, int | float)
    ]
    client.post("runs/log-batch", run_id=run, metrics=metrics)
    if info["artifact_uri"].startswith(PROXIED):
        folder = info["artifact_uri"].removeprefix(PROXIED)
        for file in ARTEFACT, REPORT:
            content = store.read_attachment(result.model, result.version, file)
            if content is not None:
                path = f"mlflow-artifacts/artifacts/{quote(folder)}/{file}"
                client.send("PUT", path, content)
    client.post("runs/update", run_id=run, status="FINISHED", end_time=now)
    return f"{client.url}/#/experiments/{experiment}/runs/{run}"


def _figures(result: FitResult) -> dict[str, Any]:
    """Return the metrics by name, and beside them baselines, intervals and times."""
    return {
        **result.metrics,
        "baseline": result.baselines,
        "interval": {
            name: {"low": low, "high": high}
            for name, (low, high) in result.intervals.items()
        },
        "timing": result.timing,
    }


def _tags(result: FitResult, store: ArtefactStore) -> dict[str, Any]:
    return {
        "mlflow.note.content": result.reason,
        "glassnet.address": store.address(result.model, result.version),
        "glassnet.version": result.version,
        "glassnet.sha256": result.sha256,
        "glassnet.task": result.task,
        "glassnet.promoted": result.promoted,
    }


def _flat(values: Mapping[str, Any], joint: str) -> Iterator[tuple[str, Any]]:
    """Yield the values of a tree by the names that lead to them, if they are set."""
    for name, value in values.items():
        if isinstance(value, dict):
            for below, inner in _flat(value, joint):
                yield f"{_ODD.sub('_', str(name))}{joint}{below}", inner
        elif value is not None:
            yield _ODD.sub("_", str(name)), value


def _pairs(values: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return names and values as texts, as MLflow takes tags and parameters."""
    return [
        {
            "key": key,
            "value": (
                value if isinstance(value, str) else msgspec.json.encode(value).decode()
            )[:LENGTH],
        }
        for key, value in values.items()
    ]


def _message(reply: bytes) -> str:
    """Return the message of an error, if the server has sent one."""
    try:
        message = msgspec.json.decode(reply, type=dict[str, Any]).get("message", "")
    except msgspec.MsgspecError:
        message = ""
    return str(message)[:300] or "no reason given"


def _authorization() -> dict[str, str]:
    """Return the header that the variables of MLflow's own client give."""
    if token := environment.read(environment.MLFLOW_TRACKING_TOKEN):
        return {"Authorization": f"Bearer {token}"}
    if user := environment.read(environment.MLFLOW_TRACKING_USERNAME):
        password = environment.read(environment.MLFLOW_TRACKING_PASSWORD) or ""
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    return {}
