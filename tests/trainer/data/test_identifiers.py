"""Columns that tell which row it is."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from trainer.data.identifiers import identifies


@pytest.mark.parametrize(
    ("values", "identify"),
    [
        (np.arange(60.0), True),
        (np.arange(1000.0, 1180.0, 3)[::-1], True),
        (np.arange(49.0), False),
        (np.arange(60.0) + 0.5, False),
        (np.arange(60.0) ** 2, False),
        (np.arange(60.0) % 59, False),
        (np.r_[np.arange(59.0), np.nan], False),
    ],
)
def test_numbers_in_even_steps_identify(values: np.ndarray, identify: bool) -> None:
    found = identifies(pl.Series("c", values), values)
    assert (found is not None) == identify
    if found is not None:
        assert found.columns == ("c",) and "numbers the rows" in found.sentence


@pytest.mark.parametrize(
    ("distinct", "identify"), [(60, True), (57, True), (56, False)]
)
def test_text_of_which_nearly_all_is_different_identifies(
    distinct: int, identify: bool
) -> None:
    texts = [f"w{i % distinct}" for i in range(60)]
    assert (identifies(pl.Series("c", texts), texts) is not None) == identify
