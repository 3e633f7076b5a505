"""Bearer tokens (RFC 6750) from files: one for predictions, one for administrators.

A file holds one token per line, and all are accepted. To replace a token without an
outage, add the new one, change the clients, then remove the old one. A thread rereads a
file that has changed, even while the store cannot be read. If a file is missing or
invalid, the tokens stay as they were and an error is logged.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from models.errors import ConfigError
from models.storage.secret_files import read_secret
from service.middleware.rejection import REJECTION, Application, Rejected

log = logging.getLogger("glassnet.service")

#: RFC 6750, section 2.1; the minimum length makes guessing hopeless.
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
MIN_TOKEN_LENGTH = 16
_SCHEME = "bearer "


class Unauthorized(Rejected):
    """The request has no token, or one that is not accepted."""

    code = 401
    reason = "unauthorized"

    def __init__(self, authorization: str | None) -> None:
        # RFC 6750, section 3: no error code if the request had no token.
        fault = ', error="invalid_token"' if authorization else ""
        self.headers = {"WWW-Authenticate": f'Bearer realm="glassnet"{fault}'}
        super().__init__(
            "the bearer token is not accepted"
            if authorization
            else "expected a bearer token: the header 'Authorization: Bearer TOKEN'"
        )


class Forbidden(Rejected):
    """The operation is turned off, or not allowed with this token."""

    code = 403
    reason = "forbidden"
    headers: dict[str, str] = {}  # noqa: RUF012


class Tokens:
    """The tokens of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen, self._failing = self._stamp(), False
        self._digests = _read(path)

    def accept(self, authorization: str | None) -> bool:
        """Tell, in constant time, whether an Authorization header has one of them."""
        if authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
            return False
        # Digests are of one length, so the time of a comparison reveals nothing.
        digest = _digest(
            authorization[len(_SCHEME) :].strip().encode("utf-8", "replace")
        )
        agree = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(agree)

    def refresh(self) -> None:
        """Read the file again if it has changed; a failure is logged once."""
        try:
            seen = self._stamp()
            if seen != self._seen:
                self._digests = _read(self.path)
                log.info("%s: %s tokens are accepted", self.path, len(self._digests))
            self._seen, self._failing = seen, False
        except Exception as error:  # even out of memory: it is read again
            if not self._failing:
                log.error("tokens not reloaded, the earlier ones stay: %s", error)
            self._failing = True

    def _stamp(self) -> tuple[int, ...]:
        status = self.path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino


class Access:
    """The tokens of the two files, and the paths that need none.

    Without `predict_file` every path but the administrators' is open to all.
    """

    def __init__(
        self,
        predict_file: str | None = None,
        admin_file: str | None = None,
        public_paths: Iterable[str] = (),
    ) -> None:
        """Read the files; raises ConfigError or OSError if one cannot be used."""
        self.public_paths = frozenset(public_paths)
        self.predict_tokens, self.admin_tokens = (
            Tokens(Path(file)) if file else None for file in (predict_file, admin_file)
        )

    def refresh(self) -> None:
        """Reread the files that have changed."""
        for tokens in (self.predict_tokens, self.admin_tokens):
            if tokens is not None:
                tokens.refresh()

    def may_predict(self, authorization: str | None) -> bool:
        """Tell whether this Authorization header allows predictions."""
        return (
            self.predict_tokens is None
            or self.predict_tokens.accept(authorization)
            or (
                self.admin_tokens is not None
                and self.admin_tokens.accept(authorization)
            )
        )

    def refusal(self, environ: dict[str, Any]) -> Unauthorized | None:
        """Return why a request is rejected, by its path and token; None if not."""
        authorization = environ.get("HTTP_AUTHORIZATION")
        if environ["PATH_INFO"] in self.public_paths or self.may_predict(authorization):
            return None
        return Unauthorized(authorization)

    def require_admin(self, authorization: str | None) -> None:
        """Raise Forbidden or Unauthorized unless the header allows administration."""
        if self.admin_tokens is None:
            raise Forbidden(
                "loading and unloading models is turned off: this server has no "
                "administrators' tokens (GLASSNET_ADMIN_TOKEN_FILE)"
            )
        if self.admin_tokens.accept(authorization):
            return
        if self.predict_tokens is not None and self.predict_tokens.accept(
            authorization
        ):
            raise Forbidden("this token does not allow loading or unloading models")
        raise Unauthorized(authorization)


class AuthMiddleware:
    """A WSGI application: authorized requests go to `app`, others to `reject`."""

    def __init__(self, app: Application, reject: Application, access: Access) -> None:
        self._app, self._reject, self._access = app, reject, access

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request, or reject it."""
        if refusal := self._access.refusal(environ):
            environ[REJECTION] = refusal
            return self._reject(environ, start_response)
        return self._app(environ, start_response)


def _read(path: Path) -> tuple[bytes, ...]:
    """Return the digests of a file's tokens; raises ConfigError if it has none."""
    digests = []
    for number, line in enumerate(read_secret(path).splitlines(), 1):
        token = line.strip()
        if not token:
            continue
        if len(token) < MIN_TOKEN_LENGTH or not _TOKEN.fullmatch(token):
            raise ConfigError(
                f"{path}, line {number}: a token is {MIN_TOKEN_LENGTH} or more "
                "letters, digits and ._~+/-; make one with: openssl rand -hex 32"
            )
        digests.append(_digest(token))
    if not digests:
        raise ConfigError(f"{path}: expected one token per line, found none")
    return tuple(digests)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
