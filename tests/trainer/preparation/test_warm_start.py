"""A run that starts from production's weights, and when it may not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.storage.directory import DirectoryStore as Store

Fit = Callable[..., Any]
WARM = "train.warm_start=true"
TWO = (
    *("ensemble.members=2", "ensemble.linear=false", "network.architecture=realmlp"),
    *("network.hidden=[16]", "gate.minimum_rows=1"),
    *("data.test_fraction=0.15", "data.validation_fraction=0.15", "train.epochs=5"),
)


@pytest.fixture
def night(
    fit: Fit,
    store: Store,
    table: Callable[..., dict[str, list[Any]]],
    write_csv: Callable[..., Path],
) -> Callable[..., Any]:
    """Fit the first rows of a growing table; return the result and the sentences."""

    def night(
        rows: int,
        *settings: str,
        target: str = "churn",
        place: Store = store,
        columns: dict[str, list[Any]] | None = None,
        promote: str = "always",
    ) -> tuple[Any, list[str]]:
        whole = table(400)
        kept = ("size", "colour", "member", "since", target)
        data = {name: whole[name][:rows] for name in kept} | (columns or {})
        said: list[str] = []
        result = fit(
            *(place, write_csv(data)),
            target=target,
            settings=(*TWO, *settings),
            promote=promote,
            say=said.append,
        )
        return result, [text for text in said if "warm start" in text]

    return night


def networks(store: Store, version: int) -> list[np.ndarray[Any, Any]]:
    """Return the weights of the two networks, without those of the linear model."""
    return [n.parameters for n in store.load("m", version).model.networks[:2]]


@pytest.mark.parametrize("target", ["churn", "level", "price"])
def test_the_networks_begin_at_those_of_production(
    target: str, night: Callable[..., Any], store: Store
) -> None:
    first, _ = night(360, target=target)
    # Steps that change next to nothing show where the networks began.
    _, said = night(400, WARM, "train.learning_rate=1e-7", target=target)
    assert said[0] == f"warm start: from the weights of {first.sha256[:12]}"
    for then, now in zip(networks(store, 1), networks(store, 2), strict=True):
        np.testing.assert_allclose(now, then, atol=1e-3)


def test_without_production_the_run_is_a_cold_one(
    night: Callable[..., Any], store: Store, tmp_path: Path
) -> None:
    cold, _ = night(300, place=Store(tmp_path / "cold"))
    _, said = night(300, WARM)
    assert set(said) == {"no warm start: there is no production version"}
    for one, other in zip(
        networks(store, 1), networks(Store(tmp_path / "cold"), 1), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert cold.promoted


#: Settings and columns of a second night, and why it cannot start from the first.
CHANGED: list[tuple[tuple[str, ...], dict[str, list[Any]], str]] = [
    (("network.hidden=[12]",), {}, "network.hidden was [16] and is [12]"),
    (("ensemble.members=3",), {}, "ensemble.members was 2 and is 3"),
    (("data.test_fraction=0.2",), {}, "data.test_fraction was 0.15 and is 0.2"),
    ((), {"colour": ["red", "blue"] * 200}, "has new categories, such as 'blue'"),
    ((), {"size": [50 + i * 0.37 for i in range(400)]}, "of 'size' have moved"),
    ((), {"churn": ["no", "yes", "perhaps", "no"] * 100}, "the classes of the target"),
]


def test_what_has_changed_is_said(night: Callable[..., Any]) -> None:
    night(360)
    for settings, columns, reason in CHANGED:
        quick = ("train.epochs=1", *settings)
        _, said = night(400, WARM, *quick, columns=columns, promote="never")
        assert said[0].startswith("no warm start: ") and reason in said[0]


def test_no_test_row_was_learnt_before(night: Callable[..., Any]) -> None:
    # The table loses its latest rows, so that earlier ones are the test rows.
    times = {"since": [f"2024-01-01T{i // 60:02}:{i % 60:02}" for i in range(400)]}
    by_time = ("data.time=since",)
    night(400, *by_time, columns=times)
    fewer = {"since": times["since"][:300]}
    _, said = night(300, WARM, *by_time, columns=fewer)
    assert set(said) == {
        "no warm start: production has learnt rows that are test rows now"
    }


def test_a_linear_model_alone_is_no_start(
    fit: Fit, store: Store, write_csv: Callable[..., Path]
) -> None:
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 300))
    data = write_csv({"x": x, "z": z, "y": 3 * x - z})
    said: list[str] = []
    for settings in (("ensemble.linear=true",), ("ensemble.linear=true", WARM)):
        fit(
            *(store, data),
            target="y",
            settings=(*TWO, *settings),
            promote="always",
            say=said.append,
        )
    assert "no warm start: production is a linear model alone" in said


def test_processes_change_no_byte(night: Callable[..., Any], store: Store) -> None:
    night(360)
    prints = set()
    for threads in (1, 2):
        result, said = night(400, WARM, f"runtime.threads={threads}")
        assert said[0].startswith("warm start: ")
        prints.add(result.sha256)
        store.rollback("m")
    assert len(prints) == 1
