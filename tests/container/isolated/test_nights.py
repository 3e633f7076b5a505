"""Three nights, a minute each: `make containers`, since they take their time.

The stack is that of docker-compose.yml, with an `.env` file for one own table. In the
first night nothing is new, in the second there are ten times the rows, and in the third
somebody has mixed up the target. Somebody else asks all the time.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.container, pytest.mark.timeout(1800)]

FIT = "/data/data.csv --target y --epochs 60 --set network.architecture=mlp"
FIT += " --set network.hidden=[32] --set ensemble.members=1"
BOOK = "https://books.example/operations"
#: Prints each message that it gets.
RECEIVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("", 8000), Handler).serve_forever()
"""

SMALL, LARGE, POISONED = 400, 4000, 5000
ROW = {"u": 0.5, "v": 0.5, "w": 0.0}
REFUSED = "GlassnetTrainingRefused"


def write(directory: Path, n: int, mixed_up: bool = False) -> None:
    """Put n rows in the place of those there were, the first as they were."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(POISONED, 3)).round(4)[:n]
    score = 2 * X[:, 0] * X[:, 1] + X[:, 2]
    y = np.where(score > 0, "yes", "no")
    if mixed_up:
        y = rng.permutation(y)
    lines = [f"{u},{v},{w},{t}\n" for (u, v, w), t in zip(X, y, strict=True)]
    hidden = directory / ".data.csv"
    hidden.write_text("u,v,w,y\n" + "".join(lines))
    hidden.chmod(0o644)
    hidden.rename(directory / "data.csv")


class Client:
    """Asks again and again, each time anew, and keeps what it was told."""

    def __init__(self, stack: Any) -> None:
        self.stack, self.answers, self.lost = stack, Counter[str](), list[str]()
        self.url, _ = stack.url("service", 8080), stack.token  # docker is slow
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self.stopped.wait(0.01):
            try:
                (answer,), version = self.stack.predict("m", [ROW], self.url)
                assert set(answer) == {"label", "probabilities"}
                self.answers[version] += 1
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.lost.append(repr(error))

    def __enter__(self) -> Client:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self.thread.join()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory that the trainer's user may look into."""
    directory = tmp_path / "data"
    directory.mkdir()
    directory.chmod(0o755)
    return directory


@pytest.fixture
def nights(stack: Any, data: Path, tmp_path: Path) -> Iterator[Any]:
    """The stack by an `.env` file, and its logs where something goes wrong."""
    stack.settings(
        tmp_path / ".env",
        MODEL="m",
        FIT=FIT,
        DATA=data,
        TRAINING_CRON="* * * * *",
        ALERT_WEBHOOK_URL="http://receiver:8000/",
        RUNBOOK_URL=BOOK,
    )
    try:
        yield stack
    finally:
        print(stack.logs())


def show(stack: Any, version: int) -> dict[str, Any]:
    container = stack.container("trainer")
    shown = stack.run(
        *("docker", "exec", container, "trainer", "show", f"m@{version}", "--json")
    )
    found: dict[str, Any] = json.loads(shown)
    return found


def newest(stack: Any) -> dict[str, Any]:
    container = stack.container("trainer")
    rows = json.loads(
        stack.run("docker", "exec", container, "trainer", "list", "m", "--json")
    )
    return show(stack, max(row["version"] for row in rows))


def run_of(stack: Any, rows: int, after: int) -> dict[str, Any]:
    """Wait for a scheduled run on this many rows; return its result."""
    found: dict[str, Any] = {}

    def published() -> bool:
        found.update(newest(stack))
        return found["version"] > after and found["data"]["rows"] == rows

    stack.wait_for(f"a run on {rows} rows", published, timeout=200)
    return found


def test_three_nights(nights: Any, data: Path) -> None:
    stack = nights
    write(data, SMALL)
    stack.compose("build", timeout=900)
    stack.up()
    # By version 1, or by the next if the first night is over by now.
    stack.wait_for("ready", lambda: bool(serves(stack)), timeout=180)
    with Client(stack) as client, receiver(stack) as messages:
        first = run_of(stack, SMALL, after=1)
        write(data, LARGE)
        second = run_of(stack, LARGE, after=first["version"])
        live = str(second["version"])
        stack.wait_for(f"version {live} live", lambda: serves(stack) == live, 60)
        write(data, POISONED, mixed_up=True)
        third = run_of(stack, POISONED, after=second["version"])
        fires = f'ALERTS{{alertname="{REFUSED}",alertstate="firing",model="m"}}'
        refused = 'glassnet_training_refused{job="glassnet-training",model="m"}'
        stack.wait_for(
            "the refusal in Prometheus", lambda: stack.query(refused) == 1, 60
        )
        stack.wait_for("its alert", lambda: stack.query(fires) == 1, 120)
        stack.wait_for("its message", lambda: REFUSED in messages(), 60)
        (alert,) = messages()[REFUSED]["alerts"]

    # Nothing was new, so the first night's bytes are those that were there.
    assert first["run"]["promoted"] and first["sha256"] == show(stack, 1)["sha256"]
    (stale,) = first["run"]["guards"]
    assert stale["kind"] == "stale"

    assert second["run"]["promoted"]
    assert second["run"]["reason"].startswith("significantly better: log_loss ")

    assert not third["run"]["promoted"]
    assert third["labels"] == ["candidate"]
    _, there = third["run"]["gate"]
    assert there["refused"] == "significantly worse" and there["low"] > 0
    assert "targets" in {found["kind"] for found in third["run"]["guards"]}

    # Runs are a minute apart, or whole minutes.
    times = [
        datetime.fromisoformat(each["run"]["trained_at"])
        for each in (first, second, third)
    ]
    gaps = [(b - a).total_seconds() for a, b in zip(times, times[1:], strict=False)]
    assert all(gap > 30 for gap in gaps)

    assert serves(stack) == live
    assert client.lost == []
    assert live in client.answers
    assert set(client.answers) <= {str(v) for v in range(1, second["version"] + 1)}
    assert min(client.answers.values()) > 0
    assert alert["status"] == "firing" and alert["labels"]["model"] == "m"
    assert alert["annotations"]["runbook_url"] == f"{BOOK}#{REFUSED.lower()}"
    healthy = stack.query('ALERTS{alertname="GlassnetTrainingFailed"}')
    assert healthy is None
    print(f"{client.answers.total()} answers by version {dict(client.answers)}")
    print(f"{REFUSED}: {third['run']['reason']}")


def serves(stack: Any) -> str:
    """Return the version that answers if the request names none."""
    return str(stack.predict("m", [ROW])[1])


@contextmanager
def receiver(stack: Any) -> Iterator[Callable[[], dict[str, Any]]]:
    """Start a webhook beside the stack; yield what returns its messages by alert."""
    container = stack.run(
        *("docker", "run", "--detach", "--network", f"{stack.project}_default"),
        *("--network-alias", "receiver", "--entrypoint", "python"),
        *(stack.inspect("trainer")["Image"], "-c", RECEIVER),
    )

    def messages() -> dict[str, Any]:
        lines = stack.run("docker", "logs", container).splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return {each["groupLabels"]["alertname"]: each for each in found}

    try:
        yield messages
    finally:
        stack.run("docker", "rm", "--force", container)
