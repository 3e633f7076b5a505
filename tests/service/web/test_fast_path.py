"""The busiest routes give the same answers, headers and counts as through Flask."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, EnvironBuilder

from service.app import build
from service.settings import Settings
from service.web.fast_path import FastPath

ROWS = [[0, 1], [1, 1]]
V1 = {"instances": ROWS}
V2 = {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": ROWS}]}
PATHS = {
    "/v1/models/xor:predict": V1,
    "/v1/models/xor/versions/1:predict": V1,
    "/v1/models/xor/labels/production:predict": V1,
    "/v2/models/xor/infer": V2,
    "/v2/models/xor/versions/1/infer": V2,
}


class Both:
    """One application, asked through the express and through Flask alone."""

    def __init__(self, store: Path) -> None:
        self.app = build(Settings(store=str(store), max_body_bytes=4096))
        self.model_server = self.app.extensions["glassnet"]
        plain = type(self.app).wsgi_app.__get__(self.app)
        self.flask = Client(plain)
        self.seen: list[str] = []

        def witness(environ: dict[str, Any], start_response: Any) -> Any:
            self.seen.append(environ["PATH_INFO"])
            return plain(environ, start_response)

        self.express = Client(FastPath(self.app, witness, self.model_server))

    def ask(self, path: str, body: bytes, **headers: str) -> None:
        """Compare status, headers and body of the two."""
        given = {"X-Request-Id": "r", **headers}
        found, expected = (
            client.open(EnvironBuilder(path, method="POST", data=body, headers=given))
            for client in (self.express, self.flask)
        )
        assert found.status_code == expected.status_code
        timed = [dict(reply.headers) for reply in (found, expected)]
        times = [headers.pop("Server-Timing", "") for headers in timed]
        assert bool(times[0]) == bool(times[1])
        assert timed[0] == timed[1]
        assert found.get_data() == expected.get_data()


@pytest.fixture
def both(served: Path) -> Both:
    return Both(served)


@pytest.mark.parametrize("path", PATHS)
def test_the_answer_is_the_one_through_flask(both: Both, path: str) -> None:
    both.ask(path, json.dumps(PATHS[path]).encode())
    assert not both.seen


def test_every_route_of_these_functions_goes_by_express(both: Both) -> None:
    rules = [r.rule for r in both.app.url_map.iter_rules() if r.route.fast]
    assert len(rules) == len(PATHS)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/models/xor:predict", b"{"),
        ("/v1/models/xor:predict", b""),
        ("/v1/models/xor:predict", b'{"instances": [[1, "a"]]}'),
        ("/v1/models/xor:predict", b'{"instances": [[1e39, 1e39]]}'),
        ("/v1/models/no:predict", b'{"instances": [[1, 1]]}'),
        ("/v1/models/xor/versions/x:predict", b'{"instances": [[1, 1]]}'),
        ("/v1/models/xor/labels/no:predict", b'{"instances": [[1, 1]]}'),
        ("/v1/models/xor:predict", b" " * 5000),
        ("/v2/models/xor/infer", b'{"inputs": []}'),
    ],
)
def test_a_mistake_is_told_as_through_flask(both: Both, path: str, body: bytes) -> None:
    both.ask(path, body)
    assert not both.seen


def test_compressed_bodies_and_answers_are_the_same(both: Both) -> None:
    rows = json.dumps({"instances": ROWS * 40})
    both.ask("/v1/models/xor:predict", rows.encode(), **{"Accept-Encoding": "gzip"})
    squeezed = gzip.compress(rows.encode(), mtime=0)
    both.ask("/v1/models/xor:predict", squeezed, **{"Content-Encoding": "gzip"})
    both.ask("/v1/models/xor:predict", b"?", **{"Content-Encoding": "br"})


@pytest.mark.parametrize(
    "path", ["/v1/models/xor:explain", "/v1/models/é:predict", "/"]
)
def test_whatever_else_goes_to_flask(both: Both, path: str) -> None:
    both.express.open(EnvironBuilder(path, method="POST", data=b"{}"))
    both.express.open(EnvironBuilder("/v1/models/xor:predict", method="GET"))
    assert len(both.seen) == 2


def test_a_path_that_no_model_can_have_is_not_kept(both: Both) -> None:
    both.ask(f"/v1/models/{'x' * 300}:predict", b'{"instances": [[1, 1]]}')
    assert both.seen  # what is looked for here stands in a cache
    assert both.express.application._find.cache_info().currsize == 0


def test_what_goes_wrong_inside_is_told_and_logged(
    both: Both, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("service.inference.inference.Inference.answer", fail)
    both.ask("/v1/models/xor:predict", json.dumps(V1).encode())
    assert "secret" in caplog.text


def test_both_ways_count_alike(both: Both) -> None:
    for path in PATHS:
        both.ask(path, json.dumps(PATHS[path]).encode())
    samples = both.model_server.metrics.requests.collect()[0].samples
    totals = {s.labels["route"]: s.value for s in samples if s.name.endswith("_total")}
    assert sorted(totals.values()) == [2] * len(PATHS)
    (now,) = both.model_server.metrics.in_progress.collect()[0].samples
    assert now.value == 0
