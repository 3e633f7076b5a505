"""Loaded versions, models, and the traffic split between candidate and production.

Only requests that name neither version nor label are split. A canary answers a share
of them, by a hash of the request's id: the same id always gets the same version, and a
growing share keeps the requests it had. A shadow answers all of them too, and its
answers are not sent. Both are compared with production (`service.inference.shadow`).
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
    #: Set if its answers are compared with another version's.
    split: TrafficSplit | None = None

    @cached_property
    def explainer(self) -> Explainer:
        """Explains its answers; made for the first explanation."""
        return Explainer(self.artefact)


@dataclass(frozen=True)
class Entry:
    """One model: its loaded versions, its labels, and why others are not loaded."""

    versions: Mapping[int, Loaded]
    labels: Mapping[str, int]
    default: int
    refused: Mapping[int, str]
    split: TrafficSplit | None = None


@dataclass(frozen=True)
class TrafficSplit:
    """A loaded candidate beside production, and its share of the requests."""

    production: Loaded
    candidate: Loaded
    share: float
    shadow: bool

    def choose(self, request_id: str) -> Loaded:
        """Return the version that answers a request."""
        canary, production = self._answers
        return canary if unit_hash(request_id) < self.share else production

    @cached_property
    def _answers(self) -> tuple[Loaded, Loaded]:
        production = self.production
        return (
            replace(self.candidate, split=self),
            replace(production, split=self) if self.shadow else production,
        )

    def fallback(self, loaded: Loaded) -> Loaded | None:
        """Return production if the candidate failed, and None if production did."""
        production = self.production
        return None if loaded.version == production.version else production

    def other(self, loaded: Loaded) -> Loaded:
        """Return the version that did not answer."""
        candidate = self.candidate
        return self.production if loaded.version == candidate.version else candidate


def unit_hash(request_id: str) -> float:
    """Return a hash of an id, uniform over [0, 1)."""
    digest = hashlib.blake2b(request_id.encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / (1 << 48)
