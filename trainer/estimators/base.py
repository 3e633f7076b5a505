"""What `Classifier` and `Regressor` share: fit, publish, explain, settings."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.errors import ConfigError, DataError, InvalidInput
from models.explain.integrated_gradients import Explainer
from models.features.inputs import RawColumns
from models.features.predictions import Label, Predictions, Task
from models.storage.artefact import Artefact, load
from models.storage.base import ArtefactStore
from models.storage.factory import open_store
from trainer import pipeline
from trainer.candidate import Candidate, FitRequest, fit_candidate
from trainer.checks.production_guards import guard
from trainer.config import environment
from trainer.config.loading import load as load_settings
from trainer.config.schema import Config, Preset
from trainer.data import read_for
from trainer.estimators.frames import Rows, read_rows, series
from trainer.evaluation.gate import Policy
from trainer.evaluation.production import load_production
from trainer.types import Messages

if TYPE_CHECKING:
    import polars as pl

#: Findings about the data are warnings, which Python prints unless told otherwise;
#: steps and reasons are of level INFO.
_log = logging.getLogger("trainer")
MESSAGES = Messages(_log.warning, _log.info, _log.info)


class NotFitted(ValueError, AttributeError):
    """A model that was asked before it was fitted."""


@contextmanager
def value_errors() -> Iterator[None]:
    """Turn errors about data and settings into ValueError, as scikit-learn has them."""
    try:
        yield
    except (ConfigError, DataError, InvalidInput) as error:
        raise ValueError(str(error)) from None


class Estimator:
    """A model of the trainer by scikit-learn's conventions."""

    kind: ClassVar[str]
    artefact_: Artefact
    n_features_in_: int
    feature_names_in_: NDArray[Any]

    def __init__(
        self,
        *,
        preset: Preset | None = None,
        settings: Mapping[str, Any] | None = None,
        config: str | Path | None = None,
        seed: int | None = None,
        epochs: int | None = None,
        time_limit: float | None = None,
    ) -> None:
        """Take the options of `trainer fit`; `settings` are those of its `--set`.

        `config` is a TOML file of settings, and `time_limit` is in seconds.
        """
        self.preset = preset
        self.settings = settings
        self.config = config
        self.seed = seed
        self.epochs = epochs
        self.time_limit = time_limit

    # Settings

    @classmethod
    def _parameters(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the options by name; none holds options of its own, `deep` or not."""
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **options: Any) -> Self:
        """Change options. Raises ValueError for an unknown one."""
        for name, value in options.items():
            if name not in self._parameters():
                raise ValueError(
                    f"Invalid parameter '{name}' for estimator {self!r}. Valid "
                    f"parameters are: {self._parameters()}."
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        given = (
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value is not defaults[name].default and value != defaults[name].default
        )
        return f"{type(self).__name__}({', '.join(given)})"

    def _repr_html_(self) -> str:
        from trainer.estimators.html import render_model

        return render_model(repr(self), self.artefact_ if self._is_fitted else None)

    # Fitting

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to the rows X, a data frame or an array, and their target y (n,).

        The rows go through the same steps as those of `trainer fit`: some are held out
        to measure the model. Raises ValueError for data or settings that do not fit.
        """
        rows = read_rows(X)
        if len(rows) == 1:
            raise ValueError("expected several rows to fit, found 1 sample")
        target = self._target(y, rows)
        with value_errors():
            request = FitRequest(
                data=rows.source(target),
                target=target.name,
                model="model",
                task=self._task(target),
                validation=None,
                config=self._config(),
                promote="auto",
                time_limit=float("inf") if self.time_limit is None else self.time_limit,
            )
            self._forget()
            with tempfile.TemporaryDirectory() as folder:
                store = open_store(folder)
                candidate = fit_candidate(request, store, MESSAGES, lambda epoch: None)
        self.n_features_in_ = rows.n_features
        if rows.names is not None:
            self.feature_names_in_ = np.array(rows.names, object)
        self.artefact_ = candidate.artefact
        self._encoded = candidate.encoded
        self._fitted: tuple[Candidate, FitRequest] | None = candidate, request
        self._keep(y)
        return self

    def _config(self) -> Config:
        """Return the settings: of the file, then `settings`, then the options."""
        options = {
            "preset": self.preset,
            "seed": self.seed,
            "train.epochs": self.epochs,
        }
        given = {name: value for name, value in options.items() if value is not None}
        file = None if self.config is None else Path(self.config)
        return load_settings(file, (), {**(self.settings or {}), **given})

    def _forget(self) -> None:
        """Remove what an earlier fit left."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    def _target(self, y: Any, rows: Rows) -> pl.Series:
        """Return the target, named as it is or `y`. Raises ValueError."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None"
            )
        name = getattr(y, "name", None)
        name = name if isinstance(name, str) and name else "y"
        while rows.frame is not None and name in rows.frame.columns:
            name += "_"
        if not hasattr(y, "dtype"):  # a list, or a frame of one column
            y = np.asarray(y)
        if len(np.shape(y)) == 2 and np.shape(y)[1] == 1:
            _warn(
                "A column-vector y was passed when a 1d array was expected. Please "
                "change the shape of y to (n_samples, ), for example using ravel()."
            )
            y = np.ravel(y)
        if len(np.shape(y)) != 1:
            raise ValueError(f"y should be a 1d array, got shape {np.shape(y)} instead")
        if getattr(y.dtype, "kind", "") == "c":
            raise ValueError("Complex data not supported")
        target = series(name, y)
        if len(target) != len(rows):
            raise ValueError(
                "Found input variables with inconsistent numbers of samples: "
                f"[{len(rows)}, {len(target)}]"
            )
        self._require_finite(target)
        return target

    def _require_finite(self, target: pl.Series) -> None:
        if target.dtype.is_float() and not target.is_finite().all():
            found = (
                "NaN" if target.is_nan().any() or target.null_count() else "infinity"
            )
            raise ValueError(
                f"Input y contains {found}"
                + (" or a value too large" if found == "infinity" else "")
            )
        if target.null_count():
            raise ValueError("Input y contains NaN: rows without a target cannot train")

    def _task(self, target: pl.Series) -> Task | None:
        """Return the task, or None where the trainer would choose the same itself."""
        raise NotImplementedError

    def _keep(self, y: Any) -> None:
        """Keep what later methods need of the target y (n,)."""

    # Predicting

    @property
    def _is_fitted(self) -> bool:
        return "artefact_" in vars(self)

    def _require_fitted(self) -> None:
        if self._is_fitted:
            return
        # scikit-learn's own error, where it is in use.
        exceptions = sys.modules.get("sklearn.exceptions")
        error = getattr(exceptions, "NotFittedError", NotFitted)
        raise error(
            f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with "
            "appropriate arguments before using this estimator."
        )

    def _raw(self, X: Any) -> RawColumns:
        """Return the raw rows of X. Raises ValueError if they are of another form."""
        self._require_fitted()
        rows = read_rows(X)
        self._require_names(rows)
        if rows.frame is not None and rows.names is None:
            known = getattr(self, "feature_names_in_", None)
            if known is not None:
                renamed = dict(zip(rows.frame.columns, known.tolist(), strict=True))
                rows = replace(rows, frame=rows.frame.rename(renamed))
        with value_errors():
            return read_for(rows.source(), self.artefact_.manifest.inputs, None).inputs

    def _require_names(self, rows: Rows) -> None:
        """Raise ValueError for other columns than those of `fit`, as scikit-learn."""
        known: list[str] | None = getattr(
            self, "feature_names_in_", np.array([])
        ).tolist()
        name = type(self).__name__
        if known and rows.names is None:
            _warn(
                f"X does not have valid feature names, but {name} was fitted with "
                "feature names",
                UserWarning,
            )
        elif rows.names is not None and not known:
            _warn(
                f"X has feature names, but {name} was fitted without feature names",
                UserWarning,
            )
        if known and rows.names is not None and rows.names != known:
            raise ValueError(_difference(known, rows.names))
        if rows.n_features != self.n_features_in_:
            raise ValueError(
                f"X has {rows.n_features} features, but {name} is expecting "
                f"{self.n_features_in_} features as input"
            )

    def _predictions(self, X: Any, interval: float | None = None) -> Predictions:
        raw = self._raw(X)
        with value_errors():
            return self.artefact_.model.predict(raw, interval)

    def explain(self, X: Any, target: Label | None = None) -> list[dict[str, Any]]:
        """Return what each column contributes to the prediction of each row of X.

        The contributions, by integrated gradients, are to the value, or to the
        probability of the class `target`, by default the likeliest of each row.
        """
        raw = self._raw(X)
        with value_errors():
            explanation = Explainer(self.artefact_).explain(raw, target)
        explanations: list[dict[str, Any]] = explanation.reply()["explanations"]
        return explanations

    # Publishing

    def publish(
        self, store: ArtefactStore | str, name: str, promote: Policy = "auto"
    ) -> pipeline.FitResult:
        """Publish the model as the next version of `name`, with its report.

        The gate compares it with the version in production, as `trainer fit` does, and
        promotes it, or labels it `candidate`; `promote` may also be "always" or
        "never". Raises ValueError for a model that was unpickled, which has lost the
        rows it was measured on, and for a name or store that is not allowed.
        """
        self._require_fitted()
        if self._fitted is None:
            raise ValueError(
                "this model was unpickled without the rows that the gate compares it "
                "on: publish it before it is pickled, or fit it again"
            )
        candidate, request = self._fitted
        request = replace(request, model=name, promote=promote)
        with value_errors():
            if isinstance(store, str):
                key_file = environment.read(environment.SIGNING_KEY_FILE)
                store = open_store(store, key_file)
            store.check_name(name)
            production = load_production(store, name, lambda sentence: None)
            findings = guard(candidate.prepared, production, MESSAGES.finding)
            candidate = replace(candidate, guard_findings=findings)
            return pipeline.publish(candidate, request, store, MESSAGES.step)

    # Copies, and scikit-learn

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        if self._is_fitted:
            state |= {"artefact_": None, "_fitted": None}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "artefact_" in state:
            self.artefact_ = load(self._encoded)

    def __sklearn_is_fitted__(self) -> bool:
        return self._is_fitted

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's description of an estimator; only it calls this."""
        utils: Any = importlib.import_module("sklearn.utils")
        classifies = self.kind == "classifier"
        return utils.Tags(
            estimator_type=self.kind,
            target_tags=utils.TargetTags(required=True),
            classifier_tags=utils.ClassifierTags() if classifies else None,
            regressor_tags=None if classifies else utils.RegressorTags(),
            input_tags=utils.InputTags(
                three_d_array=True, string=True, allow_nan=True, categorical=True
            ),
        )


def _difference(known: list[str], found: list[str]) -> str:
    """Return the sentences of scikit-learn about names that differ from those known."""
    lines = ["The feature names should match those that were passed during fit."]
    unseen = [name for name in found if name not in known]
    missing = [name for name in known if name not in found]
    for title, names in (
        ("Feature names unseen at fit time:", unseen),
        ("Feature names seen at fit time, yet now missing:", missing),
    ):
        if names:
            more = ["- ..."] if len(names) > 5 else []
            lines += [title, *(f"- {name}" for name in sorted(names)[:5]), *more]
    if not unseen and not missing:
        lines.append("Feature names must be in the same order as they were in fit.")
    return "\n".join(lines) + "\n"


def _warn(sentence: str, kind: type[Warning] | None = None) -> None:
    """Warn, by scikit-learn's DataConversionWarning where that is in use."""
    if kind is None:
        exceptions = sys.modules.get("sklearn.exceptions")
        kind = getattr(exceptions, "DataConversionWarning", UserWarning)
    warnings.warn(sentence, kind, stacklevel=4)
