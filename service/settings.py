"""Every setting of the service: one table of name, default and help.

A setting is read from the environment as `GLASSNET_` and its name in capitals; what
Vertex AI sets in a container keeps the name it has there, `AIP_…`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from models.errors import ConfigError, nearest

PREFIX = "GLASSNET_"
#: A path, or nothing; to Flask a <name> in it would be a variable.
_ROUTE = r"^(/[^<>]*)?$"


def _processors() -> int:
    """Return the processors this process may use, a container's limit included."""
    allowed = len(os.sched_getaffinity(0))
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        return max(1, min(allowed, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no limit, or no cgroup of version 2
        return allowed


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the service can be told; see `table` for the names in the environment."""

    store: Annotated[str, Meta(description="Directory of models and versions.")] = (
        "./artefacts"
    )
    bind: Annotated[str, Meta(description="Address and port to listen on.")] = (
        "127.0.0.1:8080"
    )
    default_model: Annotated[
        str, Meta(description="Model behind /invocations; needless where it is alone.")
    ] = ""
    workers: Annotated[
        int,
        Meta(ge=1, le=256, description="Processes; by default one a processor."),
    ] = msgspec.field(default_factory=_processors)
    threads: Annotated[
        int,
        Meta(
            ge=1,
            le=256,
            description="Requests a process answers at once; one more gets 503.",
        ),
    ] = 32
    read_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            description="Longest pause of a client within a request; then 408.",
        ),
    ] = 10.0
    poll_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="Time between looks at the store.")
    ] = 1.0
    keep_versions: Annotated[
        int,
        Meta(
            ge=1,
            description="Newest versions of a model kept loaded, beside the labelled.",
        ),
    ] = 10
    drift_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="Window in which drift is measured; 0 measures none.",
        ),
    ] = 3600.0
    max_body_bytes: Annotated[
        int, Meta(ge=1, description="Largest request body; more is answered with 413.")
    ] = 16 << 20
    max_rows: Annotated[
        int, Meta(ge=1, description="Most rows in one request; more gets 400.")
    ] = 10_000
    drain_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Time after SIGTERM in which it answers but is not ready.",
        ),
    ] = 5.0
    graceful_seconds: Annotated[
        int,
        Meta(ge=1, description="Time for requests in flight once it stops listening."),
    ] = 30
    signing_key_file: Annotated[
        str | None,
        Meta(description="Keys, one a line: a model that none has signed is refused."),
    ] = None
    token_file: Annotated[
        str | None,
        Meta(description="Bearer tokens, one a line: who has none gets 401."),
    ] = None
    admin_token_file: Annotated[
        str | None,
        Meta(description="Those that may load and unload models: else nobody may."),
    ] = None
    tls_certificate_file: Annotated[
        str | None,
        Meta(description="Certificate and its chain (PEM): with it, HTTPS alone."),
    ] = None
    tls_key_file: Annotated[
        str | None,
        Meta(description="Its key, where that is not in the same file."),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Least important lines that are logged."),
    ] = "info"
    access_log: Annotated[
        Literal["all", "errors", "none"],
        Meta(
            description="Requests that get a line in the log: `errors` are those "
            "answered by 4xx or 5xx. A line costs half as much as a small answer."
        ),
    ] = "errors"
    payload_share: Annotated[
        float,
        Meta(ge=0, le=1, description="Share of the answers logged with their rows."),
    ] = 0.0
    payload_redact: Annotated[
        str, Meta(description="Columns, with commas, whose values are left out there.")
    ] = ""
    aip_http_port: Annotated[
        int,
        Meta(ge=0, le=65535, description="Vertex AI: port to listen on, if not 0."),
    ] = 0
    aip_predict_route: Annotated[
        str,
        Meta(pattern=_ROUTE, description="Vertex AI: another path of /invocations."),
    ] = ""
    aip_health_route: Annotated[
        str, Meta(pattern=_ROUTE, description="Vertex AI: another path of /ping.")
    ] = ""
    aip_storage_uri: Annotated[
        str, Meta(description="Vertex AI: directory of models, before GLASSNET_STORE.")
    ] = ""

    @property
    def address(self) -> str:
        """Where to listen, by the platform's word if it has one."""
        if not self.aip_http_port:
            return self.bind
        return f"{self.bind.rpartition(':')[0]}:{self.aip_http_port}"

    @property
    def directory(self) -> str:
        """Where the store lies, by the platform's word if it has one."""
        return self.aip_storage_uri or self.store


class Setting(msgspec.Struct, frozen=True):
    """One row of the table."""

    variable: str
    default: Any
    help: str


def _variable(name: str) -> str:
    return name.upper() if name.startswith("aip_") else PREFIX + name.upper()


def table() -> Iterator[Setting]:
    """Yield every setting, in order."""
    info = msgspec.inspect.type_info(Settings)
    assert isinstance(info, msgspec.inspect.StructType)
    for field in info.fields:
        extra = getattr(field.type, "extra_json_schema", None) or {}
        computed = field.default is msgspec.NODEFAULT
        yield Setting(
            _variable(field.name),
            "processors" if computed else field.default,
            extra["description"],
        )


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings; ConfigError names a variable that does not fit.

    Others with the prefix are let pass (Kubernetes makes some of a service's name);
    `misspelt` finds those that were meant for us.
    """
    known = {_variable(name): name for name in Settings.__struct_fields__}
    given = {known[key]: value for key, value in environment.items() if key in known}
    try:
        settings = msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at ")
        name = _variable(path.strip("`").removeprefix("$."))
        raise ConfigError(f"{name}: {what[:1].lower()}{what[1:]}") from None
    if "://" in settings.aip_storage_uri:
        raise ConfigError(
            "AIP_STORAGE_URI: expected a directory, found the address of a bucket, "
            "which this server cannot read; put the store into the image "
            "(GLASSNET_STORE) and give the model no artifact URI"
        )
    return settings


def misspelt(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that is almost one of ours."""
    ours = [row.variable for row in table() if row.variable.startswith(PREFIX)]
    known = {name.removeprefix(PREFIX) for name in ours}
    for variable in sorted(environment):
        name = variable.removeprefix(PREFIX)
        if name == variable or name in known:
            continue
        if hint := nearest(name, known):
            yield f"there is no {variable}" + hint.replace("'", f"'{PREFIX}", 1)
