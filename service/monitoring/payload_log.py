"""Log a share of the requests with inputs and predictions; off by default.

This is for labelling production data or looking into a complaint. A line holds columns
as the model reads them (dates in seconds, missing values as null). The values of
redacted columns are left out. With a folder for them, rows of tables go into files.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import Any, NamedTuple

from models.features.inputs import RawColumns
from models.features.predictions import Predictions
from service.monitoring.payload_files import PayloadFiles
from service.registry.loaded import Loaded

log = logging.getLogger("glassnet.payload")

#: Rows logged of one request; `rows` has their full number.
MAX_ROWS = 100
REDACTED = "redacted"


@dataclass(frozen=True)
class PayloadLog:
    """Log a share of the requests, without the values of redacted columns."""

    share: float = 0.0
    redacted: frozenset[str] = frozenset()
    files: PayloadFiles | None = None

    def __call__(self, record: InferenceRecord, trace_ids: dict[str, Any]) -> None:
        """Log an inference with the ids of its request, if it is drawn."""
        if random.random() >= self.share:
            return
        if self.files is not None and isinstance(record.raw, dict):
            request_id = trace_ids["request_id"]
            self.files.add(record.loaded, record.raw, record.answer, request_id)
            return
        raw = record.raw if isinstance(record.raw, dict) else {"x": record.raw}
        inputs = {
            name: REDACTED if name in self.redacted else _listed(values)
            for name, values in raw.items()
        }
        outputs = {name: _listed(values) for name, values in record.answer.items()}
        log.info(
            "payload",
            extra={
                "model": record.loaded.name,
                "version": record.loaded.version,
                **trace_ids,
                "rows": len(next(iter(raw.values()))),
                "inputs": inputs,
                "outputs": outputs,
            },
        )


def columns(setting: str) -> frozenset[str]:
    """Return the names in a comma-separated setting."""
    return frozenset(filter(None, map(str.strip, setting.split(","))))


def _listed(values: Any) -> Any:
    first = values[:MAX_ROWS]
    return first if isinstance(first, list) else first.tolist()


class InferenceRecord(NamedTuple):
    """One inference: its rows, its predictions and times of `time.perf_counter`."""

    loaded: Loaded
    raw: RawColumns
    answer: Predictions
    started: float
    decoded: float
    predicted: float
