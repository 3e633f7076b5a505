"""Rows of fixed shape are standardised, images as a whole and columns one by one."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.preprocessing import StandardScaler

from models.features.tensor import MAX_DEVIATIONS, TensorInput
from models.types import Array

bounded = settings(deadline=None, max_examples=60)
#: Numbers that the decoder lets through.
float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def images(n: int = 7) -> Array:
    return np.random.default_rng(0).integers(0, 256, (n, 4, 3)).astype(np.float32)


def test_a_matrix_is_standardised_column_by_column() -> None:
    X = np.random.default_rng(0).normal([0, 5, -300], [1, 0.01, 70], (50, 3))
    tensor = TensorInput.fit(X)
    assert (tensor.shape, tensor.size, tensor.width) == ((3,), 3, 3)
    assert (tensor.minimum, tensor.maximum) == (X.min(), X.max())
    expected = StandardScaler().fit_transform(X)
    np.testing.assert_allclose(tensor.encode(X), expected, rtol=1e-3, atol=1e-4)


def test_an_image_has_one_scale_for_all_its_pixels() -> None:
    X = images()
    tensor = TensorInput.fit(X)
    assert (tensor.shape, tensor.size, tensor.width) == ((4, 3), 12, 12)
    assert len(tensor.center) == len(tensor.scale) == 1
    encoded = tensor.encode(X)
    assert encoded.dtype == np.float32
    expected = (X.reshape(7, 12) - X.mean()) / X.std()
    np.testing.assert_allclose(encoded, expected, rtol=1e-5, atol=1e-6)


def test_whole_numbers_are_encoded_as_their_floats() -> None:
    X = images()
    tensor = TensorInput.fit(X.astype(np.uint8))
    assert tensor == TensorInput.fit(X)
    np.testing.assert_array_equal(tensor.encode(X.astype(np.uint8)), tensor.encode(X))


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, -7.0, 3e38])
def test_a_column_that_does_not_vary_is_always_zero(value: float) -> None:
    # The mean of ten 0.1 is not 0.1: their standard deviation is dust, not zero.
    X = np.column_stack([np.full(10, value), np.arange(10.0)])
    tensor = TensorInput.fit(X)
    assert tensor.scale[0] == 0
    other = np.array([[value + 1, 5.0], [-value, 5.0], [3e38, 5.0], [-1e38, 5.0]])
    np.testing.assert_array_equal(tensor.encode(other)[:, 0], 0)


def test_a_spread_too_small_for_float32_is_none() -> None:
    tensor = TensorInput.fit(np.array([[0.0, 0.0], [1e-42, 1.0]]))
    assert tensor.scale == [0.0, 2.0]


@bounded
@given(data=st.data())
def test_any_rows_give_finite_numbers(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(1,), (3,), (2, 2), (1, 2, 1)]))

    def draw() -> Array:
        n = data.draw(st.integers(1, 4))
        return data.draw(hnp.arrays(np.float32, (n, *shape), elements=float32))

    tensor = TensorInput.fit(draw())
    X = draw()
    encoded = tensor.encode(X)
    assert encoded.shape == (len(X), tensor.width)
    assert np.isfinite(encoded).all()
    assert np.abs(encoded).max() <= MAX_DEVIATIONS


@bounded
@given(data=st.data())
def test_a_row_alone_is_encoded_as_in_its_batch(data: st.DataObject) -> None:
    X = data.draw(hnp.arrays(np.float32, (5, 3), elements=float32))
    tensor = TensorInput.fit(X)
    whole = tensor.encode(X)
    for i in range(5):
        np.testing.assert_array_equal(tensor.encode(X[i : i + 1])[0], whole[i])


def test_a_signature_from_the_manifest_encodes_alike() -> None:
    X = np.random.default_rng(0).standard_normal((9, 3))
    tensor = TensorInput.fit(X)
    again = msgspec.json.decode(msgspec.json.encode(tensor), type=TensorInput)
    assert again == tensor
    np.testing.assert_array_equal(again.encode(X), tensor.encode(X))


def test_encoding_leaves_the_rows_alone() -> None:
    X = images()
    held = X.copy()
    TensorInput.fit(X).encode(X)
    np.testing.assert_array_equal(X, held)


VALID: dict[str, Any] = {
    "kind": "tensor",
    "shape": [2, 3],
    "minimum": 0.0,
    "maximum": 1.0,
    "center": [0.5],
    "scale": [2.0],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("center", [0.5, 0.5]),
        ("scale", []),
        ("scale", [1.0] * 7),
        ("center", [1e300]),
        ("center", [1e300, 0.0, 0.0, 0.0, 0.0, 0.0]),
        ("scale", [1e300]),
        ("shape", [2, 0]),
        ("shape", [-1]),
        ("shape", [1 << 21]),
        ("shape", [1] * 100_000),
        ("shape", [1] * 7 + [2, 3]),
        ("minimum", None),
    ],
)
def test_a_signature_that_cannot_be_is_not_read(field: str, value: object) -> None:
    most = {**VALID, "shape": [1] * 6 + [2, 3]}
    assert msgspec.convert(most, TensorInput).size == 6
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**VALID, field: value}, TensorInput)
