"""Triton's model repository extension: list, load and unload models.

POST /v2/repository/index
POST /v2/repository/models/M/load      in every worker, as the store has it now
POST /v2/repository/models/M/unload    from every worker, until it is loaded again

Loading and unloading need a token of GLASSNET_ADMIN_TOKEN_FILE.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from models.codecs.blocks import BLOCK
from models.errors import InvalidInput
from service.protocols.http import answer
from service.registry.registry import Registry
from service.web.body import body, decode
from service.web.errors import Reply
from service.web.request_context import model_server
from service.web.routes import LIST, Body, Routes

routes = Routes("/v2/repository")


class IndexRequest(msgspec.Struct):
    """The body of index."""

    ready: bool | None = False


class ChangeRequest(msgspec.Struct):
    """The body of load and unload."""

    parameters: dict[str, msgspec.Raw] | None = None


_index_request = msgspec.json.Decoder(IndexRequest)
_change_request = msgspec.json.Decoder(ChangeRequest)


def _index_body(_: object) -> Body:
    return Body(example={"ready": True}, required=False)


def _change_body(_: object) -> Body:
    return Body(example={}, required=False)


@routes.post("/index", body=IndexRequest, describe=_index_body, reply=LIST)
def index() -> Reply:
    """List models and versions, and whether they are ready."""
    request: IndexRequest = decode(_index_request, body() or b"{}")
    states = list(_states(model_server().registry))
    if request.ready:
        states = [state for state in states if state["state"] == "READY"]
    return answer(states)


@routes.post(
    "/models/<name>/load", body=ChangeRequest, describe=_change_body, admin=True
)
def load(name: str) -> Reply:
    """Load a model as the store has it now; replies once every worker has.

    Raises InvalidInput for parameters that bring a model: the store has them all.
    """
    for key in _change().parameters or {}:
        if key == "config" or key.startswith("file:"):
            raise InvalidInput(
                f"unsupported parameter '{key[:20]}': models come only from the store, "
                "where the trainer publishes them"
            )
    model_server().load(name)
    return answer({"name": name, "load": True})


@routes.post(
    "/models/<name>/unload", body=ChangeRequest, describe=_change_body, admin=True
)
def unload(name: str) -> Reply:
    """Unload a model; replies once every worker has."""
    _change()
    model_server().unload(name)
    return answer({"name": name, "unload": True})


def _change() -> ChangeRequest:
    raw = body() or b"{}"
    if len(raw) > BLOCK:
        raise InvalidInput(
            f"expected a body of at most {BLOCK} bytes: models come only from the "
            "store, where the trainer publishes them"
        )
    request: ChangeRequest = decode(_change_request, raw)
    return request


def _states(registry: Registry) -> Iterator[dict[str, Any]]:
    catalogue, failed = registry.catalogue, registry.failed
    for name in sorted({*catalogue, *failed, *registry.unloaded}):
        if name not in catalogue and name not in failed:
            yield {"name": name, "state": "UNAVAILABLE", "reason": "unloaded"}
            continue
        entry = catalogue.get(name)
        for version in sorted(entry.versions) if entry else ():
            yield _state(name, version, "READY", "")
        if name in registry.unreadable_models:
            reason = "cannot be read: the log says why"
            yield {"name": name, "state": "UNAVAILABLE", "reason": reason}
        for version in sorted(entry.refused if entry else failed[name]):
            yield _state(name, version, "UNAVAILABLE", "refused: the log says why")


def _state(name: str, version: int, state: str, reason: str) -> dict[str, str]:
    return {"name": name, "version": str(version), "state": state, "reason": reason}
