"""A real PostgreSQL of the tests' own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.lacking import absent

#: Of the PostgreSQL made here: a password with every character that means something.
USER = "reader"
PASSWORD = "p w:@/?#%'\\"
#: Who runs the server where the tests are root's: initdb refuses root.
UNPRIVILEGED: dict[str, Any] = (
    {"user": "nobody", "group": "nogroup", "extra_groups": []}
    if os.geteuid() == 0
    else {}
)


def _programs() -> Path:
    """Return where the server's programs are; Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    on_path = shutil.which("postgres")
    if not found and on_path is None:
        absent("PostgreSQL", "postgresql")
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


@dataclass
class Postgres:
    """A real server on its own port and data directory, as a user without rights.

    `url` is without the password.
    """

    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="pg-")))
    programs: Path = field(default_factory=_programs)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    password: str = PASSWORD

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        """Make the data directory, with a superuser who needs the password."""
        secret = self.home / "password"
        secret.write_text(PASSWORD)
        if UNPRIVILEGED:
            shutil.chown(self.home, "nobody", "nogroup")
            shutil.chown(secret, "nobody", "nogroup")
        self.home.chmod(0o755)
        command = [self.programs / "initdb", "-D", self.home / "data", "-U", USER]
        command += ["-A", "scram-sha-256", f"--pwfile={secret}", "-N", "-E", "UTF8"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **UNPRIVILEGED)

    def start(self) -> None:
        """Start it, on the port it had, and wait until it answers."""
        if not self.port:
            with closing(socket.socket()) as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        command = [self.programs / "postgres", "-D", self.home / "data", "-F"]
        command += ["-h", "127.0.0.1", "-p", str(self.port), "-k", self.home]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, **UNPRIVILEGED
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.home / "log").read_text()
            with suppress(Exception):
                self.run("SELECT 1")
                return
            time.sleep(0.05)
        pytest.fail((self.home / "log").read_text())

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it by its pid: SIGINT breaks connections off, SIGQUIT is a crash."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(60)

    def run(self, *statements: str) -> None:
        """Carry out statements as the owner of everything."""
        import adbc_driver_postgresql.dbapi as driver

        host = f"host=127.0.0.1 port={self.port} user={USER} dbname=postgres"
        secret = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        with (
            driver.connect(f"{host} password='{secret}'") as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)
            connection.commit()

    def close(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.home, ignore_errors=True)
