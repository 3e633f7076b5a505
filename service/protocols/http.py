"""Shared by the dialects: JSON replies, and the version that a path names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import msgspec

from models.codecs.blocks import fits
from models.errors import VersionNotFound, nearest
from models.features.inputs import RawColumns
from models.features.warnings import warnings
from service.registry.loaded import Loaded
from service.web.errors import JSON, Reply
from service.web.request_context import current_request, model_server

#: Keys of a body that are compared with those that it may have.
MAX_KEYS = 16


class Parameters(msgspec.Struct):
    """Options of a reply, such as an interval of 0.9; unknown ones are ignored."""

    warnings: bool = False
    interval: float | None = None


def misnamed(raw: bytes, expected: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" if a key of the body is almost an expected one."""
    if not fits(raw, MAX_KEYS):
        return ""
    try:
        keys = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:  # NaN, or a byte order mark
        return ""
    hints = (nearest(key, expected) for key in islice(keys, MAX_KEYS))
    return next(filter(None, hints), "")


def answer(content: Any, code: int = 200, **headers: str) -> Reply:
    """Return a reply in JSON; `Model.predict` has made sure all numbers are finite."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return msgspec.json.encode(content), code, {"Content-Type": JSON, **named}


def find(name: str, version: str | None = None, label: str | None = None) -> Loaded:
    """Return the loaded version that a path names, and log it with the request.

    Predictions without version and label take part in the traffic split. Raises
    ModelNotFound, VersionNotFound or LabelNotFound.
    """
    number = None
    if version is not None:
        if not (version.isascii() and version.isdigit()):
            raise VersionNotFound(
                f"expected a whole number as version, found '{version[:20]}'"
            )
        # No version is longer, and int() rejects thousands of digits.
        number = int(version[:18])
    request, registry = current_request(), model_server().registry
    if request.environ["REQUEST_METHOD"] == "POST" and number is None and label is None:
        loaded = request.fallback or registry.choose(name, request.request_id)
        request.chosen = loaded
    else:
        loaded = registry.find(name, number, label)
    request.log_fields = {"model": loaded.name, "version": loaded.version}
    return loaded


def noting(
    loaded: Loaded, decode: Callable[[Any], RawColumns], wanted: bool
) -> tuple[Callable[[Any], RawColumns], dict[str, Any]]:
    """Return what decodes rows, and a part of the reply that gets their warnings.

    The part is empty unless they are wanted.
    """
    if not wanted:
        return decode, {}
    notes: dict[str, Any] = {"warnings": []}

    def noted(decoder: Any) -> RawColumns:
        raw = decode(decoder)
        notes["warnings"] = warnings(loaded.artefact.manifest.inputs, raw)
        return raw

    return noted, notes


def description(loaded: Loaded) -> dict[str, Any]:
    """Return the description of a version, for people and forms."""
    manifest = loaded.artefact.manifest
    inputs: dict[str, Any] = msgspec.to_builtins(manifest.inputs)
    for internal in ("center", "scale"):
        inputs.pop(internal, None)
    for column in inputs.get("columns", []):
        for internal in ("scaling", "varies", "has_time", "rare"):
            column.pop(internal, None)
    facts = {
        "task": manifest.task,
        "target": manifest.target,
        "signature": inputs,
        "metrics": manifest.metrics,
        "sha256": loaded.artefact.sha256,
    }
    classes = list(manifest.output.classes)
    return {"classes": classes, **facts} if classes else facts
