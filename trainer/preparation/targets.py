"""The target: its task, its classes or scale, and its encoding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError, nearest
from models.features.predictions import (
    Classification,
    Label,
    Output,
    Regression,
    Task,
    label_text,
)
from models.features.text import TRUTH, is_number
from trainer.data.kinds import infer

#: A target with more distinct whole numbers than this is numeric, not classes.
MAX_NUMERIC_CLASSES = 20
MAX_CLASSES = 1_000
#: With fewer rows, a class for every other row may be what is meant.
MIN_ROWS = 10
#: A number is an outlier beyond these multiples of the range of the middle half, and of
#: the distance from the median that 99 % of the rows keep. With fewer rows than
#: MIN_MEASURED no number is called an outlier.
FAR_QUARTILES, FAR_USUAL = 20.0, 5.0
MIN_MEASURED = 50
#: Outliers this many times as far as all others are slips, and not a long tail.
ALONE = 10.0


class Guess(NamedTuple):
    """The task of a target, and the reason."""

    task: Task
    reason: str


def guess_task(labels: Sequence[Label], name: str, given: Task | None = None) -> Guess:
    """Return the task that is given, or guess it from the target's values.

    Raises DataError if they do not vary or, without a given task, if most rows have a
    value of their own that is no number.
    """
    distinct = set(labels)
    k = len(distinct)
    if k < 2:
        raise DataError(
            f"target '{name}' has only one value ({next(iter(distinct), None)!r}): "
            "there is nothing to predict"
        )
    if given is not None:
        return Guess(given, f"task {given}: as given")
    kind: Task = "binary" if k == 2 else "multiclass"
    numbers = [float(label) for label in distinct if _is_numeric(label)]
    if len(numbers) < k:
        if k * 2 > len(labels) >= MIN_ROWS:
            raise DataError(
                f"target '{name}' has {k:,} different values in {len(labels):,} rows: "
                "too many for classes, and they are no numbers; is it the right "
                "--target? With --task multiclass they are taken as classes"
            )
        if k > MAX_NUMERIC_CLASSES and _are_dates(distinct):
            raise DataError(
                f"target '{name}' has {k:,} different dates, which are neither classes "
                "nor numbers: predict a number of days instead, or add --task "
                "multiclass to take them as classes"
            )
        return Guess(kind, f"task {kind}: target '{name}' has {k} classes")
    few = k <= MAX_NUMERIC_CLASSES and k * 5 <= len(labels)
    if k == 2 or (few and all(number.is_integer() for number in numbers)):
        return Guess(kind, f"task {kind}: target '{name}' takes {k} values")
    return Guess("regression", f"task regression: target '{name}' takes {k} numbers")


def _is_numeric(label: Label) -> bool:
    return is_number(label) if isinstance(label, str) else not isinstance(label, bool)


def _are_dates(labels: Iterable[Label]) -> bool:
    import polars as pl

    return infer(pl.Series("", map(label_text, labels))).kind == "datetime"


def outliers(target: NDArray[Any]) -> NDArray[np.intp]:
    """Return the indices of numbers (n,) that are far from all others."""
    if len(target) < MIN_MEASURED:
        return np.array([], np.intp)
    low, middle, high = np.quantile(target, [0.25, 0.5, 0.75])
    distance = np.abs(target - middle)
    usual = float(np.quantile(distance, 0.99, method="lower"))
    limit = max(FAR_QUARTILES * float(high - low), FAR_USUAL * usual)
    return np.flatnonzero((distance > limit) & (limit > 0))


def limits(target: NDArray[Any]) -> tuple[float, float] | None:
    """Return the ends of numbers (n,) without slips, or None if there are none."""
    far = outliers(target)
    rest = np.delete(target, far)
    if not len(far):
        return None
    middle = np.median(target)
    if np.abs(target[far] - middle).min() < ALONE * np.abs(rest - middle).max():
        return None
    return float(rest.min()), float(rest.max())


def label_key(text: str) -> str:
    """Return a label's text, the same for 1 and 1.0, and for True and true."""
    if text.lower() in TRUTH:
        return text.lower()
    return f"{float(text):.17g}" if is_number(text) else text


def make_output(
    task: Task,
    labels: Sequence[Label],
    train: NDArray[np.intp],
    name: str,
    format: str = "",
    marks: tuple[str, ...] = (),
) -> Output:
    """Return the output of a task: the classes, or the scale of the training rows.

    `train` (n,) are the numbers of the training rows; `format` and `marks` tell how the
    target is spelled. A slip does not stretch the scale: it counts as the nearest other
    number. Raises DataError if the target does not suit the task.
    """
    if task == "regression":
        values = numbers(labels, name)[train]
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.clip(values, *(limits(values) or (None, None)))
            mean, std = float(values.mean()), float(values.std())
        if std == 0:
            raise DataError(f"target '{name}' has only one value: nothing to predict")
        if not np.isfinite([mean, std]).all():
            raise DataError(f"target '{name}' has numbers too large to scale")
        ends = values.min(), values.max()
        lowest, highest = ((float(end) - mean) / std for end in ends)
        return Regression(mean, std, lowest, highest, format=format, marks=marks)
    classes = sorted(set(labels), key=lambda label: (isinstance(label, str), label))
    if len(classes) < 2 or (task == "binary" and len(classes) != 2):
        raise DataError(
            f"target '{name}' has {len(classes)} classes, which does not suit "
            f"--task {task}"
        )
    if len(classes) > MAX_CLASSES:
        raise DataError(
            f"target '{name}' has {len(classes)} classes, at most {MAX_CLASSES} are "
            "supported; if it is a number, add --task regression"
        )
    return Classification(tuple(classes), marks=marks)


def numbers(labels: Sequence[Label], name: str) -> NDArray[np.float64]:
    """Return a numeric target (n,); DataError if a label is not a finite number."""
    for row, label in enumerate(labels, 1):
        if isinstance(label, str):
            try:
                number = float(label)
            except ValueError:
                number = np.nan
            if not np.isfinite(number):
                raise DataError(
                    f"target '{name}', row {row}: expected a finite number, found text "
                    f"(data.columns.{name}.kind=numeric reads it, if it has a unit)"
                )
    return np.array([float(label) for label in labels])


def encode(output: Output, labels: Sequence[Label], name: str) -> NDArray[Any]:
    """Return the target (n,) as class numbers or values.

    Raises DataError for an unknown class.
    """
    if isinstance(output, Regression):
        return numbers(labels, name)
    code = {label: number for number, label in enumerate(output.classes)}
    written = {label_text(label): number for label, number in code.items()}
    # Text may be spelled otherwise: 1.0 or TRUE.
    keys = {label_key(text): number for text, number in written.items()}
    codes = [
        code.get(
            label, written.get(text := label_text(label), keys.get(label_key(text), -1))
        )
        for label in labels
    ]
    if -1 in codes:
        row = codes.index(-1)
        known = (
            f"; there are {', '.join(list(written)[:8])}{', …' * (len(written) > 8)}"
        )
        raise DataError(
            f"target '{name}', row {row + 1}: there is no class "
            f"{labels[row]!r}{nearest(label_text(labels[row]), written) or known}"
        )
    return np.array(codes, np.intp)


def standardize(output: Output, encoded: NDArray[Any]) -> NDArray[Any]:
    """Return the target (n,) that the loss takes: class numbers, or standard units."""
    if isinstance(output, Regression):
        return ((encoded - output.mean) / output.std).astype(np.float32)
    return encoded
