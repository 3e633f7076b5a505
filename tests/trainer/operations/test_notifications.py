"""What is told of a run: to a real Pushgateway, a real node_exporter, a webhook."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.storage.directory import DirectoryStore as Store
from trainer.cli.progress import say
from trainer.config.environment import METRICS_DIRECTORY, PUSHGATEWAY_URL, WEBHOOK_URL
from trainer.operations import notifications
from trainer.operations.notifications import GAUGES, LABELS
from trainer.pipeline import FitResult

Fit = Callable[..., FitResult]
PREFIX = "glassnet_training_"
finished = partial(notifications.finished, say=say)
failed = partial(notifications.failed, say=say)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "PAUSES", (0.01, 0.01))
    for variable in (METRICS_DIRECTORY, PUSHGATEWAY_URL, WEBHOOK_URL):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="module")
def result(
    tmp_path_factory: pytest.TempPathFactory, fit: Fit, people_csv: Path
) -> tuple[Store, FitResult]:
    store = Store(tmp_path_factory.mktemp("metrics") / "store")
    settings = ("train.epochs=3", "ensemble.members=1")
    for _ in range(2):  # the second has one to be compared with
        found = fit(
            store, people_csv, target="Status", model="people", settings=settings
        )
    return store, found


def read(text: str) -> dict[str, dict[str, float]]:
    """Return gauge → its other labels → value, of the one model `people`."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith(PREFIX):
                assert sample.labels["model"] == "people"
                name = sample.name.removeprefix(PREFIX)
                more = ", ".join(sample.labels[k] for k in LABELS.get(name, ()))
                found.setdefault(name, {})[more] = sample.value
    return found


def check(found: dict[str, dict[str, float]], result: FitResult) -> None:
    assert set(found) == {name for group in GAUGES.values() for name in group}
    assert abs(found["last_success_timestamp_seconds"][""] - time.time()) < 60
    assert abs(found["last_run_timestamp_seconds"][""] - time.time()) < 60
    assert found["duration_seconds"][""] == result.timing["total_s"]
    assert found["rows"][""] == 300
    assert found["version"][""] == result.version
    figures = {k: v for k, v in result.metrics.items() if isinstance(v, float)}
    assert found["figure"] == figures and "log_loss" in figures
    (everywhere,) = result.gate
    assert {k: v for k, v in found["gate_figure"].items() if "held-out" in k} == {
        "held-out rows, candidate": everywhere.candidate,
        "held-out rows, production": everywhere.production,
    }
    assert found["gate_difference"]["held-out rows, low"] == everywhere.low
    assert found["gate_difference"]["held-out rows, high"] == everywhere.high


# Without a webhook or a gateway


def test_nothing_is_sent_unless_configured(
    result: tuple[Store, FitResult],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Store, "load", lambda *a: pytest.fail("read for nothing"))
    finished(*result, refused=True)
    failed("people", "a reason")
    assert capfd.readouterr().err == ""


# A textfile


