"""A share of the requests, logged with what was asked and answered: off by default.

For those who must see what a model is asked, to label it or to look into a complaint.
A line holds columns as the model reads them (dates in seconds, gaps as null); columns
that are to stay unseen have a word in place of their values.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import Any, NamedTuple

from models.features.inputs import RawColumns
from models.features.predictions import Predictions
from service.registry.loaded import Loaded

log = logging.getLogger("glassnet.payload")

#: Rows in a line; it says how many there were.
MAX_ROWS = 100
REDACTED = "redacted"


@dataclass(frozen=True)
class PayloadLog:
    """Logs one request in so many, without the values of some columns."""

    share: float = 0.0
    redacted: frozenset[str] = frozenset()

    def __call__(self, done: InferenceRecord, about: dict[str, Any]) -> None:
        """Log an answer, if its turn has come, with what is known of its request."""
        if random.random() >= self.share:
            return
        raw = done.raw if isinstance(done.raw, dict) else {"x": done.raw}
        inputs = {
            name: REDACTED if name in self.redacted else _listed(values)
            for name, values in raw.items()
        }
        outputs = {name: _listed(values) for name, values in done.answer.items()}
        log.info(
            "payload",
            extra={
                "model": done.loaded.name,
                "version": done.loaded.version,
                **about,
                "rows": len(next(iter(raw.values()))),
                "inputs": inputs,
                "outputs": outputs,
            },
        )


def columns(setting: str) -> frozenset[str]:
    """Return the names in a setting, which commas part."""
    return frozenset(filter(None, map(str.strip, setting.split(","))))


def _listed(values: Any) -> Any:
    first = values[:MAX_ROWS]
    return first if isinstance(first, list) else first.tolist()


class InferenceRecord(NamedTuple):
    """What was answered, and when: of `time.perf_counter`."""

    loaded: Loaded
    raw: RawColumns
    answer: Predictions
    started: float
    decoded: float
    predicted: float
