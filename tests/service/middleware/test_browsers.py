"""Pages of other sites, and names that this server does not have."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service import create_app
from service.settings import Settings
from tests.private import write_secret

PAGE, BODY = "https://page.example", {"instances": [[0, 1]]}
PREDICT = "/v1/models/xor:predict"


@pytest.fixture
def named(served: Path, tmp_path: Path) -> FlaskClient:
    settings = Settings(
        store=str(served),
        token_file=write_secret(tmp_path / "tokens", "t" * 16),
        cors_origins=f"{PAGE}, https://other.example",
        allowed_hosts="models.example, [::1]",
    )
    return create_app(settings).test_client()


def ask(client: FlaskClient, host: str = "models.example", **headers: str) -> object:
    given = {"Host": host, "Authorization": "Bearer " + "t" * 16, **headers}
    return client.post(PREDICT, json=BODY, headers=given)


def test_only_the_pages_of_the_setting_may_read_replies(named: FlaskClient) -> None:
    for origin, allowed in ((PAGE, True), ("https://evil.example", False)):
        reply = ask(named, Origin=origin)
        assert reply.status_code == 200
        found = reply.headers.get("Access-Control-Allow-Origin")
        assert found == (origin if allowed else None)
        assert ("Origin" in reply.headers.get("Vary", "")) == allowed
    assert "Access-Control-Allow-Origin" not in ask(named).headers


def test_a_browser_may_ask_first_without_a_token(named: FlaskClient) -> None:
    asked = {"Host": "models.example", "Access-Control-Request-Method": "POST"}
    reply = named.options(PREDICT, headers={"Origin": PAGE, **asked})
    assert reply.status_code == 204 and reply.data == b""
    assert "POST" in reply.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in reply.headers["Access-Control-Allow-Headers"]
    other = named.options(PREDICT, headers={"Origin": "https://evil.example", **asked})
    assert other.status_code == 401


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("models.example", 200),
        ("MODELS.example:8080", 200),
        ("[::1]:8080", 200),
        ("[::1]", 200),
        ("evil.example", 421),
        ("models.example.evil.example", 421),
        ("", 421),
    ],
)
def test_only_requests_for_a_name_of_this_server_are_answered(
    named: FlaskClient, host: str, code: int
) -> None:
    reply = ask(named, host)
    assert reply.status_code == code
    if code == 421:
        assert reply.get_json()["error"].startswith("this server has another name")
        assert named.get("/v2/health/ready", headers={"Host": host}).status_code == 200


def test_any_name_is_answered_without_the_setting(client: FlaskClient) -> None:
    assert client.get("/v1/models", headers={"Host": "any"}).status_code == 200


def test_no_browser_guesses_a_type(client: FlaskClient) -> None:
    for path in ("/v1/models", "/", "/docs", "/metrics", "/nothing"):
        reply = client.get(path)
        assert reply.headers.get_all("X-Content-Type-Options") == ["nosniff"]
    assert client.post(PREDICT, json=BODY).headers["X-Content-Type-Options"]