def test_a_success_and_a_failure_change_what_is_theirs(
    result: tuple[Store, FitResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(METRICS_DIRECTORY, str(tmp_path))
    finished(*result, refused=False)
    names = ["glassnet_run_people.prom", "glassnet_success_people.prom"]
    assert sorted(os.listdir(tmp_path)) == names
    whole = "".join((tmp_path / name).read_text() for name in names)
    check(read(whole), result[1])
    assert read(whole)["promoted"] == {"": 1.0} and read(whole)["refused"] == {"": 0.0}
    success = (tmp_path / names[1]).read_bytes()
    failed("people", "no rows")
    assert (tmp_path / names[1]).read_bytes() == success
    assert read((tmp_path / names[0]).read_text())["last_run_failed"] == {"": 1.0}
    finished(*result, refused=True)
    assert read((tmp_path / names[0]).read_text())["last_run_failed"] == {"": 0.0}
    assert read((tmp_path / names[1]).read_text())["refused"] == {"": 1.0}


def test_a_model_whose_name_is_none_names_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.setenv(METRICS_DIRECTORY, str(tmp_path / "in"))
    failed("/../../x", "a model's name is letters")
    assert list(tmp_path.rglob("*.prom")) == []


def test_a_directory_that_is_not_there_is_said_and_no_more(
    result: tuple[Store, FitResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(METRICS_DIRECTORY, str(tmp_path / "none"))
    finished(*result, refused=False)
    assert (
        capfd.readouterr().err
        == f"{METRICS_DIRECTORY}: not notified: No such file or directory\n"
    )


# The real ones


def serve(
    program: str, path: str, *options: str
) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server on a port of its own; return it and its address."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    process = subprocess.Popen(
        [program, f"--web.listen-address={address}", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(OSError, http.client.HTTPException):
            scrape(f"http://{address}{path}")
            return process, address
        time.sleep(0.05)
    process.kill()
    return pytest.fail(f"{program} does not answer")


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as reply:
        return str(reply.read().decode())


@pytest.fixture
def stop() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.terminate()
        process.wait(30)


@pytest.mark.e2e
def test_a_pushgateway_keeps_the_last_success_through_a_failure(
    result: tuple[Store, FitResult],
    stop: list[Any],
    program: Callable[[str, str], str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    name = "prometheus-pushgateway"
    process, address = serve(program(name, name), "/-/ready")
    stop.append(process)
    monkeypatch.setenv(PUSHGATEWAY_URL, f"http://{address}")
    finished(*result, refused=False)
    check(read(scrape(f"http://{address}/metrics")), result[1])
    failed("people", "no rows")
    found = read(scrape(f"http://{address}/metrics"))
    check(found, result[1])
    assert found["last_run_failed"] == {"": 1.0}
    assert capfd.readouterr().err == ""


@pytest.mark.e2e
def test_node_exporter_reads_the_files_of_several_models(
    result: tuple[Store, FitResult],
    stop: list[Any],
    program: Callable[[str, str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(METRICS_DIRECTORY, str(tmp_path))
    finished(*result, refused=False)
    failed("other", "no rows")
    name = "prometheus-node-exporter"
    process, address = serve(
        program(name, name),
        "/metrics",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={tmp_path}",
    )
    stop.append(process)
    text = scrape(f"http://{address}/metrics")
    assert "node_textfile_scrape_error 0" in text
    assert 'glassnet_training_last_run_failed{model="other"} 1' in text
    ours = [line for line in text.splitlines() if 'model="other"' not in line]
    check(read("\n".join(ours) + "\n"), result[1])


# The webhook


class Hook:
    """A server that answers as it is told, and keeps what it was sent."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[dict[str, Any]] = []
        self.wait = 0.0
        self.location = ""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/json"
                outer.got.append(json.loads(body))
                time.sleep(outer.wait)
                with suppress(OSError):
                    self.send_response(outer.answers.pop(0) if outer.answers else 204)
                    if outer.location:
                        self.send_header("Location", outer.location)
                    self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/secret-path"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    made = Hook()
    monkeypatch.setenv(WEBHOOK_URL, made.url)
    yield made
    made.close()


def test_a_failure_and_a_refusal_are_posted_and_a_success_is_not(
    result: tuple[Store, FitResult], hook: Hook
) -> None:
    finished(*result, refused=False)
    assert hook.got == []
    finished(*result, refused=True)
    failed("people", ValueError("row 7: secret"))
    failed("people", FileNotFoundError(2, "No such file or directory", "x.csv"))
    reason = result[1].reason
    assert hook.got == [
        {
            "model": "people",
            "text": f"glassnet: the gate refused people version 2: {reason}",
            "event": "refused",
            "version": 2,
            "reason": reason,
        },
        {
            "model": "people",
            "text": "glassnet: training of people failed: "
            "unexpected ValueError; the traceback is in the trainer's log",
            "event": "failed",
            "reason": "unexpected ValueError; the traceback is in the trainer's log",
        },
        {
            "model": "people",
            "text": "glassnet: training of people failed: "
            "x.csv: No such file or directory",
            "event": "failed",
            "reason": "x.csv: No such file or directory",
        },
    ]


def test_a_redirect_is_not_followed(
    hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    hook.answers, hook.location = [302], hook.url
    failed("m", "it failed")
    assert len(hook.got) == 1
    assert capsys.readouterr().err == f"{WEBHOOK_URL}: not notified: HTTP 302\n"


@pytest.mark.parametrize(
    ("answers", "posts", "said"),
    [
        ([200], 1, ""),
        ([500, 204], 2, ""),
        ([503, 429, 200], 3, ""),
        ([500, 502, 503, 200], 3, "HTTP 503"),
        ([404], 1, "HTTP 404"),
        ([400], 1, "HTTP 400"),
    ],
)
def test_it_is_tried_again_where_that_may_help(
    answers: list[int],
    posts: int,
    said: str,
    hook: Hook,
    capfd: pytest.CaptureFixture[str],
) -> None:
    hook.answers = [*answers]
    failed("people", "a reason")
    assert len(hook.got) == posts
    error = capfd.readouterr().err
    assert error == (f"{WEBHOOK_URL}: not notified: {said}\n" if said else "")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1/s3cret", "Connection refused"),
        ("http://s3cret.invalid/", "Name or service not known"),
        ("s3cret", "not usable (ValueError)"),
        ("http://s3cret host/", "not usable (InvalidURL)"),
        ("ftp://s3cret", ""),
    ],
)
def test_an_address_that_leads_nowhere_is_said_without_it(
    url: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(WEBHOOK_URL, url)
    failed("people", "a reason")
    error = capfd.readouterr().err
    assert (
        error.startswith(f"{WEBHOOK_URL}: not notified: {said}")
        and error.count("\n") == 1
    )
    assert "s3cret" not in error


def test_who_does_not_answer_is_not_waited_for(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notifications, "LIMIT", 0.3)
    hook.wait = 2.0
    failed("people", "a reason")
    assert (
        capfd.readouterr().err == f"{WEBHOOK_URL}: not notified: no answer within 0 s\n"
    )
    assert len(hook.got) == 1


# The command


def test_the_command_tells_of_itself(
    command: Callable[..., Any],
    write_csv: Callable[..., Path],
    hook: Hook,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(METRICS_DIRECTORY, str(tmp_path))
    x = [n / 100 for n in range(-100, 100)]
    data = write_csv({"x": x, "y": ["ab"[value > 0] for value in x]})
    arguments = ("--target", "y", "--model", "people")
    command("fit", data, *arguments, "--epochs", 30)
    assert hook.got == []
    command("fit", data, *arguments, "--epochs", 1, "--promote", "never")
    assert hook.got == []
    unlearnt = ("--epochs", 1, "--set", "train.learning_rate=1e-9")
    command("fit", data, *arguments, *unlearnt, code=3)
    assert [got["event"] for got in hook.got] == ["refused"]
    command("fit", "none.csv", *arguments, code=1)
    command("fit", data, *arguments, "--set", "nope=1", code=2)
    command("fit", "sqlite:///x.db", *arguments, code=2)
    reasons = [got["reason"] for got in hook.got[1:]]
    assert reasons[0] == "no such file: none.csv"
    assert reasons[1].startswith("there is no setting 'nope'")
    assert reasons[2].startswith("sqlite:///x.db: a database needs --query")
    text = (tmp_path / "glassnet_run_people.prom").read_text()
    assert read(text)["last_run_failed"] == {"": 1.0}
    text = (tmp_path / "glassnet_success_people.prom").read_text()
    assert read(text)["refused"] == {"": 1.0} and read(text)["version"] == {"": 3.0}
