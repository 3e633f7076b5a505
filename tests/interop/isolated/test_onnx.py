"""ONNX Runtime answers as the service does, from named columns to probabilities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import pytest
from click.testing import CliRunner

from models.features.table import TableInput
from models.storage.artefact import Artefact
from models.storage.directory import DirectoryStore as Store
from tests.conftest import people
from tests.serving import Server
from trainer.cli.main import main
from trainer.data import read_for
from trainer.export.onnx import to_onnx

TOLERANCE = 1e-5
RUNS = {
    "one plain network": ("network.architecture=mlp", "ensemble.members=1"),
    "RealMLPs and a linear model, by weight": (
        *("ensemble.members=3", "network.architecture=realmlp"),
        "ensemble.linear=true",
    ),
    "batch norm, GELU": (
        *("network.architecture=mlp", "network.batch_norm=true"),
        *("network.activation=gelu", "ensemble.members=2"),
    ),
}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """People without dates, with gaps, many categories, marks, and odd spellings."""
    n = 400
    rng = np.random.default_rng(1)
    table = pl.DataFrame(people(n)).drop("since")
    table = table.with_columns(
        town=pl.Series([f"town {code}" for code in rng.integers(0, 30, n)]),
        flat=pl.Series([None if x < 0.1 else bool(x < 0.5) for x in rng.random(n)]),
        size=pl.Series([None if x < 9 else x for x in rng.integers(0, 90, n)]),
    )
    table.write_csv(tmp_path / "rows.csv")
    return tmp_path / "rows.csv"


def answer(artefact: Artefact, data: str) -> tuple[dict[str, Any], Any]:
    """Return what ONNX Runtime and the model itself predict for all rows of data."""
    session = onnxruntime.InferenceSession(
        to_onnx(artefact, "m", 1), providers=["CPUExecutionProvider"]
    )
    raw: Any = read_for(data, artefact.manifest.inputs, None).inputs
    if isinstance(artefact.manifest.inputs, TableInput):
        feeds = {
            column.name: np.array([text or "" for text in raw[column.name]], object)
            if column.is_text
            else raw[column.name]
            for column in artefact.manifest.inputs.columns
        }
    else:
        feeds = {"x": np.asarray(raw, np.float32)}
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, feeds), strict=True))
    return found, artefact.model.predict(raw)


def agree(artefact: Artefact, data: str) -> None:
    found, expected = answer(artefact, data)
    if "value" in expected:
        scale = artefact.model.output.std  # type: ignore[union-attr]
        np.testing.assert_allclose(
            found["value"], expected["value"], rtol=0, atol=TOLERANCE * scale
        )
        return
    P = expected["probabilities"]
    np.testing.assert_allclose(found["probabilities"], P, rtol=0, atol=TOLERANCE)
    sure = np.sort(P, axis=1)[:, -1] - np.sort(P, axis=1)[:, -2] > 2 * TOLERANCE
    np.testing.assert_array_equal(found["label"][sure], expected["label"][sure])


@pytest.mark.parametrize("target", ["Status", "town", "children", "income", "member"])
@pytest.mark.parametrize("run", RUNS)
def test_tables_are_answered_alike(
    fit: Callable[..., Any], tmp_path: Path, rows: Path, run: str, target: str
) -> None:
    settings = (*RUNS[run], "train.epochs=2", "data.columns.size.missing=['10']")
    fit(tmp_path / "store", rows, target=target, settings=settings)
    agree(Store(tmp_path / "store").load("m", 1), str(rows))


@pytest.mark.parametrize(
    "function", ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "selu", "mish"]
)
def test_every_activation_is_the_same(
    fit: Callable[..., Any], tmp_path: Path, rows: Path, function: str
) -> None:
    settings = (*RUNS["one plain network"], f"network.activation={function}")
    fit(
        tmp_path / "store",
        rows,
        target="Status",
        settings=(*settings, "train.epochs=1"),
    )
    agree(Store(tmp_path / "store").load("m", 1), str(rows))


def test_images_are_answered_alike(served: Path) -> None:
    agree(Store(served).load("digits", 1), "builtin:digits")


def test_the_command_writes_what_the_service_answers(
    fit: Callable[..., Any],
    tmp_path: Path,
    rows: Path,
    start: Callable[..., Server],
) -> None:
    store, out = tmp_path / "store", tmp_path / "people.onnx"
    settings = ("train.epochs=2", "ensemble.members=2")
    fit(store, rows, target="Status", model="people", settings=settings)
    done = CliRunner().invoke(
        main, ["export", "people", "--out", str(out), "--store", str(store)]
    )
    assert done.exit_code == 0, done.output
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["sha256"] == Store(store).load("people", 1).sha256
    names = ("income", "home", "member", "children", "town", "flat", "size")
    values = (
        (61.5, "owner", True, 2, "town 3", None, 14),
        (None, None, False, 0, "elsewhere", True, None),
    )
    instances = [dict(zip(names, row, strict=True)) for row in values]
    feeds = {
        value.name: np.array([row[value.name] or "" for row in instances], object)
        if value.type == "tensor(string)"
        else np.array([row[value.name] for row in instances], np.float64)
        for value in session.get_inputs()
    }
    label, P = session.run(["label", "probabilities"], feeds)
    answered = start(store).predict("people", instances)
    assert label.tolist() == [each["label"] for each in answered]
    expected = [each["probabilities"] for each in answered]
    np.testing.assert_allclose(P, expected, rtol=0, atol=TOLERANCE)


def test_dates_are_refused_by_name(served: Path, tmp_path: Path) -> None:
    arguments = ["export", "people", "--store", str(served)]
    done = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "x.onnx")])
    assert done.exit_code == 2 and "column 'since' is datetime" in done.output
    assert not (tmp_path / "x.onnx").exists()
