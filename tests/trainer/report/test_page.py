"""The page: whole, for every kind of model and reader, and proof against its data."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from trainer.report import page as pages
from trainer.report.page import METRICS, SECTIONS, page
from trainer.report.record import ColumnImportance, Confusion, Threshold
from trainer.report.rendering import number, render

EVERY = ("two", "several", "number", "images")
HOSTILE = [
    '<script>alert("x")</script>',
    '"><img src=x onerror=alert(1)>',
    "a' onmouseover='b",
    "$\\frac{1}{0}$ &amp; %s {0}",
    "\u202eevil\x07",
    "]]></style><svg/onload=alert(1)>",
]


@pytest.mark.parametrize("name", EVERY)
def test_every_part_is_there(runs: dict[str, Any], name: str) -> None:
    shown = runs[name].page
    anchors = [a["id"] for a in shown.named("section")]
    assert anchors == list(SECTIONS)
    assert [a["href"] for a in shown.named("a")] == [f"#{s}" for s in SECTIONS]
    assert len(shown.named("h1")) == 1 and f"{name} version 1" in shown.text
    for reason in runs[name].artefact.manifest.recipe.reasons:
        assert reason in shown.text


@pytest.mark.parametrize("name", EVERY)
def test_it_asks_for_nothing_and_runs_nothing(runs: dict[str, Any], name: str) -> None:
    shown = runs[name].page
    tags = {tag for tag, _ in shown.elements}
    assert not tags & {"script", "img", "link", "iframe", "object", "image"}
    for tag, attributes in shown.elements:
        for key, value in attributes.items():
            assert not key.startswith("on") and key != "src", (tag, key)
            assert key != "href" or value.startswith("#"), (tag, value)
    assert not re.search(r"https?:|@import|url\((?!#)", shown.source)


@pytest.mark.parametrize("name", EVERY)
def test_pictures_have_names_and_names_are_single(
    runs: dict[str, Any], name: str
) -> None:
    shown = runs[name].page
    pictures = [a for a in shown.named("svg") if "aria-hidden" not in a]
    assert len(pictures) >= 4
    for picture in pictures:
        assert picture["role"] == "img" and len(picture["aria-label"]) > 10
    ids = [a["id"] for _, a in shown.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert "nan" not in shown.text.lower().split()


@pytest.mark.parametrize(("name", "several"), [("two", True), ("several", False)])
def test_an_epoch_that_all_networks_share_is_named_once(
    runs: dict[str, Any], name: str, several: bool
) -> None:
    history = runs[name].artefact.manifest.history
    (epoch,) = {int(network["best_epoch"][0]) for network in history}
    shown = runs[name].page.text
    assert f"Dots mark the best epoch ({epoch}), whose weights" in shown
    assert several == (len(history) > 1) == ("faint lines the others" in shown)


def test_the_page_suits_both_themes_and_a_phone(runs: dict[str, Any]) -> None:
    source = runs["two"].page.source
    assert "prefers-color-scheme: dark" in source
    assert 'name="viewport" content="width=device-width' in source
    used = set(re.findall(r"var\((--[\w]+)\)", source)) - {"--share"}
    light, dark = (
        set(re.findall(r"(--\w+):", part)) for part in source.split("@media")[:2]
    )
    assert used <= light and used <= dark


def test_each_task_has_its_pictures(runs: dict[str, Any]) -> None:
    labels = {
        name: " | ".join(a.get("aria-label", "") for a in runs[name].page.named("svg"))
        for name in EVERY
    }
    for name in ("two", "several", "images"):
        assert "ROC curves" in labels[name] and "Reliability" in labels[name]
    assert "Predicted against true values" in labels["number"]
    assert "Histogram of predicted minus true value" in labels["number"]
    assert "Lift: the highest tenth of the rows has" in labels["two"]
    for name in ("two", "several", "number"):
        assert "Mean prediction by " in labels[name]
    assert "Importance of 8 by 8 pixels" in labels["images"]
    assert "an image of" in labels["images"]


def test_what_is_wrong_stands_first_with_what_to_try(
    reported: Callable[..., Any], people_csv: Path, runs: dict[str, Any]
) -> None:
    spoilt = ("network.architecture=mlp", "train.learning_rate=0.2")
    run = reported(people_csv, *spoilt, target="Status")
    items = [a["data-problem"] for a in run.page.named("li") if "data-problem" in a]
    assert items == list(run.problems) and "learning_rate" in items
    for said in run.problems.values():
        assert all(part in run.page.text for part in said.split(". "))
    honest = runs["images"]
    assert honest.problems == {}
    assert "No problems found" in honest.page.text


def test_nothing_in_the_data_becomes_markup(
    tmp_path: Path, reported: Callable[..., Any]
) -> None:
    """Names of columns, categories, classes and the target are anybody's."""
    rng = np.random.default_rng(0)
    n = 330
    x = rng.normal(size=n)
    table = {
        HOSTILE[0]: x.tolist(),
        HOSTILE[1]: [HOSTILE[i % 6] for i in range(n)],
        HOSTILE[4]: rng.normal(size=n).tolist(),
        HOSTILE[5]: [HOSTILE[2 + (v > 0)] for v in x],
    }
    data = tmp_path / "hostile.csv"
    with data.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    shown = reported(data, target=HOSTILE[5]).page
    tags = {tag for tag, _ in shown.elements}
    assert not tags & {"script", "img"} and "]]></style>" in shown.text
    assert '<script>alert("x")</script>' in shown.text
    for tag, attributes in shown.elements:
        assert not [key for key in attributes if key.startswith("on")], tag
    assert "\u202e" not in shown.source and "\x07" not in shown.source


