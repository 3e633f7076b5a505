"""What all routes share, and its life in a worker: load, watch, tell."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from service import drain
from service.inference import Inference
from service.metrics import Metrics
from service.registry import Event, Registry

log = logging.getLogger("glassnet.service")


@dataclass
class Engine:
    """Found as `app.extensions["glassnet"]`."""

    registry: Registry
    metrics: Metrics
    inference: Inference
    default_model: str = ""

    @property
    def unready(self) -> str:
        """Why not to send requests; nothing where there is no reason."""
        if drain.active():
            return "draining"
        return "" if self.registry.ready else "no model loaded"

    def start(self, poll_seconds: float) -> None:
        """Begin to watch the store; in each worker, after the fork."""
        for entry in self.registry.catalogue.values():
            for loaded in entry.versions.values():
                self.metrics.show(loaded, True)
        self.registry.observe = self.observe
        self.registry.refresh()
        self.registry.watch(poll_seconds)

    def observe(self, event: Event) -> None:
        """Log and count what a refresh did."""
        tell(event)
        self.metrics.observe(event)


def tell(event: Event) -> None:
    """Log what a refresh did."""
    bad = event.result in ("refused", "unreadable")
    what = f"model {event.model} version {event.version}" if event.model else "store"
    log.log(
        logging.ERROR if bad else logging.INFO,
        f"{what} {event.result}" + (f": {event.detail}" if event.detail else ""),
        extra={"model": event.model, "version": event.version},
    )
