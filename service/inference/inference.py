"""Decode, predict, encode and measure, for every dialect and without HTTP."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

import msgspec

from models.codecs.json import Json, opening
from models.errors import InvalidInput
from models.features.inputs import RawColumns
from models.features.predictions import Predictions
from service.inference.shadow import ShadowComparer
from service.monitoring.drift import Drift
from service.monitoring.metrics import Metrics
from service.monitoring.payload_log import InferenceRecord
from service.registry.loaded import Loaded

T = TypeVar("T")

#: How a list of rows begins, and how each row ends.
_ENDS = {"[[": b"]", "[{": b"}"}
#: Rows of a longer text, in bytes, are counted before they are decoded.
LARGE = 1 << 20
_ROWS = msgspec.json.Decoder(list[msgspec.Raw])


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
        self, loaded: Loaded, decode: Callable[[Any], RawColumns]
    ) -> Predictions: ...

    @overload
    def answer(
        self,
        loaded: Loaded,
        decode: Callable[[Any], RawColumns],
        encode: Callable[[Predictions], T],
        started: float = ...,
    ) -> T: ...

    def answer(
        self,
        loaded: Loaded,
        decode: Callable[[Any], RawColumns],
        encode: Callable[[Predictions], Any] = lambda answer: answer,
        started: float = 0.0,
    ) -> Any:
        """Return the encoded predictions for the rows that `decode` returns.

        `started` (`time.perf_counter`) is when decoding began, if before this call.
        Raises InvalidInput for rows that do not fit the signature, or too many.
        """
        started = started or time.perf_counter()
        model = loaded.artefact.model
        try:
            raw = decode_within(decode, model.decoder, self.max_rows)
            decoded = time.perf_counter()
            answer = model.predict(raw)
            predicted = time.perf_counter()
            reply = encode(answer)
        except Exception as error:
            reason = "invalid_input" if isinstance(error, InvalidInput) else "internal"
            self.metrics.count_failure(loaded, reason, time.perf_counter() - started)
            raise
        ended = time.perf_counter()
        phases = decoded - started, predicted - decoded, ended - predicted
        self.metrics.count_inference(loaded, rows_of(answer), phases)
        self._of_thread.last = InferenceRecord(
            loaded, raw, answer, started, decoded, predicted
        )
        self.drift.record(loaded, raw, answer)
        if loaded.split is not None:
            self.comparisons.put(loaded, raw, answer, rows_of(answer))
        return reply


def decode_within(
    decode: Callable[[Any], RawColumns], decoder: Any, max_rows: int
) -> RawColumns:
    """Decode rows; raises InvalidInput for more than `max_rows`."""
    raw = decode(decoder)
    require_rows(rows_of(raw), max_rows)
    return raw


def require_rows(n: int, max_rows: int) -> None:
    """Raise InvalidInput for more rows than are allowed."""
    if n > max_rows:
        raise InvalidInput(
            f"{n} rows in one request, at most {max_rows} are allowed "
            "(GLASSNET_MAX_ROWS)"
        )


def rows_within(decoder: Any, raw: Json, max_rows: int) -> RawColumns:
    """Decode a list of rows.

    Raises InvalidInput for too many, before decoding them: millions take seconds.
    """
    if len(raw) > LARGE and (end := _ENDS.get(opening(raw)[:2])):
        _skim(bytes(raw), end, max_rows)
    rows: RawColumns = decoder.rows(raw)
    return rows


def _skim(text: bytes, end: bytes, max_rows: int) -> None:
    """Count rows by their brackets first, then exactly, since rows may be nested."""
    beyond = next(
        itertools.islice(re.finditer(re.escape(end), text), max_rows, None), None
    )
    if beyond is None:
        return
    for part in (
        text[: beyond.end()] + b"]",
        text,
    ):  # the first is enough if rows are flat
        with suppress(
            msgspec.MsgspecError, UnicodeDecodeError
        ):  # the decoder reports it
            if len(_ROWS.decode(part)) > max_rows:
                raise InvalidInput(
                    f"more than {max_rows} rows in one request (GLASSNET_MAX_ROWS)"
                )


def rows_of(raw: RawColumns | Predictions) -> int:
    """Return the number of rows."""
    return len(next(iter(raw.values())) if isinstance(raw, dict) else raw)
