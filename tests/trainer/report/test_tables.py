"""The tables hold the record's numbers."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from trainer.report import tables
from trainer.report.markup import number
from trainer.report.record import ColumnImportance, Confusion, Threshold


def test_figures_are_the_manifests(runs: dict[str, Any]) -> None:
    for name in ("two", "number"):
        run = runs[name]
        shown = tables.metrics(run.artefact.manifest, run.record)
        for key, value in run.artefact.manifest.metrics.items():
            if key in tables.NAMES:
                assert f">{tables.NAMES[key]}</th>" in shown
                assert f"<b>{number(value, 3)}</b>" in shown
        for figures in run.artefact.manifest.baselines.values():
            assert all(f"<td>{number(x, 3)}</td>" in shown for x in figures.values())
        assert "production" not in shown


def test_a_sentence_compares_with_the_baselines(runs: dict[str, Any]) -> None:
    manifest = runs["two"].artefact.manifest
    share = manifest.metrics["log_loss"] / manifest.baselines["linear"]["log_loss"] - 1
    more = f"{abs(share):.0%} {'higher' if share > 0 else 'lower'}"
    said = tables.against_baselines(manifest)
    assert f"{more} than that of a linear model" in said
    assert f"{manifest.metrics['rows']} held-out rows" in said


def test_a_linear_model_is_no_network(runs: dict[str, Any]) -> None:
    two = runs["two"].artefact.manifest
    assert tables.networks(two) == "2 networks"
    assert tables.networks(replace(two, members=1)) == "a linear model"
    weighted = replace(two.output, weights=(0.4, 0.4, 0.2))
    mixed = replace(two, members=3, output=weighted)
    assert (mixed.networks, tables.networks(mixed)) == (
        *(2, "2 networks and a linear model"),
    )


def test_one_threshold_is_chosen_and_each_says_what_it_comes_to() -> None:
    choices = [Threshold(0.2, 9, 11, 1, 79), Threshold(0.5, 6, 2, 4, 88)]
    shown = tables.thresholds(choices, "yes <")
    assert shown.count('type="radio"') == 2 and shown.count(" checked") == 1
    assert 'aria-label="0.5" checked' in shown and "yes &lt;" in shown
    for figure in ("45.0%", "90.0%", "4.50", "75.0%", "60.0%", "7.50"):
        assert f"<dd>{figure}</dd>" in shown
    assert tables.thresholds([], "yes") == ""


def test_confusion_is_a_table_with_heads() -> None:
    shown = tables.confusion(Confusion(["a<", "b"], [[3, 1], [0, 1200]], 7))
    assert shown.count('scope="row"') == 2 and shown.count('scope="col"') == 3
    assert "--share:0.750" in shown and "1,200" in shown and "a&lt;" in shown
    assert "7 rows of rarer classes are not shown" in shown


def test_columns_beyond_the_first_are_a_click_away(runs: dict[str, Any]) -> None:
    record, manifest = runs["two"].record, runs["two"].artefact.manifest
    several = [
        ColumnImportance(f"c{i}", 1.0 / (i + 1), None if i else -0.1) for i in range(20)
    ]
    many = type(record)(
        **{
            **{f: getattr(record, f) for f in record.__struct_fields__},
            "weights": several,
        }
    )
    shown = tables.importance(many, manifest)
    assert "5 more of 20 columns" in shown and shown.count('scope="row"') == 20
    assert "-0.1" in shown and "–" in shown
    assert tables.importance(runs["images"].record, manifest) == ""


def test_mistakes_say_truth_and_answer(runs: dict[str, Any]) -> None:
    for name in ("two", "number", "images"):
        run = runs[name]
        shown = tables.mistakes(run.record, run.artefact.manifest)
        assert shown.count("<article>") == len(run.record.mistakes)
    assert "error +" in tables.mistakes(
        runs["number"].record, runs["number"].artefact.manifest
    )


def test_the_time_is_that_of_the_run() -> None:
    timing = {"epochs": 8, "train_s": 2.0, "rows_per_s": 1000.0, "total_s": 3.0}
    assert "Trained 8 epochs in 2 s" in tables.time({"timing": timing})
    assert tables.time({}) == ""
