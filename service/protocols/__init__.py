"""The dialects: each translates, and leaves everything else to `inference`.

A module of this package whose `routes` is a `Routes` is served; nothing else names it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

from service.web.routes import Route, Routes


def discovered() -> Iterator[Route]:
    """Yield the routes of all modules of this package."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        routes = getattr(import_module(module.name), "routes", None)
        if isinstance(routes, Routes):
            yield from routes
