"""The `service` command: run the server, probe it, print its settings."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import click

from models.errors import ConfigError
from models.storage.secret_files import read_secret
from service.settings import (
    PREFIX,
    Settings,
    from_environment,
    misspelt,
    parse_address,
    table,
)

#: Where SageMaker puts what a model's archive holds.
SAGEMAKER_MODEL = Path("/opt/ml/model")
READY = "/v2/health/ready"
#: Open files without which a worker cannot count its requests, with few connections.
MIN_FILES = 32


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="glassnet")
def main() -> None:
    """Serve the models of a store over HTTP."""


@main.command()
@click.option(
    "--bind", metavar="ADDRESS:PORT", help="Address to listen on (GLASSNET_BIND)."
)
@click.option("--workers", type=int, help="Worker processes (GLASSNET_WORKERS).")
@click.option(
    "--threads", type=int, help="Requests each answers at once (GLASSNET_THREADS)."
)
@click.option(
    "--store",
    help="Directory of models and versions, or s3://, gs:// or az://BUCKET/PREFIX "
    "(GLASSNET_STORE).",
)
def run(
    bind: str | None, workers: int | None, threads: int | None, store: str | None
) -> None:
    """Start the server: gunicorn, with glassnet's configuration."""
    options = {"BIND": bind, "WORKERS": workers, "THREADS": threads, "STORE": store}
    for name, value in options.items():
        if value is not None:
            os.environ[PREFIX + name] = str(value)
    _start()


@main.command()
def serve() -> None:
    """Start the server as SageMaker expects of a container.

    It listens on port 8080 of every address and serves the store in /opt/ml/model, or
    GLASSNET_STORE if that directory is empty.
    """
    port = os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")
    os.environ[PREFIX + "BIND"] = f"0.0.0.0:{port}"
    if any(SAGEMAKER_MODEL.glob("*")):
        os.environ[PREFIX + "STORE"] = str(SAGEMAKER_MODEL)
    _start()


def _start() -> NoReturn:
    _check(_settings())  # fails here, with one sentence
    _check_address(_settings().address)
    for sentence in (*misspelt(os.environ), *_is_empty(_settings().directory)):
        click.echo(f"Warning: {sentence}", err=True)
    # With more arenas each thread keeps a heap as large as its largest request.
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")
    # glibc would raise the first with each large request, and keep what it has freed.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 20))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(4 << 20))
    config = "python:service.server.gunicorn_conf"
    # -P: do not import from the current directory.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "gunicorn", "-c", config])


@main.command()
@click.option("--timeout", default=2.0, show_default=True, help="Seconds to wait.")
def probe(timeout: float) -> None:
    """Exit with 0 if the server on this machine is ready, otherwise with 1."""
    import http.client  # a server needs neither to start
    import ssl

    now = _settings()
    address, tls = parse_address(now.address), now.tls_certificate_file
    connection = http.client.HTTPConnection("localhost", timeout=timeout)
    try:
        connection.sock = address.connect(timeout)
        if tls:
            # The certificate names the host that clients use, not this one.
            unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            unverified.check_hostname = False
            unverified.verify_mode = ssl.CERT_NONE
            connection.sock = unverified.wrap_socket(connection.sock)
        connection.request("GET", READY)
        reply = connection.getresponse()
        content = reply.read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise click.ClickException(f"{now.address}: {error}") from None
    if reply.status != 200:
        raise click.ClickException(f"{now.address}{READY}: {reply.status} {content}")
    click.echo(content)


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
def token(file: Path) -> None:
    """Print the tokens of FILE; without such a file, make it with a random one."""
    from secrets import token_urlsafe  # a server does not need it to start

    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with suppress(FileExistsError), open(os.open(file, flags, 0o600), "w") as new:
            new.write(token_urlsafe(32) + "\n")
        click.echo(read_secret(file), nl=False)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None


@main.command()
def settings() -> None:
    """Print every setting: its variable, value and help."""
    now = _settings()
    for setting in table():
        value = getattr(now, setting.variable.removeprefix(PREFIX).lower())
        click.echo(f"{setting.variable:26s} {value!s:16s} {setting.help}")


