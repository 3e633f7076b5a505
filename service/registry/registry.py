"""The models in memory, kept in step with the store off the request path.

The store says what there is; the registry holds what is loaded. A refresh loads what
is new, and only then swaps one immutable catalogue for the next, so that a request
sees one or the other, whole. A version that does not prove itself is refused, and
whatever served before goes on; a store that cannot be read changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, MutableSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from models.errors import (
    ArtefactCorrupt,
    ConfigError,
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
    """What a refresh did, for logs and metrics."""

    result: Result
    model: str
    version: int
    detail: str = ""
    loaded: Loaded | None = None


@dataclass
class _Refusal:
    """A version that failed, and its files as they were: the same are not retried."""

    seen: Hashable
    reason: str


@dataclass
class Registry:
    """Finds the loaded version a request means."""

    store: ArtefactStore
    keep_versions: int = 10
    observe: Callable[[Event], None] = lambda event: None
    catalogue: Mapping[str, Entry] = field(default_factory=dict)
    #: Models of which no version can be loaded, and why.
    failed: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    #: Models that somebody asked not to serve, whatever the store holds.
    unloaded: MutableSet[str] = field(default_factory=set)
    #: Why the last look at the store failed, if it did.
    unreadable: str = ""
    _refused: dict[tuple[str, int], _Refusal] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether there is a model to answer with."""
        return bool(self.catalogue)

    def find(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Loaded:
        """Return the version asked for, the label's, or the default.

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
            standing = ", ".join(map(str, sorted(entry.versions)[-8:]))
            raise VersionNotFound(
                f"model '{name}' has no version {version} loaded; it has {standing}"
            )
        return loaded

    def choose(self, name: str, request_id: str) -> Loaded:
        """Return what answers a request that names no version; raises ModelNotFound."""
        trial = self.entry(name).trial
        return self.find(name) if trial is None else trial.choose(request_id)

    def entry(self, name: str) -> Entry:
        """Return a model's entry, or raise ModelNotFound."""
        entry = self.catalogue.get(name)
        if entry is not None:
            return entry
        if name in self.unloaded:
            raise ModelNotFound(
                f"model '{name}' is unloaded; POST "
                f"/v2/repository/models/{name}/load serves it again"
            )
        if name in self.failed:
            raise ModelNotFound(
                f"model '{name}' has no version that can be loaded; the log says why"
            )
        raise ModelNotFound(
            f"unknown model '{name[:128]}'{nearest(name[:128], self.catalogue)}"
        )

    def refresh(self) -> None:
        """Look at the store, load what is new, and swap the catalogue.

        For one thread: the watcher's, once there is one.
        """
        unloaded = frozenset(self.unloaded)
        held = {k: entry for k, entry in self.catalogue.items() if k not in unloaded}
        failed = {}
        try:
            names = self.store.names()
            if self.catalogue and not names:
                # More likely a volume that is not there than a wish to serve nothing.
                raise FileNotFoundError(f"no model in {self.store} any more")
            catalogue = dict(held)
            for name in names:
                if name in unloaded:
                    continue
                entry = self._entry(name)
                if entry is not None:
                    catalogue[name] = entry
                else:
                    failed[name] = self._reasons(name)
            for name in set(catalogue) - set(names):
                del catalogue[name]
            self.failed, self.unreadable = failed, ""
        except (OSError, ArtefactCorrupt, ConfigError) as error:
            self._report_unreadable(str(error))
            catalogue = held  # to unload takes no store
        old, self.catalogue = self.catalogue, catalogue
        for name, entry in old.items():
            kept = catalogue[name].versions if name in catalogue else {}
            for version in entry.versions:
                if version not in kept:
                    gone = entry.versions[version]
                    self.observe(Event("unloaded", name, version, loaded=gone))

    def _report_unreadable(self, reason: str) -> None:
        if reason != self.unreadable:
            self.unreadable = reason
            self.observe(Event("unreadable", "", 0, reason))

    def _entry(self, name: str) -> Entry | None:
        """Return a model's next entry; None while not one version can be loaded."""
        held = self.catalogue.get(name)
        standing = self.store.versions(name)
        stood = self.store.labels(name)
        labels = {k: label.version for k, label in stood.items()}
        wanted = {*standing[-self.keep_versions :], *labels.values()} & {*standing}
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
            # What is wanted is refused: what served goes on, even if it is pruned.
            default = held.default
            versions.setdefault(default, held.versions[default])
        if default not in versions:
            if not versions:
                return None
            default = max(versions)
        trial = _trial(versions, default, stood.get(CANDIDATE))
        return Entry(versions, labels, default, refused, trial)

    def _reasons(self, name: str) -> dict[int, str]:
        standing = self.store.versions(name)
        return {
            v: self._refused[name, v].reason
            for v in standing
            if (name, v) in self._refused
        }

    def _load(self, name: str, version: int) -> Loaded | None:
        """Read and prove one version; a failure is reported once for one file."""
        key, seen = (name, version), self.store.stamp(name, version)
        earlier = self._refused.get(key)
        if earlier is not None and earlier.seen == seen:
            return None
        try:
            artefact = self.store.load(name, version)
        except (ArtefactCorrupt, FileNotFoundError) as error:
            self.store.keys()  # a lost key file is no fault of the version
            if version not in self.store.versions(name):
                return None  # it was pruned meanwhile
            self._refused[key] = _Refusal(seen, str(error))
            self.observe(Event("refused", name, version, str(error)))
            return None
        self._refused.pop(key, None)
        loaded = Loaded(name, version, artefact, datetime.now(UTC))
        self.observe(Event("loaded", name, version, loaded=loaded))
        return loaded

    def watch(
        self, seconds: float, wait: Callable[[float], object] | None = None
    ) -> threading.Event:
        """Refresh every so often in a thread; set the returned event to end it.

        What `wait` waits for beside the time brings the next look forward.
        """
        stop = threading.Event()
        wait = wait or stop.wait

        def loop() -> None:
            while True:
                try:
                    wait(seconds)
                    if stop.is_set():
                        return
                    self.refresh()
                except Exception as error:  # whatever it is, the next look may do
                    self._report_unreadable(repr(error))

        threading.Thread(target=loop, name="store-watcher", daemon=True).start()
        return stop


def _trial(
    versions: Mapping[int, Loaded], default: int, label: Label | None
) -> TrafficSplit | None:
    """Return what a candidate does, if it is to do anything and is loaded."""
    if label is None or not (label.share or label.shadow):
        return None
    candidate = versions.get(label.version)
    if candidate is None or label.version == default:
        return None
    return TrafficSplit(versions[default], candidate, label.share, label.shadow)
