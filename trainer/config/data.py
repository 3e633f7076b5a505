"""The settings of the data: columns and rows."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from trainer.config.thresholds import ColumnName, Fraction, Section

ColumnKind: TypeAlias = Literal["numeric", "boolean", "datetime", "categorical"]
SplitBy: TypeAlias = Literal["random", "grouped", "time"]
Monotone: TypeAlias = Literal["up", "down", "free"]


class ColumnConfig(Section, frozen=True, kw_only=True):
    """How a column is read."""

    kind: Annotated[
        ColumnKind | None,
        Meta(
            description="Kind of the column; by default that of nearly all of its "
            "values. Values of another kind are missing."
        ),
    ] = None
    format: Annotated[
        str | None,
        Meta(
            description="How its values are spelled, such as `1.234,56` or `h:mm:ss` "
            "for numbers and `%d/%m/%Y` for dates."
        ),
    ] = None
    missing: Annotated[
        list[str],
        Meta(
            description='Texts that stand for a missing value, such as `["-999"]`, '
            "besides the usual ones."
        ),
    ] = []  # noqa: RUF012 - msgspec copies it
    # Unset, and not None, so that it is in no manifest that does not need it.
    monotone: Annotated[
        Monotone | msgspec.UnsetType,
        Meta(
            description="The value of a regression, or the probability of the second "
            "of two classes, only rises (`up`) or only falls (`down`) with the column. "
            "By default as in production, which `free` ends."
        ),
    ] = msgspec.UNSET


class DataConfig(Section, frozen=True, kw_only=True):
    """The rows: how they are split, their weights, and checks of them."""

    split: Annotated[
        SplitBy | None,
        Meta(
            description="How rows are split: `random`, `grouped` (the rows of a group "
            "stay together) or `time` (the latest rows are the test rows)."
        ),
    ] = None
    group: Annotated[
        ColumnName | None,
        Meta(
            description="Column that names the group of each row; not an input of the "
            "model."
        ),
    ] = None
    time: Annotated[
        ColumnName | None,
        Meta(
            description="Column that orders the rows in time; not an input of the "
            "model."
        ),
    ] = None
    weight: Annotated[
        ColumnName | None,
        Meta(
            description="Column with the weight of each row in loss and metrics; not "
            "an input of the model."
        ),
    ] = None
    ignore: Annotated[
        list[ColumnName],
        Meta(description="Columns that are not inputs of the model."),
    ] = []  # noqa: RUF012 - msgspec copies it
    columns: Annotated[
        dict[ColumnName, ColumnConfig],
        Meta(description="How columns are read, by their names."),
    ] = msgspec.field(default_factory=dict)
    validation_fraction: Annotated[
        Fraction | None, Meta(description="Share of the rows that choose the epoch.")
    ] = None
    test_fraction: Annotated[
        Fraction | None,
        Meta(description="Share of the rows held out for the metrics and the gate."),
    ] = None
    partitions: Annotated[
        Literal["members"] | None,
        Meta(
            description="`members`: each network learns files of its own of a folder "
            "of Parquet files; network k of n learns the files k, k + n and so on."
        ),
    ] = None
    findings: Annotated[
        Literal["warn", "stop"],
        Meta(
            description="What a finding about the data does: `warn` prints it, `stop` "
            "ends the run before training."
        ),
    ] = "warn"

    @property
    def directions(self) -> dict[str, Monotone]:
        """The columns with which the answer only rises or falls, and which of both."""
        return {
            name: column.monotone
            for name, column in self.columns.items()
            if column.monotone in ("up", "down")
        }
