"""What the dialects share of HTTP: the body in, JSON out, the version a path means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from models.errors import VersionNotFound, nearest
from service.registry.loaded import Loaded
from service.web.errors import JSON, Reply
from service.web.request_context import current_request, model_server


def misnamed(raw: bytes, expected: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for a body with a key that is almost expected."""
    given = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    return next(filter(None, (nearest(key[:80], expected) for key in given)), "")


def answer(content: Any, code: int = 200, **headers: str) -> Reply:
    """Return JSON; a number that is not finite cannot get here (`Model.predict`)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return msgspec.json.encode(content), code, {"Content-Type": JSON, **named}


def find(name: str, version: str | None = None, label: str | None = None) -> Loaded:
    """Return the loaded version a path names, and note it for the log.

    Where it names none, a candidate may answer rows in production's place.
    """
    number = None
    if version is not None:
        if not (version.isascii() and version.isdigit()):
            raise VersionNotFound("a version is a whole number, such as 3")
        # Longer than any version, and than what int() takes without a fight.
        number = int(version[:18])
    call, registry = current_request(), model_server().registry
    if call.environ["REQUEST_METHOD"] == "POST" and number is None and label is None:
        loaded = call.fallback or registry.choose(name, call.request_id)
        call.chosen = loaded
    else:
        loaded = registry.find(name, number, label)
    call.log_fields = {"model": loaded.name, "version": loaded.version}
    return loaded


def description(loaded: Loaded) -> dict[str, Any]:
    """Return what a person or a form needs to know of a version, for any dialect."""
    manifest = loaded.artefact.manifest
    inputs: dict[str, Any] = msgspec.to_builtins(manifest.inputs)
    for internal in ("center", "scale"):
        inputs.pop(internal, None)
    for column in inputs.get("columns", []):
        for internal in ("scaling", "varies", "has_time", "rare"):
            column.pop(internal, None)
    about = {
        "task": manifest.task,
        "target": manifest.target,
        "signature": inputs,
        "metrics": manifest.metrics,
        "sha256": loaded.artefact.sha256,
    }
    classes = list(manifest.output.classes)
    return {"classes": classes, **about} if classes else about
