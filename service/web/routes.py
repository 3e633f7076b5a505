"""Routes: each is described in full where its view is defined.

A module makes a list, `routes = Routes("/v1/models")`, and decorates its views, as with
`@routes.post("/<name>:predict", body=PredictRequest)`. The application, the fast path,
the token rules, the metrics and the contract (`/openapi.json`) read that description.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec

from models.features.columns import Schema
from service.registry.loaded import Loaded

View: TypeAlias = Callable[..., Any]
V = TypeVar("V", bound=View)

JSON, BINARY = "application/json", "application/octet-stream"
#: Where the contract has its schemas.
REFERENCE = "#/components/schemas/{name}"
#: Media types of a reply, each with its schema.
OBJECT: Schema = {JSON: {"schema": {"type": "object"}}}
LIST: Schema = {JSON: {"schema": {"type": "array", "items": {"type": "object"}}}}
TEXT: Schema = {"text/plain": {}}
ANY: Schema = {"*/*": {}}


def reference(name: str) -> Schema:
    """Return a reference to one of the contract's schemas."""
    return {"$ref": REFERENCE.format(name=name)}


class ModelSchemas(NamedTuple):
    """A loaded model, with references to the schemas of the rows that it takes."""

    loaded: Loaded
    rows: Schema
    columns: Schema
    row: Schema
    #: Rows of training that prove the artefact; they make good examples.
    golden: list[Any]


class Body(NamedTuple):
    """A request body: properties that are narrower than their type's, an example."""

    properties: Schema = {}  # noqa: RUF012
    example: Any = None
    required: bool = True
    #: Exactly one of the first `one_of` properties is allowed.
    one_of: int = 0


@dataclass(frozen=True)
class Route:
    """A method and the paths that one view answers."""

    method: str
    paths: tuple[str, ...]
    view: View
    _: KW_ONLY
    #: The type that decodes the request body.
    body: type[msgspec.Struct] | None = None
    #: The body for a model; None for a model without this route. A path without <name>
    #: is described for the only model.
    describe: Callable[[ModelSchemas], Body | None] = lambda model: Body()
    #: The reply for a model (None: for no model in particular).
    reply: Callable[[Loaded | None], Schema] | Schema = field(
        default_factory=lambda: OBJECT
    )
    #: The view needs nothing of Flask and is called without it (`FastPath`).
    fast: bool = False
    #: Asked by whatever watches the server: public, and neither counted nor logged.
    probe: bool = False
    #: Paths that are answered without a token, however many requests are under way.
    public: tuple[str, ...] = ()
    #: Needs one of the administrators' tokens.
    admin: bool = False
    #: Counted and logged as traffic; the console's own polling would hide errors.
    counted: bool = True
    #: Setting that may name another path.
    setting: str = ""
    #: Listed in the contract.
    listed: bool = True

    @property
    def dialect(self) -> str:
        """The module that defines the route, which is its tag in the contract."""
        return self.view.__module__.rpartition(".")[2]

    @property
    def endpoint(self) -> str:
        """Flask's name for the view."""
        return f"{self.dialect}:{self.view.__name__}"


class Routes(list[Route]):
    """The routes of one module, whose paths begin with a prefix."""

    def __init__(self, prefix: str = "") -> None:
        super().__init__()
        self.prefix = prefix

    def get(self, *paths: str, **options: Any) -> Callable[[V], V]:
        """Decorate a view that answers GET; the options are fields of `Route`."""
        return self._decorator("GET", paths, options)

    def post(self, *paths: str, **options: Any) -> Callable[[V], V]:
        """Decorate a view that answers POST; the options are fields of `Route`."""
        return self._decorator("POST", paths, options)

    def _decorator(
        self, method: str, paths: tuple[str, ...], options: dict[str, Any]
    ) -> Callable[[V], V]:
        def add(view: V) -> V:
            whole = tuple(self.prefix + path for path in paths)
            self.append(Route(method, whole, view, **options))
            return view

        return add


def versioned(suffix: str = "") -> tuple[str, ...]:
    """Return the paths of a model, of a version of it, and of a label of it."""
    middles = ("", "/versions/<version>", "/labels/<label>")
    return tuple(f"/<name>{middle}{suffix}" for middle in middles)
