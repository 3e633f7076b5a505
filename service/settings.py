"""The settings of the service: one table of name, default and help.

A setting is read from the environment variable `GLASSNET_` + its name in capitals.
Those that Vertex AI sets in a container keep their names there, `AIP_…`.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from models.errors import ConfigError, nearest

PREFIX = "GLASSNET_"
#: A path, or nothing; Flask would take a <name> in it for a variable.
_ROUTE = r"^(/[^<>]*)?$"


#: A name or an IPv4 address, or an IPv6 address in brackets; and a port.
_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/,\[\]]*)):([0-9]{1,5})")


class Address(NamedTuple):
    """Where a server listens: a host and port, or the path of a Unix socket."""

    host: str
    port: int
    path: str = ""

    def connect(self, timeout: float | None = None) -> socket.socket:
        """Return a socket that is connected to it; raises OSError."""
        if self.path:
            opened = socket.socket(socket.AF_UNIX)
            opened.settimeout(timeout)
            try:
                opened.connect(self.path)
            except OSError:
                opened.close()
                raise
            return opened
        everywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
        host = everywhere.get(self.host, self.host)
        return socket.create_connection((host, self.port), timeout)

    def check(self) -> None:
        """Raise OSError if a server cannot listen there."""
        if not self.path:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            socket.create_server((self.host, self.port), family=family).close()
            return
        os.stat(os.path.dirname(self.path))
        # The socket of a server that has gone is replaced.
        with suppress(ConnectionRefusedError, FileNotFoundError):
            self.connect().close()
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def parse_address(text: str) -> Address:
    """Parse the setting `bind`; raises ConfigError."""
    if text.startswith("unix:/"):
        return Address("", 0, text.removeprefix("unix:"))
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        raise ConfigError(
            "GLASSNET_BIND: expected ADDRESS:PORT, such as 127.0.0.1:8080 or "
            f"[::1]:8080, or unix:/PATH, found '{text[:100]}'"
        )
    return Address(match[1] or match[2], int(match[3]))


def _processors() -> int:
    """Return how many processors this process may use, within its container's limit."""
    allowed = len(os.sched_getaffinity(0))
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        return max(1, min(allowed, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no limit, or no cgroup of version 2
        return allowed


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings; `table` has their names in the environment."""

    store: Annotated[
        str,
        Meta(
            description="Directory of models and versions, or s3://, gs:// or "
            "az://BUCKET/PREFIX."
        ),
    ] = "./artefacts"
    store_cache: Annotated[
        str,
        Meta(
            description="Folder that keeps what was loaded from a bucket; processes "
            "share it."
        ),
    ] = "~/.cache/glassnet"
    store_cache_bytes: Annotated[
        int, Meta(ge=0, description="Most bytes in GLASSNET_STORE_CACHE.")
    ] = 1 << 30
    bind: Annotated[
        str,
        Meta(description="Where to listen: ADDRESS:PORT, [IPV6]:PORT or unix:/PATH."),
    ] = "127.0.0.1:8080"
    default_model: Annotated[
        str,
        Meta(description="Model of /invocations; not needed if only one is loaded."),
    ] = ""
    workers: Annotated[
        int,
        Meta(
            ge=1, le=256, description="Worker processes; by default one per processor."
        ),
    ] = msgspec.field(default_factory=_processors)
    threads: Annotated[
        int,
        Meta(
            ge=1,
            le=256,
            description="Slow requests that a process answers at once. Four times as "
            "many wait; more get 503.",
        ),
    ] = 32
    read_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            description="Longest time for the head of a request, and longest pause "
            "in its body or while the reply is read; then 408, or the end.",
        ),
    ] = 10.0
    min_bytes_per_second: Annotated[
        int,
        Meta(
            ge=1,
            description="Slowest rate of a body or reply after GLASSNET_READ_SECONDS.",
        ),
    ] = 1000
    keep_alive_seconds: Annotated[
        int,
        Meta(
            ge=1,
            le=3600,
            description="Seconds to keep an idle connection; longer than a load "
            "balancer does.",
        ),
    ] = 75
    poll_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds between checks of the store.")
    ] = 1.0
    keep_versions: Annotated[
        int,
        Meta(
            ge=1,
            description="Newest versions of a model to keep, plus labelled ones.",
        ),
    ] = 10
    drift_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds of requests over which drift is measured; 0: never.",
        ),
    ] = 3600.0
    max_body_bytes: Annotated[
        int, Meta(ge=1, description="Largest request body; a larger one gets 413.")
    ] = 16 << 20
    max_bytes_in_flight: Annotated[
        int,
        Meta(
            ge=1,
            description="Bytes of unfinished requests and unread replies of a "
            "process. Beyond it a large body gets 503, and the reply that was not read "
            "for longest is cut off.",
        ),
    ] = 64 << 20
    max_rows: Annotated[
        int, Meta(ge=1, description="Most rows in one request; more get 400.")
    ] = 10_000
    drain_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Seconds after SIGTERM to answer while not ready.",
        ),
    ] = 5.0
    graceful_seconds: Annotated[
        int,
        Meta(ge=1, description="Seconds to finish requests once it stops listening."),
    ] = 30
    signing_key_file: Annotated[
        str | None,
        Meta(description="Keys, one per line; a version signed with none is refused."),
    ] = None
    token_file: Annotated[
        str | None,
        Meta(description="Bearer tokens, one per line; a request without gets 401."),
    ] = None
    admin_token_file: Annotated[
        str | None,
        Meta(description="Tokens that may load and unload models; without, none may."),
    ] = None
    allowed_hosts: Annotated[
        str,
        Meta(
            description="Names of this server, comma-separated; a request for another "
            "gets 421, unless it is a probe. If empty, any name is answered."
        ),
    ] = ""
    cors_origins: Annotated[
        str,
        Meta(
            description="Origins, comma-separated, such as https://page.example, whose "
            "pages may read replies; * for all."
        ),
    ] = ""
    tls_certificate_file: Annotated[
        str | None,
        Meta(description="Certificate and its chain (PEM); then only HTTPS is served."),
    ] = None
    tls_key_file: Annotated[
        str | None,
        Meta(description="Key of the certificate, if it is not in the same file."),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Lowest level that is logged."),
    ] = "info"
    access_log: Annotated[
        Literal["all", "errors", "none"],
        Meta(
            description="Requests to log; `errors` are replies with 4xx or 5xx. "
            "A line costs half as much as a small prediction."
        ),
    ] = "errors"
    payload_share: Annotated[
        float,
        Meta(ge=0, le=1, description="Share of predictions to log with their rows."),
    ] = 0.0
    payload_redact: Annotated[
        str, Meta(description="Columns, comma-separated, whose values are not logged.")
    ] = ""
    payload_folder: Annotated[
        str,
        Meta(
            description="Folder, or s3://, gs:// or az://BUCKET/PREFIX, where logged "
            "rows of tables become Parquet files; needs glassnet[payload]."
        ),
    ] = ""
    payload_seconds: Annotated[
        float, Meta(gt=0, description="Seconds after which such a file is written.")
    ] = 300.0
    otlp_endpoint: Annotated[
        str,
        Meta(
            description="OpenTelemetry collector that gets traces and metrics by OTLP "
            "over HTTP, such as http://collector:4318; needs glassnet[otel]."
        ),
    ] = ""
    console: Annotated[bool, Meta(description="Serve the console at `/`.")] = True
    aip_http_port: Annotated[
        int,
        Meta(ge=0, le=65535, description="Vertex AI: port to listen on, unless 0."),
    ] = 0
    aip_predict_route: Annotated[
        str,
        Meta(pattern=_ROUTE, description="Vertex AI: another path for /invocations."),
    ] = ""
    aip_health_route: Annotated[
        str, Meta(pattern=_ROUTE, description="Vertex AI: another path for /ping.")
    ] = ""
    aip_storage_uri: Annotated[
        str,
        Meta(description="Vertex AI: store of models, instead of GLASSNET_STORE."),
    ] = ""

    @property
    def address(self) -> str:
        """Address to listen on; the platform's port comes first."""
        if not self.aip_http_port:
            return self.bind
        host = "" if self.bind.startswith("unix:") else self.bind.rpartition(":")[0]
        return f"{host}:{self.aip_http_port}"

    @property
    def directory(self) -> str:
        """Directory of the store; the platform's comes first."""
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
    """Read the settings; raises ConfigError, which names the variable.

    Unknown variables with the prefix are ignored, since Kubernetes makes some from a
    service's name; `misspelt` finds those that are probably mistakes.
    """
    known = {_variable(name): name for name in Settings.__struct_fields__}
    values = {known[key]: value for key, value in environment.items() if key in known}
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at ")
        name = _variable(path.strip("`").removeprefix("$."))
        raise ConfigError(f"{name}: {what[:1].lower()}{what[1:]}") from None
    parse_address(settings.address)
    return settings


def misspelt(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that is almost the name of a setting."""
    ours = [row.variable for row in table() if row.variable.startswith(PREFIX)]
    known = {name.removeprefix(PREFIX) for name in ours}
    for variable in sorted(environment):
        name = variable.removeprefix(PREFIX)
        if name == variable or name in known:
            continue
        if hint := nearest(name, known):
            yield f"unknown setting {variable}" + hint.replace("'", f"'{PREFIX}", 1)
