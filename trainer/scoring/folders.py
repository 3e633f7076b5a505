"""Predicts the files of a folder or glob, each into a file of its own.

The result of FILE.csv or FILE.parquet is FILE.parquet, which appears whole. It names
the model: in its metadata, or in a bucket in its note, with the revision of its file.
So a run that was interrupted continues with the files that are left, and a run with
another model does them all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from models.errors import ConfigError, DataError
from models.storage.factory import in_bucket
from trainer.data import Source, read_tables
from trainer.data.batches import TableFile
from trainer.data.bucket_files import copied, list_bucket
from trainer.data.files import CSV, PARQUET
from trainer.data.results import appearing, read_note
from trainer.engines import open_engine
from trainer.engines.base import Engine
from trainer.engines.serial import SerialEngine
from trainer.scoring.batches import BatchScorer
from trainer.scoring.files import KEY, Scoring, write
from trainer.types import Say

#: The engines that predict files; without one, one file after the other.
ScoringEngine: TypeAlias = Literal["ray"]


@dataclass(frozen=True)
class FileTask:
    """A file, its path below the folder, its revision, and where its result will be."""

    file: str
    below: str
    modified: int
    revision: str
    result: str = ""

    def note(self, metadata: str) -> str:
        """Return the note of a result in a bucket."""
        return hashlib.sha256(f"{metadata} {self.revision}".encode()).hexdigest()


class FolderResult(NamedTuple):
    """The rows predicted, the files written, and those that were there already."""

    rows: int
    written: int
    left: int


def is_folder(source: Source | str) -> bool:
    """Tell whether data are a folder or a glob; in a bucket they may be."""
    address = str(source)
    if "://" in address:
        return in_bucket(address)
    return Path(address).is_dir() or bool(set(address) & set("*?["))


def predict_folder(
    scorer: BatchScorer,
    source: Source | str,
    out: Path | str,
    say: Say,
    engine: ScoringEngine | None = None,
) -> FolderResult:
    """Write the predictions of each file to a file of the folder `out`.

    A result is left if the same model has written it since its file was last changed,
    or if another process is writing it. Raises ConfigError and DataError as `predict`,
    before the first file is written if one of this disk lacks a column.
    """
    if engine:  # other processes have other working directories
        scorer = replace(scorer, store=_absolute(scorer.store))
        source, out = _absolute(str(source)), _absolute(str(out))
    scoring = scorer.scoring()
    tasks = _tasks(source, str(out))
    if not tasks:
        raise ConfigError(
            f"--out {out}: expected a .csv or .parquet file, since {source} is no "
            "folder of tables"
        )
    todo = [task for task in tasks if not _is_done(scoring, task)]
    for task in todo:
        if not in_bucket(task.file):
            scoring.schema(TableFile(Path(task.file), Path(task.below)))
    spread = engine is not None and todo
    held = open_engine("ray", None, 1, say) if spread else nullcontext(SerialEngine())
    with held as runner:
        found = _rows(runner, scorer, todo, say)
    written = [rows for rows in found if rows is not None]
    return FolderResult(sum(written), len(written), len(tasks) - len(written))


def _rows(
    engine: Engine, scorer: BatchScorer, tasks: Sequence[FileTask], say: Say
) -> list[int | None]:
    return engine.map(
        predict_file, scorer, tasks, lambda number, sentence: say(sentence)
    )


def predict_file(
    scorer: BatchScorer, task: FileTask, report: Callable[[str], None]
) -> int | None:
    """Write the predictions of a file; return its rows, or None if another does.

    Reports one sentence. Raises DataError.
    """
    try:
        scoring = scorer.scoring()
        note = task.note(scoring.metadata)
        if not in_bucket(task.result):
            Path(task.result).parent.mkdir(parents=True, exist_ok=True)
        with _copy(task.file) as path, appearing(task.result, note) as temporary:
            table = TableFile(path, Path(task.below))
            schema = scoring.schema(table)
            frames = scoring.frames(table, schema)
            rows = write(frames, schema, temporary, scoring.metadata)
    except BlockingIOError:
        report(f"{task.result}: another process is writing it")
        return None
    except OSError as error:  # on another machine it would be no sentence
        place = f"{error.filename}: " if error.filename else ""
        raise DataError(f"{place}{error.strerror or error}") from None
    report(f"{task.result}: {rows:,} rows")
    return rows


@contextmanager
def _copy(file: str) -> Iterator[Path]:
    """Yield the path of a file on this disk: itself, or the copy of an object."""
    if not in_bucket(file):
        yield Path(file)
        return
    base, _, name = file.rpartition("/")
    with copied(base, [name]) as folder:
        yield folder / name


def _tasks(source: Source | str, out: str) -> list[FileTask]:
    """Return the files of a folder, and their results.

    Raises ConfigError if a result would replace another file.
    """
    tasks: list[FileTask] = []
    files = _files(source)
    taken = {_resolved(task.file): task.file for task in files}
    for task in files:
        endings = [end for end in CSV + PARQUET if task.below.lower().endswith(end)]
        stem = task.below[: -max(map(len, endings))]
        result = os.path.join(out, f"{stem}.parquet")
        if other := taken.get(_resolved(result)):
            raise ConfigError(
                f"--out {out}: the predictions of {task.file} would be in {result}, "
                f"which is for {other}: name another folder"
            )
        taken[_resolved(result)] = task.file
        tasks.append(replace(task, result=result))
    return tasks


def _files(source: Source | str) -> list[FileTask]:
    if in_bucket(address := str(source)):
        base, entries = list_bucket(address)
        return [
            FileTask(f"{base}/{key}", key, int(modified * 1e9), revision)
            for key, modified, revision in entries
        ]
    found = []
    for file in read_tables(source) or ():
        if isinstance(file, TableFile):
            status = file.path.stat()
            modified, size = status.st_mtime_ns, status.st_size
            below, revision = str(file.below), f"{modified} {size}"
            found.append(FileTask(file.name, below, modified, revision))
    return found


def _absolute(address: str) -> str:
    return address if in_bucket(address) else os.path.abspath(address)


def _resolved(address: str) -> str:
    return address if in_bucket(address) else os.path.realpath(address)


def _is_done(scoring: Scoring, task: FileTask) -> bool:
    """Tell whether a result is of this model, and not older than its file."""
    import polars as pl

    if in_bucket(task.result):
        return read_note(task.result) == task.note(scoring.metadata)
    result = Path(task.result)
    try:
        if result.stat().st_mtime_ns < task.modified:
            return False
        return pl.read_parquet_metadata(result).get(KEY) == scoring.metadata
    except (OSError, pl.exceptions.PolarsError):
        return False
