"""The two images and the stack of docker-compose.yml, on a real container engine."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[2]
FORBIDDEN = ["pip", "pip3", "cc", "gcc", "g++", "clang", "ld", "as", "make", "curl"]

pytestmark = [pytest.mark.container, pytest.mark.timeout(1800)]

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


class Stack:
    """One Compose project of its own: own names, own volumes, own free ports."""

    def __init__(self, compose: list[str]) -> None:
        self.project = f"glassnet-test-{os.getpid()}"
        file = str(ROOT / "docker-compose.yml")
        self.command = [*compose, "-p", self.project, "-f", file]
        # Port 0: the engine takes a free one, so that no running stack is in the way.
        ports = ("SERVICE_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")
        self.env = {**os.environ, **dict.fromkeys(ports, "0")}
        self.services = ["first", "trainer", "service", "node-exporter", "prometheus"]
        # Nothing stands in for Grafana where no registry is reachable.
        if answers("docker", "image", "inspect", "grafana/grafana"):
            self.services.append("grafana")

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

    def logs(self) -> str:
        args = [*self.command, "logs", "--no-color", "--tail=100"]
        done = subprocess.run(
            args, capture_output=True, text=True, timeout=60, env=self.env, cwd=ROOT
        )
        return done.stdout + done.stderr


EXPORTER = """\
FROM python:3.13-slim
RUN apt-get update -qq \\
 && apt-get install -y -qq --no-install-recommends prometheus-node-exporter
ENTRYPOINT ["prometheus-node-exporter"]
"""


def exporter() -> None:
    """Where no registry is reachable, Debian's stands in for the image's."""
    name = "prom/node-exporter"
    if not answers("docker", "image", "inspect", name):
        run("docker", "build", "-q", "-t", name, "-", input=EXPORTER, timeout=300)


@pytest.fixture
def stack() -> Iterator[Stack]:
    if not answers("docker", "version"):
        pytest.skip("No container engine answers here.")
    for compose in ["docker", "compose"], ["docker-compose"]:
        if answers(*compose, "version"):
            break
    else:
        pytest.skip("Docker Compose is not installed here.")
    exporter()
    stack = Stack(compose)
    try:
        yield stack
    finally:
        stack.compose("down", "--volumes", "--rmi", "local", timeout=180)


def test_the_stack_trains_serves_and_is_watched(stack: Stack) -> None:
    try:
        stack.compose("build", timeout=900)
        stack.up()
        trained_then_healthy(stack)
        reads_digits(stack)
        is_scraped(stack)
        is_locked_down(stack)
        has_no_tools(stack)
        is_small(stack)
        stops_and_comes_back(stack)
    except BaseException:
        print(stack.logs())
        raise


def trained_then_healthy(stack: Stack) -> None:
    first = stack.inspect("first")["State"]
    assert (first["Status"], first["ExitCode"]) == ("exited", 0)

    def healthy() -> bool:
        states = [stack.inspect(service)["State"] for service in stack.services]
        looked_at = [state["Health"] for state in states if "Health" in state]
        return {health["Status"] for health in looked_at} == {"healthy"}

    wait_for("health", healthy, timeout=180)
    for service in "trainer", "service":
        assert stack.inspect(service)["State"]["StartedAt"] > first["FinishedAt"]


def predict(stack: Stack, images: list[Any]) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        stack.url("service", 8080) + "/v1/models/digits:predict",
        data=json.dumps({"instances": images}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with http.open(request, timeout=10) as reply:
        return json.load(reply)["predictions"]


def reads_digits(stack: Stack) -> None:
    digits = load_digits()
    (three,) = predict(stack, digits.images[3:4].tolist())
    assert three["label"] == 3
    assert len(three["probabilities"]) == 10
    assert sum(three["probabilities"]) == pytest.approx(1, abs=1e-3)
    assert max(three["probabilities"]) == three["probabilities"][3]

    # The held-out rows among these may be misread, few of them.
    replies = predict(stack, digits.images[:200].tolist())
    assert len(replies) == 200
    wrong = [i for i in range(200) if replies[i]["label"] != digits.target[i]]
    assert len(wrong) <= 10, f"misread rows {wrong}"


def is_scraped(stack: Stack) -> None:
    api = stack.url("prometheus", 9090) + "/api/v1/query?query="

    def query(expression: str) -> float | None:
        with http.open(api + urllib.parse.quote(expression), timeout=10) as reply:
            result = json.load(reply)["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    wait_for("up == 1", lambda: query('up{job="glassnet"}') == 1, timeout=60)
    trained = 'glassnet_training_promoted{job="glassnet-training", model="digits"}'
    wait_for("the figures of the first run", lambda: query(trained) == 1, timeout=60)
    asked = 'sum(glassnet_http_requests_total{method="POST",code="200"})'
    # Both predictions, whichever worker answered them.
    wait_for("two requests counted", lambda: (query(asked) or 0) >= 2, timeout=60)


def is_locked_down(stack: Stack) -> None:
    for service in stack.services:
        host = stack.inspect(service)["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert not host["CapAdd"], service
        assert not host["Privileged"], service
        assert all(host[k] > 0 for k in ("Memory", "NanoCpus", "PidsLimit")), service
    for service in "trainer", "service":
        assert stack.inspect(service)["Config"]["User"] == "10001:10001"

    status = stack.python("service", "print(open('/proc/1/status').read())")
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert set((fields["Uid"] + "\t" + fields["Gid"]).split()) == {"10001"}
    assert int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"

    # Not even root may write, and not even the store's owner into the store.
    write = "try: open('{}/probe', 'w')\nexcept OSError as e: print(e.strerror)"
    refused = "Read-only file system"
    assert stack.python("service", write.format(""), "--user", "0") == refused
    assert stack.python("service", write.format("/store")) == refused
    assert stack.python("service", write.format("/tmp")) == ""


def has_no_tools(stack: Stack) -> None:
    other = {"service": "trainer", "trainer": "service"}
    for service in other:
        modules = ["pip", "ensurepip", "setuptools", other[service]]
        code = (
            "import importlib.util, shutil\n"
            f"print(*filter(shutil.which, {FORBIDDEN}),"
            f" *filter(importlib.util.find_spec, {modules}))"
        )
        image = stack.inspect(service)["Image"]
        entry = ["--network=none", "--entrypoint=python"]
        assert run("docker", "run", "--rm", *entry, image, "-c", code) == "", service


def is_small(stack: Stack) -> None:
    code = (
        "import pathlib\n"
        "files = pathlib.Path('/opt/glassnet').rglob('*')\n"
        "print(sum(f.lstat().st_size for f in files))"
    )
    assert int(stack.python("service", code)) < 80e6


def stops_and_comes_back(stack: Stack) -> None:
    stack.compose("stop", timeout=120)
    # 137 would be a kill at the end of the grace period.
    assert stack.inspect("service")["State"]["ExitCode"] == 0
    assert stack.inspect("trainer")["State"]["ExitCode"] == 0
    # The job runs again into the store it has already filled.
    stack.up()
    trained_then_healthy(stack)
    assert predict(stack, load_digits().images[3:4].tolist())[0]["label"] == 3
