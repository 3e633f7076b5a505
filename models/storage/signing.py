"""Who made a model: HMAC-SHA256 (RFC 2104) under keys that trainer and service share.

    STORE/NAME/VERSION/model.sig      hmac-sha256 <hexadecimal>

The signature lies beside the artefact and not in it, so that the artefact's bytes, and
with them its sha256, are the same whoever signs. Signed are that digest and the name:
a model cannot be passed off as another. A file holds the keys, one a line: the first
signs, all are accepted. So a key is changed without a gap: the service learns the new
one below the old, the trainer above it, and the old one goes when nothing it signed is
left.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from pathlib import Path

from models.errors import ConfigError

SIGNATURE = "model.sig"
#: A key shorter than its digest is weaker than it (RFC 2104, section 3).
KEY_BYTES = 32
_PREFIX = b"hmac-sha256 "
#: A larger signature file is not read.
MAX_SIGNATURE_BYTES = 256


@dataclass(frozen=True, repr=False)
class Keys:
    """The keys of a file; the first signs."""

    keys: tuple[bytes, ...]

    @classmethod
    def read(cls, file: Path) -> Keys:
        """Read a key file; ConfigError where it holds no key, or a weak one."""
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
            raise ConfigError(f"{file}: there is no key, one a line, in it")
        return cls(tuple(keys))

    def sign(self, name: str, sha256: str) -> bytes:
        """Return the signature of a model, as its file holds it."""
        return _PREFIX + _digest(self.keys[0], name, sha256) + b"\n"

    def accept(self, name: str, sha256: str, signature: bytes) -> bool:
        """Tell whether one of the keys made the signature, in the same time for all."""
        given = signature.strip()
        agree = [  # with every key, whether or not an earlier one did
            hmac.compare_digest(_PREFIX + _digest(key, name, sha256), given)
            for key in self.keys
        ]
        return any(agree)


def _digest(key: bytes, name: str, sha256: str) -> bytes:
    message = f"glassnet model {name} {sha256}".encode()
    return hmac.new(key, message, "sha256").hexdigest().encode()
