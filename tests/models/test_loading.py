"""A version in one's own process answers as the service does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import models
from models.errors import InvalidInput, ModelNotFound
from tests.conftest import people
from tests.serving import Server


@pytest.fixture
def model(served: Path) -> Any:
    return models.load(f"{served}/people:production")


def rows() -> pl.DataFrame:
    return pl.DataFrame(people(40, seed=1)).drop("Status")


def test_it_answers_and_explains_as_the_service(model: Any, server: Server) -> None:
    instances = rows().to_dicts()
    answered = server.predict("people", instances)
    assert model.predict(rows()).tolist() == [each["label"] for each in answered]
    P = np.array([each["probabilities"] for each in answered])
    np.testing.assert_allclose(model.predict_proba(rows()), P, atol=1e-6)
    status, reply = server.request(
        "POST", "/v1/models/people:explain", {"instances": instances}
    )
    assert status == 200
    for one, other in zip(model.explain(rows()), reply["explanations"], strict=True):
        assert one["target"] == other["target"]
        assert one["attributions"] == pytest.approx(other["attributions"], abs=1e-5)


def test_every_form_of_rows_is_the_same(model: Any) -> None:
    frame = rows().with_columns(
        pl.col("since").str.to_date(), pl.col("children").cast(pl.Float64)
    )
    expected = model.predict_proba(rows())
    as_objects = {
        name: np.array(column.to_list(), object)
        for name, column in zip(frame.columns, frame, strict=True)
    }
    for given in (
        frame,
        rows().to_dicts(),
        rows().to_dict(as_series=False),
        [list(row) for row in rows().rows()],
        as_objects,
    ):
        np.testing.assert_array_equal(model.predict_proba(given), expected)


def test_arrays_go_to_models_of_arrays(served: Path) -> None:
    digits = models.load(f"{served}/digits")
    X = np.random.default_rng(0).integers(0, 17, (5, 8, 8))
    np.testing.assert_allclose(
        digits.predict_proba(X), digits.predict_proba(X.tolist()), atol=1e-6
    )
    assert set(digits.predict(X.astype(np.float32)).tolist()) <= {*range(10)}


def test_a_number_has_intervals_and_no_probabilities(served: Path) -> None:
    half = models.load(f"{served}/half_plus_two@1")
    low, high = half.predict_interval({"x": [1.0, 2.0]})
    value = half.predict({"x": [1.0, 2.0]})
    assert (low < value).all() and (value < high).all()
    with pytest.raises(AttributeError, match="predicts numbers"):
        half.predict_proba({"x": [1.0]})


def test_it_says_what_it_is(model: Any) -> None:
    assert repr(model) == "<binary model people version 1>"
    assert model.classes_ == ("bad", "good") and model.metrics["accuracy"] > 0.5


def test_mistakes_are_sentences(model: Any, served: Path) -> None:
    with pytest.raises(InvalidInput, match="row 0, column 'income'"):
        model.predict([{**row, "income": "much"} for row in rows().to_dicts()[:1]] * 2)
    with pytest.raises(InvalidInput, match="did you mean 'income'"):
        model.predict([{**rows().to_dicts()[0], "incom": 1.0}])
    with pytest.raises(ModelNotFound, match="did you mean 'people'"):
        models.load(f"{served}/peple")


def test_the_store_comes_from_the_environment(
    served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLASSNET_STORE", str(served))
    assert models.load("people").version == 1
