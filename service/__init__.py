"""From a request to an answer.

Importing the package imports nothing: gunicorn's configuration, which lies in it, must
set up BLAS and Prometheus before NumPy and prometheus_client are first imported, and
the probe runs every few seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from service.settings import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Make the Flask application; settings come from the environment if not given."""
    from service.app import build

    return build(settings)
