"""Decode, predict, encode, measure: what every dialect has in common, without HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from models.errors import InvalidInput
from models.model import Raw
from models.output import Answer
from service.comparison import Comparisons
from service.drift import Drift
from service.metrics import Metrics
from service.registry import Loaded

T = TypeVar("T")


@dataclass(frozen=True)
class Inference:
    """Answers rows with a loaded version, and counts them."""

    metrics: Metrics
    max_rows: int
    drift: Drift
    comparisons: Comparisons

    @overload
    def answer(self, loaded: Loaded, decode: Callable[[Any], Raw]) -> Answer: ...

    @overload
    def answer(
        self,
        loaded: Loaded,
        decode: Callable[[Any], Raw],
        encode: Callable[[Answer], T],
    ) -> T: ...

    def answer(
        self,
        loaded: Loaded,
        decode: Callable[[Any], Raw],
        encode: Callable[[Answer], Any] = lambda answer: answer,
    ) -> Any:
        """Return, encoded, the answer to the rows `decode` gets from the decoder.

        Raises InvalidInput for rows that do not fit the signature, or are too many.
        """
        started = time.perf_counter()
        model = loaded.artefact.model
        try:
            raw = decode_within(decode, model.decoder, self.max_rows)
            decoded = time.perf_counter()
            answer = model.predict(raw)
            predicted = time.perf_counter()
            reply = encode(answer)
        except Exception as error:
            reason = "invalid_input" if isinstance(error, InvalidInput) else "internal"
            self.metrics.failed(loaded, reason, time.perf_counter() - started)
            raise
        ended = time.perf_counter()
        phases = decoded - started, predicted - decoded, ended - predicted
        self.metrics.answered(loaded, rows_of(answer), phases)
        self.drift.record(loaded, raw, answer)
        if loaded.trial is not None:
            self.comparisons.put(loaded, raw, answer, rows_of(answer))
        return reply


def decode_within(decode: Callable[[Any], Raw], decoder: Any, max_rows: int) -> Raw:
    """Decode, and refuse more rows than are allowed."""
    raw = decode(decoder)
    require_rows(rows_of(raw), max_rows)
    return raw


def require_rows(n: int, max_rows: int) -> None:
    """Refuse more rows than are allowed; a dialect may ask before they are decoded."""
    if n > max_rows:
        raise InvalidInput(
            f"{n} rows in one request, at most {max_rows} are allowed "
            "(GLASSNET_MAX_ROWS)"
        )


def rows_of(raw: Raw | Answer) -> int:
    """Return the number of rows, asked or answered."""
    return len(next(iter(raw.values())) if isinstance(raw, dict) else raw)
