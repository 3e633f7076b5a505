"""Labels: names that point at versions, with the history of their moves.

`Labels` is the content of labels.json; the store reads and replaces the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from models.errors import (
    ArtefactCorrupt,
    ConfigError,
    LabelNotFound,
    VersionNotFound,
    nearest,
)

#: An error message lists at most this many versions or models.
LISTED = 8
_NAME = re.compile(r"[a-zA-Z0-9_]{1,64}")

Version = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Label(msgspec.Struct, forbid_unknown_fields=True):
    """The version a label points at, and its previous versions, the latest last.

    A candidate may answer a `share` of the requests that name no version, or all of
    them in the `shadow` of production.
    """

    version: Version
    since: str
    previous: list[Version] = []
    share: Share = 0.0
    shadow: bool = False


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One move of a label."""

    at: str
    label: str
    version: Version
    action: str


class StoredObject(msgspec.Struct, frozen=True, array_like=True):
    """A file of a version in a bucket: its sha256, and its name in the version."""

    sha256: str
    name: str


class Labels(msgspec.Struct, forbid_unknown_fields=True):
    """The content of labels.json.

    In a bucket it also lists the versions, and identifies each write of the file.
    """

    labels: dict[str, Label] = {}
    history: list[Change] = []
    versions: dict[Version, dict[str, StoredObject]] | msgspec.UnsetType = msgspec.UNSET
    write: str | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def decode(cls, content: bytes | None, address: str) -> Labels:
        """Return the labels in a file's content; without one there are no labels.

        Raises ArtefactCorrupt, which names the `address` of the file.
        """
        try:
            return msgspec.json.decode(b"{}" if content is None else content, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ArtefactCorrupt(f"{address}: {error}") from None

    def encode(self) -> bytes:
        """Return the content of labels.json."""
        return msgspec.json.format(msgspec.json.encode(self))

    def version(self, name: str) -> int | None:
        """Return the version a label points at, or None if there is no such label."""
        return self.labels[name].version if name in self.labels else None

    def promote(
        self, name: str, version: int, share: float = 0.0, shadow: bool = False
    ) -> None:
        """Point a label at a version, and remember its previous version."""
        label = self.labels.get(name)
        if label is None:
            label = Label(version, _now())
        elif label.version != version:
            label = Label(version, _now(), [*label.previous, label.version])
        self.labels[name] = msgspec.structs.replace(label, share=share, shadow=shadow)
        action = f"share {share:g}" if share else "shadow" if shadow else "promote"
        self.history.append(Change(_now(), name, version, action))

    def rollback(self, name: str, versions: Collection[int]) -> int | None:
        """Point a label at its latest previous version among `versions`.

        Return that version, or None if it does not exist.
        """
        label = self.labels[name]
        previous = [version for version in label.previous if version in versions]
        if not previous:
            return None
        *rest, version = previous
        self.labels[name] = Label(version, _now(), rest)
        self.history.append(Change(_now(), name, version, "rollback"))
        return version

    def forget(self, versions: Collection[int]) -> None:
        """Remove versions from those that labels can be rolled back to."""
        for label in self.labels.values():
            label.previous = [v for v in label.previous if v not in versions]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_label(name: str) -> None:
    """Raise ConfigError if a label cannot have this name."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a label is letters, digits and '_', not '{name}'")


def require_version(name: str, version: int, versions: Sequence[int]) -> int:
    """Return `version` if a model has it; raises VersionNotFound."""
    if version not in versions:
        raise VersionNotFound(
            f"model '{name}' has no version {version}; it has {listed(versions)}"
        )
    return version


def require_label(name: str, label: str, labels: Mapping[str, Label]) -> Label:
    """Return a label of a model; raises LabelNotFound."""
    if label not in labels:
        raise LabelNotFound(
            f"model '{name}' has no label '{label}'{nearest(label, labels)}"
        )
    return labels[label]


def listed(versions: Sequence[int]) -> str:
    """Return the latest of some versions, for a message."""
    shown = ", ".join(map(str, versions[-LISTED:]))
    return f"… {shown}" if len(versions) > LISTED else shown
