"""Charts: in the colours of the page, named, and deaf to what names say."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.report import charts
from trainer.report.charts import LINES, Axis, chart, percent, short

HOSTILE = '<script>alert("1")</script> $\\frac{1}{0}$ \x07 & ]]> ' + "漢" * 5
FLOATS = st.floats(
    allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30
)


def texts(svg: str) -> list[str]:
    return ["".join(t.itertext()) for t in ET.fromstring(svg).iter("text")]


def test_a_chart_is_one_named_element_in_the_colours_of_its_page() -> None:
    line = charts.line([0, 1, 2], [0.1, 1, 0.5], LINES[1], "training")
    svg = chart([line], "a line", Axis("epoch"), Axis("loss"))
    root = ET.fromstring(svg)
    assert root.tag == "svg"
    assert (root.get("role"), root.get("aria-label")) == ("img", "a line")
    assert "var(--line2)" in svg and "var(--grid)" in svg and "#" not in svg
    assert {"epoch", "loss", "━ training", "0.5", "1"} <= set(texts(svg))
    assert chart([line], "a line", Axis("epoch"), Axis("loss")) == svg


def test_text_stays_text() -> None:
    line = charts.line([0, 1], [0, 1], label=HOSTILE)
    svg = chart([line], HOSTILE, Axis(HOSTILE), Axis(HOSTILE))
    tags = {element.tag for element in ET.fromstring(svg).iter()}
    assert tags <= {"svg", "g", "path", "text", "tspan"}
    assert sum(HOSTILE[:20] in text for text in texts(svg)) == 3


def test_what_is_no_number_is_a_gap() -> None:
    y = [1.0, np.nan, np.inf, 2.0]
    svg = chart([charts.dots(range(4), y, 3), charts.line(range(4), y)], "gaps")
    drawn = [path.get("d") or "" for path in ET.fromstring(svg).iter("path")]
    assert sum(path.endswith("h0") for path in drawn) == 2 + 1
    assert not any(word in path for path in drawn for word in ("nan", "inf"))


def test_values_are_placed_in_proportion() -> None:
    axis = Axis(limits=(0.0, 10.0))
    assert axis.place([0, 5, 10], 100, 0).tolist() == [100, 50, 0]
    log = Axis(limits=(1.0, 100.0), log=True)
    assert log.place([1, 10, 100], 0, 100).tolist() == [0, 50, 100]


def test_gaps_bars_and_single_points_are_drawn() -> None:
    line = charts.line([1, 2, 3, 4], [1, np.inf, 2, 1e38])
    assert list(line.paths(line.x, line.y, 9)) == ["M1.00 1.00M3.00 2.00h0"]
    dots = charts.dots([1, 2], [3, 4], 5)
    assert list(dots.paths(dots.x, dots.y, 9)) == ["M1.00 3.00h0", "M2.00 4.00h0"]
    bars = charts.bars([0, 1, 3], [5, 6])
    assert len(list(bars.paths(bars.x, bars.y, 9))) == 2
    assert 'stroke-width="4"' in chart([charts.dots([1], [1], 4)], "one")


@settings(deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=5), st.booleans())
def test_ticks_of_any_values_are_few_and_between_the_limits(
    values: list[float], whole: bool
) -> None:
    axis = Axis(whole=whole).around(np.array(values))
    assert axis.limits is not None and axis.ticks is not None
    low, high = axis.limits
    assert low <= min(values) and max(values) <= high and low < high
    margin = 1e-9 * max(abs(low), abs(high))
    ticks = [at for at, _ in axis.ticks]
    assert len(ticks) <= 9
    assert all(low - margin <= at <= high + margin for at in ticks)
    assert not whole or all(at == round(at) for at in ticks)
    assert np.isfinite(axis.place(values, 0, 100)).all()


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0.0, 1.0, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (-0.4, 5.2, ["0", "1", "2", "3", "4", "5"]),
        (1899.0, 2011.0, ["1900", "1920", "1940", "1960", "1980", "2000"]),
    ],
)
def test_ticks_are_round(low: float, high: float, shown: list[str]) -> None:
    axis = Axis(limits=(low, high)).around(np.array([]))
    assert [text for _, text in axis.ticks or ()] == shown


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0.003, 40.0, ["0.01", "0.1", "1", "10"]),
        (2.0, 70.0, ["2", "5", "10", "20", "50"]),
        (1e-30, 1e30, None),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_powers_or_between(
    low: float, high: float, shown: list[str] | None
) -> None:
    axis = Axis(limits=(low, high), log=True).around(np.array([]))
    assert 2 < len(axis.ticks or ()) <= 7
    assert shown is None or [text for _, text in axis.ticks or ()] == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.25, "0.25"),
        (12_500, "12.5k"),
        (3e6, "3M"),
        (2e10, "20G"),
        (1234, "1234"),
        (2000, "2000"),
        (0, "0"),
    ],
)
def test_axes_have_short_numbers(value: float, shown: str) -> None:
    assert short(value) == shown


def test_shares_are_percentages_without_rounding_up() -> None:
    assert [percent(x) for x in (0.005, 0.2, 1.0)] == ["0.5%", "20%", "100%"]
