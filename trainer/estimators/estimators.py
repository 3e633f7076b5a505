"""`Classifier` and `Regressor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.features.predictions import Task
from trainer.data.labels import read_labels
from trainer.data.table import typed_text
from trainer.estimators.base import Estimator, value_errors
from trainer.preparation.targets import guess_task

if TYPE_CHECKING:
    import polars as pl


def _guess(target: pl.Series) -> Task | None:
    """Return the task that the trainer would choose itself, None if it would refuse."""
    labels, _ = read_labels(typed_text(target), lambda row: f"row {row + 1}")
    try:
        return guess_task([x for x in labels if x is not None], target.name).task
    except DataError:
        return None


class Classifier(Estimator):
    """Predicts one of several classes. The options are those of `trainer fit`."""

    kind: ClassVar[str] = "classifier"
    classes_: NDArray[Any]

    def _task(self, target: pl.Series) -> Task | None:
        if target.dtype.is_float() and not (target == target.floor()).all():
            raise ValueError(
                "Unknown label type: continuous. Classifier expects discrete classes, "
                "found numbers with fractions: is Regressor what you need?"
            )
        n = target.n_unique()
        if n < 2:
            raise ValueError(
                f"Classifier expects at least two classes in y, found one class: "
                f"{target[0]!r}"
            )
        task: Task = "binary" if n == 2 else "multiclass"
        return None if _guess(target) == task else task

    def _keep(self, y: Any) -> None:
        classes = self.artefact_.manifest.output.classes
        dtype = getattr(y, "dtype", None)
        if not isinstance(dtype, np.dtype):
            dtype = np.asarray(y).dtype
        self.classes_ = np.array(classes, dtype)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities (n, classes) of n rows, in the order of `classes_`.

        Raises ValueError for rows that do not fit the model.
        """
        P: NDArray[np.float64] = self._predictions(X)["probabilities"]
        return P

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest class (n,) of each of n rows.

        Raises ValueError for rows that do not fit the model.
        """
        P = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[P.argmax(axis=1)]
        return labels

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy on n rows and their classes y (n,), weighted (n,)."""
        right = self.predict(X) == np.asarray(y)
        return float(np.average(right, weights=sample_weight))


class Regressor(Estimator):
    """Predicts a number. The options are those of `trainer fit`."""

    kind: ClassVar[str] = "regressor"

    def _task(self, target: pl.Series) -> Task | None:
        with value_errors():
            return None if _guess(target) == "regression" else "regression"

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the predicted number (n,) of each of n rows.

        Raises ValueError for rows that do not fit the model.
        """
        values: NDArray[np.float64] = self._predictions(X)["value"]
        return values

    def predict_interval(
        self, X: Any, level: float = 0.9
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the ends (n,) and (n,) of intervals that hold a share of true values.

        Raises ValueError for a level that the model has no interval of.
        """
        predictions = self._predictions(X, level)
        return predictions["lower"], predictions["upper"]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R² on n rows and their values y (n,), weighted (n,).

        It is the share of the variance explained: 1 is exact, 0 as good as the mean.
        """
        true = np.asarray(y, np.float64)
        weights = None if sample_weight is None else np.asarray(sample_weight, float)
        errors = np.average((true - self.predict(X)) ** 2, weights=weights)
        mean = np.average(true, weights=weights)
        spread = np.average((true - mean) ** 2, weights=weights)
        return float(1 - errors / spread) if spread else float(errors == 0)
