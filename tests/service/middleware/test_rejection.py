"""What is rejected before its view is called has the shape of all errors."""

from __future__ import annotations

from pathlib import Path

from flask.testing import FlaskClient

from service import create_app
from service.middleware.rejection import (
    REJECTION,
    Overloaded,
)
from service.settings import Settings


def test_a_refusal_is_counted_and_has_the_one_shape(served: Path) -> None:
    app = create_app(Settings(store=str(served)))
    client: FlaskClient = app.test_client()
    refused = {REJECTION: Overloaded("too many")}
    reply = client.get("/v1/models", environ_overrides=refused)
    assert reply.status_code == 503
    assert reply.headers["Retry-After"] == "1"
    assert reply.get_json() == {"error": "too many"}
    text = client.get("/metrics").get_data(as_text=True)
    assert 'glassnet_requests_refused_total{reason="overload"} 1.0' in text
    assert 'code="503",method="GET",route="/v1/models"' in text
