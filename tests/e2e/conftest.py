"""What tests of a whole server share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def certificate(
    tmp_path_factory: pytest.TempPathFactory, program: Callable[[str, str], str]
) -> dict[str, Path]:
    """The settings of a certificate for this machine, made by OpenSSL."""
    place = tmp_path_factory.mktemp("tls")
    files = {
        "tls_certificate_file": place / "cert.pem",
        "tls_key_file": place / "key.pem",
    }
    command = [program("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048"]
    command += ["-nodes", "-subj", "/CN=here", "-addext", "subjectAltName=IP:127.0.0.1"]
    out, key = map(str, files.values())
    subprocess.run(
        [*command, "-out", out, "-keyout", key], check=True, stderr=subprocess.DEVNULL
    )
    return files


@pytest.fixture(scope="module")
def browser(program: Callable[[str, str], str]) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    path = program("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--disable-gpu", "--disable-quic", "--disable-component-update"],
        )
        yield browser
        browser.close()
