"""Arrays from `.npz` and IDX: what they hold, and what is refused."""

from __future__ import annotations

import gzip
import io
import itertools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import DataError
from trainer.data import Dataset, read
from trainer.data.arrays import read_idx, read_npz

X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.array([0, 1, 0, 1, 1, 0])


@pytest.fixture
def npz(tmp_path: Path) -> Callable[..., Path]:
    """Write arrays as `.npz`."""

    def write(**arrays: Any) -> Path:
        path = tmp_path / "data.npz"
        np.savez(path, **arrays)
        return path

    return write


def refused(run: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "u1", "i8", "?"])
def test_numbers_of_any_kind_are_read(dtype: str, npz: Callable[..., Path]) -> None:
    held = (X > 0).astype(dtype)
    found = read_npz(npz(X=held, y=Y), need_target=True)
    assert isinstance(found.inputs, np.ndarray)
    np.testing.assert_array_equal(found.inputs, held)
    assert found.target == Y.tolist()
    assert (found.kinds, found.target_name) == ({}, "y")


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (np.array([1.5, 2.5] * 3), [1.5, 2.5] * 3),
        (np.array([True, False] * 3), [True, False] * 3),
        (np.array(["cat", "007"] * 3), ["cat", "007"] * 3),
        (np.array([3, 4] * 3, np.uint8), [3, 4] * 3),
    ],
)
def test_labels_keep_their_spelling(
    y: Any, labels: list[Any], npz: Callable[..., Path]
) -> None:
    target = read_npz(npz(X=X, y=y), need_target=True).target
    assert target == labels
    assert {type(label) for label in target or ()} == {type(labels[0])}


def test_a_list_of_numbers_is_one_column(npz: Callable[..., Path]) -> None:
    assert read_npz(npz(X=np.arange(4), y=np.arange(4)), True).inputs.shape == (4, 1)  # type: ignore[union-attr]


def test_images_keep_their_shape(npz: Callable[..., Path]) -> None:
    found = read_npz(npz(X=np.zeros((4, 5, 6), np.uint8), y=np.arange(4)), True)
    assert found.inputs.shape == (4, 5, 6)  # type: ignore[union-attr]


def test_the_target_may_be_absent_where_it_is_not_needed(
    npz: Callable[..., Path],
) -> None:
    path = npz(X=X)
    assert read_npz(path, need_target=False).target is None
    assert "expected arrays 'X' and 'y', found X" in refused(read_npz, path, True)


def test_absent_inputs_are_told_with_what_is_there(npz: Callable[..., Path]) -> None:
    message = refused(read_npz, npz(images=X, labels=Y), False)
    assert message.endswith("expected arrays 'X' and 'y', found images, labels")


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"X": X.astype(object), "y": Y}, "not a plain .npz file"),
        ({"X": X, "y": Y.astype(object)}, "not a plain .npz file"),
        ({"X": X.astype(str), "y": Y}, "expected numbers in X"),
        ({"X": X + 1j, "y": Y}, "expected numbers in X"),
        ({"X": X[:0], "y": Y[:0]}, "expected numbers in X"),
        ({"X": X[:, :0], "y": Y}, "expected numbers in X"),
        ({"X": np.float64(3), "y": Y[:1]}, "expected numbers in X"),
        ({"X": X, "y": Y[:5]}, "of shape (6,), found int64 (5,)"),
        ({"X": X, "y": Y[:, None]}, "of shape (6,), found int64 (6, 1)"),
        ({"X": X, "y": Y * 1j}, "expected one label or number a row in y"),
        ({"X": X, "y": Y.astype("S")}, "expected one label or number a row in y"),
        (
            {"X": X, "y": np.where(Y, 1.0, np.nan)},
            "y must be finite, but row 1 is not",
        ),
    ],
)
def test_what_cannot_be_learnt_from_is_told(
    arrays: dict[str, Any], expected: str, npz: Callable[..., Path]
) -> None:
    assert expected in refused(read_npz, npz(**arrays), True)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_a_number_that_float32_does_not_hold_is_told_with_its_row(
    bad: float, npz: Callable[..., Path]
) -> None:
    held = X.copy()
    held[3, 1] = held[5, 0] = bad
    assert "but row 4 is not" in refused(read_npz, npz(X=held, y=Y), True)


def test_an_array_that_is_no_archive_is_told(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with path.open("wb") as file:
        np.save(file, X)
    assert "not a plain .npz file" in refused(read_npz, path, True)


def test_a_damaged_archive_is_told_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, X=X.round(1), y=Y)
    whole = path.read_bytes()
    told = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            found = read_npz(path, need_target=True)
        except DataError:
            told += 1
        else:  # a date or an attribute of the archive
            np.testing.assert_array_equal(found.inputs, X.round(1))
            assert found.target == Y.tolist()
    assert told > len(whole) / 2


