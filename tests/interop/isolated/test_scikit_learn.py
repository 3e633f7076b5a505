"""scikit-learn's own checks, its tools, and pandas: `make interop` runs them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from models.storage.directory import DirectoryStore as Store
from tests.conftest import people
from trainer import Classifier, Regressor
from trainer.inspection import batch_inference

LONE = {"ensemble.members": 1, "network.architecture": "mlp"}
FAST = LONE | {"train.epochs": 5}
SET = tuple(f"{name}={value}" for name, value in FAST.items())
#: Checks that cannot pass, and why.
CANNOT = {
    "check_methods_sample_order_invariance": "networks compute in float32, whose "
    "products differ in the last bits with the place of a row: 1e-6, not 1e-7",
}


def checks() -> Iterator[Any]:
    """Yield each estimator with each check, by their names."""
    for kind in (Classifier, Regressor):
        with warnings.catch_warnings():  # they do not inherit from its classes
            warnings.simplefilter("ignore")
            pairs = [*estimator_checks_generator(kind(settings=LONE, epochs=40))]
        for estimator, check in pairs:
            name = f"{kind.__name__}-{check.func.__name__}"
            yield pytest.param(estimator, check, id=name)


@pytest.mark.parametrize(("estimator", "check"), [*checks()])
@pytest.mark.filterwarnings("ignore")
def test_checks_of_scikit_learn_pass(estimator: Any, check: Any) -> None:
    try:
        check(estimator)
    except AssertionError:
        if check.func.__name__ not in CANNOT:
            raise
        pytest.xfail(CANNOT[check.func.__name__])


def tables() -> dict[str, tuple[Any, pl.DataFrame, str]]:
    """Three tables by name: estimator, rows and target."""
    iris, diabetes = (load(as_frame=True).frame for load in (load_iris, load_diabetes))
    with_dates = pl.DataFrame(people(150)).with_columns(pl.col("since").str.to_date())
    return {
        "people": (Classifier, with_dates, "Status"),
        "iris": (Classifier, pl.DataFrame(iris.to_dict("list")), "target"),
        "diabetes": (Regressor, pl.DataFrame(diabetes.to_dict("list")), "target"),
    }


@pytest.mark.parametrize("name", ["people", "iris", "diabetes"])
def test_cross_validation_is_a_loop_over_trainer_fit(
    fit: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    kind, whole, target = tables()[name]
    folds = KFold(3, shuffle=True, random_state=0)
    X, y = whole.drop(target), whole[target]
    scores = cross_val_score(kind(settings=FAST), X, y, cv=folds)
    for number, (train, test) in enumerate(folds.split(whole)):
        whole[train].write_parquet(tmp_path / "train.parquet")
        whole[test].write_parquet(tmp_path / "test.parquet")
        store = tmp_path / f"store{number}"
        fit(store, tmp_path / "train.parquet", target=target, settings=SET)
        artefact = Store(store).load("m", 1)
        found = batch_inference.evaluate(artefact, str(tmp_path / "test.parquet"))
        expected = found.metrics["accuracy" if kind is Classifier else "r2"]
        assert scores[number] == pytest.approx(expected, abs=1e-12)


def test_it_works_in_pipelines_and_searches() -> None:
    X = np.random.default_rng(0).normal(size=(120, 3))
    y = X[:, 0] > 0
    chain = make_pipeline(StandardScaler(), Classifier(settings=FAST))
    assert chain.fit(X, y).score(X, y) > 0.6
    grid = {"settings": [FAST, FAST | {"train.epochs": 60}]}
    search = GridSearchCV(Classifier(settings=FAST), grid, n_jobs=2)
    assert search.fit(X, y).best_score_ > 0.6


def test_a_frame_of_pandas_is_that_of_polars() -> None:
    whole = pl.DataFrame(people(120)).with_columns(pl.col("since").str.to_date())
    frame = pd.DataFrame(whole.to_dict(as_series=False))
    frame["since"] = pd.to_datetime(frame["since"])
    frame["home"] = frame["home"].astype("category")
    frame["children"] = frame["children"].astype("Int64")
    frame.loc[3, "children"] = pd.NA
    whole[3, "children"] = None
    of_pandas = Classifier(settings=FAST).fit(
        frame.drop(columns="Status"), frame.Status
    )
    of_polars = Classifier(settings=FAST).fit(whole.drop("Status"), whole["Status"])
    assert of_pandas.artefact_.manifest.data == of_polars.artefact_.manifest.data
    one, other = (
        of_pandas.predict_proba(frame.drop(columns="Status")),
        (of_polars.predict_proba(whole.drop("Status"))),
    )
    np.testing.assert_array_equal(one, other)


def test_names_that_are_no_text_are_none() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)))
    model = Regressor(settings=FAST).fit(frame, frame[0] * 2)
    assert not hasattr(model, "feature_names_in_")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.predict(frame.to_numpy()).shape == (60,)
    with pytest.raises(TypeError, match="string names"):
        model.fit(frame.rename(columns={0: "a"}), frame[0])
