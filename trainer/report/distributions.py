"""The data of the training rows: classes, gaps and the distribution of each column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from models.features.histograms import Histogram, Shares
from models.features.predictions import Regression
from models.features.table import TableInput
from models.storage.artefact import Manifest
from trainer.report.markup import bar, folded, head, number, scrolled, text

#: Categories that are named.
MAX_CATEGORIES = 5
#: Height of the largest bin.
TALL = 24


def distributions(manifest: Manifest) -> str:
    """Return a table of the target and the columns, as the training rows had them."""
    rows = [f"<tr>{cells}</tr>" for cells in _rows(manifest)]
    table = folded(head(["column", "missing", "distribution"]), rows)
    note = f"{manifest.reference.rows:,} training rows, the target first."
    return f'<p class="note">{note}</p>' + scrolled("distributions of columns", table)


def _rows(manifest: Manifest) -> Iterator[str]:
    reference, output, inputs = manifest.reference, manifest.output, manifest.inputs
    if reference.target is not None:
        limits = None
        if isinstance(output, Regression):
            ends = np.array([output.lowest, output.highest]) * output.std + output.mean
            limits = (float(ends[0]), float(ends[1]))
        yield _cells(manifest.target, "target", reference.target, limits)
    for name, seen in reference.inputs.items():
        if not isinstance(inputs, TableInput):
            yield _cells("mean of a row", "", seen, None)
            continue
        column = inputs.by_name[name]
        if column.kind == "boolean" and isinstance(seen, Histogram):
            seen = _truths(seen)
        yield _cells(name, column.kind, seen, column.limits, column.to_json)


def _truths(seen: Histogram) -> Shares:
    """Return a boolean column, which is counted as numbers, as two categories."""
    no, yes = np.searchsorted(seen.edges, [0.0, 1.0], side="right")
    if no == yes:  # less than a tenth are true, and share a bin with the others
        return Shares(("false, seldom true",), (1 - seen.missing,), 0.0, seen.missing)
    shares = seen.shares[no], seen.shares[yes]
    return Shares(("false", "true"), shares, 0.0, seen.missing)


def _cells(
    name: str,
    kind: str,
    seen: Histogram | Shares,
    limits: tuple[float, float] | None,
    written: Any = list,
) -> str:
    if isinstance(seen, Shares):
        drawn, caption = _shares(seen)
    else:
        drawn, caption = _bins(seen, limits, written)
    missing = f"{seen.missing:.1%}" if 0 < seen.missing < 1 else f"{seen.missing:.0%}"
    gaps = bar(seen.missing, "gap") if seen.missing else ""
    return (
        f'<th scope="row">{text(name, 60)} <small>{kind}</small></th>'
        f'<td class="gaps">{missing}{gaps}</td>'
        f'<td class="text">{drawn}<span class="note">{caption}</span></td>'
    )


def _shares(seen: Shares) -> tuple[str, str]:
    """Return the most frequent categories as parts of a strip, and in words."""
    ranked = sorted(zip(seen.shares, seen.categories, strict=True), reverse=True)
    named = [(share, text(name, 24)) for share, name in ranked[:MAX_CATEGORIES]]
    rest = 1.0 - seen.missing - sum(share for share, _ in named)
    others = len(ranked) - len(named)
    if others or rest > 0.0005:
        named.append((rest, f"{others} others" if others else "others"))
    parts, at = "", 0.0
    for index, (share, _) in enumerate(named):
        width = max(100 * share - 0.4, 0.2)
        opacity = 1 - 0.8 * index / MAX_CATEGORIES
        parts += _block(at, width, TALL / 2, f' opacity="{opacity:.2f}"')
        at += 100 * share
    caption = ", ".join(f"{name} {share:.1%}" for share, name in named)
    return _svg(parts, TALL / 2), caption


def _bins(
    seen: Histogram, limits: tuple[float, float] | None, written: Any
) -> tuple[str, str]:
    """Return the density of numbers as blocks, and their range in words."""
    if limits is None or not np.isfinite(limits).all() or limits[0] == limits[1]:
        limits = (seen.edges[0], seen.edges[-1]) if seen.edges else (0.0, 0.0)
    low, high = limits
    ends = np.array([low, *seen.edges, high])
    widths = np.diff(ends)
    with np.errstate(divide="ignore", invalid="ignore"):
        heights = np.where(widths > 0, np.array(seen.shares) / widths, 0.0)
    parts = "".join(
        _block(
            100 * (start - low) / (high - low),
            max(100 * width / (high - low) - 0.4, 0.3),
            max(TALL * height / (heights.max() or 1.0), 0.5),
        )
        for start, width, height in zip(ends, widths, heights, strict=False)
        if width > 0
    )
    first, last = (number(x, 4) for x in written(np.array([low, high])))
    caption = f"{first} to {last}" if low < high else f"always {first}"
    return _svg(parts, TALL), caption


def _block(x: float, width: float, height: float, more: str = "") -> str:
    return (
        f'<rect x="{x:.1f}" width="{width:.1f}" y="{-height:.1f}" '
        f'height="{height:.1f}"{more}/>'
    )


def _svg(parts: str, height: float) -> str:
    """Return blocks above a line; the words beside them say the same."""
    return (
        f'<svg class="blocks" viewBox="0 {-height} 100 {height}" '
        f'preserveAspectRatio="none" aria-hidden="true">{parts}</svg>'
    )
