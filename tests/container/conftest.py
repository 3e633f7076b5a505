"""The stack of docker-compose.yml on a real container engine, one project a test."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.lacking import lacking

ROOT = Path(__file__).parents[2]

# Loopback only, whatever proxy the environment names.
http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def run(*command: str, timeout: float = 60, **kwargs: Any) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, **kwargs
    )
    if done.returncode:
        tail = (done.stdout + done.stderr)[-4000:]
        pytest.fail(f"{' '.join(command)} exited {done.returncode}:\n{tail}")
    return done.stdout.strip()


def answers(*command: str) -> bool:
    try:
        return not subprocess.run(command, capture_output=True, timeout=30).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


def wait_for(what: str, check: Callable[[], bool], timeout: float) -> None:
    """Until `check` says yes; what cannot be reached yet says no."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            if check():
                return
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            pass
        time.sleep(0.5)
    pytest.fail(f"{what} did not happen within {timeout:g} s")


#: What is not ours, by service; only Grafana may be left out.
IMAGES = {
    "node-exporter": "prom/node-exporter",
    "prometheus": "prom/prometheus",
    "alertmanager": "prom/alertmanager",
    "grafana": "grafana/grafana",
}


class Stack:
    """One Compose project of its own: own names, own volumes, own free ports."""

    http = http
    run = staticmethod(run)
    wait_for = staticmethod(wait_for)

    def __init__(self, compose: list[str]) -> None:
        self.project = f"glassnet-test-{os.getpid()}"
        file = str(ROOT / "docker-compose.yml")
        self.command = [*compose, "-p", self.project, "-f", file]
        # Port 0: the engine takes a free one, so that no running stack is in the way.
        servers = "service", "prometheus", "alertmanager", "grafana"
        self.env = {**os.environ, **{f"{s.upper()}_PORT": "0" for s in servers}}
        self.services = ["first", "token", "trainer", "service", "node-exporter"]
        self.services += ["prometheus", "alertmanager"]
        for service, image in IMAGES.items():
            # Where no registry is reachable, an image of another version stands in.
            if answers("docker", "image", "inspect", image):
                self.env[f"{service.upper().replace('-', '_')}_IMAGE"] = image
                self.services = [*dict.fromkeys([*self.services, service])]

    def settings(self, file: Path, **variables: object) -> None:
        """Write an `.env` file, and use it."""
        file.write_text("".join(f"{k}={v}\n" for k, v in variables.items()))
        self.command[-2:-2] = ["--env-file", str(file)]

    def compose(self, *args: str, timeout: float = 120) -> str:
        return run(*self.command, *args, timeout=timeout, env=self.env, cwd=ROOT)

    def up(self) -> None:
        self.compose("up", "--detach", *self.services, timeout=300)

    def container(self, service: str) -> str:
        label = "label=com.docker.compose."
        ids = run(
            *("docker", "ps", "--all", "--quiet"),
            *("--filter", f"{label}project={self.project}"),
            *("--filter", f"{label}service={service}"),
        ).split()
        assert len(ids) == 1, f"{service} has {len(ids)} containers"
        return ids[0]

    def inspect(self, service: str) -> dict[str, Any]:
        return json.loads(run("docker", "inspect", self.container(service)))[0]

    def python(self, service: str, code: str, *options: str) -> str:
        container = self.container(service)
        return run("docker", "exec", *options, container, "python", "-c", code)

    def url(self, service: str, port: int) -> str:
        address = self.compose("port", service, str(port))
        assert address.startswith("127.0.0.1:"), f"{service} listens on {address}"
        return f"http://{address}"

    @cached_property
    def token(self) -> str:
        """What the service asks for, as docs/compose.md reads it."""
        return run("docker", "exec", self.container("service"), "cat", "/tokens/token")

    def predict(self, model: str, rows: Any, url: str = "") -> tuple[Any, str]:
        """Return the predictions and the version that made them."""
        request = urllib.request.Request(
            (url or self.url("service", 8080)) + f"/v1/models/{model}:predict",
            json.dumps({"instances": rows}).encode(),
            {
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self.token}",
            },
        )
        with http.open(request, timeout=10) as reply:
            return json.load(reply)["predictions"], reply.headers["X-Model-Version"]

    def query(self, expression: str) -> float | None:
        """Ask Prometheus for the first value of an expression."""
        api = self.url("prometheus", 9090) + "/api/v1/query?query="
        with http.open(api + urllib.parse.quote(expression), timeout=10) as reply:
            result = json.load(reply)["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    def logs(self) -> str:
        args = [*self.command, "logs", "--no-color", "--tail=100"]
        done = subprocess.run(
            args, capture_output=True, text=True, timeout=60, env=self.env, cwd=ROOT
        )
        return done.stdout + done.stderr


@pytest.fixture
def stack() -> Iterator[Stack]:
    if not answers("docker", "version"):
        # In CI too, where .ci/run has said that it could start none.
        pytest.skip("No container engine answers here: not every machine may run one.")
    for compose in ["docker", "compose"], ["docker-compose"]:
        if answers(*compose, "version"):
            break
    else:
        lacking("An engine answers here, but there is no Docker Compose.")
    stack = Stack(compose)
    try:
        yield stack
    finally:
        stack.compose("down", "--volumes", "--rmi", "local", timeout=180)
