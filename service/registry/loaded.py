"""What is loaded: a version, a model, and a candidate beside production.

A candidate is for requests that name neither version nor label.

By its share of the requests it answers them, as a canary: the same requests each time,
by a hash of their id, and as the share grows those it had and more. Or it answers all
of them in the shadow of production, which nobody sees. Either way its answers are
compared with production's (`service.inference.shadow`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from models.explain.integrated_gradients import Explainer
from models.storage.artefact import Artefact


@dataclass(frozen=True)
class Loaded:
    """One version in memory."""

    name: str
    version: int
    artefact: Artefact
    since: datetime
    #: Set where what it answers is part of a trial.
    trial: TrafficSplit | None = None

    @cached_property
    def explainer(self) -> Explainer:
        """What explains its answers: made when the first is asked for."""
        return Explainer(self.artefact)


@dataclass(frozen=True)
class Entry:
    """One model: its loaded versions, its labels, and why others are not loaded."""

    versions: Mapping[int, Loaded]
    labels: Mapping[str, int]
    default: int
    refused: Mapping[int, str]
    trial: TrafficSplit | None = None


@dataclass(frozen=True)
class TrafficSplit:
    """Two versions that are loaded, and what the second does beside the first."""

    production: Loaded
    candidate: Loaded
    share: float
    shadow: bool

    def choose(self, request_id: str) -> Loaded:
        """Return the version that answers a request, which knows of the trial if it
        takes part in it."""
        canary, production = self._answering
        return canary if turn(request_id) < self.share else production

    @cached_property
    def _answering(self) -> tuple[Loaded, Loaded]:
        production = self.production
        return (
            replace(self.candidate, trial=self),
            replace(production, trial=self) if self.shadow else production,
        )

    def fallback(self, loaded: Loaded) -> Loaded | None:
        """Return what answers where one could not: production, unless it was that."""
        production = self.production
        return None if loaded.version == production.version else production

    def other(self, loaded: Loaded) -> Loaded:
        """Return the version beside the one that answers."""
        candidate = self.candidate
        return self.production if loaded.version == candidate.version else candidate


def turn(request_id: str) -> float:
    """Return where an id falls in [0, 1), evenly, and the same each time."""
    digest = hashlib.blake2b(request_id.encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / (1 << 48)
