"""From the outputs of the network to predictions: classes, or a value.

Z is the outputs (E, n, O) of E networks for n rows: logits, or standard units.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias, cast

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from models.errors import InvalidInput, nearest
from models.features.columns import Floats, Schema, Values
from models.features.histograms import Histogram, Shares
from models.features.prediction_interval import PredictionInterval
from models.types import Array

#: A class as it is in the training data.
Label: TypeAlias = bool | int | float | str
Task: TypeAlias = Literal["binary", "multiclass", "regression"]
INT64 = range(-(1 << 63), 1 << 63)
#: Output name -> one value, or one list of values, a row: (n,) or (n, classes).
Predictions: TypeAlias = dict[str, NDArray[Any]]

#: The share of each network in the answer, in their order; without any, all are equal.
NetworkWeights: TypeAlias = tuple[Annotated[float, Meta(gt=0.0, le=1.0)], ...]

#: The logit of the first of two classes, and of the second.
_SIDES = np.array([1.0, -1.0])
LABEL_DATATYPES: dict[type, str] = {
    bool: "BOOL",
    int: "INT64",
    float: "FP64",
    str: "BYTES",
}


def weighted_mean(values: NDArray[Any], weights: NetworkWeights) -> Floats:
    """Return the mean over E networks of values (E, ...), by their weights (E,)."""
    if not weights:
        return np.asarray(values.mean(axis=0))
    return np.asarray(np.tensordot(np.asarray(weights), values, 1))


def label_text(value: Label) -> str:
    """Return a label as text files write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class Classification(
    msgspec.Struct,
    tag="classification",
    tag_field="kind",
    forbid_unknown_fields=True,
    dict=True,
):
    """One of several classes, in the order of `probabilities`; two share one logit."""

    classes: tuple[Label, ...]
    temperature: Annotated[float, Meta(gt=0.0, le=100.0)] = 1.0
    smoothing: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    weights: NetworkWeights = ()
    #: Texts that stand for a missing target, besides the usual ones.
    marks: tuple[str, ...] = ()

    #: The level of interval whose coverage is measured.
    measured_level: ClassVar[float | None] = None
    #: The prediction that is counted for drift, and how.
    main: ClassVar[str] = "label"
    histogram: ClassVar[type[Shares]] = Shares

    def __post_init__(self) -> None:
        """Raise ValueError unless there are two different classes."""
        if len(self.classes) < 2:
            raise ValueError("a classifier needs two classes at least")
        if len({(type(c), c) for c in self.classes}) != len(self.classes):
            raise ValueError("two classes are the same")
        self._labels = np.empty(len(self.classes), object)
        self._labels[:] = self.classes

    @property
    def task(self) -> Task:
        return "binary" if len(self.classes) == 2 else "multiclass"

    @property
    def class_names(self) -> list[str]:
        """The classes as text."""
        return [label_text(label) for label in self.classes]

    @property
    def width(self) -> int:
        """Outputs of the network: one logit for two classes, else one a class."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    @property
    def label_datatype(self) -> str:
        """The datatype of labels in the Open Inference Protocol."""
        kinds = {type(label) for label in self.classes}
        if kinds == {int} and not all(label in INT64 for label in self.classes):
            return "BYTES"
        return LABEL_DATATYPES[kinds.pop()] if len(kinds) == 1 else "BYTES"

    @property
    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Datatype and shape, without the batch, of every output."""
        return {
            "label": (self.label_datatype, ()),
            "probabilities": ("FP64", (len(self.classes),)),
        }

    def probabilities(self, Z: Array) -> Floats:
        """Return (n, classes) from logits (n, O), exact to the ends of float64."""
        P = Z.astype(np.float64)
        if self.width == 1:
            # Each side separately: 1 - p would lose a small probability.
            both = P * _SIDES
            return np.asarray(np.exp(-np.logaddexp(0.0, both)))
        P -= np.maximum.reduce(P, axis=1, keepdims=True)
        np.exp(P, out=P)
        P /= np.add.reduce(P, axis=1, keepdims=True)
        return P

    def calibrate(self, P: Floats) -> Floats:
        """Return p^(1/T) / Σ p^(1/T) of P (n, classes), mixed with 1 / classes.

        Temperature scaling (Guo et al. 2017, arXiv 1706.04599) of a mixture, whose
        logits are the logarithms of its probabilities; `smoothing` is the share of the
        even distribution.
        """
        if self.temperature != 1.0:
            P = self.probabilities(_logits(P) / self.temperature)
        return self._smoothed(P)

    def _smoothed(self, P: Floats) -> Floats:
        if self.smoothing:
            P = P * (1.0 - self.smoothing) + self.smoothing / len(self.classes)
        return P

    def decode(self, Z: Array, interval: float | None = None) -> Predictions:
        """Return labels (n,) and probabilities (n, classes) from logits (E, n, O).

        Raises InvalidInput for an `interval`, which is for numbers.
        """
        if interval is not None:
            raise InvalidInput(
                "interval: this model predicts classes; their probabilities say how "
                "sure it is"
            )
        if len(Z) == 1:
            # The same as `calibrate` for one network, without a logarithm.
            Z64 = Z[0].astype(np.float64)
            P = self._smoothed(self.probabilities(Z64 / self.temperature))
        else:
            P = np.stack([self.probabilities(z) for z in Z])
            P = self.calibrate(weighted_mean(P, self.weights))
        return {"label": self._labels[P.argmax(axis=1)], "probabilities": P}

    def gradient(self, Z: Array, classes: NDArray[np.intp]) -> Floats:
        """Return d p/d Z (E, n, O) for the probability p of one class a row (n,).

        The chain rule through `decode`: with p_e = softmax(z_e), m = Σ w_e p_e and
        q = softmax(log m / T),

            dq_c/dm_k = q_c ([c = k] - q_k) / (T m_k)
            dm_k/dz_ej = w_e p_ek ([k = j] - p_ej)
        """
        rows = np.arange(Z.shape[1])
        P = np.stack([self.probabilities(z) for z in Z])
        M = weighted_mean(P, self.weights)
        unsmoothed = msgspec.structs.replace(self, smoothing=0.0)
        Q = unsmoothed.calibrate(M)
        V = -Q
        V[rows, classes] += 1.0
        V *= Q[rows, classes, None] * ((1.0 - self.smoothing) / self.temperature)
        # Divide P and not V by m_k: p_ek / m_k is at most 1 / w_e, however small.
        U = P / np.maximum(M, np.finfo(float).tiny) * V
        dZ: Floats = U - P * U.sum(axis=2, keepdims=True)
        dZ *= _shares(self.weights, len(Z))
        # Two classes share the logit of the second; that of the first is fixed at 0.
        return dZ[:, :, 1:] if self.width == 1 else dZ

    def class_number(self, target: Label | None) -> int | None:
        """Return the number of a class, which text may name; None stays None.

        Raises InvalidInput with the nearest name if there is no such class.
        """
        if target is None:
            return None
        for number, label in enumerate(self.classes):
            both = isinstance(label, bool) == isinstance(target, bool)
            if both and label == target:
                return number
        names = self.class_names
        if isinstance(target, str) and names.count(target) == 1:
            return names.index(target)
        wanted = label_text(target)[:80]
        hint = nearest(wanted, names)
        if not hint:
            hint = f"; there are {', '.join(names[:8])}{', …' * (len(names) > 8)}"
        raise InvalidInput(f"target: there is no class '{wanted}'{hint}")

    def explained_classes(
        self, predictions: Predictions, number: int | None
    ) -> NDArray[np.intp]:
        """Return the class (n,) to explain a row: `number`, or the likeliest."""
        P = predictions["probabilities"]
        return P.argmax(axis=1) if number is None else np.full(len(P), number)

    def explained_names(self, classes: NDArray[np.intp]) -> list[Label]:
        """Return the labels of class numbers (n,)."""
        return [self.classes[number] for number in classes]

    def explained_numbers(
        self, predictions: Predictions, classes: NDArray[np.intp]
    ) -> Floats:
        """Return the probability (n,) of one class a row (n,)."""
        P: Floats = predictions["probabilities"]
        return P[np.arange(len(P)), classes]

    def main_values(self, predictions: Predictions) -> Values:
        """Return the n predictions to count: labels as text."""
        return [str(label) for label in predictions["label"].tolist()]

    def count(self, values: Values) -> Histogram | Shares:
        """Return the distribution of n labels as text."""
        return Shares.fit([str(label) for label in self.classes], cast(Any, values))

    def target_values(self, target: NDArray[Any]) -> Values:
        """Return the n labels as text of class numbers (n,)."""
        names = self.class_names
        return [names[number] for number in target.tolist()]

    def count_target(self, target: NDArray[Any]) -> Histogram | Shares:
        """Return the distribution of class numbers (n,)."""
        return Shares.fit(self.class_names, cast(Any, self.target_values(target)))

    def json_schema(self) -> Schema:
        """Return the JSON Schema of the prediction for a row."""
        number = {"type": "number", "minimum": 0, "maximum": 1}
        exactly = {"minItems": len(self.classes), "maxItems": len(self.classes)}
        return {
            "type": "object",
            "properties": {
                "label": {"enum": list(self.classes)},
                "probabilities": {"type": "array", "items": number, **exactly},
            },
            "required": ["label", "probabilities"],
        }


