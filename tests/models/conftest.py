"""Small whole models without training: random weights under a real manifest."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from models.features.dates import seconds
from models.features.inputs import Inputs, RawColumns
from models.features.predictions import Classification, Output, Regression
from models.features.reference import Reference
from models.features.table import TableInput, fit_column
from models.features.tensor import TensorInput
from models.model import Model
from models.nn.architectures import mlp, realmlp
from models.nn.network import Network, NetworkSpec
from models.storage.artefact import Fingerprint, Golden, Manifest, Recipe, dump


class Made(NamedTuple):
    """A model before it is written, and the rows its signature was fitted to."""

    manifest: Manifest
    networks: tuple[Network, ...]
    raw: RawColumns

    @property
    def network(self) -> Network:
        """The only network, or the first of several."""
        return self.networks[0]

    @property
    def model(self) -> Model:
        return Model(self.manifest.inputs, self.networks, self.manifest.output)

    def dump(self, **changes: Any) -> bytes:
        """The artefact's bytes, with some fields of the manifest replaced."""
        manifest = msgspec.structs.replace(self.manifest, **changes)
        return dump(manifest, self.networks)


def make(
    inputs: Inputs, raw: RawColumns, spec: NetworkSpec, output: Output, members: int = 1
) -> Made:
    networks = tuple(Network(spec) for _ in range(members))
    for seed, network in enumerate(networks, 1):
        network.initialize(np.random.default_rng(seed))
    model = Model(inputs, networks, output)
    answer = model.predict(raw)
    golden = inputs.to_json(raw, slice(0, 3))
    manifest = Manifest(
        task=output.task,
        inputs=inputs,
        output=output,
        target="y",
        network=spec,
        recipe=Recipe(("hidden layers [5]: the width suits 6 rows",)),
        config={"seed": 0, "network": {"hidden": [5]}},
        data=Fingerprint("0" * 64, 6, 5, 6, 0, 0),
        metrics={"rows": 6, "measured_on": "training rows"},
        history=[{"loss": [0.7, 0.6], "best_epoch": [2.0]}] * members,
        reference=Reference.fit(inputs, raw, output, answer),
        golden=Golden(golden, model.answer_json(msgspec.json.encode(golden))),
    )
    return Made(manifest, networks, raw)


@pytest.fixture
def raw_table() -> dict[str, Any]:
    """Six rows of a column of every kind, one of them constant."""
    joined = ["2024-02-29", "2025-01-01T06:30:00", "1999-12-31T23:59:59.25"]
    return {
        "age": np.array([31.0, 47.5, np.nan, 22.0, 64.0, 39.0]),
        "member": np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0]),
        "joined": np.array([seconds(text) for text in joined * 2]),
        "city": ["Basel", "Bern", None, "Chur", "Bern", "Basel"],
        "planet": ["Earth"] * 6,
    }


@pytest.fixture
def table(raw_table: dict[str, Any]) -> TableInput:
    """The signature of `raw_table`."""
    kinds = ["numeric", "boolean", "datetime", "categorical", "categorical"]
    return TableInput(
        tuple(
            fit_column(name, kind, values)
            for (name, values), kind in zip(raw_table.items(), kinds, strict=True)
        )
    )


@pytest.fixture
def classifier(table: TableInput, raw_table: dict[str, Any]) -> Made:
    """A table model that says yes or no; its batch norm has state."""
    spec = mlp([table.width, 5, 1], batch_norm=True, dropout=0.2)
    return make(table, raw_table, spec, Classification(("no", "yes")))


@pytest.fixture
def regressor(table: TableInput, raw_table: dict[str, Any]) -> Made:
    """A table model that answers a number."""
    spec = mlp([table.width, 5, 1], "mish")
    return make(table, raw_table, spec, Regression(100.0, 20.0))


@pytest.fixture
def imager() -> Made:
    """A model that tells three classes of small images apart."""
    raw = np.random.default_rng(2).integers(0, 17, (6, 2, 3)).astype(np.float32)
    inputs = TensorInput.fit(raw)
    return make(inputs, raw, mlp([6, 5, 3]), Classification((0, 1, 2)))


@pytest.fixture
def ensemble(table: TableInput, raw_table: dict[str, Any]) -> Made:
    """Three networks over a category of many values, calibrated together."""
    streets = [f"street {i}" for i in range(12)]
    street = fit_column("street", "categorical", streets)
    inputs = TableInput((*table.columns, street))
    raw = {**raw_table, "street": [*streets[3:7], None, "never seen"]}
    output = Classification(("no", "yes"), temperature=1.5, smoothing=0.01)
    spec = realmlp(inputs.layout, [6, 5], 1, dropout=0.2)
    return make(inputs, raw, spec, output, members=3)


@pytest.fixture(params=["classifier", "regressor", "imager"])
def single(request: pytest.FixtureRequest) -> Made:
    """Each of the three models of one multi-layer perceptron in turn."""
    model: Made = request.getfixturevalue(request.param)
    return model


@pytest.fixture(params=["classifier", "regressor", "imager", "ensemble"])
def made(request: pytest.FixtureRequest) -> Made:
    """Each of the four models in turn."""
    model: Made = request.getfixturevalue(request.param)
    return model
