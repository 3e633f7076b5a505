"""Who may ask, and who may administer: bearer tokens (RFC 6750) out of files.

A file holds tokens, one a line, and all are accepted: to change one without a gap, the
new is added, then the senders change, then the old is taken out. A file that changes is
read again beside the requests, by the thread that watches the store; one that is gone
or makes no sense changes nothing, and the log says so.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from models.errors import ConfigError
from service.middleware.concurrency_limit import REFUSAL, Application, Refused

log = logging.getLogger("glassnet.service")

#: RFC 6750, section 2.1, and of a length that is not guessed.
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
SHORTEST = 16
_SCHEME = "bearer "


class Unauthorized(Refused):
    """No token, or none that is accepted."""

    code = 401
    reason = "unauthorized"

    def __init__(self, given: str | None) -> None:
        # What a challenge says of a token, it says only where there was one.
        fault = ', error="invalid_token"' if given else ""
        self.headers = {"WWW-Authenticate": f'Bearer realm="glassnet"{fault}'}
        super().__init__(
            "the bearer token is not accepted here"
            if given
            else "expected a bearer token: the header 'Authorization: Bearer TOKEN'"
        )


class Forbidden(Refused):
    """What nobody may do here, or not with this token."""

    code = 403
    reason = "forbidden"
    headers: dict[str, str] = {}  # noqa: RUF012


class Tokens:
    """The tokens of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = self._stamp()
        self._digests = _read(path)

    def accept(self, given: str | None) -> bool:
        """Tell whether an Authorization header has one of them, in the same time."""
        if given is None or given[: len(_SCHEME)].lower() != _SCHEME:
            return False
        # Digests, so that neither length nor a first letter that is right tells.
        digest = _digest(given[len(_SCHEME) :].strip().encode("utf-8", "replace"))
        agree = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(agree)

    def refresh(self) -> None:
        """Read the file again if it is another."""
        try:
            seen = self._stamp()
            if seen == self._seen:
                return
            self._seen = seen
            self._digests = _read(self.path)
            log.info("%s: %s tokens are accepted", self.path, len(self._digests))
        except (OSError, ConfigError) as error:
            if self._seen is not None:
                log.error("tokens stay as they were: %s", error)
            self._seen = None

    def _stamp(self) -> tuple[int, ...] | None:
        about = os.stat(self.path)
        return about.st_mtime_ns, about.st_size, about.st_ino


class Access:
    """What the two files say; without one for asking, everybody may ask.

    Paths that are `open` are everybody's.
    """

    def __init__(
        self,
        ask: str | None = None,
        administer: str | None = None,
        open: Iterable[str] = (),
    ) -> None:
        """Read the files; ConfigError or OSError where one is of no use."""
        self.open = frozenset(open)
        self.ask, self.administer = (
            Tokens(Path(file)) if file else None for file in (ask, administer)
        )

    def refresh(self) -> None:
        """Read again what has changed."""
        for tokens in (self.ask, self.administer):
            if tokens is not None:
                tokens.refresh()

    def may_ask(self, given: str | None) -> bool:
        """Tell whether a request with this Authorization is answered."""
        return (
            self.ask is None
            or self.ask.accept(given)
            or (self.administer is not None and self.administer.accept(given))
        )

    def require_administer(self, given: str | None) -> None:
        """Raise Forbidden or Unauthorized for who may not load and unload models."""
        if self.administer is None:
            raise Forbidden(
                "to load and unload models is off here: there are no tokens for it "
                "(GLASSNET_ADMIN_TOKEN_FILE)"
            )
        if self.administer.accept(given):
            return
        if self.ask is not None and self.ask.accept(given):
            raise Forbidden("this token is one for asking models, not for loading them")
        raise Unauthorized(given)


class AuthMiddleware:
    """A WSGI application that lets those into another who may ask.

    The rest goes to `refuse`.
    """

    def __init__(self, app: Application, refuse: Application, access: Access) -> None:
        self._app, self._refuse, self._access = app, refuse, access

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request, or refuse it."""
        given = environ.get("HTTP_AUTHORIZATION")
        if environ["PATH_INFO"] in self._access.open or self._access.may_ask(given):
            return self._app(environ, start_response)
        environ[REFUSAL] = Unauthorized(given)
        return self._refuse(environ, start_response)


def _read(path: Path) -> tuple[bytes, ...]:
    """Return the digests of a file's tokens; ConfigError where it has none."""
    digests = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        token = line.strip()
        if not token:
            continue
        if len(token) < SHORTEST or not _TOKEN.fullmatch(token):
            raise ConfigError(
                f"{path}, line {number}: a token is {SHORTEST} or more of letters, "
                "digits and ._~+/-; make one with: openssl rand -hex 32"
            )
        digests.append(_digest(token))
    if not digests:
        raise ConfigError(f"{path}: there is no token, one a line, in it")
    return tuple(digests)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
