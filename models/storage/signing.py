"""Signatures of versions: HMAC-SHA256 (RFC 2104) with keys of trainer and service.

    STORE/NAME/VERSION/model.sig      hmac-sha256 <hexadecimal>
                                      <sha256>  model.npz
                                      <sha256>  rows.npy …

The signature is a file beside the artefact, so the artefact's bytes and sha256 do not
depend on the key. It covers the model's name, the version and the listed files, so a
version cannot take the place of another. It does not cover labels.json.

A key file holds one key a line: the first signs, all are accepted. To change a key
without a gap, add the new key below the old one for the service, then above it for the
trainer, and remove the old key once it has signed no version in use.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.errors import ConfigError, SignatureInvalid
from models.storage.secret_files import read_secret

SIGNATURE = "model.sig"
#: A key shorter than the digest weakens it (RFC 2104, section 3).
KEY_BYTES = 32
_PREFIX = b"hmac-sha256 "
#: A larger signature file is not read.
MAX_SIGNATURE_BYTES = 4096


@dataclass(frozen=True, repr=False)
class Keys:
    """The keys of a key file; the first signs."""

    keys: tuple[bytes, ...]
    file: Path | None = None

    @classmethod
    def read(cls, file: Path) -> Keys:
        """Read a key file.

        Raises ConfigError for no key, a short one, or a file that everybody may read,
        and OSError.
        """
        keys = []
        for number, line in enumerate(read_secret(file).splitlines(), 1):
            key = line.strip()
            if key and len(key) < KEY_BYTES:
                raise ConfigError(
                    f"{file}, line {number}: a key has {KEY_BYTES} characters or more, "
                    f"this one {len(key)}; make one with: openssl rand -hex 32"
                )
            keys += [key] if key else []
        if not keys:
            raise ConfigError(f"{file}: expected keys, one a line, found none")
        return cls(tuple(keys), file)

    def sign(self, name: str, version: int, digests: Mapping[str, str]) -> bytes:
        """Return the signature file of a version, given the sha256 of its files."""
        listing = "".join(f"{sha256}  {file}\n" for file, sha256 in digests.items())
        mac = _mac(self.keys[0], _message(name, version, listing.encode()))
        return mac + b"\n" + listing.encode()

    def digests(self, name: str, version: int, signature: bytes) -> dict[str, str]:
        """Return the sha256 of each file that a signature covers.

        Raises SignatureInvalid unless one of the keys made it for this version.
        """
        mac, _, listing = signature.partition(b"\n")
        if not self._made(mac, _message(name, version, listing)):
            raise SignatureInvalid(f"its signature is by no key in {self.file}")
        pairs = [line.split("  ", 1) for line in listing.decode().splitlines()]
        return {file: sha256 for sha256, file in pairs}

    def require(
        self, name: str, version: int, file: str, sha256: str, signature: bytes
    ) -> None:
        """Raise SignatureInvalid unless a version's signature covers a file."""
        if self.signed_alone(name, sha256, signature):
            return
        if self.digests(name, version, signature).get(file) != sha256:
            raise SignatureInvalid("it is not the file that was signed")

    def signed_alone(self, name: str, sha256: str, signature: bytes) -> bool:
        """Tell whether a key signed an artefact as earlier releases did.

        They covered the model's name and the artefact, neither version nor other files.
        """
        message = f"glassnet model {name} {sha256}".encode()
        return self._made(signature.strip(), message)

    def _made(self, mac: bytes, message: bytes) -> bool:
        """Tell, in constant time, whether one of the keys made `mac`."""
        matches = [  # all keys are compared, also after a match
            hmac.compare_digest(_mac(key, message), mac) for key in self.keys
        ]
        return any(matches)


def _message(name: str, version: int, listing: bytes) -> bytes:
    return f"glassnet version {name} {version}\n".encode() + listing


def _mac(key: bytes, message: bytes) -> bytes:
    return _PREFIX + hmac.new(key, message, "sha256").hexdigest().encode()
