"""A published version in one's own process: `models.load("store/churn:production")`."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.explain.integrated_gradients import Explainer
from models.features.columns import Column
from models.features.inputs import RawColumns
from models.features.predictions import Label, Predictions, label_text
from models.features.table import TableInput
from models.storage.artefact import Artefact, Manifest
from models.storage.factory import open_store
from models.storage.references import resolve, split_address


def load(address: str, key_file: str | None = None) -> LoadedModel:
    """Return the version at STORE/NAME, STORE/NAME@VERSION or STORE/NAME:LABEL.

    NAME alone is the version in production, else the newest. The default store is
    GLASSNET_STORE, or ./artefacts. With a key file, by default that of
    GLASSNET_SIGNING_KEY_FILE, the version must be signed. Raises ConfigError for
    another form, NotFound, and ArtefactCorrupt.
    """
    default = os.environ.get("GLASSNET_STORE") or "./artefacts"
    place, reference = split_address(address, default)
    key_file = key_file or os.environ.get("GLASSNET_SIGNING_KEY_FILE") or None
    store = open_store(place, key_file)
    name, version = resolve(store, reference)
    return LoadedModel(name, version, store.load(name, version))


class LoadedModel:
    """A version that answers as the service does; threads may share it.

    Rows are a data frame of polars or pandas, a mapping of columns, a list of objects
    or of lists, as in a request, or an array (n, …).
    """

    def __init__(self, name: str, version: int, artefact: Artefact) -> None:
        self.name = name
        self.version = version
        self.artefact = artefact

    def __repr__(self) -> str:
        return f"<{self.manifest.task} model {self.name} version {self.version}>"

    @property
    def manifest(self) -> Manifest:
        """Everything about the model: signature, figures, settings, findings."""
        return self.artefact.manifest

    @property
    def metrics(self) -> dict[str, Any]:
        """The figures on held-out rows."""
        return self.manifest.metrics

    @property
    def classes_(self) -> tuple[Label, ...]:
        """The classes in the order of their probabilities; none for a number."""
        return self.manifest.output.classes

    def predict(self, rows: Any) -> NDArray[Any]:
        """Return the label or value (n,) of each of n rows. Raises InvalidInput."""
        predictions = self._predictions(rows)
        values: NDArray[Any] = predictions[self.manifest.output.main]
        kinds = {type(label) for label in self.classes_}
        return np.array(values.tolist()) if len(kinds) == 1 else values

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """Return the probability (n, classes) of each class for each of n rows.

        Raises InvalidInput for rows that do not fit, AttributeError for a model that
        predicts numbers.
        """
        if not self.classes_:
            raise AttributeError(f"{self!r} predicts numbers and has no probabilities")
        P: NDArray[np.float64] = self._predictions(rows)["probabilities"]
        return P

    def predict_interval(
        self, rows: Any, level: float = 0.9
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the ends (n,) and (n,) of intervals that hold a share of true values.

        Raises InvalidInput for a level that the model has no interval of.
        """
        predictions = self._predictions(rows, level)
        return predictions["lower"], predictions["upper"]

    def explain(self, rows: Any, target: Label | None = None) -> list[dict[str, Any]]:
        """Return what each column contributes to the prediction of each row.

        It is the reply of `:explain`, for the class `target` or the likeliest of each
        row. Raises InvalidInput.
        """
        explanation = self._explainer.explain(self._raw(rows), target)
        explanations: list[dict[str, Any]] = explanation.reply()["explanations"]
        return explanations

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self.artefact)

    def _predictions(self, rows: Any, interval: float | None = None) -> Predictions:
        return self.artefact.model.predict(self._raw(rows), interval)

    def _raw(self, rows: Any) -> RawColumns:
        """Return raw rows by the decoder of requests. Raises InvalidInput."""
        inputs, decoder = self.manifest.inputs, self.artefact.model.decoder
        names = _column_names(rows)
        if isinstance(inputs, TableInput) and names is not None:
            columns = {
                name: [_json(v, inputs.by_name[name]) for v in _listed(rows[name])]
                for name in names
                if name in inputs.by_name
            }
            return decoder.by_column(msgspec.json.encode(columns))
        listed = rows.tolist() if hasattr(rows, "tolist") else rows
        return decoder.rows(msgspec.json.encode(listed, enc_hook=_scalar))


def _column_names(rows: Any) -> Sequence[str] | None:
    """Return the column names of a frame or mapping, None for rows."""
    if isinstance(rows, Mapping):
        return list(rows)
    return list(rows.columns) if hasattr(rows, "columns") else None


def _listed(column: Any) -> Iterable[Any]:
    """Return the values of a column of a frame, or of any sequence."""
    for method in ("to_list", "tolist"):
        if hasattr(column, method):
            values: Iterable[Any] = getattr(column, method)()
            return values
    return list(column)


def _json(value: Any, column: Column) -> Any:
    """Return a value of a frame as JSON of its column: None where it is missing."""
    if value is None or value != value:  # NaN and NaT differ from themselves
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if column.is_text and not isinstance(value, str):
        return label_text(value)
    if column.json_type is bool and value in (0, 1):
        return bool(value)
    if isinstance(value, float) and math.isinf(value):
        return str(value)  # no JSON number: the decoder says where it is
    return value


def _scalar(value: Any) -> Any:
    """Return a scalar of NumPy as a value of Python. Raises TypeError for others."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected numbers, text or truth values, found {type(value)}")
