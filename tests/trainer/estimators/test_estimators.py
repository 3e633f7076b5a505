"""The estimators give what `trainer fit` gives, and do what scikit-learn expects."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import polars as pl
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.metrics import accuracy_score, r2_score

import models
from models.storage.directory import DirectoryStore as Store
from tests.conftest import people
from trainer import Classifier, Regressor
from trainer.inspection import batch_inference

#: One plain network for some epochs: what is promised of every fit.
FAST = {"ensemble.members": 1, "network.architecture": "mlp", "train.epochs": 5}
SET = tuple(f"{name}={value}" for name, value in FAST.items())


def frame(n: int = 200, seed: int = 0) -> pl.DataFrame:
    """People with dates and gaps, typed as a notebook has them."""
    table = pl.DataFrame(people(n, seed))
    return table.with_columns(pl.col("since").str.to_date())


def halves(target: str, n: int = 200) -> tuple[pl.DataFrame, pl.Series]:
    whole = frame(n)
    return whole.drop(target), whole[target]


@pytest.fixture(scope="module")
def fitted() -> Classifier:
    return Classifier(settings=FAST).fit(*halves("Status"))


@pytest.mark.parametrize(
    ("kind", "target"), [(Classifier, "Status"), (Regressor, "income")]
)
def test_it_is_the_artefact_of_the_command_line(
    fit: Callable[..., Any], tmp_path: Path, kind: Any, target: str
) -> None:
    whole = frame().drop_nulls(target)
    whole.write_parquet(tmp_path / "data.parquet")
    published = fit(
        tmp_path / "store", tmp_path / "data.parquet", target=target, settings=SET
    )
    model = kind(settings=FAST).fit(whole.drop(target), whole[target])
    assert model.artefact_.sha256 == published.sha256
    artefact = Store(tmp_path / "store").load("m", 1)
    figures, _ = batch_inference.evaluate(artefact, str(tmp_path / "data.parquet"))
    score = model.score(whole.drop(target), whole[target])
    assert score == pytest.approx(figures["accuracy" if kind is Classifier else "r2"])


def test_attributes_are_those_of_scikit_learn(fitted: Classifier) -> None:
    X, y = halves("Status")
    assert fitted.classes_.tolist() == ["bad", "good"]
    assert fitted.n_features_in_ == X.width
    assert fitted.feature_names_in_.tolist() == X.columns
    P = fitted.predict_proba(X)
    np.testing.assert_allclose(P.sum(axis=1), 1.0)
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[P.argmax(1)])
    assert fitted.score(X, y) == accuracy_score(y, fitted.predict(X))
    assert is_classifier(fitted) and is_regressor(Regressor())


@pytest.mark.parametrize(
    "labels", [[0, 1, 2], [1.0, 2.0, 4.0], ["a", "b c", "ü"], [True, False]]
)
def test_predicted_classes_are_those_of_the_target(labels: list[Any]) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, len(labels), 90)
    X = np.column_stack([codes + rng.normal(0, 0.1, 90), rng.normal(size=90)])
    y = np.array(labels)[codes]
    model = Classifier(settings=FAST | {"train.epochs": 60}).fit(X, y)
    assert model.classes_.dtype == y.dtype
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    assert model.score(X, y) > 0.9


def test_intervals_of_a_number_hold_the_value() -> None:
    X, y = halves("children")
    target = y.to_numpy() + X["member"].to_numpy() * 3.0
    model = Regressor(settings=FAST).fit(X, target)
    low, high = model.predict_interval(X, 0.8)
    assert (low < model.predict(X)).all() and (model.predict(X) < high).all()
    assert model.score(X, target) == pytest.approx(r2_score(target, model.predict(X)))
    weights = np.arange(len(target))
    assert model.score(X, target, weights) == pytest.approx(
        r2_score(target, model.predict(X), sample_weight=weights)
    )


def test_images_are_an_array_of_more_dimensions(fit: Any, tmp_path: Path) -> None:
    from trainer.data import read

    digits = read("builtin:digits", None)
    X, y = np.asarray(digits.inputs)[:300], np.array(digits.target)[:300]
    np.savez(tmp_path / "digits.npz", X=X, y=y)
    settings = FAST | {"train.epochs": 2}
    model = Classifier(settings=settings).fit(X, y)
    published = fit(
        tmp_path / "store",
        tmp_path / "digits.npz",
        settings=(*SET, "train.epochs=2"),
    )
    assert model.artefact_.sha256 == published.sha256
    assert model.n_features_in_ == 64 and set(model.predict(X)) <= {*range(10)}


def test_options_are_those_of_the_command_line() -> None:
    model = Classifier(preset="fast", seed=3, epochs=4)
    assert clone(model).get_params() == model.get_params()
    assert repr(model) == "Classifier(epochs=4, preset='fast', seed=3)"
    model.fit(*halves("Status"))
    config = model.artefact_.manifest.config
    assert (config["preset"], config["seed"], config["train"]["epochs"]) == (
        *("fast", 3),
        4,
    )
    with pytest.raises(
        ValueError, match=r"train\.epoch'; did you mean 'train\.epochs'"
    ):
        Classifier(settings={"train.epoch": 4}).fit(*halves("Status"))
    with pytest.raises(ValueError, match="Invalid parameter 'speed'"):
        model.set_params(speed=1)


def test_copies_answer_alike_and_say_what_they_lost(
    fitted: Classifier, tmp_path: Path
) -> None:
    X, _ = halves("Status")
    joblib.dump(fitted, tmp_path / "model.joblib")
    for copy in (
        pickle.loads(pickle.dumps(fitted)),
        joblib.load(tmp_path / "model.joblib"),
    ):
        np.testing.assert_array_equal(copy.predict_proba(X), fitted.predict_proba(X))
        assert copy.explain(X[:2]) == fitted.explain(X[:2])
        with pytest.raises(ValueError, match="unpickled without the rows"):
            copy.publish(str(tmp_path / "store"), "people")


def test_published_models_pass_the_gate_and_are_loaded_again(
    fitted: Classifier, tmp_path: Path
) -> None:
    X, _ = halves("Status")
    address = str(tmp_path / "store")
    first = fitted.publish(address, "people")
    assert (first.version, first.promoted) == (1, True)
    assert first.report is not None and Path(first.report).exists()
    second = fitted.publish(Store(tmp_path / "store"), "people", promote="never")
    assert (second.version, second.promoted) == (2, False)
    loaded = models.load(f"{address}/people:production")
    assert loaded.version == 1 and loaded.artefact.sha256 == fitted.artefact_.sha256
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    worse = Classifier(settings=FAST | {"train.learning_rate": 1e-9})
    refused = worse.fit(*halves("Status")).publish(address, "people")
    assert not refused.promoted and "worse" in refused.reason
    with pytest.raises(ValueError, match="name"):
        fitted.publish(address, "../people")


def test_contributions_sum_to_the_change_in_probability(fitted: Classifier) -> None:
    X, _ = halves("Status")
    for each in fitted.explain(X[:3], "good"):
        change = each["output"] - each["baseline_output"]
        assert each["target"] == "good"
        assert sum(each["attributions"].values()) == pytest.approx(change, abs=0.02)


def test_findings_about_the_data_are_said(caplog: pytest.LogCaptureFixture) -> None:
    X, y = halves("Status")
    numbered = X.with_columns(pl.Series("id", range(len(X))))
    Classifier(settings=FAST).fit(numbered, y)
    assert "column 'id' numbers the rows" in caplog.text


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (None, "requires y to be passed"),
        (["good"] * 200, "found one class"),
        ([*range(200)][:7], "inconsistent numbers of samples"),
        (np.linspace(0, 1, 200), "is Regressor what you need"),
        ([None, *["a", "b"] * 99, "a"], "contains NaN"),
        (np.zeros((200, 2)), "1d array"),
    ],
)
def test_mistakes_in_the_target_are_errors(target: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Classifier(settings=FAST).fit(halves("Status")[0], target)


def test_mistakes_in_the_rows_are_errors(fitted: Classifier) -> None:
    X, _ = halves("Status")
    with pytest.raises(ValueError, match="now missing:\n- income"):
        fitted.predict(X.drop("income"))
    with pytest.raises(ValueError, match="same order"):
        fitted.predict(X.select(X.columns[::-1]))
    with pytest.raises(ValueError, match=r"column 'income', row 1: expected a finite"):
        fitted.predict(X.with_columns(income=pl.lit("much")))
    with pytest.raises(ValueError, match="not fitted yet"):
        Classifier().predict(X)


def test_importing_the_trainer_stays_cheap() -> None:
    code = (
        "import sys, trainer, models; from trainer.cli import main\n"
        "assert not {'sklearn', 'polars', 'trainer.pipeline'} & {*sys.modules}\n"
        "from trainer import Classifier; assert 'sklearn' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
