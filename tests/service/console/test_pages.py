"""The page as a browser asks for it: its files, its rules, its data, the report."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service import create_app
from service.console.pages import FILES, POLICY
from service.settings import Settings

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
#: What makes markup, or code, of text.
UNSAFE = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "DOMParser",
    "createContextualFragment",
    "eval(",
    "new Function",
    "setHTML",
    "srcdoc",
)


@pytest.fixture
def store(served: Path, tmp_path: Path) -> Path:
    """A store to write reports into."""
    return Path(shutil.copytree(served, tmp_path / "store"))


def test_a_browser_gets_the_page_and_a_program_the_models(client: FlaskClient) -> None:
    page = client.get("/", headers=BROWSER)
    assert page.content_type == "text/html; charset=utf-8"
    assert b"<title>glassnet</title>" in page.data
    for accept in (None, "*/*", "application/json"):
        reply = client.get("/", headers={"Accept": accept} if accept else {})
        assert reply.get_json()["status"] == "alive"
        assert "Accept" in reply.headers["Vary"]


def test_the_page_runs_nothing_but_its_own_files(client: FlaskClient) -> None:
    page = client.get("/", headers=BROWSER)
    assert page.headers["Content-Security-Policy"] == POLICY
    assert "unsafe" not in POLICY
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    html = page.get_data(as_text=True)
    named = set(re.findall(r'(?:src|href)="console/([^"]+)"', html))
    assert named == set(FILES) - {"index.html", "docs.html", "docs.js"}
    assert not re.search(r"<script(?![^>]*src=)|<style|style=|\son\w+=", html)


def test_the_page_of_the_contract_runs_nothing_but_its_own_files(
    client: FlaskClient,
) -> None:
    page = client.get("/docs")
    assert page.headers["Content-Security-Policy"] == POLICY
    html = page.get_data(as_text=True)
    named = set(re.findall(r'(?:src|href)="console/([^"]+)"', html))
    assert named == {"icon.svg", "console.css", "docs.js"} <= set(FILES)
    assert not re.search(r"<script(?![^>]*src=)|<style|style=|\son\w+=", html)


def test_what_may_be_open_names_no_model(client: FlaskClient) -> None:
    names = client.get("/v1/models").get_json()["models"]
    for path in ("/", *(f"/console/{name}" for name in FILES)):
        for headers in (BROWSER, {}):
            text = client.get(path, headers=headers).get_data(as_text=True)
            assert not [name for name in names if f'"{name}"' in text]


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_load_nothing_from_other_hosts_and_escape_text(
    client: FlaskClient, name: str
) -> None:
    reply = client.get(f"/console/{name}")
    assert reply.status_code == 200
    text = reply.get_data(as_text=True)
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w[^\s\"')]*", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert not [word for word in UNSAFE if word in text]


def test_the_page_weighs_less_than_150_kb() -> None:
    assert sum(len(file.content) for file in FILES.values()) < 150_000


def test_files_are_sent_once_and_compressed(client: FlaskClient) -> None:
    first = client.get("/console/main.js", headers={"Accept-Encoding": "gzip"})
    assert first.headers["Content-Encoding"] == "gzip"
    assert first.content_type == "text/javascript; charset=utf-8"
    again = client.get(
        "/console/main.js", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert again.status_code == 304
    assert not again.data
    assert client.get("/console/..%2Fpages.py").status_code == 404
    assert client.get("/console/pages.py").get_json() == {
        "error": "the console has no such file"
    }


def test_it_is_off_by_one_setting(served: Path) -> None:
    client = create_app(Settings(store=str(served), console=False)).test_client()
    assert client.get("/", headers=BROWSER).get_json()["status"] == "alive"
    for path in ("state", "main.js", "models/xor/versions/1", "reports/xor/1"):
        assert client.get(f"/console/{path}").status_code == 404


def test_looks_are_not_traffic(served: Path) -> None:
    client = create_app(Settings(store=str(served))).test_client()
    for _ in range(3):
        client.get("/console/state")
    assert b'route="/console/state"' not in client.get("/metrics").data


def test_a_report_is_shown_and_can_do_nothing(store: Path) -> None:
    client = create_app(Settings(store=str(store))).test_client()
    (store / "xor" / "1" / "report.html").write_text("<h1>xor</h1><script>1</script>")
    reply = client.get("/console/reports/xor/1")
    assert reply.data.startswith(b"<h1>xor")
    rules = reply.headers["Content-Security-Policy"].split("; ")
    assert rules[:2] == ["sandbox", "default-src 'none'"]
    assert "script" not in reply.headers["Content-Security-Policy"]
    (model,) = (m for m in _models(client) if m["name"] == "xor")
    assert model["versions"][0]["report"] is True


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("xor/1", "model 'xor' version 1 has no report"),
        ("xor/2", "has no version 2 loaded"),
        ("missing/1", "unknown model 'missing'"),
        ("xor/..", "expected a whole number as version"),
    ],
)
def test_where_there_is_no_report(client: FlaskClient, path: str, said: str) -> None:
    reply = client.get(f"/console/reports/{path}")
    assert reply.status_code == 404
    assert said in reply.get_json()["error"]
    assert not any(v["report"] for m in _models(client) for v in m["versions"])


def _models(client: FlaskClient) -> list[dict[str, list[dict[str, bool]]]]:
    models: list[dict[str, list[dict[str, bool]]]] = client.get(
        "/console/state"
    ).get_json()["models"]
    return models