def test_without_its_record_a_version_still_has_a_page(runs: dict[str, Any]) -> None:
    run = runs["two"]
    shown = page("two", 1, run.artefact, None, {})
    assert "has no record.json" in shown and "Log" not in shown
    assert 'id="learning"' in shown and 'id="settings"' in shown
    assert 'id="mistakes"' not in shown


def test_production_stands_beside_its_successor(
    reported: Callable[..., Any], people_csv: Path
) -> None:
    reported(people_csv, target="Status")
    shown = reported(people_csv, target="Status", seed=7)
    reason = shown.store.run("m", 2)["reason"]
    assert str(reason) in shown.page.text
    figures = shown.record.production.figures
    assert "this versionproductionconstant answerlinear model" in shown.page.text
    assert f"<td>{number(figures['log_loss'], 3)}</td>" in shown.page.source


def section(run: Any, name: str, **record: Any) -> str:
    """Return one section of a run's page, with other values in its record."""
    changed = replace(run.record, **record)
    return render(f"{name}.html", **pages.contents(run.artefact.manifest, changed, {}))


def test_figures_are_the_manifests(runs: dict[str, Any]) -> None:
    for name in ("two", "number"):
        manifest = runs[name].artefact.manifest
        shown = section(runs[name], "quality")
        for key, value in manifest.metrics.items():
            if key in METRICS:
                assert f">{METRICS[key]}</th>" in shown
                assert f"<b>{number(value, 3)}</b>" in shown
        for figures in manifest.baselines.values():
            assert all(f"<td>{number(x, 3)}</td>" in shown for x in figures.values())
        assert "production" not in shown


def test_a_sentence_compares_with_the_baselines(runs: dict[str, Any]) -> None:
    manifest = runs["two"].artefact.manifest
    share = manifest.metrics["log_loss"] / manifest.baselines["linear"]["log_loss"] - 1
    more = f"{abs(share):.0%} {'higher' if share > 0 else 'lower'}"
    sentence = pages.against_baselines(manifest)
    assert f"{more} than that of a linear model" in sentence
    assert f"{manifest.metrics['rows']} held-out rows" in sentence


def test_a_linear_model_is_no_network(runs: dict[str, Any]) -> None:
    two = runs["two"].artefact.manifest
    assert pages.networks(two) == "2 networks"
    assert pages.networks(replace(two, members=1)) == "a linear model"
    weighted = replace(two.output, weights=(0.4, 0.4, 0.2))
    mixed = replace(two, members=3, output=weighted)
    assert mixed.networks == 2
    assert pages.networks(mixed) == "2 networks and a linear model"


def test_measured_rows_of_one_class_have_no_answer_by_column(
    runs: dict[str, Any],
) -> None:
    lone = [replace(one, lines={}) for one in runs["two"].record.dependence]
    shown = section(runs["two"], "columns", dependence=lone)
    assert "income" in shown and "The answer by column" not in shown


def test_one_threshold_is_chosen_and_each_says_what_it_comes_to(
    runs: dict[str, Any],
) -> None:
    choices = [Threshold(0.2, 9, 11, 1, 79), Threshold(0.5, 6, 2, 4, 88)]
    lift = replace(runs["two"].record.lift, name="yes <")
    shown = section(runs["two"], "mistakes", thresholds=choices, lift=lift)
    assert shown.count('type="radio"') == 2 and shown.count(" checked") == 1
    assert 'aria-label="0.5" checked' in shown and "yes &lt;" in shown
    for figure in ("45.0%", "90.0%", "4.50", "75.0%", "60.0%", "7.50"):
        assert f"<dd>{figure}</dd>" in shown
    assert "<fieldset" not in section(runs["two"], "mistakes", thresholds=[])


def test_confusion_is_a_table_with_heads(runs: dict[str, Any]) -> None:
    confusion = Confusion(["a<", "b"], [[3, 1], [0, 1200]], 7)
    shown = section(runs["several"], "mistakes", confusion=confusion)
    assert shown.count('scope="row"') == 2 and shown.count('scope="col"') == 3
    assert "--share:0.750" in shown and "1,200" in shown and "a&lt;" in shown
    assert "7 rows of rarer classes are not shown" in shown


def test_columns_beyond_the_first_are_a_click_away(runs: dict[str, Any]) -> None:
    weights = [
        ColumnImportance(f"c{i}", 1.0 / (i + 1), None if i else -0.1) for i in range(20)
    ]
    shown = section(runs["two"], "columns", weights=weights)
    assert "5 more of 20 columns" in shown and shown.count('scope="row"') == 20
    assert "-0.1" in shown and "–" in shown
    assert "<table" not in section(runs["images"], "columns")


def test_mistakes_say_truth_and_answer(runs: dict[str, Any]) -> None:
    for name in ("two", "number", "images"):
        shown = section(runs[name], "mistakes")
        assert shown.count("<article>") == len(runs[name].record.mistakes)
    assert "error +" in section(runs["number"], "mistakes")


def test_the_time_is_that_of_the_run(runs: dict[str, Any]) -> None:
    values = pages.contents(runs["two"].artefact.manifest, None, {})
    assert "Trained" not in render("learning.html", **values)
    timing = {"epochs": 8, "train_s": 2.0, "rows_per_s": 1000.0, "total_s": 3.0}
    values["run"] = {"timing": timing}
    assert "Trained 8 epochs in 2 s" in render("learning.html", **values)