@pytest.mark.parametrize("length", [0, 10, 200])
def test_a_cut_archive_is_told(length: int, npz: Callable[..., Path]) -> None:
    path = npz(X=X, y=Y)
    path.write_bytes(path.read_bytes()[:length])
    assert "not a plain .npz file" in refused(read_npz, path, True)


def test_a_header_that_lies_about_its_size_is_told(npz: Callable[..., Path]) -> None:
    path = npz(X=X, y=Y)
    # The check sum of the archive must hold, so it is written anew.
    header = np.lib.format.header_data_from_array_1_0(X) | {"shape": (10**15, 3)}
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", stream.getvalue())
        archive.writestr("y.npy", b"")
    assert "not a plain .npz file" in refused(read_npz, path, True)


# IDX: the files of MNIST.

TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def idx(array: Any, kind: int = 8) -> bytes:
    head = struct.pack(">HBB", 0, kind, array.ndim)
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return head + shape + bytes(array.tobytes())


IMAGES = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
LABELS = np.array([7, 0, 9, 7], np.uint8)


@pytest.fixture
def mnist(tmp_path: Path) -> Callable[..., Path]:
    """Write images and labels under MNIST's names; return the images."""

    def write(images: bytes, labels: bytes | None, suffix: str = "") -> Path:
        path = tmp_path / f"train-images-idx3-ubyte{suffix}"
        path.write_bytes(images)
        if labels is not None:
            (tmp_path / f"train-labels-idx1-ubyte{suffix}").write_bytes(labels)
        return path

    return write


def check(found: Dataset) -> None:
    assert isinstance(found.inputs, np.ndarray)
    np.testing.assert_array_equal(found.inputs, IMAGES)
    assert found.target == [7, 0, 9, 7]


def test_images_and_the_labels_beside_them(mnist: Callable[..., Path]) -> None:
    check(read(str(mnist(idx(IMAGES), idx(LABELS))), None))


def test_gzipped_images_and_labels(mnist: Callable[..., Path]) -> None:
    packed = gzip.compress(idx(IMAGES)), gzip.compress(idx(LABELS))
    check(read(str(mnist(*packed, ".gz")), None))


def test_images_under_the_other_common_names(tmp_path: Path) -> None:
    (tmp_path / "t10k-images.idx3-ubyte").write_bytes(idx(IMAGES))
    (tmp_path / "t10k-labels.idx1-ubyte").write_bytes(idx(LABELS))
    check(read(str(tmp_path / "t10k-images.idx3-ubyte"), None))


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_of_idx_is_read(kind: int, mnist: Callable[..., Path]) -> None:
    held = IMAGES.astype(TYPES[kind])
    found = read_idx(mnist(idx(held, kind), idx(LABELS)), need_target=True)
    np.testing.assert_array_equal(found.inputs, IMAGES.astype(TYPES[kind]))


def test_labels_may_be_absent_where_they_are_not_needed(
    mnist: Callable[..., Path],
) -> None:
    path = mnist(idx(IMAGES), None)
    assert read_idx(path, need_target=False).target is None
    message = refused(read_idx, path, True)
    assert message.endswith(
        "expected its labels next to it, in train-labels-idx1-ubyte"
    )


def test_another_number_of_labels_is_told(mnist: Callable[..., Path]) -> None:
    path = mnist(idx(IMAGES), idx(LABELS[:3]))
    assert "of shape (4,), found uint8 (3,)" in refused(read_idx, path, True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00",
        idx(IMAGES)[:-1],
        idx(IMAGES) + b"\x00",
        idx(IMAGES)[:10],
        b"PK" + idx(IMAGES)[2:],
        idx(IMAGES, kind=10),
        struct.pack(">HBB4I", 0, 8, 4, *[65536] * 4),
        struct.pack(">HBB", 0, 8, 70) + struct.pack(">70I", *[1] * 70) + b"\x01",
        struct.pack(">HBB", 0, 8, 0) + b"\x01",
        gzip.compress(idx(IMAGES))[:-9],
        gzip.compress(idx(IMAGES))[:12] + b"\xff" * 40,
    ],
    ids=itertools.count(),
)
def test_a_damaged_idx_file_is_told(content: bytes, mnist: Callable[..., Path]) -> None:
    message = refused(read_idx, mnist(content, idx(LABELS)), True)
    assert "train-images-idx3-ubyte: " in message


def test_no_images_is_told(mnist: Callable[..., Path]) -> None:
    path = mnist(idx(IMAGES[:0]), idx(LABELS[:0]))
    assert "expected numbers in X" in refused(read_idx, path, True)
