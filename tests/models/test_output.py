"""From logits to labels and probabilities, from standard units to values."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

from models.output import Classification, Label, Output, Regression
from models.types import Array

bounded = settings(deadline=None, max_examples=80)


def logits(width: int) -> st.SearchStrategy[Array]:
    shapes = st.tuples(st.integers(1, 5), st.just(width))
    numbers = st.floats(-(2.0**99), 2.0**99, width=32)
    return hnp.arrays(np.float32, shapes, elements=numbers)


BINARY = Classification(("no", "yes"))
THREE = Classification((0, 1, 2))


def column(*values: float) -> Array:
    return np.array(values, np.float32)[:, None]


# Probabilities


@bounded
@given(logits(1))
def test_two_classes_are_both_sides_of_one_sigmoid(Z: Array) -> None:
    P = BINARY.probabilities(Z)
    z = Z[:, 0].astype(np.float64)
    np.testing.assert_allclose(P[:, 1], special.expit(z), rtol=1e-13, atol=1e-320)
    np.testing.assert_allclose(P[:, 0], special.expit(-z), rtol=1e-13, atol=1e-320)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-15)


@bounded
@given(logits(3))
def test_many_classes_are_a_softmax(Z: Array) -> None:
    P = THREE.probabilities(Z)
    expected = special.softmax(Z.astype(np.float64), axis=1)
    np.testing.assert_allclose(P, expected, rtol=1e-13, atol=1e-320)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-15)


def test_a_small_probability_is_exact_however_small() -> None:
    z = np.array([[690.0], [-690.0], [40.0], [-40.0]])
    P = BINARY.probabilities(z)
    # Far out the smaller side is e^-|z| to the last digit; 1 - p would give 0.
    np.testing.assert_allclose(P[:2].min(axis=1), np.exp(-690), rtol=1e-13)
    np.testing.assert_allclose(P[2:].min(axis=1), np.exp(-40), rtol=1e-13)
    assert 0 < P.min() < 1e-299
    assert P[0, 1] == P[1, 0] == 1


def test_two_classes_agree_with_a_softmax_of_two() -> None:
    z = np.linspace(-30, 30, 61)
    pair = special.softmax(np.stack([np.zeros(61), z], axis=1), axis=1)
    np.testing.assert_allclose(BINARY.probabilities(z[:, None]), pair, rtol=1e-12)


@pytest.mark.parametrize("output", [BINARY, THREE])
def test_probabilities_are_float64_and_the_logits_are_left_alone(
    output: Classification,
) -> None:
    Z = np.full((2, output.width), 0.5, np.float32)
    assert output.probabilities(Z).dtype == np.float64
    np.testing.assert_array_equal(Z, 0.5)


# Labels


def test_the_label_is_the_likeliest_class() -> None:
    assert BINARY.decode(column(-1, 1e-3, 0))["label"].tolist() == ["no", "yes", "no"]
    Z = np.array([[0, 2, 1], [-1, -2, 0], [5, 5, 5]], np.float32)
    answer = THREE.decode(Z)
    assert answer["label"].tolist() == [1, 2, 0]  # of equals the first
    np.testing.assert_array_equal(answer["probabilities"], THREE.probabilities(Z))


@pytest.mark.parametrize(
    ("classes", "datatype"),
    [
        ((0, 1), "INT64"),
        ((-7, 3, 2**40), "INT64"),
        ((0.5, 1.0, 2.5), "FP64"),
        (("a", "b"), "BYTES"),
        ((False, True), "BOOL"),
        ((1, "1"), "BYTES"),
        ((True, 1), "BYTES"),
        ((1, 1.0), "BYTES"),
        (("", "ü"), "BYTES"),
    ],
)
def test_labels_are_spelled_as_in_the_training_data(
    classes: tuple[Label, ...], datatype: str
) -> None:
    output = Classification(classes)
    assert output.label_datatype == datatype
    assert output.tensors == {
        "label": (datatype, ()),
        "probabilities": ("FP64", (len(classes),)),
    }
    written = msgspec.json.encode(output)
    again = msgspec.json.decode(written, type=Output)
    assert isinstance(again, Classification)
    Z = column(-1, 1) if output.width == 1 else 9 * np.eye(len(classes))
    for found in output, again:
        labels = found.decode(Z)["label"].tolist()
        assert labels == list(classes)
        assert [type(label) for label in labels] == [type(c) for c in classes]


def test_two_classes_share_a_logit_and_more_have_one_each() -> None:
    assert (BINARY.task, BINARY.width) == ("binary", 1)
    assert (THREE.task, THREE.width) == ("multiclass", 3)


@pytest.mark.parametrize("classes", [("a", "a"), (1, 2, 1), (True, True), (0.5, 0.5)])
def test_a_class_stands_once(classes: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="two classes are the same"):
        Classification(classes)
    written = msgspec.json.encode({"kind": "classification", "classes": classes})
    with pytest.raises(msgspec.ValidationError, match="two classes are the same"):
        msgspec.json.decode(written, type=Output)


@pytest.mark.parametrize("classes", [(), ("a",)])
def test_a_classifier_has_two_classes_at_least(classes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="two classes at least"):
        Classification(classes)


# Values


@bounded
@given(
    hnp.arrays(np.float32, st.integers(1, 5), elements=st.floats(-9, 9, width=32)),
    st.floats(-1e12, 1e12),
    st.floats(1e-12, 1e12),
)
def test_a_value_is_in_the_units_of_the_target(
    z: Array, mean: float, std: float
) -> None:
    output = Regression(mean, std)
    value = output.decode(z[:, None])["value"]
    assert value.dtype == np.float64
    np.testing.assert_array_equal(value, [float(x) * std + mean for x in z])


def test_a_regression_answers_one_number() -> None:
    output = Regression(1.0, 2.0)
    assert (output.task, output.width) == ("regression", 1)
    assert output.tensors == {"value": ("FP64", ())}
    written = msgspec.json.encode(output)
    assert msgspec.json.decode(written, type=Output) == output
