"""Train into a bucket, serve from it, lose it, and have it back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from models.storage.bucket import Bucket
from models.storage.factory import open_store
from tests.buckets import BucketServer, running
from tests.serving import Server, wait_for
from trainer.operations.cron import CronSchedule
from trainer.operations.scheduler import RETRY_SECONDS, Scheduler, health

pytestmark = [pytest.mark.cloud, pytest.mark.e2e]
ROWS = [[0, 0], [0, 1], [1, 0], [1, 1]]


def trainer(store: str, *arguments: str) -> Any:
    command = [sys.executable, "-m", "trainer.cli", *arguments, "--store", store]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fit(store: str, seed: int) -> Any:
    arguments = "builtin:xor", "--model", "xor", "--promote", "always", "--json"
    settings = "--set", "runtime.report=false", "--seed", str(seed)
    return json.loads(trainer(store, "fit", *arguments, *settings))


def metric(server: Server, name: str) -> float:
    return sum(server.metrics().get(f"glassnet_{name}", {}).values())


def live(server: Server) -> set[str]:
    """Return the versions that the workers name: each answers some of the requests."""
    replies = [server.request("GET", "/v1/models/xor/metadata")[1] for _ in range(12)]
    return {str(reply["model_spec"]["version"]) for reply in replies}


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A SeaweedFS that may be stopped."""
    with running("seaweedfs") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def test_a_service_follows_a_bucket_and_outlives_its_outage(
    own_server: BucketServer, start: Callable[..., Server], tmp_path: Path
) -> None:
    store = own_server.address("models")
    assert fit(store, 1)["version"] == 1
    server = start(store, store_cache=tmp_path / "cache")
    first = server.predict("xor", ROWS)
    assert metric(server, "store_unreadable") == 0
    assert fit(store, 2)["version"] == 2
    wait_for("version 2", lambda: live(server) == {"2"}, 5)
    assert len(list((tmp_path / "cache").iterdir())) == 2

    own_server.stop(signal.SIGKILL)
    wait_for("the alarm", lambda: metric(server, "store_unreadable") == 1, 60)
    second = server.predict("xor", ROWS)
    assert second != first
    assert server.request("GET", "/console/state")[0] == 200
    assert server.request("GET", "/v2/health/ready")[0] == 200
    # A worker that ends is replaced, with the models that the master loaded.
    os.kill(server.workers()[0], 9)
    wait_for("both workers", lambda: len(server.workers()) == 2)
    for _ in range(20):
        assert server.predict("xor", ROWS) in (first, second)

    own_server.start()
    wait_for("no alarm", lambda: metric(server, "store_unreadable") == 0, 60)
    trainer(store, "rollback", "xor")
    wait_for("version 1", lambda: live(server) == {"1"}, 30)
    assert server.predict("xor", ROWS) == first
    said = {line.get("message", "") for line in server.log()}
    assert any("does not answer" in sentence for sentence in map(str, said)), said


def test_the_commands_of_the_trainer_work_on_a_bucket(bucket: str) -> None:
    fit(bucket, 1)
    fit(bucket, 2)
    for command in "show xor", "verify xor", "report xor", "promote xor 1":
        assert trainer(bucket, *command.split())
    trainer(bucket, "prune", "xor", "--keep", "1", "--forget-rollbacks")
    assert "production" in trainer(bucket, "list", "xor")


def test_a_run_that_is_killed_is_resumed_from_the_bucket(
    bucket: str, people_csv: Path, tmp_path: Path
) -> None:
    """The processes of an ensemble write checkpoints, though they are forks."""
    arguments = ["fit", str(people_csv), "--target", "Status", "--model", "people"]
    arguments += ["--set", "runtime.report=false", "--set", "train.epochs=3000"]
    arguments += ["--set", "ensemble.members=2", "--promote", "always", "--json"]
    command = [sys.executable, "-m", "trainer.cli", *arguments, "--store"]
    killed = subprocess.Popen(
        [*command, bucket], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def checkpoints() -> int:
        keys = [entry.key for entry in Bucket(bucket).entries("people")]
        return sum(".checkpoint-" in key for key in keys)

    try:
        wait_for("checkpoints", lambda: checkpoints() == 2, 60)
    finally:
        killed.kill()
        killed.wait()
    resumed = json.loads(trainer(bucket, *arguments, "--resume"))
    assert checkpoints() == 0
    whole = json.loads(trainer(str(tmp_path / "store"), *arguments))
    assert resumed["sha256"] == whole["sha256"]


def test_data_come_from_a_bucket_and_predictions_go_there(
    bucket: str, people_csv: Path, tmp_path: Path
) -> None:
    Bucket(bucket).upload("rows/people.csv", people_csv)
    options = ["--model", "people", "--promote", "always", "--json"]
    options += ["--target", "Status", "--epochs", "5", "--set", "runtime.report=false"]
    here = str(tmp_path / "store")
    local = json.loads(trainer(here, "fit", str(people_csv), *options))
    store, rows = f"{bucket}/models", f"{bucket}/rows"
    found = json.loads(trainer(store, "fit", rows, *options))
    assert found["sha256"] == local["sha256"]
    for out in "scored", "all.csv":
        trainer(store, "predict", rows, "--model", "people", "--out", f"{bucket}/{out}")
        assert Bucket(bucket).entries(out) or Bucket(bucket).revision(out)
    trainer(store, "evaluate", f"{rows}/people.csv", "--model", "people")
    out = f"{bucket}/explained.csv"
    trainer(store, "explain", rows, "--model", "people", "--out", out)
    assert Bucket(bucket).revision("explained.csv")


def test_schedulers_on_two_machines_share_one_schedule(bucket: str) -> None:
    now = datetime(2026, 10, 24, 12, tzinfo=UTC)
    said: list[str] = []
    command = [sys.executable, "-c", "print('{}')"]
    clock = CronSchedule.parse("0 3 * * *", "UTC")
    first, second = (
        Scheduler("m", open_store(bucket).schedule("m"), clock, command, said.append)
        for _ in range(2)
    )
    first.now = second.now = lambda: now
    first.begin()
    second.begin()
    now += timedelta(hours=16)
    with first.home.lease():
        assert second.tick() == RETRY_SECONDS
    assert first.tick() > RETRY_SECONDS and second.tick() > RETRY_SECONDS
    assert sum("run started" in sentence for sentence in said) == 1
    healthy, sentence = health(second.home, None, now)
    assert healthy, sentence
