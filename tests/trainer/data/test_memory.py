"""Rows in memory are read as those of the file that would hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from trainer.data import ArraySource, FrameSource, read

FRAME = pl.DataFrame(
    {
        "n": [1, 2, None, 4],
        "t": ["x", "y", None, "x"],
        "d": ["2026-01-0" + c for c in "1234"],
    }
)


def test_a_frame_is_its_parquet_file(tmp_path: Path) -> None:
    whole = FRAME.with_columns(y=pl.Series(["a", "b", "a", "b"]))
    whole.write_parquet(tmp_path / "rows.parquet")
    of_file = read(str(tmp_path / "rows.parquet"), "y")
    of_frame = read(FrameSource("a frame", frame=whole), "y")
    assert of_frame.kinds == of_file.kinds
    assert of_frame.kinds["d"] == "datetime" and of_frame.target == of_file.target
    assert of_frame.fingerprint == of_file.fingerprint


def test_images_are_their_npz_file(tmp_path: Path) -> None:
    X, y = np.arange(24.0).reshape(6, 2, 2), np.array([0, 1] * 3)
    np.savez(tmp_path / "rows.npz", X=X, y=y)
    of_file = read(str(tmp_path / "rows.npz"), None)
    of_array = read(ArraySource("an array", X=X, y=y), None)
    assert of_array.fingerprint == of_file.fingerprint
