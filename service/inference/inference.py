"""Decode, predict, encode, measure: what every dialect has in common, without HTTP."""

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

#: What a list of rows begins with, and what each of them ends with.
_ENDS = {"[[": b"]", "[{": b"}"}
#: Bytes of which rows are counted before they are decoded.
LARGE = 1 << 20
_ROWS = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True)
class Inference:
    """Answers rows with a loaded version, and counts them."""

    metrics: Metrics
    max_rows: int
    drift: Drift
    comparisons: ShadowComparer
    _of_thread: threading.local = field(default_factory=threading.local)

    def take_record(self) -> InferenceRecord | None:
        """Return, once, what this thread answered last."""
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
        """Return, encoded, the answer to the rows `decode` gets from the decoder.

        What was decoded before counts from when it `started` (`time.perf_counter`).
        Raises InvalidInput for rows that do not fit the signature, or are too many.
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


def rows_within(decoder: Any, raw: Json, most: int) -> RawColumns:
    """Decode a list of rows, but not too many: to make millions takes seconds."""
    if len(raw) > LARGE and (end := _ENDS.get(opening(raw)[:2])):
        _skim(bytes(raw), end, most)
    rows: RawColumns = decoder.rows(raw)
    return rows


def _skim(text: bytes, end: bytes, most: int) -> None:
    """Refuse more rows than allowed by their brackets, of which they may have more."""
    beyond = next(itertools.islice(re.finditer(re.escape(end), text), most, None), None)
    if beyond is None:
        return
    for part in (text[: beyond.end()] + b"]", text):  # enough, where rows are flat
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):  # the decoder tells
            if len(_ROWS.decode(part)) > most:
                raise InvalidInput(
                    f"more than {most} rows in one request (GLASSNET_MAX_ROWS)"
                )


def rows_of(raw: RawColumns | Predictions) -> int:
    """Return the number of rows, asked or answered."""
    return len(next(iter(raw.values())) if isinstance(raw, dict) else raw)
