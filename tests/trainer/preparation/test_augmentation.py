"""Moved images against SciPy's interpolation, and what moving leaves alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform

from trainer.preparation import augmentation
from trainer.preparation.augmentation import (
    GROUP,
    MAX_CHANNELS,
    MIN_SIDE,
    SHIFT,
    STAY,
    STRETCH,
    TURN,
    Augmentation,
    image_axes,
)

#: Shapes of images, and where their height and width are.
IMAGES = {
    (8, 8): (0, 1),
    (28, 28): (0, 1),
    (9, 14): (0, 1),
    (12, 10, 1): (0, 1),
    (10, 12, 3): (0, 1),
    (3, 10, 12): (1, 2),
    (4, 8, 8): (1, 2),
}
OTHERS = [(), (784,), (7, 28), (28, 7), (28, 28, 5), (5, 28, 28), (28, 28, 1, 1)]
bounded = settings(deadline=None, max_examples=60)
each_image = pytest.mark.parametrize("shape", IMAGES, ids=str)


def pixels(n: int, shape: tuple[int, ...], seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, math.prod(shape))).astype(np.float32)


def moved(X: Any, shape: tuple[int, ...], strength: float, seed: int = 0) -> Any:
    Y = X.copy()
    Augmentation(shape, strength)(Y, np.random.default_rng(seed))
    return Y


# What is an image.


@each_image
def test_images_are_known_by_their_shape(shape: tuple[int, ...]) -> None:
    assert image_axes(shape) == IMAGES[shape]


@pytest.mark.parametrize("shape", OTHERS, ids=str)
def test_other_rows_are_no_images(shape: tuple[int, ...]) -> None:
    assert image_axes(shape) is None
    with pytest.raises(ValueError, match="are not images"):
        Augmentation(shape, 1.0)


@bounded
@given(st.lists(st.integers(1, 40), max_size=4).map(tuple))
def test_height_and_width_are_long_and_channels_few(shape: tuple[int, ...]) -> None:
    axes = image_axes(shape)
    if axes is not None:
        assert axes[1] == axes[0] + 1
        assert min(shape[a] for a in axes) >= MIN_SIDE
        others = [n for a, n in enumerate(shape) if a not in axes]
        assert len(others) <= 1 and all(n <= MAX_CHANNELS for n in others)


# Where pixels come from.


def by_scipy(row: Any, shape: tuple[int, ...], turn: Any, shift: Any) -> Any:
    """Return one image, channel by channel, as SciPy moves it."""
    height, width = IMAGES[shape]
    middle = np.array([shape[height] - 1, shape[width] - 1]) / 2
    image = np.moveaxis(row.reshape(shape), (height, width), (-2, -1)).astype(float)
    out = np.empty_like(image)
    for place in np.ndindex(image.shape[:-2]):
        offset = middle + shift - turn @ middle
        out[place] = affine_transform(
            image[place], turn, offset, order=1, mode="nearest"
        )
    return np.moveaxis(out, (-2, -1), (height, width)).ravel()


@pytest.mark.parametrize("strength", [0.3, 1.0, 4.0])
@each_image
def test_pixels_come_from_where_scipy_says(
    shape: tuple[int, ...], strength: float
) -> None:
    n = 4 * GROUP + 3  # the last group is not full
    X = pixels(n, shape)
    Y = moved(X, shape, strength, seed=8)
    rng = np.random.default_rng(8)
    groups = np.flatnonzero(rng.random(5) >= STAY).tolist()
    assert groups == [1, 3, 4]
    maps, shifts = Augmentation(shape, strength).draw(len(groups), rng)
    for row in range(n):
        expected = X[row]
        if row // GROUP in groups:
            k = groups.index(row // GROUP)
            turn, shift = maps[k].astype(float), shifts[k].astype(float)
            expected = by_scipy(X[row], shape, turn, shift)
        np.testing.assert_allclose(Y[row], expected, atol=2e-4)


def test_half_of_the_groups_stay_as_they_are() -> None:
    X = pixels(400 * GROUP, (8, 8))
    same = (moved(X, (8, 8), 1.0) == X).all(axis=1)
    by_group = same.reshape(-1, GROUP)
    assert (by_group.all(axis=1) == by_group.any(axis=1)).all()
    assert abs(same.mean() - STAY) < 0.1


def test_a_shift_of_whole_pixels_is_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Augmentation((9, 11), 1.0)
    straight = (np.eye(2, dtype="f4")[None], np.array([[2.0, -3.0]], "f4"))
    monkeypatch.setattr(found, "draw", lambda n, rng: straight)
    monkeypatch.setattr(augmentation, "STAY", 0.0)
    X = pixels(5, (9, 11))
    images = X.reshape(5, 9, 11).copy()
    found(X, np.random.default_rng(0))
    # Pixels beyond the edge repeat the edge.
    expected = np.pad(images, ((0, 0), (0, 2), (3, 0)), mode="edge")[:, 2:, :11]
    np.testing.assert_allclose(X.reshape(5, 9, 11), expected, atol=1e-6)


@bounded
@given(seed=st.integers(0, 10_000), strength=st.floats(0.01, 4.0))
def test_movements_stay_in_their_measure(seed: int, strength: float) -> None:
    shape = (20, 30)
    drawn = Augmentation(shape, strength).draw(50, np.random.default_rng(seed))
    maps, shifts = (part.astype(float) for part in drawn)
    assert (np.abs(shifts) <= strength * SHIFT * np.array(shape) + 1e-5).all()
    # Each row of a map is a unit vector, turned and stretched.
    stretches = np.linalg.norm(maps, axis=2)
    assert (np.abs(np.log(stretches)) <= strength * STRETCH + 1e-5).all()
    turns = np.arctan2(maps[:, 1, 0], maps[:, 1, 1])
    assert (np.abs(turns) <= strength * TURN + 1e-5).all()
    if strength <= 1:
        assert (np.linalg.det(maps) > 0).all()  # never a mirror image


def test_movements_are_drawn_anew_and_go_every_way() -> None:
    maps, shifts = Augmentation((28, 28), 1.0).draw(2_000, np.random.default_rng(0))
    turns = np.arctan2(maps[:, 1, 0], maps[:, 1, 1])
    for values, most in (
        (turns, TURN),
        (np.log(np.linalg.norm(maps, axis=2)), STRETCH),
        (shifts / 28, SHIFT),
    ):
        assert values.min() < -0.95 * most and values.max() > 0.95 * most
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=0.1 * most)


# What moving leaves alone.


@each_image
@bounded
@given(
    n=st.integers(1, 3 * GROUP),
    strength=st.floats(0.0, 4.0),
    seed=st.integers(0, 100),
)
def test_moved_images_keep_shape_range_and_company(
    shape: tuple[int, ...], n: int, strength: float, seed: int
) -> None:
    X = pixels(n, shape, seed)
    Y = moved(X, shape, strength, seed)
    assert Y.shape == X.shape and Y.dtype == np.float32
    # A pixel is a mean of pixels: of the same image.
    assert (Y.min(axis=1) >= X.min(axis=1) - 1e-5).all()
    assert (Y.max(axis=1) <= X.max(axis=1) + 1e-5).all()


@each_image
def test_strength_0_leaves_every_bit(shape: tuple[int, ...]) -> None:
    X = pixels(20, shape)
    np.testing.assert_array_equal(moved(X, shape, 0.0), X)


@each_image
def test_what_is_all_of_one_colour_stays_so(shape: tuple[int, ...]) -> None:
    """Background stays background, channel by channel, out to the edges."""
    axes = IMAGES[shape]
    places = np.indices(shape).reshape(len(shape), -1)
    (colour,) = [places[a] for a in range(len(shape)) if a not in axes] or [
        places[0] * 0
    ]
    X = np.repeat((colour + 0.5)[None].astype("f4"), 40, axis=0)
    np.testing.assert_allclose(moved(X, shape, 2.0), X, rtol=1e-5)


def test_an_image_is_moved_as_it_is_alone() -> None:
    X = pixels(GROUP, (8, 8))
    together = moved(X, (8, 8), 1.0, seed=3)
    for row in range(GROUP):
        np.testing.assert_array_equal(
            moved(X[row : row + 1], (8, 8), 1.0, seed=3)[0], together[row]
        )


def test_the_same_generator_moves_alike_and_is_all_that_counts() -> None:
    X = pixels(50, (8, 8))
    np.testing.assert_array_equal(
        moved(X, (8, 8), 1.0, seed=1), moved(X, (8, 8), 1.0, seed=1)
    )
    assert (moved(X, (8, 8), 1.0, seed=1) != moved(X, (8, 8), 1.0, seed=2)).any()
    used = Augmentation((8, 8), 1.0)
    used(X.copy(), np.random.default_rng(9))
    again = X.copy()
    used(again, np.random.default_rng(1))
    np.testing.assert_array_equal(again, moved(X, (8, 8), 1.0, seed=1))
