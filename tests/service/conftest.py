"""The application over a store of real models, and a client."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service import create_app
from service.settings import Settings


@pytest.fixture(scope="session")
def app(served: Path) -> Flask:
    """One application for all tests that only ask."""
    limits = {"max_body_bytes": 200_000, "max_rows": 500}
    return create_app(Settings(store=str(served), access_log="all", **limits))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
