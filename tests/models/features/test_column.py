"""Numbers are scaled by their median and quartiles."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.preprocessing import RobustScaler

from models.features.columns import (
    Floats,
    Standardization,
)

bounded = settings(deadline=None, max_examples=80)
finite = st.floats(allow_nan=False, allow_infinity=False)
NAN = np.nan


def floats(elements: st.SearchStrategy[float] = finite) -> st.SearchStrategy[Floats]:
    return hnp.arrays(np.float64, st.integers(0, 12), elements=elements)


def array(*values: float) -> Floats:
    return np.array(values, np.float64)


@bounded
@given(floats(st.floats(-1e6, 1e6)))
@example(array(0.1, 0.2, 0.4))
@example(array(1e-7, 0, 0, 1e-7))
@example(array(-3, 5, 1e5, 2))
def test_scaling_is_sklearns_robust_scaling(values: Floats) -> None:
    scaling = Standardization.fit(values)
    if len(values) and np.subtract(*np.quantile(values, [0.75, 0.25])) > 1e-9:
        peer = RobustScaler().fit(values[:, None])
        assert scaling.center == pytest.approx(peer.center_[0], rel=1e-9, abs=1e-12)
        assert 1 / scaling.scale == pytest.approx(peer.scale_[0], rel=1e-9)


def test_where_the_quartiles_meet_the_range_is_taken() -> None:
    assert Standardization.fit(array(5, 5, 5, 5, 5, 5, 5, 9, 1)) == Standardization(
        5.0, 2 / 8
    )


@pytest.mark.parametrize("values", [(), (7.0,), (7.0, 7.0, 7.0), (-0.0, 0.0)])
def test_what_does_not_vary_has_scale_zero(values: tuple[float, ...]) -> None:
    assert Standardization.fit(array(*values)).scale == 0


@bounded
@given(floats())
@example(array(-1.7e308, 1.7e308))
@example(array(-1.7e308, -1.6e308, 1.6e308, 1.7e308))
@example(array(0.0, 5e-324, 1e-323, 1.5e-323))
def test_any_numbers_give_a_scaling_the_manifest_can_hold(values: Floats) -> None:
    scaling = Standardization.fit(values)
    assert np.isfinite([scaling.center, scaling.scale]).all()
    assert scaling.scale >= 0
    written = msgspec.json.encode(scaling)
    assert msgspec.json.decode(written, type=Standardization) == scaling
