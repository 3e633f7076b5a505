"""The application around the routes: ids, logs, counts, and the one error shape."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from service import create_app
from service.settings import Settings
from service.web.routes import Route
from tests.private import write_secret


def scrape(client: FlaskClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = client.get("/metrics").get_data(as_text=True)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def fresh(served: Path) -> FlaskClient:
    """A client of an application of its own, whose counts start at nothing."""
    return create_app(Settings(store=str(served))).test_client()


def test_an_id_is_echoed_or_made(client: FlaskClient) -> None:
    given = client.get("/v2", headers={"X-Request-Id": "abc-1"})
    assert given.headers["X-Request-Id"] == "abc-1"
    made = {client.get("/v2").headers["X-Request-Id"] for _ in range(5)}
    assert len(made) == 5
    forged = client.get("/v2", headers={"X-Request-Id": "a b{}"})
    assert forged.headers["X-Request-Id"] != "a b{}"


def test_every_request_is_logged_with_its_id_and_version(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "glassnet.access"):
        client.post(
            "/v1/models/xor:predict",
            json={"instances": [[0, 1]]},
            headers={"X-Request-Id": "r1"},
        )
    (record,) = caplog.records
    seen: dict[str, Any] = vars(record)
    assert seen["request_id"] == "r1"
    assert (seen["model"], seen["version"], seen["status"]) == ("xor", 1, 200)
    assert seen["route"] == "/v1/models/<name>:predict"


@pytest.mark.parametrize(
    ("requests", "statuses"), [("all", [200, 404]), ("errors", [404]), ("none", [])]
)
def test_a_setting_says_which_requests_are_logged(
    served: Path,
    caplog: pytest.LogCaptureFixture,
    requests: Literal["all", "errors", "none"],
    statuses: list[int],
) -> None:
    client = create_app(Settings(store=str(served), access_log=requests)).test_client()
    with caplog.at_level(logging.INFO, "glassnet.access"):
        client.post("/v1/models/xor:predict", json={"instances": [[0, 1]]})
        client.post("/v1/models/no:predict", json={"instances": [[0, 1]]})
    logged = [r for r in caplog.records if r.name == "glassnet.access"]
    assert [vars(record)["status"] for record in logged] == statuses


def test_the_trace_of_a_request_is_in_its_lines(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    with caplog.at_level(logging.INFO, "glassnet.access"):
        client.get("/v2", headers=trace)
        client.get("/v2", headers={"traceparent": "00-secret"})
    traced, other = map(vars, caplog.records)
    assert (traced["trace_id"], traced["span_id"]) == ("a" * 32, "b" * 16)
    assert "trace_id" not in other and "secret" not in str(other)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/models/xor:predict", {"instances": [[0, 1]]}),
        ("/v1/models/xor:classify", {"examples": [{"x1": 0, "x2": 1}]}),
        (
            "/v2/models/half_plus_two/infer",
            {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]},
        ),
    ],
)
def test_an_answer_tells_where_its_time_went(
    client: FlaskClient, path: str, body: dict[str, Any]
) -> None:
    reply = client.post(path, json=body)
    assert reply.status_code == 200
    parts = dict(
        part.split(";dur=") for part in reply.headers["Server-Timing"].split(", ")
    )
    assert list(parts) == ["decode", "infer", "encode"]
    assert all(float(milliseconds) >= 0 for milliseconds in parts.values())
    for other in (client.get("/v2"), client.post(path, data="no")):
        assert "Server-Timing" not in other.headers


def test_requests_are_counted_by_route_template(fresh: FlaskClient) -> None:
    for _ in range(3):
        fresh.post("/v1/models/xor:predict", json={"instances": [[0, 1], [1, 1]]})
    fresh.post("/v1/models/xor:predict", data="no")
    fresh.post("/v1/models/nope:predict", data="no")
    fresh.get("/some/path?with=secrets")
    fresh.open("/v2", method="BREW")
    found = scrape(fresh)

    def requests(route: str, method: str, code: int) -> float:
        labels = (("code", str(code)), ("method", method), ("route", route))
        return found["glassnet_http_requests_total", labels]

    predict = "/v1/models/<name>:predict"
    assert requests(predict, "POST", 200) == 3
    assert requests(predict, "POST", 400) == 1
    assert requests(predict, "POST", 404) == 1
    assert requests("unmatched", "GET", 404) == 1
    assert requests("unmatched", "other", 405) == 1
    xor = (("model", "xor"), ("version", "1"))
    assert found["glassnet_inference_rows_total", xor] == 6
    assert found["glassnet_inference_duration_seconds_count", xor] == 3
    failed = (("model", "xor"), ("reason", "invalid_input"), ("version", "1"))
    assert failed not in {labels for _, labels in found}  # JSON never reached a model
    assert not any("nope" in str(key) or "secrets" in str(key) for key in found)


def test_rows_that_do_not_fit_are_failures_of_the_model(fresh: FlaskClient) -> None:
    fresh.post("/v1/models/xor:predict", json={"instances": [["a", 1]]})
    failed = (("model", "xor"), ("reason", "invalid_input"), ("version", "1"))
    assert scrape(fresh)["glassnet_inference_failures_total", failed] == 1


def test_probes_and_scrapes_are_not_counted(fresh: FlaskClient) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/metrics"):
        fresh.get(path)
    names = {name for name, _ in scrape(fresh)}
    assert "glassnet_http_requests_total" not in names


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/nothing", 404, "unknown path"),
        ("DELETE", "/v2", 405, "expected GET"),
        ("GET", "/v2/models/xor/infer", 405, "expected "),
    ],
)
def test_routing_errors_have_the_one_shape(
    client: FlaskClient, method: str, path: str, status: int, said: str
) -> None:
    reply = client.open(path, method=method)
    assert reply.status_code == status
    assert reply.content_type == "application/json"
    assert list(reply.get_json()) == ["error"]
    assert said in reply.get_json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "a" * 300},
        {"Connection": "Upgrade", "Upgrade": "websocket"},
    ],
)
def test_headers_that_no_route_takes_are_told(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    reply = client.get("/ping", headers=headers)
    assert reply.status_code == 400
    assert "Host or Upgrade" in reply.get_json()["error"]


@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "Too many open files")])
def test_a_shortage_of_the_process_is_503(served: Path, error: Exception) -> None:
    app = create_app(Settings(store=str(served)))

    def broken() -> None:
        raise error

    route = Route("GET", ("/broken",), broken)
    app.add_url_rule("/broken", view_func=broken, route=route)
    reply = app.test_client().get("/broken")
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
    assert "this process lacks what the request needs: " in reply.get_json()["error"]


def test_a_fault_of_ours_tells_the_id_and_nothing_else(
    served: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(Settings(store=str(served)))

    def broken() -> None:
        raise RuntimeError("secret detail")

    route = Route("GET", ("/broken",), broken)
    app.add_url_rule("/broken", view_func=broken, route=route)
    reply = app.test_client().get("/broken", headers={"X-Request-Id": "r9"})
    assert reply.status_code == 500
    assert reply.get_json() == {"error": "internal error; see request r9 in the log"}
    assert any(
        r.exc_info and "secret detail" in str(r.exc_info[1]) for r in caplog.records
    )


def test_an_empty_store_is_not_ready(tmp_path: Path) -> None:
    client = create_app(Settings(store=str(tmp_path / "none"))).test_client()
    reply = client.get("/v2/health/ready")
    assert reply.status_code == 503
    assert reply.get_json()["error"] == "no model loaded"
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v1/models").get_json() == {"models": []}


def test_the_first_page_says_where_the_models_are(client: FlaskClient) -> None:
    reply = client.get("/").get_json()
    assert reply["status"] == "alive"
    assert client.get(reply["models"]).get_json()["models"]


def test_two_applications_do_not_share_metrics(app: Flask, fresh: FlaskClient) -> None:
    fresh.get("/v2")
    labels = (("code", "200"), ("method", "GET"), ("route", "/v2"))
    assert scrape(fresh)["glassnet_http_requests_total", labels] == 1


def test_a_key_is_asked_of_every_model(served: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    write_secret(keys, "k" * 32)
    settings = Settings(store=str(served), signing_key_file=str(keys))
    client = create_app(settings).test_client()
    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/v1/models/xor").status_code == 404


def test_metrics_are_openmetrics_if_asked_for(client: FlaskClient) -> None:
    client.post("/v1/models/xor:predict", json={"instances": [[0, 1]]})
    plain = client.get("/metrics")
    assert plain.content_type.startswith("text/plain; version=")
    asked = {"Accept": "application/openmetrics-text; version=1.0.0, text/plain; q=0.5"}
    reply = client.get("/metrics", headers=asked)
    assert reply.content_type.startswith("application/openmetrics-text; version=1.0.0")
    text = reply.get_data(as_text=True)
    assert text.endswith("# EOF\n")
    families = {
        family.name for family in openmetrics.text_string_to_metric_families(text)
    }
    assert "glassnet_inference_rows" in families


def test_readiness_warns_of_a_watcher_that_is_stuck_and_fails_without_one(
    client: FlaskClient, app: Flask
) -> None:
    class Thread:
        alive, fault = True, "the store watcher has been stuck for 20 s"

    thread = Thread()
    model_server = app.extensions["glassnet"]
    model_server.watchers.append(thread)
    try:
        reply = client.get("/v2/health/ready")
        assert (reply.status_code, reply.get_json()["warning"]) == (200, thread.fault)
        thread.alive = False
        reply = client.get("/v2/health/ready")
        assert (reply.status_code, reply.get_json()["error"]) == (503, thread.fault)
    finally:
        model_server.watchers.remove(thread)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/v1/models/xor",
        "/v1/models/xor/versions/1",
        "/v2",
        "/v2/health/ready",
        "/v2/models/xor/ready",
        "/ping",
    ],
)
def test_a_path_may_end_with_a_slash(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 200
    for slashes in "/", "//":
        assert client.get(path + slashes).data == client.get(path).data


@pytest.mark.parametrize("path", ["/v1/models/xor:predict/", "/v2/models/xor/infer/"])
def test_so_may_the_path_of_a_prediction(client: FlaskClient, path: str) -> None:
    assert client.post(path, json={}).status_code == 400


@pytest.mark.parametrize("path", ["/v1//models/xor", "//v2/health/live", "/ping/x/"])
def test_no_path_is_redirected(client: FlaskClient, path: str) -> None:
    reply = client.get(path, base_url="http://evil.example")
    assert reply.status_code == 404
    assert reply.get_json()["error"].startswith("unknown path")
    assert "evil" not in str(reply.headers)
