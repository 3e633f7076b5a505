"""From a table to raw columns: which are inputs, the kind of each, and its values.

For training the kinds are those that the settings name, else those of the version in
production, else those of the values. Columns that cannot be inputs are left out, and
values that do not fit their column are missing; a finding names each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from models.errors import DataError, nearest
from models.features.column import MAX_NAME
from models.features.columns import COLUMN_KINDS, MAX_CATEGORIES, Column, Values
from models.features.predictions import Output
from models.features.table import TableInput
from models.features.text import DURATIONS, is_missing
from models.storage.artefact import Finding
from trainer.config.schema import ColumnConfig, Config
from trainer.data import kinds
from trainer.data.column_file import ColumnFile
from trainer.data.dataset import Dataset
from trainer.data.identifiers import identifies
from trainer.data.labels import as_before, numbers_as_classes, read_labels
from trainer.data.parquet_columns import ParquetColumns
from trainer.data.sentinels import sentinel
from trainer.data.spelling import Spelling, alike, conflict
from trainer.data.table import Table, require_target, shown
from trainer.data.totals import TOTALS, totals
from trainer.data.values import (
    categories,
    inferred,
    is_supported,
    numbers_of,
    untyped,
    value_at,
)

if TYPE_CHECKING:
    import polars as pl

#: Most odd values that a finding names.
MAX_NAMED = 5
#: Usual marks of a missing value, in lower case, which are not reported.
USUAL = frozenset({"", "na", "n/a", "#n/a", "nan", "<na>", "null", "none", "nat"})


def training_set(
    table: Table,
    target: str,
    config: Config,
    known: TableInput | None,
    output: Output | None = None,
) -> Dataset:
    """Return the data set of a table that a model is trained on.

    `known` are the inputs of the version in production, and `output` is its output.
    Raises DataError if the target or a column that a setting names is absent, or if
    there is no input.
    """
    frame, names = table.frame, table.frame.columns
    require_target(frame, target)
    _require_names(names)
    _require_settings(config, names)
    reader = _Reader(table, config, {} if known is None else known.by_name)
    setting = config.data.columns.get(target, ColumnConfig())
    asked = as_before(frame[target], setting, output)
    labels, spelling = read_labels(frame[target], table.place, *asked)
    reader.findings += numbers_as_classes(target, labels, spelling)
    known_columns = config.data.columns
    if not reader.is_stored and (total := totals(frame, table.place, known_columns)):
        reader.findings.append(total)
        labels = [*labels[:-1], None]
    if spelling.format:
        reader.formats[target] = spelling
    if spelling.doubt:
        reader.findings += reader.doubtful(target, spelling)
    inputs, read_as = reader.read_all([name for name in names if name != target])
    if not inputs:
        left_out = [f": {f.sentence}" for f in reader.findings if f.kind == "unused"]
        raise DataError(
            f"there is no input column besides the target '{target}'"
            f"{''.join(left_out[:1])}"
        )
    return Dataset(
        inputs,
        {name: spelling.kind for name, spelling in read_as.items()},
        target,
        labels,
        spellings={
            name: each
            for name, s in (*read_as.items(), (target, spelling))
            if (each := _fields(s))
        },
        findings=(*table.findings, *reader.findings, *reader.reading()),
    )


def _fields(spelling: Spelling) -> dict[str, Any]:
    """Return the fields of the column that a spelling sets."""
    fields: dict[str, Any] = {"format": spelling.format, "marks": spelling.marks}
    return {name: value for name, value in fields.items() if value}


def _require_names(names: Collection[str]) -> None:
    """Raise DataError if the name of a column is too long to be stored."""
    for name in names:
        if len(name) > MAX_NAME:
            raise DataError(
                f"column {shown(name)}: expected a name of at most {MAX_NAME:,} "
                f"characters, found {len(name):,}"
            )


def _require_settings(config: Config, names: Collection[str]) -> None:
    """Raise DataError if a setting names a column that is not there."""
    settings = [("data.ignore", name) for name in config.data.ignore]
    settings += [("data.columns", name) for name in config.data.columns]
    for setting, name in settings:
        if name not in names:
            raise DataError(
                f"{setting}: there is no column '{name}'{nearest(name, names)}"
            )


class _Reader:
    """Reads the columns of a table for training, and collects what it finds."""

    def __init__(
        self, table: Table, config: Config, known: Mapping[str, Column]
    ) -> None:
        self.table, self.settings, self.known = table, config.data, known
        frame: Any = table.frame
        self.is_stored = isinstance(frame, ParquetColumns)
        self.numbers = kinds.plain_numbers(frame.texts if self.is_stored else frame)
        self.findings: list[Finding] = []
        self.formats: dict[str, Spelling] = {}
        self.marks: dict[str, dict[str, int]] = {}
        self.words: dict[str, dict[str, int]] = {}
        data = config.data
        #: Columns that a setting names stay, whatever they look like.
        self.named = {data.group, data.time, data.weight, config.gate.group}
        self.named |= {name for name, each in data.columns.items() if each.kind}
        self.named |= data.directions.keys()

    def read_all(
        self, names: list[str]
    ) -> tuple[dict[str, Values] | ColumnFile, dict[str, Spelling]]:
        """Return the values and spelling of every column that is an input."""
        inputs: dict[str, Values] | ColumnFile = ColumnFile() if self.is_stored else {}
        spellings: dict[str, Spelling] = {}
        ids: dict[str, Finding] = {}
        for name in names:
            if name in self.settings.ignore:
                continue
            column = self.table.frame[name]
            if self._is_unusable(column):
                continue
            spellings[name], findings = self._spelling(column)
            values, odd = self._read(column, spellings[name])
            inputs[name], finding = values, None
            if name not in self.named and spellings[name].kind != "datetime":
                finding = identifies(column, values)
            # Text may only look like the name of a row because it was not understood.
            self.findings += [f for f in findings if not finding or f.kind == "text"]
            if finding:
                ids[name] = finding
            else:
                self.findings += odd
                self.formats[name] = spellings[name]
        # A single column cannot be left out.
        if len(ids) < len(inputs):
            self.findings += ids.values()
            for name in ids:
                del inputs[name], spellings[name]
        return inputs, spellings

    def _is_unusable(self, column: pl.Series) -> bool:
        """Report a column that cannot be an input because of its name or type."""
        name = column.name
        if name.startswith(("__index_level_", "Unnamed: ")) and name not in self.named:
            reason = "is an index of pandas"
        elif not is_supported(column):
            reason = f"has values of type {column.dtype}, which cannot be an input,"
        else:
            return False
        self._add("unused", name, f"column '{name}' {reason} and is left out")
        return True

    def _add(self, kind: str, name: str, sentence: str) -> None:
        self.findings.append(Finding(kind, (name,), sentence))

    def _spelling(self, column: pl.Series) -> tuple[Spelling, list[Finding]]:
        """Return how a column is read: as set, as in production, or as it looks."""
        name = column.name
        setting = self.settings.columns.get(name, ColumnConfig())
        text = untyped(column)
        marks = tuple(setting.missing)
        if setting.kind is not None and setting.format is not None:
            return Spelling(setting.kind, setting.format, marks), []
        if setting.kind is not None:
            if text is None:
                return Spelling(setting.kind, marks=marks), []
            return kinds.as_kind(text, setting.kind, marks), []
        guess = inferred(column, marks, self.numbers.get(name))
        if setting.format is not None:
            return self._with_format(name, setting.format, marks), []
        if known := self.known.get(name):
            return self._as_in_production(column, guess, known)
        return guess, [*self.doubtful(name, guess), *self._mixed(column, guess)]

    def _with_format(self, name: str, format: str, marks: tuple[str, ...]) -> Spelling:
        for kind in ("numeric", "datetime"):
            try:
                kinds.check_format(kind, format)
            except ValueError:
                continue
            return Spelling(kind, format, marks)
        raise DataError(
            f"data.columns.{name}.format: expected an example of a number such as "
            f"1.234,56 or a date such as %d/%m/%Y, found '{format}'"
        )

    def _as_in_production(
        self, column: pl.Series, guess: Spelling, known: Column
    ) -> tuple[Spelling, list[Finding]]:
        """Return the spelling of production if tonight's values fit it."""
        name = column.name
        before = Spelling(known.kind, known.format, guess.marks or known.marks)
        text = untyped(column, typed=True)
        if before.kind == "categorical":
            if guess.is_text:
                return before, []
            sentence = (
                f"column '{name}' looks {guess.kind}, but is text as in production; "
                f"data.columns.{name}.kind={guess.kind} changes it"
            )
            return before, [Finding("production", (name,), sentence)]
        if text is None:
            return (before if guess.kind == before.kind else guess), []
        if (guess.kind, guess.format) == (before.kind, before.format):
            return before, []
        share = kinds.share_of(text, before)
        fits = share >= max(kinds.HALF, guess.share - 0.01)
        fits = fits or (guess.is_text and share >= kinds.HALF)
        fits = fits and not conflict(kinds.count_texts(text), before)
        return (before, []) if fits else (guess, self.doubtful(name, guess))

    def doubtful(self, name: str, spelling: Spelling) -> list[Finding]:
        """Report a column whose values fit two formats."""
        if not spelling.doubt:
            return []
        usual = spelling.format or "1234.56"
        sentence = (
            f"column '{name}' fits the formats {usual} and {spelling.doubt} "
            f"alike: it is read as {usual} (data.columns.{name}.format chooses)"
        )
        return [Finding("format", (name,), sentence)]

    def _mixed(self, column: pl.Series, guess: Spelling) -> list[Finding]:
        """Report text that looks like something else."""
        name = column.name
        if not guess.is_text or not guess.reason:
            return []
        if guess.reason == kinds.SCATTERED:
            sentence = (
                f"column '{name}' is text, though its values begin with numbers, as "
                f"{shown(column.drop_nulls()[0])}: their units differ, or their format "
                "is not known; as numbers they have to be spelled in one way"
            )
        elif guess.reason in COLUMN_KINDS:
            sentence = (
                f"column '{name}' is text, though {guess.share:.0%} of its values are "
                f"{guess.reason}: data.columns.{name}.kind={guess.reason} makes it so, "
                "and the others missing"
            )
        else:
            sentence = (
                f"column '{name}' has numbers with {guess.reason} and is text "
                f"(data.columns.{name}.kind=numeric makes them numbers)"
            )
        return [Finding("text", (name,), sentence)]

    def _read(
        self, column: pl.Series, spelling: Spelling
    ) -> tuple[Values, list[Finding]]:
        """Return the raw values (n,), NaN or None where one is missing or odd."""
        if spelling.is_text:
            texts = categories(column, spelling.marks)
            counts = Counter(filter(None, texts))
            for word, n in counts.items():
                if is_missing(word) or word.lower() in TOTALS:
                    self.words.setdefault(word, {})[column.name] = n
            return texts, _alike(column.name, counts)
        values, odd = numbers_of(column, spelling, self.numbers.get(column.name))
        text = untyped(column, typed=True)
        if text is not None:
            self._note_marks(text, spelling)
        if spelling.kind == "numeric" and (found := sentinel(column.name, values)):
            self.findings.append(found)
        return values, self._odd(column, spelling, odd) if odd else []

    def _odd(
        self, column: pl.Series, spelling: Spelling, odd: list[int]
    ) -> list[Finding]:
        name, place = column.name, self.table.place
        first: dict[str, str] = {}
        for index in odd:
            if len(first) <= MAX_NAMED:
                first.setdefault(value_at(column, index), place(index))
        named = [f"{value} ({row})" for value, row in [*first.items()][:MAX_NAMED]]
        more = ", …" if len(first) > MAX_NAMED else ""
        count = f"{len(odd):,} of {len(column):,} values"
        sentence = (
            f"column '{name}' is {spelling.kind}, and {count} that do not fit count as "
            f"missing: {', '.join(named)}{more} (data.columns.{name}.kind=categorical "
            "keeps them)"
        )
        return [Finding("odd", (name,), sentence)]

    def _note_marks(self, text: pl.Series, spelling: Spelling) -> None:
        """Note marks of a missing value that are not the usual ones."""
        if spelling.kind == "numeric" and not spelling.format:
            numbers = self.numbers.get(text.name)
            text = text if numbers is None else text.filter(numbers.is_null())
        for mark, n in _marks(text, spelling):
            self.marks.setdefault(mark, {})[text.name] = n

    def reading(self) -> Iterator[Finding]:
        """Yield a sentence on each unusual mark, and one on all unusual formats."""
        for mark, counts in self.marks.items():
            sentence = f"{shown(mark)} counts as missing in {_counted(counts)}"
            yield Finding("marks", tuple(counts), sentence)
        for word, counts in self.words.items():
            way = "if such rows are sums of others, leave them out"
            if is_missing(word):
                setting = f"data.columns.{next(iter(counts))}.missing=[{shown(word)}]"
                way = f"if it is a missing value: {setting}"
            sentence = f"{shown(word)} is a category in {_counted(counts)}; {way}"
            yield Finding("words", tuple(counts), sentence)
        spelled = {n: s.format for n, s in self.formats.items() if s.format}
        if spelled:
            each = ", ".join(
                f"'{n}' as {format}{_remark(format)}" for n, format in spelled.items()
            )
            yield Finding("reading", tuple(spelled), f"columns are read: {each}")


