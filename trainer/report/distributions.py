"""The data of the training rows: classes, gaps and the distribution of each column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from models.features.histograms import Histogram, Shares
from models.features.predictions import Regression
from models.features.table import TableInput
from models.storage.artefact import Manifest
from trainer.report.rendering import number, plain

#: Categories that are named.
MAX_CATEGORIES = 5
#: Height of the largest bin.
TALL = 24


class Block(NamedTuple):
    """A rectangle on the base line, in percent of the width and in pixels."""

    x: float
    width: float
    height: float
    opacity: float = 1.0


class Distribution(NamedTuple):
    """A column as a strip or a histogram, and in words."""

    name: str
    kind: str
    missing: float
    height: float
    blocks: list[Block]
    caption: str


def distributions(manifest: Manifest) -> list[Distribution]:
    """Return the target and the columns as the training rows had them."""
    reference, output, inputs = manifest.reference, manifest.output, manifest.inputs
    found = []
    if reference.target is not None:
        limits = None
        if isinstance(output, Regression):
            ends = np.array([output.lowest, output.highest]) * output.std + output.mean
            limits = (float(ends[0]), float(ends[1]))
        target = _distribution(manifest.target, "target", reference.target, limits)
        found.append(target)
    for name, seen in reference.inputs.items():
        if not isinstance(inputs, TableInput):
            found.append(_distribution("mean of a row", "", seen, None))
            continue
        column = inputs.by_name[name]
        if column.kind == "boolean" and isinstance(seen, Histogram):
            seen = _truths(seen)
        kind, limits = column.kind, column.limits
        found.append(_distribution(name, kind, seen, limits, column.to_json))
    return found


def _distribution(
    name: str,
    kind: str,
    seen: Histogram | Shares,
    limits: tuple[float, float] | None,
    to_json: Callable[[Any], list[Any]] = list,
) -> Distribution:
    if isinstance(seen, Shares):
        return Distribution(name, kind, seen.missing, TALL / 2, *_shares(seen))
    blocks, caption = _bins(seen, limits, to_json)
    return Distribution(name, kind, seen.missing, TALL, blocks, caption)


def _truths(seen: Histogram) -> Shares:
    """Return a boolean column, which is counted as numbers, as two categories."""
    no, yes = np.searchsorted(seen.edges, [0.0, 1.0], side="right")
    if no == yes:  # less than a tenth are true, and share a bin with the others
        return Shares(("false, seldom true",), (1 - seen.missing,), 0.0, seen.missing)
    shares = seen.shares[no], seen.shares[yes]
    return Shares(("false", "true"), shares, 0.0, seen.missing)


def _shares(seen: Shares) -> tuple[list[Block], str]:
    """Return the most frequent categories as parts of a strip, and in words."""
    ranked = sorted(zip(seen.shares, seen.categories, strict=True), reverse=True)
    named = [(share, plain(name, 24)) for share, name in ranked[:MAX_CATEGORIES]]
    rest = 1.0 - seen.missing - sum(share for share, _ in named)
    others = len(ranked) - len(named)
    if others or rest > 0.0005:
        named.append((rest, f"{others} others" if others else "others"))
    blocks, start = [], 0.0
    for index, (share, _) in enumerate(named):
        width = max(100 * share - 0.4, 0.2)
        opacity = 1 - 0.8 * index / MAX_CATEGORIES
        blocks.append(Block(start, width, TALL / 2, opacity))
        start += 100 * share
    return blocks, ", ".join(f"{name} {share:.1%}" for share, name in named)


def _bins(
    seen: Histogram,
    limits: tuple[float, float] | None,
    to_json: Callable[[Any], list[Any]],
) -> tuple[list[Block], str]:
    """Return the density of numbers as blocks, and their range in words."""
    if limits is None or not np.isfinite(limits).all() or limits[0] == limits[1]:
        limits = (seen.edges[0], seen.edges[-1]) if seen.edges else (0.0, 0.0)
    low, high = limits
    ends = np.array([low, *seen.edges, high])
    widths = np.diff(ends)
    with np.errstate(divide="ignore", invalid="ignore"):
        heights = np.where(widths > 0, np.array(seen.shares) / widths, 0.0)
    blocks = [
        Block(
            100 * (start - low) / (high - low),
            max(100 * width / (high - low) - 0.4, 0.3),
            max(TALL * height / (heights.max() or 1.0), 0.5),
        )
        for start, width, height in zip(ends, widths, heights, strict=False)
        if width > 0
    ]
    first, last = (number(x) for x in to_json(np.array([low, high])))
    return blocks, f"{first} to {last}" if low < high else f"always {first}"
