"""Logged predictions as Parquet files in a folder or a bucket, to be learnt from.

Each worker collects rows and writes them from a thread, a file for each version:

    FOLDER/MODEL/VERSION-20261130T030000-HOST-PROCESS-NUMBER.parquet

A file has the inputs as columns, without the redacted ones, what was predicted, and the
columns of `models.codecs.payload`. Files appear whole.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from models.codecs import payload
from models.errors import ConfigError
from models.features.inputs import RawColumns, length
from models.features.predictions import Predictions
from models.features.table import TableInput
from service.registry.loaded import Loaded

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger("glassnet.payload")

#: Rows after which a file is written, and rows that wait at most.
ROWS, WAITING = 10_000, 100_000


class Logged(NamedTuple):
    """The rows of a request to a version, and their predictions."""

    loaded: Loaded
    raw: RawColumns
    answer: Predictions
    request_id: str
    time: float


class PayloadFiles:
    """Collects logged predictions of tables and writes them as files."""

    def __init__(self, address: str, redacted: frozenset[str], seconds: float) -> None:
        """Take a folder or bucket; raises ConfigError without polars or obstore."""
        if importlib.util.find_spec("polars") is None:
            raise ConfigError("Parquet files need: pip install 'glassnet[payload]'")
        self.redacted, self.seconds = redacted, seconds
        self._put = _writer(address)
        self._waiting: defaultdict[tuple[str, int], list[Logged]] = defaultdict(list)
        self._rows = self._lost = self._number = 0
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._stopped = False

    def start(self) -> None:
        """Start writing; for each worker, after the fork."""
        self._thread = threading.Thread(target=self._run, name="payloads", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and end."""
        self._stopped = True
        self._wake.set()
        self._thread.join(30)

    def add(
        self, loaded: Loaded, raw: RawColumns, answer: Predictions, request_id: str
    ) -> None:
        """Keep the rows of a request until they are written."""
        logged = Logged(loaded, raw, answer, request_id, time.time())
        rows = length(raw)
        with self._lock:
            if self._rows + rows > WAITING:
                self._lost += rows
                return
            self._rows += rows
            self._waiting[loaded.name, loaded.version].append(logged)
        if self._rows >= ROWS:
            self._wake.set()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait(self.seconds)
            self._wake.clear()
            self._write()

    def _write(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, defaultdict(list)
            lost, self._rows, self._lost = self._lost, 0, 0
        if lost:
            log.error("%s rows were not logged: too many at once", lost)
        for (name, version), requests in waiting.items():
            self._number += 1
            moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
            writer = f"{socket.gethostname()}-{os.getpid()}-{self._number}"
            frame, content = self.frame(requests), io.BytesIO()
            frame.write_parquet(content)
            try:
                self._put(
                    f"{name}/{version}-{moment}-{writer}.parquet", content.getvalue()
                )
            except OSError as error:
                log.error(
                    "%s rows were not logged: %s", len(frame), error.strerror or error
                )

    def frame(self, requests: list[Logged]) -> pl.DataFrame:
        """Return the rows of requests to one version as a table."""
        import polars as pl

        inputs = requests[0].loaded.artefact.manifest.inputs
        assert isinstance(inputs, TableInput)
        types = {
            "numeric": pl.Float64(),
            "boolean": pl.Boolean(),
            "datetime": pl.String(),
            "categorical": pl.String(),
        }
        columns = []
        for column in inputs.columns:
            if column.name in self.redacted:
                continue
            values = [
                value
                for logged in requests
                for value in column.to_json(logged.raw[column.name])
            ]
            kind = inputs.kinds[column.name]
            series = pl.Series(column.name, values, types[kind], strict=False)
            columns.append(series.str.to_datetime() if kind == "datetime" else series)
        return pl.DataFrame([*columns, *_kept(requests)])


def _kept(requests: list[Logged]) -> list[pl.Series]:
    """Return the columns beside the inputs: id, time, version and predictions."""
    import polars as pl

    kept: dict[str, list[Any]] = defaultdict(list)
    for loaded, raw, answer, request_id, moment in requests:
        rows = length(raw)
        kept[payload.ID] += [payload.row_id(request_id, i, rows) for i in range(rows)]
        kept[payload.TIME] += [datetime.fromtimestamp(moment, UTC)] * rows
        kept[f"{payload.PREFIX}version"] += [loaded.version] * rows
        for name, values in answer.items():
            listed = values if isinstance(values, list) else values.tolist()
            kept[payload.PREFIX + name] += listed
    return [pl.Series(name, values, strict=False) for name, values in kept.items()]


def _writer(address: str) -> Callable[[str, bytes], object]:
    """Return what writes a file below an address."""
    if "://" in address:
        from models.storage.bucket import Bucket

        return Bucket(address).put

    def write(name: str, content: bytes) -> None:
        path = Path(address, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(f".{path.name}")
        hidden.write_bytes(content)
        hidden.rename(path)

    return write
