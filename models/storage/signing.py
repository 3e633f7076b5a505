"""Signatures of artefacts: HMAC-SHA256 (RFC 2104) with keys of trainer and service.

    STORE/NAME/VERSION/model.sig      hmac-sha256 <hexadecimal>

The signature is a file beside the artefact, so the artefact's bytes and sha256 do not
depend on the key. It covers the sha256 and the model's name, so a model cannot take
another's name. A key file holds one key a line: the first signs, all are accepted. To
change a key without a gap, add the new key below the old one for the service, then
above it for the trainer, and remove the old key once it has signed no version in use.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from pathlib import Path

from models.errors import ConfigError

SIGNATURE = "model.sig"
#: A key shorter than the digest weakens it (RFC 2104, section 3).
KEY_BYTES = 32
_PREFIX = b"hmac-sha256 "
#: A larger signature file is not read.
MAX_SIGNATURE_BYTES = 256


@dataclass(frozen=True, repr=False)
class Keys:
    """The keys of a key file; the first signs."""

    keys: tuple[bytes, ...]

    @classmethod
    def read(cls, file: Path) -> Keys:
        """Read a key file; raises ConfigError for no or a short key, and OSError."""
        keys = []
        for number, line in enumerate(file.read_bytes().splitlines(), 1):
            key = line.strip()
            if key and len(key) < KEY_BYTES:
                raise ConfigError(
                    f"{file}, line {number}: a key has {KEY_BYTES} characters or more, "
                    f"this one {len(key)}; make one with: openssl rand -hex 32"
                )
            keys += [key] if key else []
        if not keys:
            raise ConfigError(f"{file}: expected keys, one a line, found none")
        return cls(tuple(keys))

    def sign(self, name: str, sha256: str) -> bytes:
        """Return the content of a model's signature file."""
        return _PREFIX + _digest(self.keys[0], name, sha256) + b"\n"

    def accept(self, name: str, sha256: str, signature: bytes) -> bool:
        """Tell whether one of the keys made the signature, in constant time."""
        stripped = signature.strip()
        matches = [  # all keys are compared, also after a match
            hmac.compare_digest(_PREFIX + _digest(key, name, sha256), stripped)
            for key in self.keys
        ]
        return any(matches)


def _digest(key: bytes, name: str, sha256: str) -> bytes:
    message = f"glassnet model {name} {sha256}".encode()
    return hmac.new(key, message, "sha256").hexdigest().encode()
