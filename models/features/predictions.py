"""From the network's outputs to the answer: labels and probabilities, or a value."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from models.types import Array

#: A class as it stood in the training data.
Label: TypeAlias = bool | int | float | str
Task: TypeAlias = Literal["binary", "multiclass", "regression"]
Floats: TypeAlias = NDArray[np.float64]
INT64 = range(-(1 << 63), 1 << 63)
#: Output name -> one value (or one list of values) a row.
Predictions: TypeAlias = dict[str, NDArray[Any]]

#: The logit of the first of two classes, and of the second.
_SIDES = np.array([1.0, -1.0])
LABEL_DATATYPES: dict[type, str] = {
    bool: "BOOL",
    int: "INT64",
    float: "FP64",
    str: "BYTES",
}


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
    """The classes in the order of `probabilities`; two of them share one logit."""

    classes: tuple[Label, ...]
    temperature: Annotated[float, Meta(gt=0.0, le=100.0)] = 1.0
    smoothing: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0

    def __post_init__(self) -> None:
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
    def width(self) -> int:
        """Outputs of the network: one logit for two classes, else one a class."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    @property
    def label_datatype(self) -> str:
        kinds = {type(label) for label in self.classes}
        if kinds == {int} and not all(label in INT64 for label in self.classes):
            return "BYTES"
        return LABEL_DATATYPES[kinds.pop()] if len(kinds) == 1 else "BYTES"

    @property
    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Datatype and shape without the batch of every output."""
        return {
            "label": (self.label_datatype, ()),
            "probabilities": ("FP64", (len(self.classes),)),
        }

    def probabilities(self, Z: Array) -> Floats:
        """Return (n, classes) from logits (n, width), exact to the ends of float64."""
        P = Z.astype(np.float64)
        if self.width == 1:
            # Each side by itself: 1 - p would lose a small probability.
            both = P * _SIDES
            return np.asarray(np.exp(-np.logaddexp(0.0, both)))
        P -= np.maximum.reduce(P, axis=1, keepdims=True)
        np.exp(P, out=P)
        P /= np.add.reduce(P, axis=1, keepdims=True)
        return P

    def calibrate(self, P: Floats) -> Floats:
        """Return p^(1/T) / Σ p^(1/T), drawn to the even distribution by `smoothing`.

        Temperature scaling (Guo et al. 2017, arXiv 1706.04599) of a mixture, whose
        logits are the logarithms of its probabilities.
        """
        if self.temperature != 1.0:
            P = self.probabilities(_logits(P) / self.temperature)
        return self._smoothed(P)

    def _smoothed(self, P: Floats) -> Floats:
        if self.smoothing:
            P = P * (1.0 - self.smoothing) + self.smoothing / len(self.classes)
        return P

    def decode(self, Z: Array) -> Predictions:
        """Answer from the logits (E, n, width) of E networks."""
        if len(Z) == 1:
            # What `calibrate` comes to for one network, without a logarithm.
            Z64 = Z[0].astype(np.float64)
            P = self._smoothed(self.probabilities(Z64 / self.temperature))
        else:
            P = self.calibrate(
                np.mean([self.probabilities(each) for each in Z], axis=0)
            )
        return {"label": self._labels[P.argmax(axis=1)], "probabilities": P}

    def gradient(self, Z: Array, classes: NDArray[np.intp]) -> Floats:
        """Return d p/d Z (E, n, width) of the probability p of one class a row (n,).

        The chain rule through `decode`: with p_e = softmax(z_e), m = mean of the p_e
        and q = softmax(log m / T),

            dq_c/dm_k = q_c ([c = k] - q_k) / (T m_k)
            dm_k/dz_ej = p_ek ([k = j] - p_ej) / E
        """
        rows = np.arange(Z.shape[1])
        P = np.stack([self.probabilities(each) for each in Z])
        M = P.mean(axis=0)
        unsmoothed = msgspec.structs.replace(self, smoothing=0.0)
        Q = unsmoothed.calibrate(M)
        V = -Q
        V[rows, classes] += 1.0
        V *= Q[rows, classes, None] * ((1.0 - self.smoothing) / self.temperature)
        # Not by m_k: p_ek / m_k is E at most, however small the two.
        U = P / np.maximum(M, np.finfo(float).tiny) * V
        dZ: Floats = (U - P * U.sum(axis=2, keepdims=True)) / len(Z)
        # Two classes share the logit of the second; that of the first is held at 0.
        return dZ[:, :, 1:] if self.width == 1 else dZ


class Regression(
    msgspec.Struct, tag="regression", tag_field="kind", forbid_unknown_fields=True
):
    """The network answers in standard units of the training target."""

    mean: float
    std: float
    #: Standard units that no answer leaves: those of the training target.
    lowest: float = -1e30
    highest: float = 1e30
    task: ClassVar[Task] = "regression"
    width: ClassVar[int] = 1
    tensors: ClassVar[dict[str, tuple[str, tuple[int, ...]]]] = {"value": ("FP64", ())}

    def decode(self, Z: Array) -> Predictions:
        """Answer from the outputs (E, n, 1) of E networks."""
        # In float64: in float32 the limits themselves would be rounded, and left.
        standard = np.clip(Z[:, :, 0].astype(np.float64), self.lowest, self.highest)
        return {"value": standard.mean(axis=0) * self.std + self.mean}

    def gradient(self, Z: Array) -> Floats:
        """Return d value/d Z (E, n, 1): 0 where `decode` holds a network back."""
        free = (self.lowest < Z) & (self.highest > Z)
        slopes: Floats = free * np.float64(self.std / len(Z))
        return slopes


def _logits(P: Floats) -> Floats:
    """Return logits that `probabilities` turns into P: (n, 1) for two classes."""
    L = np.log(np.maximum(P, np.finfo(float).tiny))
    return L[:, 1:] - L[:, :1] if P.shape[1] == 2 else L


Output: TypeAlias = Classification | Regression