def _alike(name: str, categories: Collection[str]) -> list[Finding]:
    """Report categories that seem to be one, spelled in several ways."""
    few = len(categories) <= MAX_CATEGORIES
    if not few or not (groups := alike(sorted(categories))):
        return []
    more = f" ({len(groups):,} such groups)" if len(groups) > 1 else ""
    sentence = (
        f"column '{name}': {', '.join(map(shown, groups[0][:MAX_NAMED]))} differ in "
        f"capitals or blanks only{more}; each is a category of its own, so spell them "
        "alike if they are one"
    )
    return [Finding("alike", (name,), sentence)]


def _remark(format: str) -> str:
    if format in DURATIONS:
        return " (in seconds)"
    return " (years 1969 to 2068)" if "%y" in format else ""


def _counted(counts: Mapping[str, int]) -> str:
    """Name columns, and how many of their values are meant."""
    named = [f"'{name}' ({n:,})" for name, n in counts.items()][:MAX_NAMED]
    more = f", … ({len(counts)} columns)" if len(counts) > MAX_NAMED else ""
    return f"{', '.join(named)}{more}"


def _marks(text: pl.Series, spelling: Spelling) -> list[tuple[str, int]]:
    """Return the unusual marks in a column of text, and how often each occurs."""
    return [
        (value, n)
        for value, n in kinds.count_texts(text).items()
        if value.lower() not in USUAL and is_missing(value, spelling.marks)
    ]
