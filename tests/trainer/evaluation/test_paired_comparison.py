"""Both models answer whole, on rows that neither has learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.storage.artefact import Artefact
from models.storage.directory import DirectoryStore as Store
from trainer.data import Dataset, read, take
from trainer.evaluation.metrics import classification

QUICK = (
    "ensemble.members=5",
    "network.architecture=realmlp",
    "network.hidden=[8]",
    "train.epochs=2",
)


@pytest.fixture
def ensemble(
    fit: Callable[..., Any],
    store: Store,
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
) -> Callable[..., tuple[Artefact, Dataset]]:
    """Fit some networks to a table; return the artefact and the data."""

    def make(target: str, *settings: str) -> tuple[Artefact, Dataset]:
        kept = ("size", "colour", "member", "since", target)
        path = write_csv({name: table(150)[name] for name in kept})
        settings = (*QUICK, *settings)
        fit(store, path, target=target, settings=settings)
        return store.load("m", 1), read(str(path), target)

    return make


@pytest.mark.parametrize("target", ["churn", "price"])
def test_against_itself_an_ensemble_is_exactly_as_good(
    target: str,
    ensemble: Callable[..., tuple[Artefact, Dataset]],
    fit: Callable[..., Any],
    store: Store,
    tmp_path: Path,
) -> None:
    ensemble(target)
    again = fit(store, tmp_path / "data.csv", target=target, settings=QUICK)
    name = "rmse" if target == "price" else "log_loss"
    figure = f"{again.metrics[name]:.3g}"
    assert again.promoted
    rows = again.metrics["rows"]
    assert again.reason.startswith(
        f"at least as good: {name} {figure}, production {figure}, on {rows} held-out "
        "rows (95% interval of the difference: 0 to 0)"
    )


# Rows divided by group, in time, or by chance.


@pytest.fixture
def grouped(
    fit: Callable[..., Any],
    store: Store,
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
) -> Callable[..., tuple[Artefact, Dataset, Path]]:
    """Fit some networks to a table with groups and times, or with words alone."""

    def make(
        *settings: str, words: bool = False, groups: int = 200
    ) -> tuple[Artefact, Dataset, Path]:
        whole = table(400)
        names = ["colour", "member"] if words else ["size", "colour", "member"]
        kept = {name: whole[name] for name in [*names, "churn"]}
        if not words:
            kept["g"] = [f"g{7 * i % groups}" for i in range(400)]
            kept["t"] = list(range(400))
        path = write_csv(kept)
        fit(store, path, target="churn", settings=(*QUICK, *settings))
        return store.load("m", 1), read(str(path), "churn"), path

    return make


def test_figures_in_time_are_those_of_all_networks(
    grouped: Callable[..., tuple[Artefact, Dataset, Path]],
) -> None:
    artefact, data, _ = grouped("data.time=t")
    last = np.arange(360, 400)
    metrics = artefact.manifest.metrics
    assert metrics["rows"] == len(last)
    assert isinstance(data.inputs, dict) and data.target is not None
    P = artefact.model.predict(take(data.inputs, last))["probabilities"]
    target = np.array([data.target[i] == "yes" for i in last], int)
    assert metrics["log_loss"] == pytest.approx(classification(P, target)["log_loss"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("data.group=g",), False),
        (("data.time=t",), False),
        (("data.weight=t", "data.group=g"), False),
        ((), True),
    ],
)
@pytest.mark.parametrize("groups", [20, 200])
def test_however_divided_an_ensemble_is_exactly_as_good_as_itself(
    settings: tuple[str, ...],
    words: bool,
    groups: int,
    grouped: Callable[..., tuple[Artefact, Dataset, Path]],
    fit: Callable[..., Any],
    store: Store,
) -> None:
    _, _, path = grouped(*settings, words=words, groups=groups)
    again = fit(store, path, target="churn", settings=(*QUICK, *settings))
    figure = f"{again.metrics['log_loss']:.3g}"
    assert again.promoted
    assert f"log_loss {figure}, production {figure}, on " in again.reason


@pytest.mark.parametrize("shares", [(), ("data.test_fraction=0",)])
def test_with_validation_rows_given_an_ensemble_is_as_good_as_itself(
    shares: tuple[str, ...],
    grouped: Callable[..., tuple[Artefact, Dataset, Path]],
    fit: Callable[..., Any],
    store: Store,
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
) -> None:
    _, _, path = grouped(words=True)
    other = {name: table(80, 1)[name] for name in ("colour", "member", "churn")}
    valid = str(write_csv(other, "valid.csv"))
    given = {"target": "churn", "settings": (*QUICK, *shares), "validation": valid}
    fit(store, path, promote="always", **given)
    again = fit(store, path, **given)
    figure = f"{again.metrics['log_loss']:.3g}"
    assert again.promoted
    assert f"log_loss {figure}, production {figure}, on " in again.reason
