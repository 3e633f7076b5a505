"""The task told from the target, and targets that cannot be learnt."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from models.errors import DataError
from models.features.predictions import Classification, Regression, Task
from trainer.preparation.targets import (
    MAX_CLASSES,
    encode,
    guess_task,
    limits,
    make_output,
    numbers,
    standardize,
)
from trainer.training.losses import (
    LOSSES,
    binary_cross_entropy,
    mean_squared_error,
    softmax_cross_entropy,
)

EVERY = np.arange(1000)


def refused(run: Any, *arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        run(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ([0, 1] * 5, "binary"),
        ([True, False], "binary"),
        (["yes", "no"], "binary"),
        ([1.5, 2.5], "binary"),
        (["1.50", "2.50"], "binary"),
        ([0, 1, 2] * 5, "multiclass"),
        ([1.0, 2.0, 3.0] * 5, "multiclass"),
        (["a", "b", "c"], "multiclass"),
        (["1", "2", "x"], "multiclass"),
        (["007", "008", "009"], "multiclass"),
        (["1,5", "2,5", "3,5"], "multiclass"),
        # Whole numbers are classes only if few and often seen …
        (list(range(20)) * 5, "multiclass"),
        (list(range(21)) * 50, "regression"),
        (list(range(20)) * 4, "regression"),
        ([0, 1, 2], "regression"),
        # … and what has a fraction is a quantity, however it is written.
        ([0.5, 1.0, 2.0] * 50, "regression"),
        (["5", "5.5", "6"] * 50, "regression"),
        (["12.50", "13.00", "9.99"], "regression"),
        (["1e3", "-2.5E-1", ".5", "+7."], "regression"),
        (["1.0", "2", "3"] * 5, "multiclass"),
    ],
)
def test_the_task_is_told_from_the_values(labels: list[Any], task: str) -> None:
    guess = guess_task(labels, "y")
    assert guess.task == task
    assert guess.reason.startswith(f"task {task}: target 'y' ")
    assert f" {len(set(labels))} " in guess.reason


@pytest.mark.parametrize("labels", [[1, 1], ["a"] * 9, [2.5], [True, True]])
def test_a_target_of_one_value_is_told(labels: list[Any]) -> None:
    message = refused(guess_task, labels, "y")
    assert f"target 'y' has only one value ({labels[0]!r})" in message


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([1, 0, 1], (0, 1)),
        (["no", "yes", "no"], ("no", "yes")),
        ([True, False], (False, True)),
        ([2.5, 1.5], (1.5, 2.5)),
        ([10, 9, 2], (2, 9, 10)),
        (["10", "9"], ("10", "9")),
    ],
)
def test_classes_are_sorted_and_spelled_as_they_are(
    labels: list[Any], classes: tuple[Any, ...]
) -> None:
    task: Task = "binary" if len(classes) == 2 else "multiclass"
    output = make_output(task, labels, EVERY[:1], "y")
    assert isinstance(output, Classification)
    assert output.classes == classes
    assert [type(c) for c in output.classes] == [type(c) for c in classes]
    assert output.task == task


@pytest.mark.parametrize("format", ["%Y-%m-%d", "%d.%m.%Y"])
def test_dates_are_neither_classes_nor_numbers(format: str) -> None:
    days = [(date(2024, 1, 1) + timedelta(i % 40)).strftime(format) for i in range(200)]
    assert "40 different dates" in refused(guess_task, days, "y")
    assert guess_task(days, "y", "multiclass").task == "multiclass"
    assert guess_task(days[:20] * 9, "y").task == "multiclass"


def test_labels_spelled_otherwise_are_the_classes() -> None:
    output = make_output("binary", ["True", "False"], EVERY[:2], "y")
    assert encode(output, ["TRUE", "false", True], "y").tolist() == [1, 0, 1]
    output = make_output("multiclass", ["1", "2", "x"], EVERY[:3], "y")
    assert encode(output, ["1.0", "x", 2.0], "y").tolist() == [0, 2, 1]


def test_a_class_of_held_out_rows_is_known() -> None:
    output = make_output("multiclass", ["a", "b", "c"], np.array([0, 1]), "y")
    assert isinstance(output, Classification)
    assert output.classes == ("a", "b", "c")


def test_scale_is_that_of_the_training_rows() -> None:
    output = make_output("regression", [1.0, 3.0, 1000.0], np.array([0, 1]), "y")
    assert output == Regression(2.0, 1.0, -1.0, 1.0)


def test_a_slip_stretches_neither_scale_nor_range() -> None:
    clean = np.random.default_rng(0).normal(size=500)
    wrong = clean.copy()
    wrong[7] = 9999.0
    found = [
        make_output("regression", [*y], np.arange(500), "y") for y in (clean, wrong)
    ]
    sound, output = found
    assert isinstance(sound, Regression) and isinstance(output, Regression)
    assert limits(clean) is None
    assert limits(wrong) == (clean.min(), np.delete(clean, 7).max())
    assert (output.mean, output.std) == pytest.approx((sound.mean, sound.std), abs=0.02)
    assert output.highest * output.std + output.mean == np.delete(clean, 7).max()


@pytest.mark.parametrize("spread", [1.0, 2.0])
def test_a_long_tail_has_no_slips(spread: float) -> None:
    rng = np.random.default_rng(0)
    stretched = [limits(rng.lognormal(0, spread, 500)) is not None for _ in range(200)]
    assert np.mean(stretched) <= 0.05


def test_no_answer_leaves_the_training_target() -> None:
    values = [1.0, 3.0, 8.0, 1000.0]
    output = make_output("regression", values, np.array([0, 1, 2]), "y")
    assert isinstance(output, Regression)
    Z = np.array([-1e9, -0.5, 0.0, 1e9], np.float32)[None, :, None]
    found = output.decode(Z)["value"]
    assert found[[0, 3]] == pytest.approx([1.0, 8.0])
    assert found[1:3] == pytest.approx([4.0 - output.std / 2, 4.0])


@pytest.mark.parametrize(
    ("task", "labels", "expected"),
    [
        ("binary", [0, 1, 2], "has 3 classes, which does not suit --task binary"),
        ("regression", ["1", "two"], "row 2: expected a finite number, found text"),
        ("regression", ["1", "1e400"], "row 2: expected a finite number"),
        ("regression", [5.0, 5.0], "has only one value"),
        ("regression", [1e200, -1e200], "has numbers too large to scale"),
        ("regression", [1.7e308, 1.6e308], "has numbers too large to scale"),
        ("multiclass", list(range(MAX_CLASSES + 1)), "at most 1000 are"),
    ],
)
def test_a_task_that_does_not_fit_is_told(
    task: Any, labels: list[Any], expected: str
) -> None:
    message = refused(make_output, task, labels, EVERY[: len(labels)], "y")
    assert message.startswith("target 'y'") and expected in message


def test_a_target_that_varies_only_in_held_out_rows_is_told() -> None:
    labels = [5.0, 5.0, 6.0]
    message = refused(make_output, "regression", labels, np.array([0, 1]), "y")
    assert "only one value" in message


def test_too_many_classes_hint_at_regression() -> None:
    labels = list(range(MAX_CLASSES + 1))
    message = refused(make_output, "multiclass", labels, EVERY, "y")
    assert "--task regression" in message


def test_most_classes_allowed() -> None:
    output = make_output("multiclass", list(range(MAX_CLASSES)), EVERY, "y")
    assert output.width == MAX_CLASSES


def test_two_classes_may_be_asked_for_as_multiclass() -> None:
    output = make_output("multiclass", ["a", "b"], EVERY[:2], "y")
    assert output.width == 1


def test_numbers_written_as_text_are_numbers() -> None:
    found = numbers(["1.50", " 2", "1e3", 7, True], "y")
    np.testing.assert_array_equal(found, [1.5, 2, 1000, 7, 1])


@pytest.mark.parametrize("text", ["x", "", "nan", "inf", "1,5"])
def test_text_that_is_no_number_is_told(text: str) -> None:
    message = refused(numbers, [1.0, text], "y")
    assert message.startswith(
        "target 'y', row 2: expected a finite number, found text (data.columns.y.kind"
    )


@pytest.mark.parametrize(
    ("classes", "labels", "codes"),
    [
        (("no", "yes"), ["yes", "no"], [1, 0]),
        ((0, 1), ["1", "0"], [1, 0]),
        ((0, 1), [1.0, 0.0], [1, 0]),
        (("0", "1"), [1, 0], [1, 0]),
        ((False, True), ["true", "false"], [1, 0]),
        ((1.5, 2.5), [2.5], [1]),
    ],
)
def test_labels_become_class_numbers_however_a_file_spells_them(
    classes: tuple[Any, ...], labels: list[Any], codes: list[int]
) -> None:
    assert encode(Classification(classes), labels, "y").tolist() == codes


def test_a_class_never_seen_is_told_with_the_nearest() -> None:
    output = Classification(("healthy", "ill"))
    message = refused(encode, output, ["ill", "healthyy"], "y")
    assert message == (
        "target 'y', row 2: there is no class 'healthyy'; did you mean 'healthy'?"
    )


def test_the_loss_sees_standard_units() -> None:
    output = Regression(10.0, 4.0)
    coded = encode(output, [10.0, 14.0, 2.0], "y")
    np.testing.assert_array_equal(standardize(output, coded), [0, 1, -2])
    assert standardize(output, coded).dtype == np.float32
    np.testing.assert_array_equal(
        output.decode(standardize(output, coded)[None, :, None])["value"], coded
    )


def test_the_loss_sees_class_numbers() -> None:
    output = Classification(("a", "b"))
    coded = encode(output, ["b", "a"], "y")
    assert standardize(output, coded) is coded


def test_each_task_has_its_loss() -> None:
    assert {
        "binary": binary_cross_entropy,
        "multiclass": softmax_cross_entropy,
        "regression": mean_squared_error,
    } == LOSSES


def test_a_text_for_each_row_is_no_classification() -> None:
    names = [f"name {n}" for n in range(40)]
    with pytest.raises(DataError, match="40 different values in 40 rows: too many"):
        guess_task(names, "y")
    assert guess_task(names, "y", "multiclass").task == "multiclass"  # as it says
    assert guess_task([*names, *names], "y").task == "multiclass"
    assert guess_task(["a", "b", "c"], "y").task == "multiclass"
