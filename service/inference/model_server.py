"""What all routes share, and its life in a worker: load, watch, tell."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import GlassnetError, ModelNotFound
from models.storage.base import PRODUCTION
from service.inference.inference import Inference
from service.middleware.auth import Access
from service.monitoring.metrics import Metrics
from service.monitoring.payload_log import PayloadLog
from service.registry.registry import Event, Registry
from service.server import drain
from service.server.worker_sync import RefreshListener, SharedSet, refresh_all_workers

log = logging.getLogger("glassnet.service")

#: The longest that a request to load or unload waits for the other workers.
LOOK_SECONDS = 30.0


class LoadFailed(GlassnetError):
    """A model that was asked for cannot be served as the store has it."""


class Unavailable(GlassnetError):
    """Something that may do later."""


@dataclass
class ModelServer:
    """Found as `app.extensions["glassnet"]`."""

    registry: Registry
    metrics: Metrics
    inference: Inference
    default_model: str = ""
    max_body_bytes: int = 16 << 20
    #: The lowest status that gets a line in the log.
    logged_from: int = 400
    access: Access = field(default_factory=Access)
    log_payload: PayloadLog = field(default_factory=PayloadLog)
    #: What the workers share; nothing where there is one process.
    directory: Path | None = None

    def __post_init__(self) -> None:
        drift, registry = self.inference.drift, self.registry
        self.metrics.drift.values = lambda: drift.indices(registry.catalogue)
        self.metrics.unreadable.values = lambda: [((), bool(registry.unreadable))]

    @property
    def unready(self) -> str:
        """Why not to send requests; nothing where there is no reason."""
        if drain.active():
            return "draining"
        return "" if self.registry.ready else "no model loaded"

    def start(self, poll_seconds: float, directory: Path) -> None:
        """Begin to watch the store; in each worker, after the fork."""
        self.directory = directory
        ear = RefreshListener(
            directory
        )  # before the first look, which no call is to miss
        self.registry.unloaded = SharedSet(directory / "unloaded")
        self.inference.drift.share(directory)
        for entry in self.registry.catalogue.values():
            for loaded in entry.versions.values():
                self.metrics.show(loaded, True)
        self.registry.observe = self.observe
        self.registry.refresh()
        self.access.refresh()

        def wait(seconds: float) -> None:
            ear.wait(seconds)
            self.access.refresh()

        self.registry.watch(poll_seconds, wait)

    def load(self, name: str) -> None:
        """Have every worker serve a model as the store has it now.

        Raises ModelNotFound, LoadFailed where its version is refused, Unavailable.
        """
        registry = self.registry
        self._require(name, f"failed to load '{name[:128]}': ")
        registry.unloaded.discard(name)
        self._look()
        if registry.unreadable:
            raise Unavailable(f"failed to load '{name}': the store cannot be read")
        entry = registry.catalogue.get(name)
        refused = dict(entry.refused if entry else registry.failed.get(name, {}))
        wanted = max(refused, default=0)
        if entry:
            wanted = entry.labels.get(PRODUCTION, max(wanted, *entry.versions))
        if wanted in refused:
            goes_on = f"; version {entry.default} goes on" if entry else ""
            reason = refused[wanted].replace(f"{registry.store}/", "")
            raise LoadFailed(
                f"failed to load '{name}': version {wanted} is refused: "
                f"{reason}{goes_on}"
            )
        if entry is None:
            raise Unavailable(f"failed to load '{name}': it is gone again")

    def unload(self, name: str) -> None:
        """Have no worker serve a model until it is loaded again.

        Raises ModelNotFound, Unavailable.
        """
        if name not in self.registry.catalogue:
            self._require(name, f"failed to unload '{name[:128]}': ")
        self.registry.unloaded.add(name)
        self._look()

    def _require(self, name: str, what: str) -> None:
        try:
            self.registry.store.require(name)
        except ModelNotFound as error:
            raise ModelNotFound(f"{what}{error}") from None
        except OSError:
            raise Unavailable(f"{what}the store cannot be read") from None

    def _look(self) -> None:
        """Return when every worker has looked at the store, or raise Unavailable."""
        if self.directory is None:
            self.registry.refresh()
        elif silent := refresh_all_workers(self.directory, LOOK_SECONDS):
            raise Unavailable(
                f"{silent} workers have not looked at the store in {LOOK_SECONDS:.0f} s"
            )

    def observe(self, event: Event) -> None:
        """Log and count what a refresh did."""
        log_event(event)
        self.metrics.observe(event)
        if event.result == "unloaded" and event.loaded is not None:
            self.inference.drift.forget(event.loaded)


def log_event(event: Event) -> None:
    """Log what a refresh did."""
    bad = event.result in ("refused", "unreadable")
    what = f"model {event.model} version {event.version}" if event.model else "store"
    log.log(
        logging.ERROR if bad else logging.INFO,
        f"{what} {event.result}" + (f": {event.detail}" if event.detail else ""),
        extra={"model": event.model, "version": event.version},
    )
