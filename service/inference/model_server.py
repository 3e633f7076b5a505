"""The objects that all routes share, and their life in a worker: load and watch."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import GlassnetError, ModelNotFound
from models.storage.base import PRODUCTION
from service.inference.inference import Inference
from service.middleware.auth import Access
from service.monitoring.metrics import Metrics
from service.monitoring.payload_log import PayloadLog
from service.monitoring.telemetry import Telemetry
from service.monitoring.traffic import TrafficHistory
from service.registry.registry import Event, Registry
from service.registry.watcher import Watcher
from service.server import drain
from service.server.worker_sync import RefreshListener, SharedSet, refresh_all_workers

log = logging.getLogger("glassnet.service")

#: How long a request to load or unload waits for the other workers.
REFRESH_SECONDS = 30.0
#: How long a worker that starts waits for its first refresh: it has the models that the
#: master loaded, and a store may hang.
FIRST_REFRESH_SECONDS = 5.0


class LoadFailed(GlassnetError):
    """The requested model cannot be loaded from the store."""


class Unavailable(GlassnetError):
    """The request may succeed later."""


@dataclass
class ModelServer:
    """The service behind HTTP; stored as `app.extensions["glassnet"]`."""

    registry: Registry
    metrics: Metrics
    inference: Inference
    default_model: str = ""
    max_body_bytes: int = 16 << 20
    #: The lowest status that is logged.
    logged_from: int = 400
    access: Access = field(default_factory=Access)
    log_payload: PayloadLog = field(default_factory=PayloadLog)
    #: Where traces and metrics go, and in a worker what sends them.
    otlp_endpoint: str = ""
    telemetry: Telemetry | None = None
    #: Held by the one large request that is being answered.
    turn: threading.Lock = field(default_factory=threading.Lock)
    #: The directory that the workers share; None in a single process.
    directory: Path | None = None
    #: The threads that watch the store and the tokens.
    watchers: list[Watcher] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.history = TrafficHistory(self.metrics)
        drift, registry = self.inference.drift, self.registry
        self.metrics.drift.values = lambda: drift.indices(registry.catalogue)
        self.metrics.unreadable.values = lambda: [((), bool(registry.unreadable))]
        self.metrics.unreadable_models.values = lambda: [
            ((), len(registry.unreadable_models))
        ]

    @property
    def unready(self) -> str:
        """Why the server is not ready; empty if it is."""
        if drain.active():
            return "draining"
        if not self.registry.ready:
            return "no model loaded"
        return "; ".join(w.fault for w in self.watchers if not w.alive)

    @property
    def warning(self) -> str:
        """The faults that do not stop the server from answering, or an empty text."""
        faults = [watcher.fault for watcher in self.watchers]
        if self.registry.unreadable:
            faults.append("the store cannot be read; the log says why")
        return "; ".join(filter(None, faults))

    def start(self, poll_seconds: float, directory: Path) -> None:
        """Start watching store and tokens; for each worker, after the fork."""
        self.directory = directory
        # Before the first refresh, so that no call is missed.
        listener = RefreshListener(directory)
        self.registry.unloaded = SharedSet(directory / "unloaded")
        self.inference.drift.share(directory)
        for entry in self.registry.catalogue.values():
            for loaded in entry.versions.values():
                self.metrics.set_loaded(loaded, True)
        self.registry.observe = self.observe
        self.metrics.last_refresh.set_to_current_time()  # of the models it begins with
        # Apart from each other: a store that hangs must not keep a revoked token alive.
        self.watchers = [
            Watcher(
                "store watcher",
                self._refresh,
                poll_seconds,
                listener.wait,
                self.registry.report_unreadable,
            )
        ]
        if self.access.predict_tokens or self.access.admin_tokens:
            tokens = Watcher("token watcher", self.access.refresh, poll_seconds)
            self.watchers.append(tokens)
        for watcher in self.watchers:
            watcher.start(FIRST_REFRESH_SECONDS)
        if self.log_payload.files is not None:
            self.log_payload.files.start()
        if self.otlp_endpoint:
            self.telemetry = Telemetry(self.otlp_endpoint, self.metrics, directory)

    def stop(self) -> None:
        """Send and write what is waiting; for each worker, before it exits."""
        for sender in self.telemetry, self.log_payload.files:
            if sender is not None:
                sender.stop()

    def _refresh(self) -> None:
        """Refresh from the store, and record when it was last read, and the traffic."""
        self.history.record()
        self.registry.refresh()
        if not self.registry.unreadable:
            self.metrics.last_refresh.set_to_current_time()

    def load(self, name: str) -> None:
        """Make every worker load a model as the store has it now.

        Raises ModelNotFound, LoadFailed if its version is refused, or Unavailable.
        """
        registry = self.registry
        self._require(name, f"failed to load '{name[:128]}': ")
        registry.unloaded.discard(name)
        self._refresh_all()
        if registry.unreadable:
            raise Unavailable(f"failed to load '{name}': the store cannot be read")
        if reason := registry.unreadable_models.get(name):
            reason = reason.replace(f"{registry.store}/", "")
            raise LoadFailed(f"failed to load '{name}': it cannot be read: {reason}")
        entry = registry.catalogue.get(name)
        refused = dict(entry.refused if entry else registry.failed.get(name, {}))
        wanted = max(refused, default=0)
        if entry:
            wanted = entry.labels.get(PRODUCTION, max(wanted, *entry.versions))
        if wanted in refused:
            serving = f"; version {entry.default} still serves" if entry else ""
            reason = refused[wanted].replace(f"{registry.store}/", "")
            raise LoadFailed(
                f"failed to load '{name}': version {wanted} is refused: "
                f"{reason}{serving}"
            )
        if entry is None:
            raise Unavailable(
                f"failed to load '{name}': it was removed from the store meanwhile"
            )

    def unload(self, name: str) -> None:
        """Make every worker unload a model until it is loaded again.

        Raises ModelNotFound or Unavailable.
        """
        if name not in self.registry.catalogue:
            self._require(name, f"failed to unload '{name[:128]}': ")
        self.registry.unloaded.add(name)
        self._refresh_all()

    def _require(self, name: str, failure: str) -> None:
        try:
            self.registry.store.require(name)
        except ModelNotFound as error:
            raise ModelNotFound(f"{failure}{error}") from None
        except OSError:
            raise Unavailable(f"{failure}the store cannot be read") from None

    def _refresh_all(self) -> None:
        """Refresh every worker; raise Unavailable if one does not in time."""
        if self.directory is None:
            self.registry.refresh()
        elif silent := refresh_all_workers(self.directory, REFRESH_SECONDS):
            raise Unavailable(
                f"{silent} workers have not refreshed from the store within "
                f"{REFRESH_SECONDS:.0f} s"
            )

    def observe(self, event: Event) -> None:
        """Log and count a change made by a refresh."""
        log_event(event)
        self.metrics.observe(event)
        if event.result == "unloaded" and event.loaded is not None:
            self.inference.drift.forget(event.loaded)


def log_event(event: Event) -> None:
    """Log a change made by a refresh."""
    bad = event.result in ("refused", "unreadable")
    subject = "store"
    if event.model:
        subject = f"model {event.model}"
    if event.version:
        subject += f" version {event.version}"
    log.log(
        logging.ERROR if bad else logging.INFO,
        f"{subject} {event.result}" + (f": {event.detail}" if event.detail else ""),
        extra={"model": event.model, "version": event.version},
    )
