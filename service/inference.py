"""Decode, predict, measure: what every dialect has in common, without HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.errors import InvalidInput
from models.model import Raw
from models.output import Answer
from service.metrics import Metrics
from service.registry import Loaded


@dataclass(frozen=True)
class Inference:
    """Answers rows with a loaded version, and counts them."""

    metrics: Metrics
    max_rows: int

    def answer(self, loaded: Loaded, decode: Callable[[Any], Raw]) -> Answer:
        """Return the answer to the rows that `decode` gets from the model's decoder.

        Raises InvalidInput for rows that do not fit the signature, or are too many.
        """
        started = time.perf_counter()
        labels = (loaded.name, str(loaded.version))
        model = loaded.artefact.model
        try:
            answer = model.predict(decode_within(decode, model.decoder, self.max_rows))
        except InvalidInput:
            self.metrics.failures.labels(*labels, "invalid_input").inc()
            raise
        except Exception:
            self.metrics.failures.labels(*labels, "internal").inc()
            raise
        self.metrics.inference_seconds.labels(*labels).observe(
            time.perf_counter() - started
        )
        self.metrics.rows.labels(*labels).inc(rows_of(answer))
        return answer


def decode_within(decode: Callable[[Any], Raw], decoder: Any, max_rows: int) -> Raw:
    """Decode, and refuse more rows than are allowed."""
    raw = decode(decoder)
    n = len(next(iter(raw.values())) if isinstance(raw, dict) else raw)
    require_rows(n, max_rows)
    return raw


def require_rows(n: int, max_rows: int) -> None:
    """Refuse more rows than are allowed; a dialect may ask before they are decoded."""
    if n > max_rows:
        raise InvalidInput(
            f"{n} rows in one request, at most {max_rows} are allowed "
            "(GLASSNET_MAX_ROWS)"
        )


def rows_of(answer: Answer) -> int:
    """Return the number of rows in an answer."""
    return len(next(iter(answer.values())))
