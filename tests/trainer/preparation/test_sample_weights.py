"""What rows and classes count: in the loss, in batches of it, and in a whole run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss
from sklearn.utils.class_weight import compute_class_weight

from models.errors import ConfigError
from models.features.predictions import Classification, Regression
from models.storage.directory import DirectoryStore as Store
from trainer.config import loading
from trainer.data import read, take
from trainer.data.row_hashing import hash_rows, limit_for_tests, rotating_splits
from trainer.preparation.prepare import prepare
from trainer.preparation.sample_weights import (
    describe_class_weights,
    resolve_class_weights,
    scaled_weights,
)
from trainer.training.losses import (
    binary_cross_entropy,
    mean_squared_error,
    over_batches,
    softmax_cross_entropy,
    training_loss,
)
from trainer.types import Loss

bounded = settings(deadline=None, max_examples=100)
COLOURS = Classification(("blue", "green", "red"))
LOSSES = [binary_cross_entropy, softmax_cross_entropy, mean_squared_error]

Command = Callable[..., Result]
WriteCsv = Callable[..., Path]


# Classes.


@bounded
@given(st.lists(st.integers(0, 2), min_size=3, max_size=60))
def test_balanced_is_scikit_learns(drawn: list[int]) -> None:
    target = np.array([0, 1, 2, *drawn])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=target)
    found = resolve_class_weights("balanced", COLOURS, target, None)
    np.testing.assert_allclose(found, expected)  # type: ignore[arg-type]


def test_balanced_classes_count_alike_with_the_weights_of_their_rows() -> None:
    rng = np.random.default_rng(0)
    target, weights = rng.integers(0, 3, 200) // 2 * 2, rng.uniform(0, 4, 200)
    classes = resolve_class_weights("balanced", COLOURS, target, weights)
    assert classes is not None
    sums = np.bincount(target, classes[target] * weights, 3)
    assert sums[0] == pytest.approx(sums[2])
    # A class without a row has no share to balance.
    assert sums[1] == 0 and classes[1] == 1


def test_a_table_names_the_classes_it_weighs() -> None:
    target = np.array([0, 1, 2])
    found = resolve_class_weights({"red": 5.0, "blue": 0.5}, COLOURS, target, None)
    assert found is not None and found.tolist() == [0.5, 1, 5]
    assert resolve_class_weights(None, COLOURS, target, None) is None
    numbers = Classification((0, 1, 2.5))
    found = resolve_class_weights({"2.5": 2.0, "0": 3.0}, numbers, target, None)
    assert found is not None and found.tolist() == [3, 1, 2]
    truths = Classification((False, True))
    found = resolve_class_weights({"true": 4.0}, truths, target[:2], None)
    assert found is not None and found.tolist() == [1, 4]


def test_a_class_there_is_not_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_class_weights({"gren": 2.0}, COLOURS, np.array([0]), None)
    assert str(caught.value) == (
        "train.class_weights: there is no class 'gren'; did you mean 'green'?"
    )


@pytest.mark.parametrize("asked", ["balanced", {"1": 2.0}])
def test_a_number_has_no_classes(asked: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"train\.class_weights needs a target of classes"
    ):
        resolve_class_weights(asked, Regression(0.0, 1.0), np.array([0.5]), None)


def test_the_reason_states_the_weights_of_the_first_classes() -> None:
    assert describe_class_weights(COLOURS, np.array([0.5, 1, 12.3456])) == (
        "class weights blue 0.5, green 1, red 12.3: as given"
    )
    many = Classification(tuple(range(9)))
    assert describe_class_weights(many, np.ones(9)).endswith("5 1, …: as given")


# Rows.


@bounded
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=50), st.booleans())
def test_rows_count_one_on_average(weights: list[float], classes: bool) -> None:
    n = len(weights)
    of_class = np.array([1.0, 3.0]) if classes else None
    found = scaled_weights(np.arange(n) % 2, of_class, np.array(weights))
    assert found is not None and found.dtype == np.float32
    assert found.mean() == pytest.approx(1, rel=1e-5)
    expected = np.array(weights) * (np.arange(n) % 2 * 2 + 1 if classes else 1)
    np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-5)


def test_rows_that_count_alike_have_no_weights() -> None:
    assert scaled_weights(np.array([0, 1]), None, None) is None


def test_the_lightest_row_still_counts() -> None:
    found = scaled_weights(np.array([0, 1]), None, np.array([1e-90, 1e90]))
    assert found is not None and found[0] > 0


@pytest.mark.parametrize("loss", LOSSES)
@bounded
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 12))
def test_batches_add_up_to_the_weighted_mean(
    loss: Loss, seed: int, n: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    Z = rng.normal(0, 2, (n, 3 if loss is softmax_cross_entropy else 1))
    T = rng.integers(0, 2, n)
    weights = rng.exponential(1, n) ** 3 + 1e-3
    weights /= weights.mean()
    expected, dZ = loss(Z, T, weights)
    summed, gradient = 0.0, np.zeros_like(Z)
    order = rng.permutation(n)
    for start in range(0, n, size):
        rows = order[start : start + size]
        value, dB = over_batches(loss)(Z[rows], T[rows], weights[rows])
        summed += value * len(rows) / n
        gradient[rows] = dB * len(rows) / n
    assert summed == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(gradient, dZ, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_without_weights_nothing_changes(loss: Loss) -> None:
    Z = np.random.default_rng(0).normal(size=(9, 3))[:, : 3 if loss is LOSSES[1] else 1]
    T = np.arange(9) % 2
    value, dZ = loss(Z, T, None)
    again, dB = over_batches(loss)(Z, T, None)
    assert value == again
    np.testing.assert_array_equal(dZ, dB)


# A run.


def test_a_row_of_weight_two_is_the_row_twice(write_csv: WriteCsv) -> None:
    rng = np.random.default_rng(1)
    times = rng.integers(0, 4, 90)
    x, y = rng.normal(size=90).round(3), rng.choice(["a", "b", "c"], 90)
    once = write_csv({"x": x, "w": times, "y": y}, "once.csv")
    often = write_csv({"x": x.repeat(times), "y": y.repeat(times)}, "often.csv")
    every = ("data.test_fraction=0", "data.validation_fraction=0")
    found = []
    for path, weight in ((once, ("data.weight=w",)), (often, ())):
        given = loading.load(None, (*every, *weight, "train.class_weights={a=3}"), {})
        ready = prepare(
            read(str(path), "y"),
            None,
            None,
            given,
            lambda said: None,
        )
        part = ready.evaluation.rows
        rows = ready.rows(part)
        # Logits that are a function of the raw row alone.
        column = np.asarray(part.raw["x"])  # type: ignore[call-overload]
        Z = np.stack([column, column**2, -column], axis=1)
        value, dZ = training_loss(ready.task)(Z, rows.T, rows.weights)
        found.append((value, dZ.sum(axis=0)))
    assert len(rows.X) == times.sum()
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5, atol=1e-7)


def coin(n: int = 800) -> dict[str, list[Any]]:
    """Half heads and half tails, whatever x is; heads have the weight 3."""
    rng = np.random.default_rng(2)
    side = rng.permutation(["heads", "tails"] * (n // 2)).tolist()
    return {
        "x": rng.normal(size=n).round(3).tolist(),
        "w": [3 if s == "heads" else 1 for s in side],
        "side": side,
    }


STEADY = (
    "ensemble.members=1",
    "network.architecture=mlp",
    "network.hidden=[]",
    "train.learning_rate=0.02",
    "train.epochs=30",
)


def sets(*assignments: str) -> list[str]:
    return [word for text in assignments for word in ("--set", text)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["data.weight=w"], 0.75),
        (["data.weight=w", "train.class_weights=balanced"], 0.5),
        (["data.weight=w", "train.class_weights={tails = 9}"], 0.25),
        (
            ["data.weight=w", "train.class_weights={tails = 9}", "train.batch_size=4"],
            0.25,
        ),
    ],
)
def test_answers_are_the_shares_that_rows_count_for(
    given: list[str],
    expected: float,
    command: Command,
    write_csv: WriteCsv,
    store: Store,
) -> None:
    data = write_csv(coin())
    arguments = ("fit", data, "--target", "side", "--model", "m", "--json")
    command(*arguments, *sets(*STEADY, *given))
    answer = store.load("m", 1).model.predict({"x": np.linspace(-1, 1, 9)})
    heads = answer["probabilities"][:, 0].mean()
    assert heads == pytest.approx(expected, abs=0.06)


def test_figures_are_weighted_by_rows_and_not_by_classes(
    command: Command, write_csv: WriteCsv, store: Store
) -> None:
    data = write_csv(coin())
    arguments = ("fit", data, "--target", "side", "--model", "m", "--json")
    weighted = "data.weight=w", "train.class_weights={tails = 2}"
    given = sets(*STEADY, "calibrate=false", *weighted)
    found = json.loads(command(*arguments, *given).stdout)["metrics"]
    whole = read(str(data), "side")
    assert isinstance(whole.inputs, dict) and whole.target is not None
    x = {"x": whole.inputs["x"]}
    where = hash_rows(x)
    (split,) = rotating_splits(where, 1, 0.15 / 0.9, limit_for_tests(where, 0.1))
    rows = split.test
    answer = store.load("m", 1).model.predict(take(x, rows))
    truth = [whole.target[i] for i in rows]
    counts = np.asarray(whole.inputs["w"])[rows]
    expected = log_loss(truth, answer["probabilities"][:, 1], sample_weight=counts)
    assert found["log_loss"] == pytest.approx(expected)
    assert found["accuracy"] == pytest.approx(
        accuracy_score(truth, answer["label"], sample_weight=counts)
    )
    assert (found["rows"], found["weighted_by"]) == (len(rows), "w")
    # Both weigh the loss that chooses the epoch.
    part = split.validation
    P = store.load("m", 1).model.predict(take(x, part))["probabilities"]
    truth = [whole.target[i] for i in part]
    counts = np.asarray(whole.inputs["w"])[part]
    counts = counts * [2 if t == "tails" else 1 for t in truth]
    (history,) = store.load("m", 1).manifest.history
    assert min(history["validation_loss"]) == pytest.approx(
        log_loss(truth, P[:, 1], sample_weight=counts), rel=1e-4
    )


def test_evaluate_weighs_rows_if_it_is_told_their_weights(
    command: Command, write_csv: WriteCsv, store: Store
) -> None:
    columns = coin()
    data = write_csv(columns)
    fit = ("fit", data, "--target", "side", "--model", "m")
    command(*fit, *sets(*STEADY, "data.weight=w"))
    bare = write_csv({k: v for k, v in columns.items() if k != "w"}, "bare.csv")
    answer = store.load("m", 1).model.predict({"x": np.array(columns["x"])})
    for path, counts, basis in ((data, columns["w"], "w"), (bare, None, None)):
        shown = command("evaluate", path, "--model", "m", "--json").stdout
        found = json.loads(shown)["metrics"]
        expected = log_loss(
            columns["side"], answer["probabilities"][:, 1], sample_weight=counts
        )
        assert found["log_loss"] == pytest.approx(expected)
        assert found.get("weighted_by") == basis
    columns["w"][6] = -1
    path = write_csv(columns, "bad.csv")
    result = command("evaluate", path, "--model", "m", code=1)
    assert f"Error: {path}: column 'w' (data.weight), row 7: expected" in result.stderr


def test_rows_that_weigh_nothing_are_as_if_they_were_not_there(
    command: Command, write_csv: WriteCsv, store: Store
) -> None:
    columns = coin(400)
    columns["w"] = [1.0] * 400
    light = {k: [*v, *v[:60]] for k, v in columns.items()}
    light["w"][400:] = [0.0] * 60
    light["x"][400:] = [1e6] * 60
    fit = ("fit", write_csv(columns), "--target", "side", "--model", "m", "--json")
    one = json.loads(command(*fit, *sets(*STEADY, "data.weight=w")).stdout)
    fit = ("fit", write_csv(light), "--target", "side", "--model", "m", "--json")
    result = command(*fit, *sets(*STEADY, "data.weight=w"))
    assert "rows left out, of weight 0: 60" in result.stderr
    assert json.loads(result.stdout)["sha256"] == one["sha256"]


def test_the_gate_weighs_both_sides_alike(
    command: Command, write_csv: WriteCsv
) -> None:
    fit = ("fit", write_csv(coin()), "--target", "side", "--model", "m", "--json")
    given = sets(*STEADY, "data.weight=w")
    first = json.loads(command(*fit, *given).stdout)
    again = json.loads(command(*fit, *given).stdout)
    figure = f"{first['metrics']['log_loss']:.3g}"
    assert again["reason"].startswith(
        f"at least as good: log_loss {figure}, production {figure}, on "
    )


def test_validation_rows_of_ones_own_have_weights_too(
    command: Command, write_csv: WriteCsv, store: Store
) -> None:
    data = write_csv(coin())
    other = coin(100)
    other["w"][0] = 0
    valid = write_csv(other, "valid.csv")
    fit = ("fit", data, "--target", "side", "--model", "m", "--valid")
    given = sets(*STEADY, "data.weight=w", "data.test_fraction=0")
    command(*fit, valid, *given)
    manifest = store.load("m", 1).manifest
    assert manifest.metrics["measured_on"] == "validation rows"
    assert manifest.metrics["rows"] == manifest.data.validation_rows == 99
    answer = store.load("m", 1).model.predict({"x": np.array(other["x"])})
    expected = log_loss(
        other["side"], answer["probabilities"][:, 1], sample_weight=other["w"]
    )
    assert manifest.metrics["log_loss"] == pytest.approx(expected)
    assert min(manifest.history[0]["validation_loss"]) == pytest.approx(
        expected, rel=1e-4
    )
    bare = write_csv({"x": [1, 2], "side": ["heads", "tails"]}, "bare.csv")
    result = command(*fit, bare, *given, code=1)
    assert result.stderr.splitlines()[-1] == (
        f"Error: {bare}: data.weight: there is no column 'w'"
    )


def test_a_regression_is_weighted_too(
    command: Command, write_csv: WriteCsv, store: Store
) -> None:
    rng = np.random.default_rng(3)
    y = rng.permutation([0.0, 4.0] * 300) + rng.normal(0, 0.1, 600)
    data = write_csv(
        {"x": rng.normal(size=600), "w": np.where(y > 2, 3, 1), "y": y.round(3)}
    )
    fit = ("fit", data, "--target", "y", "--model", "m")
    command(*fit, *sets(*STEADY, "data.weight=w"))
    answer = store.load("m", 1).model.predict({"x": np.linspace(-1, 1, 9)})
    assert answer["value"].mean() == pytest.approx(3, abs=0.15)
