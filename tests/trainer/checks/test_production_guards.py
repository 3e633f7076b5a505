"""What is said of tonight's data beside those of the version in production."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ConfigError, DataError
from models.storage.artefact import Finding
from models.storage.directory import DirectoryStore as Store
from trainer.checks.dataset_shift import psi
from trainer.checks.production_guards import guard
from trainer.config import loading
from trainer.data import read
from trainer.evaluation.production import ProductionModel, load_production
from trainer.evaluation.row_fingerprints import fingerprint_rows
from trainer.preparation.prepare import Part, prepare

Table = dict[str, list[Any]]
Found = Callable[..., list[Finding]]
FAST = ("train.epochs=2", "ensemble.members=1", "network.hidden=[4]")
DAY = 86_400.0


def rows(n: int = 600, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n).round(4)
    return {
        "x": x.tolist(),
        "kind": rng.choice(["a", "b", "c"], n).tolist(),
        "z": rng.normal(size=n).round(4).tolist(),
        "y": np.where(x + rng.normal(size=n) > 0, "up", "down").tolist(),
    }


@pytest.fixture
def production(
    fit: Callable[..., Any], store: Store, write_csv: Callable[..., Path]
) -> ProductionModel:
    """Version 1, of `rows()`."""
    fit(store, write_csv(rows(), "then.csv"), target="y", settings=FAST)
    found = load_production(store, "m", lambda said: pytest.fail(said))
    assert found is not None
    return found


@pytest.fixture
def found(write_csv: Callable[..., Path]) -> Found:
    """Guard a table, and return what is found; it is said too."""

    def found(
        columns: Table,
        production: ProductionModel | None,
        *settings: str,
        now: float = 0.0,
    ) -> list[Finding]:
        given = loading.load(None, (*FAST, *settings), {})
        data = read(str(write_csv(columns, "now.csv")), "y", given)
        ready = prepare(data, None, None, given, lambda said: None)
        said: list[str] = []
        findings = guard(ready, production, said.append, now)
        assert said == [each.sentence for each in findings]
        return list(findings)

    return found


def kinds(findings: list[Finding]) -> set[str]:
    return {finding.kind for finding in findings}


def test_of_other_rows_of_the_same_nothing_is_said(
    found: Found, production: ProductionModel
) -> None:
    for seed in range(1, 6):
        assert found(rows(500, seed), production) == []


def test_without_a_version_nothing_is_said(found: Found) -> None:
    assert found(rows(), None) == []


# Schema.


def test_columns_that_are_new_missing_or_of_another_kind(
    found: Found, production: ProductionModel
) -> None:
    now = rows(500, 1)
    now["kind"] = [i % 50 for i in range(500)]
    now["also"] = now.pop("z")
    findings = found(now, production)
    assert [(f.kind, f.columns, f.sentence) for f in findings] == [
        (
            "schema",
            ("also",),
            "column 'also' (numeric) is not in version 1",
        ),
        ("schema", ("kind",), "column 'kind' is numeric, but categorical in version 1"),
        ("schema", ("z",), "column 'z' (numeric) of version 1 is missing"),
    ]


def test_another_task(found: Found, production: ProductionModel) -> None:
    now = rows(500, 1)
    now["y"] = now["x"]
    now["x"] = now["z"][::-1]
    (finding,) = found(now, production)
    assert finding.sentence == "target 'y' is regression, but binary in version 1"


def test_arrays_of_another_shape(
    fit: Callable[..., Any], store: Store, tmp_path: Path, found: Found
) -> None:
    rng = np.random.default_rng(0)
    for width in (3, 4):
        X = rng.normal(size=(300, width)).astype(np.float32)
        path = tmp_path / f"{width}.npz"
        np.savez(path, X=X, y=(X[:, 0] > 0).astype(int))
    fit(store, tmp_path / "3.npz", settings=FAST)
    said: list[str] = []
    fit(store, tmp_path / "4.npz", settings=FAST, say=said.append)
    expected = (
        "a row is an array of shape (4,), but an array of shape (3,) in version 1"
    )
    assert expected in said


# Rows.


def test_too_few_rows(found: Found, production: ProductionModel) -> None:
    (finding,) = found(rows(240, 1), production)
    assert (finding.kind, finding.sentence) == (
        "rows",
        "240 rows are only 40.0% of the 600 rows of version 1 (guards.rows=0.5)",
    )
    assert found(rows(240, 1), production, "guards.rows=0.39") == []


# Balance.


def test_a_class_of_another_share(found: Found, production: ProductionModel) -> None:
    now = rows(1000, 1)
    chosen = [i for i, y in enumerate(now["y"]) if y == "up" or i % 3 == 0]
    now = {name: [values[i] for i in chosen] for name, values in now.items()}
    n, m, ups = len(chosen), 600, rows()["y"].count("up")
    findings = found(now, production)
    p = now["y"].count("up") / n
    # x goes with the target, and so is otherwise distributed too.
    assert kinds(findings) - {"psi"} == {"balance"}
    assert (
        f"target 'y': 'up' is {p:.1%} of {n:,} rows, but was {ups / m:.1%} "
        f"of {m} in version 1 (guards.balance=0.1)"
    ) in [f.sentence for f in findings]
    loose = found(now, production, "guards.balance=0.4")
    assert kinds(loose) - {"psi"} == set()


def test_of_few_rows_chance_is_not_taken_for_a_change(
    found: Found, production: ProductionModel
) -> None:
    settings = ("guards.balance=0.01", "guards.rows=0")
    for seed in range(1, 6):
        assert found(rows(60, seed), production, *settings) == []


def test_a_class_that_came(
    found: Found, production: ProductionModel, store: Store, fit: Callable[..., Any]
) -> None:
    now = rows(500, 1)
    now["y"] = ["sideways" if i < 5 else y for i, y in enumerate(now["y"])]
    sentences = [f.sentence for f in found(now, production)]
    assert sentences == [
        "target 'y' is multiclass, but binary in version 1",
        "target 'y': 'sideways' is 1.0% of 500 rows, but was 0.0% of 600 in version 1 "
        "(guards.balance=0.1)",
    ]


def test_a_class_that_went_or_came_among_many(
    fit: Callable[..., Any], store: Store, write_csv: Callable[..., Path], found: Found
) -> None:
    then, now = rows(), rows(500, 1)
    then["y"] = [f"{y}{i % 2}" for i, y in enumerate(then["y"])]
    now["y"] = [y + ("0" if y == "up" else str(i % 2)) for i, y in enumerate(now["y"])]
    now["y"][:3] = ["new"] * 3
    fit(store, write_csv(then, "then.csv"), target="y", settings=FAST)
    production = load_production(store, "m", lambda said: None)
    sentences = [f.sentence for f in found(now, production)]
    assert any("'up1' is 0.0% of 500 rows, but was" in text for text in sentences)
    assert any("'new' is 0.6% of 500 rows, but was 0.0%" in text for text in sentences)


# Distribution.


def test_a_column_that_has_moved(found: Found, production: ProductionModel) -> None:
    now = rows(500, 1)
    now["z"] = [z + 2 for z in now["z"]]
    now["kind"] = ["a" if i % 4 else "new" for i in range(500)]
    findings = found(now, production)
    assert kinds(findings) == {"psi", "broken"}
    assert {f.columns for f in findings} == {("kind",), ("z",)}
    for finding in (f for f in findings if f.kind == "psi"):
        assert "from the 600 rows of version 1 (guards.psi=0.25)" in finding.sentence
    assert kinds(found(now, production, "guards.psi=1000")) == {"broken"}


def test_the_index_is_that_of_the_values_themselves(
    found: Found, production: ProductionModel
) -> None:
    now = rows(500, 1)
    now["z"] = [z + 2 for z in now["z"]]
    expected = psi(np.array(rows()["z"]), np.array(now["z"]))
    (finding,) = [f for f in found(now, production) if f.kind == "psi"]
    assert f"PSI {expected:.2f} " in finding.sentence


def test_a_numeric_target_that_has_moved(
    fit: Callable[..., Any], store: Store, write_csv: Callable[..., Path], found: Found
) -> None:
    def numeric(seed: int, shift: float) -> Table:
        table = rows(600, seed)
        table["y"] = [round(z + 3 + shift, 4) for z in table.pop("z")]
        return table

    fit(store, write_csv(numeric(0, 0.0), "then.csv"), target="y", settings=FAST)
    production = load_production(store, "m", lambda said: None)
    assert found(numeric(1, 0.0), production) == []
    moved = found(numeric(1, 2.0), production)
    (finding,) = [f for f in moved if f.kind == "psi"]
    assert finding.sentence.startswith("target 'y' is distributed differently: PSI ")


# Targets.


def test_rows_whose_target_is_another_now(
    found: Found, production: ProductionModel
) -> None:
    now = {name: values + rows(300, 1)[name] for name, values in rows().items()}
    assert found(now, production) == []
    order = np.random.default_rng(2).permutation(900)
    mixed = {**now, "y": [now["y"][i] for i in order]}
    (finding,) = found(mixed, production)
    assert finding.kind == "targets"
    # Every row that version 1 was measured on, counted by hand.
    assert production.measured is not None
    then = production.artefact.manifest
    known = other = 0
    for i in range(600):
        x = {"x": np.array([now["x"][i]]), "kind": [now["kind"][i]]}
        x["z"] = np.array([now["z"][i]])
        code = np.array([("down", "up").index(now["y"][i])])
        mark = fingerprint_rows(Part(x, code), then.inputs, then.output)
        if mark[0, 0] in production.measured[:, 0]:
            known += 1
            other += mixed["y"][i] != now["y"][i]
    assert known == len(production.measured)
    assert finding.sentence.startswith(
        f"target 'y' has changed in {other} of {known} test rows of version 1 "
        f"({other / known:.1%}, guards.targets=0.01)"
    )
    assert found(mixed, production, "guards.targets=0.9") == []


def test_a_new_column_hides_no_row(found: Found, production: ProductionModel) -> None:
    now = {**rows(), "also": [i % 50 for i in range(600)]}
    now["y"] = now["y"][::-1]
    assert kinds(found(now, production)) == {"schema", "targets"}


# Staleness.


def test_data_that_are_those_of_then(found: Found, production: ProductionModel) -> None:
    (finding,) = found(rows(), production)
    assert finding.sentence == "the data are the same as those of version 1"


def dated(n: int) -> Table:
    """Return rows of the days of 1970, the last of them day n - 1."""
    days = (np.datetime64("1970-01-01") + np.arange(n)).astype(str).tolist()
    return {**rows(n), "day": days}


@pytest.mark.parametrize("settings", [(), ("data.time=day",)])
def test_the_newest_row_is_old(settings: tuple[str, ...], found: Found) -> None:
    now = dated(200)
    hours = ("guards.hours=48", *settings)
    assert found(now, None, *hours, now=200.9 * DAY) == []
    (finding,) = found(now, None, *hours, now=201.5 * DAY)
    assert (finding.kind, finding.sentence) == (
        "stale",
        "the newest row, by column 'day', is from 1970-07-19T00:00+00:00, 60.0 hours "
        "ago (guards.hours=48)",
    )


@pytest.mark.parametrize("ticks", [1, 10**3, 10**6, 10**9])
def test_age_is_told_in_any_unit_and_whatever_the_future_holds(
    ticks: int, found: Found
) -> None:
    last = 1_580_000_000  # in January 2020
    now = {**rows(200), "t": [(last - 3600 * i) * ticks for i in range(200)]}
    asked = ("data.time=t", "guards.hours=48")
    for far in (None, 253_402_214_400 * ticks):  # the year 9999
        if far is not None:
            now["t"][5] = far
        assert found(now, None, *asked, now=last + DAY) == []
        (finding,) = found(now, None, *asked, now=last + 3 * DAY)
        assert finding.kind == "stale" and "2020-01-26" in finding.sentence


def test_dates_that_are_all_in_the_future_are_said(found: Found) -> None:
    last = 1_580_000_000
    now = {**rows(200), "t": [last + 3600 * i for i in range(200)]}
    asked = ("data.time=t", "guards.hours=48")
    (finding,) = found(now, None, *asked, now=last - 3 * DAY)
    assert finding.kind == "stale" and "is in the future" in finding.sentence


@pytest.mark.parametrize("settings", ["data.group=g", "data.time=g"])
def test_the_same_rows_raise_no_alarm_though_many_have_equal_inputs(
    settings: str,
    found: Found,
    fit: Callable[..., Any],
    store: Store,
    write_csv: Callable[..., Path],
) -> None:
    rng = np.random.default_rng(0)
    table = {
        "c": rng.choice(["a", "b"], 600).tolist(),
        "g": [i // 3 for i in range(600)],
        "y": rng.choice(["up", "down"], 600).tolist(),
    }
    given = (*FAST, settings)
    fit(store, write_csv(table, "t.csv"), target="y", settings=given, promote="always")
    production = load_production(store, "m", lambda said: None)
    findings = found(table, production, settings)
    assert [finding.kind for finding in findings] == ["stale"]


def test_classes_that_came_or_went_are_told_whatever_the_task(
    found: Found, fit: Callable[..., Any], store: Store, write_csv: Callable[..., Path]
) -> None:
    three = rows(600)
    three["y"] = [["lo", "mid", "hi"][i % 3] for i in range(600)]
    fit(store, write_csv(three, "3.csv"), target="y", settings=FAST, promote="always")
    production = load_production(store, "m", lambda said: None)
    kept = [i for i in range(600) if i % 3 < 2]
    two = {name: [values[i] for i in kept] for name, values in three.items()}
    assert {"schema", "balance"} <= kinds(found(two, production))


def test_a_column_that_lost_its_values_is_broken(
    found: Found, production: ProductionModel
) -> None:
    now = rows(500, 1)
    now["z"] = [0.0] * 499 + [1.0]
    assert "broken" in kinds(found(now, production))


def test_age_needs_a_date(found: Found) -> None:
    with pytest.raises(ConfigError, match="needs a column of dates"):
        found(rows(), None, "guards.hours=48")


# What stops.


def test_what_is_to_stop_the_run_stops_it(
    found: Found, production: ProductionModel
) -> None:
    now = rows(290, 1)
    now["z"] = [z + 2 for z in now["z"]]
    assert kinds(found(now, production)) == {"rows", "psi", "broken"}
    some = kinds(found(now, production, 'guards.stop=["stale"]'))
    assert some == {"rows", "psi", "broken"}
    with pytest.raises(
        DataError, match=r"^guards\.stop=rows: 290 rows are only 48\.3% of"
    ):
        found(now, production, 'guards.stop=["rows", "schema"]')


def test_a_stopped_run_publishes_nothing_and_another_tells_of_it(
    fit: Callable[..., Any],
    store: Store,
    write_csv: Callable[..., Path],
    production: ProductionModel,
) -> None:
    few = write_csv(rows(240, 1))
    with pytest.raises(DataError, match="240 rows"):
        fit(store, few, target="y", settings=(*FAST, 'guards.stop=["rows"]'))
    assert store.versions("m") == [1]
    said: list[str] = []
    fit(store, few, target="y", settings=FAST, say=said.append)
    (finding,) = store.run("m", 2)["guards"]  # type: ignore[misc]
    assert finding["kind"] == "rows" and finding["sentence"] in said


def test_the_rows_measured_are_those_marked(
    production: ProductionModel, found: Found
) -> None:
    assert production.measured is not None
    assert len(production.measured) == production.artefact.manifest.metrics["rows"]