def _check(now: Settings) -> None:
    """Fail with UsageError if the process cannot serve with these settings."""
    if (files := resource.getrlimit(resource.RLIMIT_NOFILE)[0]) < MIN_FILES:
        raise click.UsageError(
            f"expected a limit of at least {MIN_FILES} open files, found {files}: "
            "raise it, such as with ulimit -n 4096"
        )
    if metrics := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        try:
            tempfile.TemporaryFile(dir=metrics).close()
        except OSError:
            raise click.UsageError(
                f"PROMETHEUS_MULTIPROC_DIR: expected a directory that can be written "
                f"to, or no such variable, found {metrics}"
            ) from None
    if "://" in now.directory:
        _check_store(now)
    if now.otlp_endpoint:
        from service.monitoring.telemetry import require_packages

        try:
            require_packages()
        except ConfigError as error:
            raise click.UsageError(f"{PREFIX}OTLP_ENDPOINT: {error}") from None
    tls = now.tls_certificate_file, now.tls_key_file
    if not any((now.signing_key_file, now.token_file, now.admin_token_file, *tls)):
        return
    from models.storage.factory import open_store  # slow: it imports NumPy
    from service.middleware.auth import Access

    uses: dict[str, Callable[[], object]] = {
        "SIGNING_KEY_FILE": lambda: open_store(
            now.directory, now.signing_key_file
        ).keys(),
        "TOKEN_FILE": lambda: Access(now.token_file),
        "ADMIN_TOKEN_FILE": lambda: Access(None, now.admin_token_file),
        "TLS_CERTIFICATE_FILE": lambda: _certificate(now),
    }
    for name, use in uses.items():
        try:
            use()
        except ConfigError as error:
            raise click.UsageError(f"{PREFIX}{name}: {error}") from None
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}"
            raise click.UsageError(f"{PREFIX}{name}: {reason}") from None


def _is_empty(directory: str) -> Iterator[str]:
    """Say that a directory holds no model yet, as with a wrong path."""
    if "://" not in directory and not any(Path(directory).glob("[!.]*")):
        yield (
            f"no model in {directory}: publish one by trainer fit --store {directory}, "
            "or name another directory by --store (GLASSNET_STORE)"
        )


def _check_store(now: Settings) -> None:
    """Fail with UsageError if there is no such kind of store."""
    from models.storage.factory import open_store  # slow: it imports NumPy

    try:
        open_store(now.directory)
    except ConfigError as error:
        variable = "AIP_STORAGE_URI" if now.aip_storage_uri else f"{PREFIX}STORE"
        raise click.UsageError(f"{variable}: {error}") from None


def _check_address(bind: str) -> None:
    """Fail with UsageError if the server could not listen; gunicorn tries for 5 s."""
    try:
        parse_address(bind).check()
    except OSError as error:
        raise click.UsageError(
            f"cannot listen on {bind}: {error.strerror or error}; choose another "
            "address with --bind (GLASSNET_BIND)"
        ) from None


def _certificate(now: Settings) -> None:
    if now.tls_certificate_file is None:
        if now.tls_key_file is not None:
            raise ConfigError(
                "GLASSNET_TLS_KEY_FILE is set, but GLASSNET_TLS_CERTIFICATE_FILE is not"
            )
        return
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files = [file for file in (now.tls_certificate_file, now.tls_key_file) if file]
    for file in files:
        Path(file).read_bytes()  # OpenSSL's own error would not name the file
    read_secret(Path(now.tls_key_file or files[0]))
    try:
        context.load_cert_chain(*files)
    except ssl.SSLError as error:
        reason = (error.reason or "").replace("_", " ").lower()
        names = " and ".join(files)
        raise ConfigError(
            f"{names}: expected a certificate and its key in PEM ({reason})"
        ) from None


def _settings() -> Settings:
    try:
        return from_environment(os.environ)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None


if __name__ == "__main__":
    main()
