"""Numbers that stand for a missing value are found, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.data.test_frames import trained
from trainer.data.sentinels import sentinel

USUAL = np.random.default_rng(0).normal(size=200).round(3)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([*USUAL, *[-999.0] * 5, np.nan], "-999"),
        ([*USUAL, *[9999.0] * 3], "9999"),
        ([1, 2, 3, 4, 5] * 9 + [99.0] * 3, "99"),
        ([*USUAL, *[-999.0] * 2], ""),
        ([*USUAL, *[-1000.0] * 5], ""),
        ([*USUAL, *[-9.0] * 5, -20.0], ""),
        (np.arange(2000.0) - 999, ""),
        ([0.0] * 9 + [9.0] * 9, ""),
        ([99.0] * 9, ""),
        ([np.nan], ""),
    ],
)
def test_nines_far_from_all_others_are_told(values: list[float], found: str) -> None:
    finding = sentinel("c", np.array(values, float))
    assert (finding is not None) == bool(found)
    if finding is not None:
        assert f"data.columns.c.missing=['{found}']" in finding.sentence


def test_what_the_finding_advises_makes_them_missing() -> None:
    values = [*USUAL, *[-999.0] * 5]
    table = {"c": values, "x": USUAL[0] + np.arange(205) ** 2}
    assert [f.kind for f in trained(table).findings] == ["sentinel"]
    found = trained(table, "data.columns.c.missing=['-999']")
    assert not found.findings
    assert np.isnan(found.inputs["c"]).sum() == 5  # type: ignore[call-overload]