class Regression(
    msgspec.Struct, tag="regression", tag_field="kind", forbid_unknown_fields=True
):
    """A number, which the network gives in standard units of the training target."""

    mean: float
    std: float
    #: Standard units that predictions are clipped to: the training target's range.
    lowest: float = -1e30
    highest: float = 1e30
    interval: PredictionInterval | None = None
    weights: NetworkWeights = ()
    #: How the target is spelled in text, and what else is missing: as of a column.
    format: str = ""
    marks: tuple[str, ...] = ()
    task: ClassVar[Task] = "regression"
    classes: ClassVar[tuple[Label, ...]] = ()
    class_names: ClassVar[tuple[str, ...]] = ()
    width: ClassVar[int] = 1
    tensors: ClassVar[dict[str, tuple[str, tuple[int, ...]]]] = {"value": ("FP64", ())}
    main: ClassVar[str] = "value"
    histogram: ClassVar[type[Histogram]] = Histogram

    @property
    def measured_level(self) -> float | None:
        """The level of interval whose coverage is measured, if there is one."""
        return None if self.interval is None else self.interval.nearest_level(0.9)

    def standard(self, Z: Array) -> Floats:
        """Return the values (E, n) of each network, in standard units, clipped."""
        # In float64: float32 would round the limits, and predictions might pass them.
        return np.clip(Z[:, :, 0].astype(np.float64), self.lowest, self.highest)

    def decode(self, Z: Array, interval: float | None = None) -> Predictions:
        """Return values (n,) from outputs (E, n, 1).

        With `interval`, such as 0.9, also the ends `lower` and `upper` (n,) of an
        interval that holds that share of the true values. Raises InvalidInput for a
        level that the model has none of.
        """
        standard = self.standard(Z)
        value = weighted_mean(standard, self.weights) * self.std + self.mean
        if interval is None:
            return {"value": value}
        if self.interval is None:
            raise InvalidInput(
                "interval: this model has none, since it had no validation rows"
            )
        half = self.interval.half_width(self.spread(standard), interval) * self.std
        return {"value": value, "lower": value - half, "upper": value + half}

    def spread(self, standard: Floats) -> Floats:
        """Return how far the networks' values (E, n) disagree: their deviation (n,)."""
        mean = weighted_mean(standard, self.weights)
        return np.sqrt(weighted_mean((standard - mean) ** 2, self.weights))

    def gradient(self, Z: Array, classes: NDArray[np.intp] | None = None) -> Floats:
        """Return d value/d Z (E, n, 1): 0 where `decode` clips a network."""
        free = (self.lowest < Z) & (self.highest > Z)
        slopes: Floats = free * (self.std * _shares(self.weights, len(Z)))
        return slopes

    def class_number(self, target: Label | None) -> None:
        """Return None. Raises InvalidInput for a target other than 'value'."""
        if target not in (None, "value"):
            raise InvalidInput(
                "target: this model predicts a number, 'value', and no class"
            )

    def explained_classes(
        self, predictions: Predictions, number: int | None
    ) -> NDArray[np.intp]:
        """Return zeros (n,): there are no classes to choose from."""
        return np.zeros(len(predictions["value"]), np.intp)

    def explained_names(self, classes: NDArray[np.intp]) -> list[Label]:
        """Return the name of the explained value for rows (n,)."""
        return ["value"] * len(classes)

    def explained_numbers(
        self, predictions: Predictions, classes: NDArray[np.intp]
    ) -> Floats:
        """Return the value (n,) of each row."""
        return predictions["value"]

    def main_values(self, predictions: Predictions) -> Values:
        """Return the predictions (n,) to count: values."""
        return predictions["value"]

    def count(self, values: Values) -> Histogram | Shares:
        """Return the distribution of values (n,)."""
        return Histogram.fit(cast(Floats, values))

    def target_values(self, target: NDArray[Any]) -> Values:
        """Return target values (n,) as float64."""
        return np.asarray(target, np.float64)

    def count_target(self, target: NDArray[Any]) -> Histogram | Shares:
        """Return the distribution of target values (n,)."""
        return Histogram.fit(target)

    def json_schema(self) -> Schema:
        """Return the JSON Schema of the prediction for a row."""
        return {"type": "number"}


def _shares(weights: NetworkWeights, count: int) -> Floats:
    """Return the share (E, 1, 1) of each of E networks."""
    return np.array(weights or [1.0 / count] * count)[:, None, None]


def _logits(P: Floats) -> Floats:
    """Return logits that `probabilities` turns into P: (n, 1) for two classes."""
    L = np.log(np.maximum(P, np.finfo(float).tiny))
    return L[:, 1:] - L[:, :1] if P.shape[1] == 2 else L


Output: TypeAlias = Classification | Regression
