"""Decode, predict, encode and measure, for every dialect and without HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

from models.codecs.decoder import n_rows
from models.errors import InvalidInput, TooManyRows
from models.features.inputs import RawColumns
from models.features.predictions import Predictions
from service.inference.shadow import ShadowComparer
from service.monitoring.drift import Drift
from service.monitoring.metrics import Metrics
from service.monitoring.payload_log import InferenceRecord
from service.registry.loaded import Loaded

T = TypeVar("T")


@dataclass(frozen=True)
class Inference:
    """Answer rows with a loaded version, and measure."""

    metrics: Metrics
    max_rows: int
    drift: Drift
    comparisons: ShadowComparer
    _of_thread: threading.local = field(default_factory=threading.local)

    def take_record(self) -> InferenceRecord | None:
        """Return the record of this thread's last inference, once."""
        done: InferenceRecord | None = self._of_thread.__dict__.pop("last", None)
        return done

    @overload
    def answer(
        self,
        loaded: Loaded,
        decode: Callable[[Any], RawColumns],
        *,
        interval: float | None = ...,
    ) -> Predictions: ...

    @overload
    def answer(
        self,
        loaded: Loaded,
        decode: Callable[[Any], RawColumns],
        encode: Callable[[Predictions], T],
        started: float = ...,
        interval: float | None = ...,
    ) -> T: ...

    def answer(
        self,
        loaded: Loaded,
        decode: Callable[[Any], RawColumns],
        encode: Callable[[Predictions], Any] = lambda answer: answer,
        started: float = 0.0,
        interval: float | None = None,
    ) -> Any:
        """Return the encoded predictions for the rows that `decode` returns.

        `started` (`time.perf_counter`) is when decoding began, if before this call.
        With `interval`, a level such as 0.9, the predictions have its ends too. Raises
        InvalidInput for rows that do not fit the signature, or too many, and for an
        interval that the model does not have.
        """
        started = started or time.perf_counter()
        model = loaded.artefact.model
        try:
            raw = decode_within(decode, model.decoder, self.max_rows)
            decoded = time.perf_counter()
            answer = model.predict(raw, interval)
            predicted = time.perf_counter()
            reply = encode(answer)
        except Exception as error:
            reason = "invalid_input" if isinstance(error, InvalidInput) else "internal"
            self.metrics.count_failure(loaded, reason, time.perf_counter() - started)
            raise
        ended = time.perf_counter()
        phases = decoded - started, predicted - decoded, ended - predicted
        self.metrics.count_inference(loaded, n_rows(answer), phases)
        self._of_thread.last = InferenceRecord(
            loaded, raw, answer, started, decoded, predicted
        )
        self.metrics.count_unknown(loaded, raw)
        self.drift.record(loaded, raw, answer)
        if loaded.split is not None:
            self.comparisons.put(loaded, raw, answer, n_rows(answer))
        return reply


def decode_within(
    decode: Callable[[Any], RawColumns], decoder: Any, max_rows: int
) -> RawColumns:
    """Decode rows; raises InvalidInput for more than `max_rows`."""
    try:
        raw = decode(decoder)
    except TooManyRows:
        raise InvalidInput(
            f"more than {max_rows} rows in one request (GLASSNET_MAX_ROWS)"
        ) from None
    if (n := n_rows(raw)) > max_rows:
        raise InvalidInput(
            f"{n} rows in one request, at most {max_rows} are allowed "
            "(GLASSNET_MAX_ROWS)"
        )
    return raw
