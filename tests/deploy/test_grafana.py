"""The dashboard: what it shows exists, and a real Prometheus has something to show.

The rules of Grafana's dashboard-linter that fit are held here; it is no package.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from .conftest import DEPLOY, RULES, TRAINING, read, series

GRAFANA = DEPLOY / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "glassnet.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
ANNOTATIONS = [entry["expr"] for entry in DASHBOARD["annotations"]["list"]]

# Loopback only, whatever proxy the environment names.
http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    for part in (panel, *panel["targets"]):
        assert part["datasource"]["uid"] == "${datasource}"


def test_panels_fill_the_page_and_lie_on_no_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    height = 1 + max(y for _, y in taken)
    assert taken == {(x, y) for x in range(24) for y in range(height)}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("query", [*QUERIES, *ANNOTATIONS])
def test_a_query_names_only_series_that_exist(query: str) -> None:
    named = set(re.findall(r"\b(?:job:\w+:\w+|glassnet_\w+|ALERTS)\b", query))
    assert named
    assert named <= series() | {"ALERTS"}
    # Of one service, and of the models chosen.
    assert "$job" in query or "$model" in query
    if named & (series("model") | {"ALERTS"}):
        assert 'model=~"$model' in query
    if "rate(" in query:
        assert "[$__rate_interval]" in query


def test_everything_that_is_exposed_is_on_the_dashboard() -> None:
    shown = " ".join(query.values[0] for query in QUERIES)
    for name in {*TRAINING} - {"glassnet_training_last_run_timestamp_seconds"}:
        assert name in shown


def test_grafana_is_given_the_data_source_and_the_dashboard() -> None:
    (source,) = read(GRAFANA / "provisioning/datasources/prometheus.yml")
    (source,) = source["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    (config,) = read(DEPLOY / "prometheus" / "prometheus.yml")
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]
    (provider,) = read(GRAFANA / "provisioning/dashboards/glassnet.yml")
    (provider,) = provider["providers"]
    assert provider["allowUiUpdates"] is False
    compose = (DEPLOY.parent / "docker-compose.yml").read_text()
    path = provider["options"]["path"]
    assert f"./deploy/grafana/dashboards:{path}:ro" in compose
    assert "./deploy/grafana/provisioning:/etc/grafana/provisioning:ro" in compose


# A real Prometheus


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def training() -> Iterator[int]:
    """The port of an exporter of what a trainer leaves."""
    registry = CollectorRegistry()
    for name, labels in TRAINING.items():
        values = dict.fromkeys(labels, "1")
        child = Gauge(name, name, [*values], registry=registry).labels(**values)
        if "timestamp" in name:
            child.set_to_current_time()
    server, thread = start_http_server(0, "127.0.0.1", registry)
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


class Prometheus:
    """A running server, by its port."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}"
        with http.open(url, timeout=10) as reply:
            return json.load(reply)["data"]

    def query(self, expression: str) -> list[Any]:
        result: list[Any] = self.get("query", query=expression)["result"]
        return result


@pytest.fixture
def prometheus(
    program: Callable[[str, str], str], tmp_path: Path, until: Callable[..., None]
) -> Iterator[Callable[..., Prometheus]]:
    """Start a Prometheus with our rules on ports of 127.0.0.1 by their jobs."""
    executable = program("prometheus", "prometheus")
    processes: list[subprocess.Popen[bytes]] = []

    def start(**jobs: int) -> Prometheus:
        shutil.copytree(RULES[0].parent, tmp_path / "rules")
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules/*.yml"],
            "scrape_configs": [
                {
                    "job_name": job,
                    "honor_labels": True,
                    "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
                }
                for job, port in jobs.items()
            ],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        port = free_port()
        with (tmp_path / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    executable,
                    f"--config.file={tmp_path / 'prometheus.yml'}",
                    f"--storage.tsdb.path={tmp_path / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )
        processes.append(process)
        server = Prometheus(port)
        until("Prometheus to answer", lambda: server.query("1"))
        return server

    yield start
    for process in processes:
        process.terminate()
        process.wait(60)


@pytest.mark.e2e
def test_every_panel_shows_something_of_a_real_service(
    served: Path,
    tmp_path: Path,
    fit: Callable[..., Any],
    start: Callable[..., Any],
    training: int,
    prometheus: Callable[..., Prometheus],
    until: Callable[..., None],
) -> None:
    store = tmp_path / "store"
    shutil.copytree(served, store)
    service = start(store)
    server = prometheus(glassnet=service.port, training=training)
    choices = {"job": "glassnet", "model": ".*", "__rate_interval": "1m"}

    def ask(query: str) -> list[Any]:
        return server.query(re.sub(r"\$(\w+)", lambda m: choices[m[1]], query))

    def blank() -> list[str]:
        # Enough rows to measure drift, distributed as in training: no drift.
        service.predict("half_plus_two", [x / 50 - 10 for x in range(1000)])
        path = "/v1/models/half_plus_two:predict"
        assert service.request("POST", path, {"instances": ["two"]})[0] == 400
        return [query.values[0] for query in QUERIES if not ask(query.values[0])]

    fit(store, "builtin:xor", model="xor", promote="always", settings=())  # a reload
    for _ in range(60):
        if not blank():
            break
        time.sleep(1)
    assert blank() == []
    # It marks what has not happened here.
    for query in ANNOTATIONS:
        assert ask(query) == []
    # Nothing is wrong, and the rules are evaluated without an error.
    groups = server.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    assert server.get("alerts")["alerts"] == []
