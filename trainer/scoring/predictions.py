"""Predictions as columns of a table.

prediction          the class, or the number
p_CLASS             the probability of each class
lower, upper        the ends of an interval, where one is asked for
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ConfigError
from models.features.predictions import Output, Predictions, Regression, label_text

if TYPE_CHECKING:
    import polars as pl


#: The type of labels in an array, by their datatype.
NUMPY: dict[str, Any] = {"BOOL": bool, "INT64": np.int64, "FP64": float, "BYTES": str}


def column_types(
    output: Output, interval: float | None, as_text: bool = False
) -> dict[str, pl.DataType]:
    """Return the columns of a model's predictions, and their types.

    With `as_text`, as for CSV, classes are text whatever they are.
    """
    import polars as pl

    if isinstance(output, Regression):
        ends = [] if interval is None else ["lower", "upper"]
        return dict.fromkeys(["prediction", *ends], pl.Float64())
    types = {"BOOL": pl.Boolean(), "INT64": pl.Int64(), "FP64": pl.Float64()}
    label = pl.String() if as_text else types.get(output.label_datatype, pl.String())
    return {
        "prediction": label,
        **{f"p_{name}": pl.Float64() for name in output.class_names},
    }


def columns(
    output: Output, predictions: Predictions, as_text: bool = False
) -> dict[str, NDArray[Any]]:
    """Return the n predictions of a model by column, each (n,), as `column_types`."""
    if isinstance(output, Regression):
        values = dict(predictions)
        return {"prediction": values.pop("value"), **values}
    labels = predictions["label"].tolist()
    datatype = "BYTES" if as_text else output.label_datatype
    if datatype == "BYTES":
        labels = [label_text(label) for label in labels]
    found = {"prediction": np.array(labels, NUMPY[datatype])}
    for number, name in enumerate(output.class_names):
        found[f"p_{name}"] = predictions["probabilities"][:, number]
    return found


def require_distinct(keep: Collection[str], names: Iterable[str]) -> None:
    """Raise ConfigError if a column to keep has the name of a prediction."""
    for name in names:
        if name in keep:
            raise ConfigError(
                f"--keep {name}: the predictions have a column of this name; rename "
                "one in the data"
            )
