"""Keep the loaded models in step with the store, off the request path.

A refresh loads new versions first and then replaces the immutable catalogue, so that a
request sees either the old or the new one, complete. A version that fails its checks is
refused, and the version served before stays. A model that cannot be read is served as
before; if the store itself cannot be read, nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, MutableSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from msgspec import structs

from models.errors import (
    ArtefactCorrupt,
    ConfigError,
    GlassnetError,
    LabelNotFound,
    ModelNotFound,
    VersionNotFound,
    nearest,
)
from models.storage.base import CANDIDATE, PRODUCTION, ArtefactStore
from models.storage.labels import Label
from service.registry.loaded import Entry, Loaded, TrafficSplit

Result: TypeAlias = Literal["loaded", "refused", "unloaded", "unreadable"]


@dataclass(frozen=True)
class Event:
    """A change made by a refresh, for logs and metrics."""

    result: Result
    model: str
    version: int
    detail: str = ""
    loaded: Loaded | None = None


@dataclass
class _Refusal:
    """A refused version; it is not retried until the stamp of its files changes.

    Without a stamp it is retried each time: the fault may pass.
    """

    seen: Hashable | None
    reason: str


@dataclass
class Registry:
    """The loaded models of a store."""

    store: ArtefactStore
    keep_versions: int = 10
    observe: Callable[[Event], None] = lambda event: None
    catalogue: Mapping[str, Entry] = field(default_factory=dict)
    #: Models without a loadable version, with the reason for each version.
    failed: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    #: Models unloaded on request, whatever the store holds.
    unloaded: MutableSet[str] = field(default_factory=set)
    #: Why the last refresh could not read the store; empty if it could.
    unreadable: str = ""
    #: Models whose directory or labels cannot be read, with the reason.
    unreadable_models: dict[str, str] = field(default_factory=dict)
    _refused: dict[tuple[str, int], _Refusal] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether a model is loaded."""
        return bool(self.catalogue)

    def find(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Loaded:
        """Return the given version, the label's, or the default.

        Raises ModelNotFound, VersionNotFound or LabelNotFound.
        """
        entry = self.entry(name)
        if label is not None:
            if label not in entry.labels or entry.labels[label] not in entry.versions:
                known = nearest(label, entry.labels)
                raise LabelNotFound(
                    f"model '{name}' has no label '{label[:64]}'{known}"
                )
            version = entry.labels[label]
        loaded = entry.versions.get(entry.default if version is None else version)
        if loaded is None:
            versions = ", ".join(map(str, sorted(entry.versions)[-8:]))
            raise VersionNotFound(
                f"model '{name}' has no version {version} loaded; it has {versions}"
            )
        return loaded

    def choose(self, name: str, request_id: str) -> Loaded:
        """Return the version for a request that names none; raises ModelNotFound."""
        split = self.entry(name).split
        return self.find(name) if split is None else split.choose(request_id)

    def entry(self, name: str) -> Entry:
        """Return a model's entry, or raise ModelNotFound."""
        entry = self.catalogue.get(name)
        if entry is not None:
            return entry
        if name in self.unloaded:
            raise ModelNotFound(
                f"model '{name}' is unloaded; to load it again, POST "
                f"/v2/repository/models/{name}/load"
            )
        if name in self.failed:
            raise ModelNotFound(
                f"model '{name}' has no version that can be loaded; see the log"
            )
        raise ModelNotFound(
            f"unknown model '{name[:128]}'{nearest(name[:128], self.catalogue)}"
        )

    def refresh(self) -> None:
        """Load what is new in the store and replace the catalogue.

        Only one thread may call this: the watcher, once it runs. An empty store counts
        as unreadable (FileNotFoundError, which is reported and not raised).
        """
        unloaded = frozenset(self.unloaded)
        held = {k: entry for k, entry in self.catalogue.items() if k not in unloaded}
        catalogue: dict[str, Entry] = {}
        failed = {}
        try:
            self.store.keys()  # raises if the key file is at fault, not a version
            names = self.store.names()
            if self.catalogue and not names:
                # More likely a missing volume than a wish to serve nothing.
                raise FileNotFoundError(f"no model in {self.store} any more")
            for name in names:
                if name in unloaded:
                    continue
                entry = self._next_entry(name)
                if entry is not None:
                    catalogue[name] = entry
                else:
                    failed[name] = self._reasons(name)
            for name in self.unreadable_models.keys() - set(names):
                del self.unreadable_models[name]
            self.failed, self.unreadable = failed, ""
        except (OSError, ConfigError) as error:
            self.report_unreadable(str(error))
            catalogue = held  # unloading needs no store
        old, self.catalogue = self.catalogue, catalogue
        for name, entry in old.items():
            remaining = catalogue[name].versions if name in catalogue else {}
            for version in entry.versions:
                if version not in remaining:
                    gone = entry.versions[version]
                    self.observe(Event("unloaded", name, version, loaded=gone))

    def report_unreadable(self, reason: str) -> None:
        """Report, once, why the store cannot be read."""
        if reason != self.unreadable:
            self.unreadable = reason
            self.observe(Event("unreadable", "", 0, reason))

    def _next_entry(self, name: str) -> Entry | None:
        """Return a model's next entry; the present one if the model cannot be read."""
        try:
            entry = self._entry(name)
            self.unreadable_models.pop(name, None)
            return entry
        except Exception as error:  # whatever it is, the other models go on
            reason = _reason(error)
            if reason != self.unreadable_models.get(name):
                self.unreadable_models[name] = reason
                self.observe(Event("unreadable", name, 0, reason))
            return self.catalogue.get(name)

    def _entry(self, name: str) -> Entry | None:
        """Return a model's next entry; None if no version can be loaded."""
        held = self.catalogue.get(name)
        stored, stored_labels = self.store.look(name)
        labels = {k: label.version for k, label in stored_labels.items()}
        wanted = {*stored[-self.keep_versions :], *labels.values()} & {*stored}
        for key in [k for k in self._refused if k[0] == name and k[1] not in wanted]:
            del self._refused[key]
        versions: dict[int, Loaded] = {}
        refused: dict[int, str] = {}
        for version in sorted(wanted):
            loaded = held.versions.get(version) if held else None
            loaded = loaded or self._load(name, version)
            if loaded is not None:
                versions[version] = loaded
            elif (name, version) in self._refused:
                refused[version] = self._refused[name, version].reason
        default = labels.get(PRODUCTION, max(wanted, default=0))
        if default not in versions and held is not None and held.versions:
            # The wanted version is refused: keep the one served, even if pruned.
            default = held.default
            versions.setdefault(default, held.versions[default])
        if default not in versions:
            if not versions:
                return None
            # A candidate may have been refused by the gate.
            candidate = labels.get(CANDIDATE)
            default = max(versions, key=lambda version: (version != candidate, version))
        split = _traffic_split(versions, default, stored_labels.get(CANDIDATE))
        return Entry(versions, labels, default, refused, split)

    def _reasons(self, name: str) -> dict[int, str]:
        return {v: r.reason for (k, v), r in self._refused.items() if k == name}

    def _load(self, name: str, version: int) -> Loaded | None:
        """Load and check one version; a failure is reported once per stamp."""
        key = name, version
        earlier = self._refused.get(key)
        seen: Hashable | None = None
        try:
            seen = self.store.stamp(name, version)
            if earlier is not None and earlier.seen == seen:
                return None
            artefact = self.store.load(name, version)
        except Exception as error:
            if isinstance(error, FileNotFoundError):
                if version not in self.store.versions(name):
                    return None  # pruned meanwhile
            elif not isinstance(error, ArtefactCorrupt):
                seen = None  # such as too many open files, or out of memory
            reason = _reason(error)
            self._refused[key] = _Refusal(seen, reason)
            if earlier is None or earlier != self._refused[key]:
                self.observe(Event("refused", name, version, reason))
            return None
        self._refused.pop(key, None)
        # How it was trained is for reports, and may be most of the manifest.
        manifest = structs.replace(artefact.manifest, history=[])
        artefact = structs.replace(artefact, manifest=manifest)
        loaded = Loaded(name, version, artefact, datetime.now(UTC))
        self.observe(Event("loaded", name, version, loaded=loaded))
        return loaded


def _reason(error: Exception) -> str:
    """Return an error as a sentence; unexpected ones with their type."""
    expected = isinstance(error, GlassnetError | OSError)
    return str(error) if expected else f"{type(error).__name__}: {error}"


def _traffic_split(
    versions: Mapping[int, Loaded], default: int, label: Label | None
) -> TrafficSplit | None:
    """Return the split of a loaded candidate that has a share or is a shadow."""
    if label is None or not (label.share or label.shadow):
        return None
    candidate = versions.get(label.version)
    if candidate is None or label.version == default:
        return None
    return TrafficSplit(versions[default], candidate, label.share, label.shadow)
