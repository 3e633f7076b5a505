"""A dialect is one file: what else the service does follows from its routes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service import create_app, protocols
from service.settings import Settings
from service.web.routes import Route, Routes, versioned
from tests.private import write_secret

DIALECT = '''
"""A made-up dialect."""
import msgspec
from service.protocols.http import answer
from service.web.body import body, decode
from service.web.routes import Routes

routes = Routes("/made-up")


class ShoutRequest(msgspec.Struct):
    """The body."""

    text: str


_decoder = msgspec.json.Decoder(ShoutRequest)


@routes.post("/shout", body=ShoutRequest, fast=True)
def shout():
    """Return the text in capitals."""
    return answer({"text": decode(_decoder, body()).text.upper()})
'''
TOKEN = {"Authorization": "Bearer " + "t" * 16}


@pytest.fixture
def client(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FlaskClient]:
    """A client of a service in whose folder of dialects lies one more."""
    (tmp_path / "made_up.py").write_text(DIALECT)
    tokens = write_secret(tmp_path / "tokens", "t" * 16)
    monkeypatch.setattr(protocols, "__path__", [*protocols.__path__, str(tmp_path)])
    yield create_app(Settings(store=str(served), token_file=tokens)).test_client()
    del sys.modules["service.protocols.made_up"], protocols.made_up  # type: ignore[attr-defined]


def test_a_dialect_is_served_guarded_counted_and_described(client: FlaskClient) -> None:
    path, body = "/made-up/shout", {"text": "ho"}
    assert client.post(path, json=body).status_code == 401
    assert client.post(path, json=body, headers=TOKEN).get_json() == {"text": "HO"}
    assert client.post(path, json={}, headers=TOKEN).status_code == 400
    counted = 'requests_total{code="200",method="POST",route="/made-up/shout"} 1.0'
    assert counted in client.get("/metrics").get_data(as_text=True)
    contract = client.get("/openapi.json", headers=TOKEN).get_json()
    operation = contract["paths"][path]["post"]
    assert operation["summary"] == "Return the text in capitals."
    assert operation["security"] == [{"bearer": []}]
    (content,) = operation["requestBody"]["content"].values()
    assert content["schema"] == {"$ref": "#/components/schemas/ShoutRequest"}
    assert "ShoutRequest" in contract["components"]["schemas"]


def test_a_decorated_view_stays_the_function_it_is() -> None:
    routes = Routes("/v9")

    def view() -> None:
        """Do nothing."""

    assert routes.post("/a", "/b", probe=True)(view) is view
    assert routes == [Route("POST", ("/v9/a", "/v9/b"), view, probe=True)]
    assert routes[0].endpoint == "test_routes:view"


def test_an_unknown_option_is_an_error_at_import() -> None:
    with pytest.raises(TypeError, match="prob"):
        Routes().get("/", prob=True)(print)


def test_a_version_is_named_in_three_ways() -> None:
    assert versioned(":predict") == (
        "/<name>:predict",
        "/<name>/versions/<version>:predict",
        "/<name>/labels/<label>:predict",
    )
