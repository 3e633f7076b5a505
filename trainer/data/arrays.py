"""Reads arrays: `.npz` files with X and y, and IDX image files such as MNIST's."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from trainer.data.dataset import Dataset

_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_npz(path: Path, need_target: bool) -> Dataset:
    """Read X (n, …) and y (n,) from an `.npz` file without pickles.

    Raises DataError if the file is damaged or an array is absent or does not fit.
    """
    with path.open("rb") as stream:
        try:
            names, contents = _npz(stream)
        # NumPy and zipfile raise many classes on damage: BadZipFile, zlib.error, …
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"{path}: not a plain .npz file ({reason})") from None
    if "X" not in contents or (need_target and "y" not in contents):
        raise DataError(
            f"{path}: expected arrays 'X' and 'y', "
            f"found {', '.join(sorted(names)[:8]) or 'none'}"
        )
    return arrays(contents["X"], contents.get("y"), str(path))


def _npz(stream: IO[bytes]) -> tuple[list[str], dict[str, NDArray[Any]]]:
    """Return the names in the archive, and those of X and y that it has."""
    file = np.load(stream, allow_pickle=False)
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise ValueError("a single array")
    return file.files, {name: file[name] for name in ("X", "y") if name in file}


def read_idx(path: Path, need_target: bool) -> Dataset:
    """Read IDX images (n, H, W), and their labels (n,) from the file next to them.

    The labels of `train-images-idx3-ubyte` are in `train-labels-idx1-ubyte`, gzipped
    or not. Raises DataError if a file is damaged, or the labels are needed and absent.
    """
    X = _idx(path)
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    labels = path.with_name(name)
    if name == path.name or not labels.exists():
        if need_target:
            raise DataError(f"{path}: expected its labels next to it, in {labels.name}")
        return arrays(X, None, str(path))
    return arrays(X, _idx(labels), str(path))


def arrays(X: NDArray[Any], y: NDArray[Any] | None, source: str) -> Dataset:
    """Return a data set of X (n, …) and y (n,).

    Raises DataError, which names the source, if they do not hold finite numbers, or in
    y labels, of matching shapes.
    """
    if X.ndim == 1:
        X = X[:, None]
    if X.dtype.kind not in "biuf" or not X.size or not X.ndim:
        raise DataError(f"{source}: expected numbers in X, found {X.dtype} {X.shape}")
    if X.dtype.kind == "f" and not (finite := _finite(X)).all():
        row = np.flatnonzero(~finite)[0]
        raise DataError(
            f"{source}: X must be finite in float32, but row {row + 1} is not"
        )
    if y is None:
        return Dataset(X, {}, "y", None)
    if y.shape != (len(X),) or y.dtype.kind not in "biufU":
        raise DataError(
            f"{source}: expected one label or number a row in y, of shape "
            f"({len(X)},), found {y.dtype} {y.shape}"
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        row = np.flatnonzero(~np.isfinite(y))[0]
        raise DataError(f"{source}: y must be finite, but row {row + 1} is not")
    return Dataset(X, {}, "y", y.tolist())


def _finite(X: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows (n,) are finite in the network's float32."""
    with np.errstate(over="ignore"):
        rows = X.reshape(len(X), -1).astype(np.float32, copy=False)
    return np.asarray(np.isfinite(rows).all(axis=1))


def _idx(path: Path) -> NDArray[Any]:
    """Return the array of one IDX file (yann.lecun.com/exdb/mnist, "file formats")."""
    data = path.read_bytes()
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        zero, kind, rank = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{rank}I", data, 4)
        dtype = np.dtype(_IDX_TYPES[kind])
        start = 4 + 4 * rank
        if zero or len(data) - start != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{len(data) - start} bytes for shape {shape}")
        return np.frombuffer(data, dtype, offset=start).reshape(shape)
    except (
        struct.error,
        KeyError,
        ValueError,
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
    ) as error:
        raise DataError(f"{path}: not an IDX file ({error})") from None
