"""Stores of every format that is still read, as the release that wrote them left them.

tests/models/storage/formats/FORMAT holds three models, whose rows were split by hash,
at random and by group. Format 2 was written by commit 5a1bf9f, formats 3 to 6 by the
commits that introduced them; data, settings and seed were the same.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from models.errors import ArtefactCorrupt
from models.storage.artefact import FORMAT, PREVIOUS_FORMATS, _upgrade, dump, load
from models.storage.directory import DirectoryStore
from service import create_app
from service.settings import Settings
from trainer.cli.main import main

FORMATS = Path(__file__).parent / "models" / "storage" / "formats"
MODELS = {"hash": "churn", "random": "churn", "group": "level"}

each_format = pytest.mark.parametrize("number", [*PREVIOUS_FORMATS, FORMAT])
each_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture
def store(tmp_path: Path, number: int) -> DirectoryStore:
    shutil.copytree(FORMATS / str(number), tmp_path / "store")
    return DirectoryStore(tmp_path / "store")


def written(number: int, name: str) -> dict[str, Any]:
    """Return the manifest as it is in the file."""
    with zipfile.ZipFile(FORMATS / str(number) / name / "1" / "model.npz") as archive:
        found: dict[str, Any] = json.loads(archive.read("manifest.json"))
    return found


def trainer(store: DirectoryStore, *arguments: object) -> str:
    environment = {"GLASSNET_STORE": str(store)}
    result = CliRunner().invoke(main, [str(a) for a in arguments], env=environment)
    assert result.exit_code in (0, 3), result.output
    return result.stdout


def test_there_is_a_store_of_every_format_that_is_read() -> None:
    assert sorted(p.name for p in FORMATS.iterdir() if p.is_dir()) == [
        "2",
        "3",
        "4",
        "5",
        "6",
    ]
    assert (*PREVIOUS_FORMATS, FORMAT) == (2, 3, 4, 5, 6)


@each_format
@each_model
def test_it_loads_and_passes_its_golden_pair(
    number: int, name: str, store: DirectoryStore
) -> None:
    assert written(number, name)["format"] == number
    manifest = store.load(name, 1).manifest
    assert manifest.format == FORMAT
    assert manifest.recipe.split_strategy == name
    assert bool(manifest.output.weights) == (number >= 5 and name == "group")
    old = number < 4
    assert bool(manifest.recipe.split_seed) == (old and name == "random")
    assert len(manifest.recipe.groups) == (40 if old and name == "group" else 0)
    assert (manifest.recipe.test_below is None) == old
    assert manifest.recipe.reasons == tuple(written(number, name)["recipe"]["reasons"])


@each_model
def test_the_same_data_settings_and_seed_gave_the_same_arrays(name: str) -> None:
    assert written(2, name)["arrays"] == written(3, name)["arrays"]


@each_format
@each_model
def test_it_is_written_again_in_the_format_of_today(
    number: int, name: str, store: DirectoryStore
) -> None:
    artefact = store.load(name, 1)
    again = load(dump(artefact.manifest, artefact.model.networks))
    assert again.manifest == artefact.manifest
    for one, other in zip(again.model.networks, artefact.model.networks, strict=True):
        np.testing.assert_array_equal(one.parameters, other.parameters)


@each_format
@each_model
def test_it_is_served(number: int, name: str, store: DirectoryStore) -> None:
    golden = store.load(name, 1).manifest.golden
    client = create_app(Settings(store=str(store))).test_client()
    body = {"instances": golden.instances}
    reply = client.post(f"/v1/models/{name}:predict", json=body)
    assert reply.status_code == 200 and reply.json is not None
    assert len(reply.json["predictions"]) == len(golden.predictions)
    assert client.get(f"/v1/models/{name}/metadata").status_code == 200


@each_format
@each_model
def test_it_is_shown_verified_evaluated_and_reported(
    number: int, name: str, store: DirectoryStore
) -> None:
    data = FORMATS / f"{name}.csv"
    assert "split " in trainer(store, "show", name)
    shown = json.loads(trainer(store, "show", name, "--json"))
    assert shown["recipe"]["split_strategy"] == name
    assert "version 1 is intact" in trainer(store, "verify", name)
    assert json.loads(trainer(store, "evaluate", data, "--model", name, "--json"))
    assert trainer(store, "report", name).endswith("report.html\n")


@each_format
@each_model
def test_a_candidate_is_compared_with_it(
    number: int, name: str, store: DirectoryStore
) -> None:
    arguments = ["fit", FORMATS / f"{name}.csv", "--target", MODELS[name]]
    arguments += ["--model", name, "--epochs", 5, "--json", "--seed", 4]
    arguments += ["--set", "network.hidden=[4]", "--set", "runtime.report=false"]
    arguments += ["--set", "gate.minimum_rows=5"]
    if name == "group":
        arguments += ["--set", "data.group=household"]
    result = json.loads(trainer(store, *arguments))
    assert result["version"] == 2
    # Each network of an ensemble had test rows of its own before format 4, so that all
    # rows have been learnt.
    comparable = number >= 4 or name != "group"
    assert bool(result["gate"]) == comparable
    assert ("cannot be compared" in result["reason"]) != comparable


@pytest.mark.parametrize(
    "recipe",
    [
        None,
        {},
        {"reasons": 1},
        {"reasons": [], "divided_by": ["content"]},
        {"reasons": [], "divided_by": "hash"},
        {"reasons": [], "split_seed": 1},
    ],
)
def test_a_damaged_recipe_of_format_2_is_refused(recipe: object) -> None:
    two = {"format": msgspec.Raw(b"2")}
    for fields in ({**two, "recipe": msgspec.Raw(json.dumps(recipe).encode())}, two):
        with pytest.raises(msgspec.MsgspecError):
            _upgrade(fields)


def test_a_damaged_manifest_of_format_2_is_corrupt() -> None:
    from models.storage.artefact import _manifest

    raw = memoryview(json.dumps({"format": 2}).encode())
    with pytest.raises(ArtefactCorrupt, match="Expected `object`, got `null`"):
        _manifest(raw)
