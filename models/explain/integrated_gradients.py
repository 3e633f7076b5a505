"""What each input contributed to an answer: integrated gradients, by our own backward.

Sundararajan et al. 2017, "Axiomatic attribution for deep networks" (arXiv 1703.01365),
equation 1. On the straight path from a baseline x' to a row x, the attribution of
input i is the integral over t in [0, 1] of

    (x_i - x'_i)  dF/dx_i (x' + t (x - x'))

and over all inputs these sum to F(x) - F(x'): completeness. F is the number that is
answered: the probability of one class, after the mean over the networks and the
calibration, or the value. The chain rule goes through all of that, so it holds for an
ensemble as for one network.

**The path** is straight in what the embeddings layer gives, where there is one, else in
the encoded row. There every column is a group of numbers (a value and its waves, a mark
for missing, a point for a category), the attribution of a column is the sum over its
group, and a category moves as smoothly as a number. Each network of an ensemble has
embeddings of its own: the path is straight in all of them at once.

**The baseline** is a typical row of training (`models/explain/baseline.py`).

**The integral** is a weighted sum over `NODES` Gauss-Legendre points. Nothing is
rescaled afterwards: `completeness_error` is how far the sum of the attributions is from
F(x) - F(x').
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.codecs import json_rows
from models.errors import InvalidInput, nearest
from models.explain.baseline import baseline
from models.features.inputs import Inputs, RawColumns
from models.features.predictions import (
    Classification,
    Floats,
    Label,
    Output,
    label_text,
)
from models.features.table import TableInput
from models.nn.layers import Dropout, EmbeddingsSpec
from models.nn.network import Network, NetworkSpec, count_parameters
from models.storage.artefact import Artefact
from models.types import Array

Codes = NDArray[np.intp]

#: Points of the path at which the slope is taken.
NODES = 64
#: Rows explained together, and numbers in the widest layer of one pass.
GROUP, PASS = 64, 1 << 20


class Path(NamedTuple):
    """From the baseline to n rows, in the inner inputs (W) of each network."""

    starts: list[Array]  # (W,)
    steps: list[Array]  # (n, W)
    classes: Codes  # (n,)

    def places(self, member: int, row: Codes, t: Floats) -> Array:
        """Return where rows are at t: (q, W) for q rows and times."""
        places: Array = self.steps[member][row]
        places *= t[:, None].astype(places.dtype)
        places += self.starts[member]
        return places


@dataclass(frozen=True)
class Explanation:
    """The attributions of n rows; column by column, or shaped as a tensor's row."""

    inputs: Inputs
    baseline: RawColumns  # one row
    targets: list[Label]
    output: Floats  # (n,)
    baseline_output: Floats  # (n,)
    attributions: Floats  # (n, columns) or (n, features)

    @property
    def completeness_error(self) -> Floats:
        """How far the attributions of each row are from the change in output."""
        total: Floats = self.attributions.sum(axis=1)
        return total - (self.output - self.baseline_output)

    def reply(self) -> dict[str, Any]:
        """Return what a client is told: an object a row, and the baseline as a row."""
        (baseline,) = json_rows(self.inputs, self.baseline, slice(0, 1))
        return {"explanations": self._by_row(), "baseline": baseline}

    def _by_row(self) -> list[dict[str, Any]]:
        attributions: list[Any]
        if isinstance(self.inputs, TableInput):
            names = [column.name for column in self.inputs.columns]
            attributions = [
                dict(zip(names, row, strict=True)) for row in self.attributions.tolist()
            ]
        else:
            attributions = self.attributions.reshape(-1, *self.inputs.shape).tolist()
        columns = {
            "output": self.output.tolist(),
            "baseline_output": self.baseline_output.tolist(),
            "target": self.targets,
            "attributions": attributions,
            "completeness_error": self.completeness_error.tolist(),
        }
        return [
            dict(zip(columns, row, strict=True))
            for row in zip(*columns.values(), strict=True)
        ]


class Explainer:
    """Explains the answers of one model; threads may share it.

    Its networks are made over the numbers of the model's own.
    """

    def __init__(self, artefact: Artefact) -> None:
        self.model = artefact.model
        self.output: Output = self.model.output
        self.baseline: RawColumns = baseline(
            self.model.inputs, artefact.manifest.reference
        )
        spec = artefact.manifest.network
        front = spec.layers[0] if spec.layers else None
        sources = list(range(spec.n_in))
        self._skipped = 0
        if isinstance(front, EmbeddingsSpec):
            sources = front.sources()
            self._skipped = 1
        inner = NetworkSpec(len(sources), spec.layers[self._skipped :])
        n_parameters, _ = count_parameters(inner)
        self._networks = [
            Network.from_arrays(
                inner,
                whole.parameters[whole.parameters.size - n_parameters :],
                whole.state,
            )
            for whole in self.model.networks
        ]
        self._lock = threading.Lock()
        self._rows_a_pass = max(1, PASS // _widest(inner) // NODES)
        inputs = self.model.inputs
        self._features = inputs.width
        if isinstance(inputs, TableInput):
            place = {column.name: n for n, column in enumerate(inputs.columns)}
            owners = [place[name] for name in inputs.feature_names()]
            sources = [owners[source] for source in sources]
            self._features = len(place)
        owner = np.array(sources, np.intp)
        # Inner inputs side by side by column, and where each column begins.
        self._order = np.argsort(owner, kind="stable")
        self._seen, self._begins = np.unique(owner[self._order], return_index=True)
        nodes, weights = np.polynomial.legendre.leggauss(NODES)  # on [-1, 1]
        self._nodes, self._weights = (nodes + 1.0) / 2.0, weights / 2.0

    def explain(self, raw: RawColumns, target: Label | None = None) -> Explanation:
        """Explain raw rows: the class `target`, or of each row the likeliest.

        Raises InvalidInput for a class that the model does not know.
        """
        wanted = class_of(self.output, target)
        encode: Any = self.model.inputs.encode
        X, start = encode(raw), encode(self.baseline)
        n = len(X)
        found = Explanation(
            inputs=self.model.inputs,
            baseline=self.baseline,
            targets=[],
            output=np.empty(n),
            baseline_output=np.empty(n),
            attributions=np.zeros((n, self._features)),
        )
        with np.errstate(over="ignore", invalid="ignore"):
            for at in range(0, n, GROUP):
                group = slice(at, at + GROUP)
                self._explain(X[group], start, wanted, group, found)
        numbers = np.stack([found.output, found.baseline_output])
        whole = np.isfinite(numbers).all(axis=0)
        whole &= np.isfinite(found.attributions).all(axis=1)
        if not whole.all():
            row = np.flatnonzero(~whole)[0]
            raise InvalidInput(f"row {row}: its numbers are too large for this model")
        return found

    def activations(self, raw: RawColumns) -> list[list[dict[str, Any]]]:
        """Return, a row, what each layer of the model's first network gives."""
        encode: Any = self.model.inputs.encode
        X: Array = encode(raw)
        layers: list[tuple[str, list[list[float]]]] = []
        for number, layer in enumerate(self.model.networks[0].layers, 1):
            X = layer.predict(X)
            if not isinstance(layer, Dropout):  # which does nothing but in training
                layers.append((f"layer {number} ({layer.display_name})", X.tolist()))
        return [
            [{"layer": name, "values": values[row]} for name, values in layers]
            for row in range(len(X))
        ]

    def _explain(
        self,
        X: Array,
        start: Array,
        wanted: int | None,
        group: slice,
        found: Explanation,
    ) -> None:
        ends = [self._inner(network, X) for network in self.model.networks]
        starts = [self._inner(network, start)[0] for network in self.model.networks]
        steps = [end - start for end, start in zip(ends, starts, strict=True)]
        n = len(X)
        classes = np.zeros(n, np.intp)
        if isinstance(self.output, Classification):
            P = self.output.decode(self._logits(ends))["probabilities"]
            classes = P.argmax(axis=1) if wanted is None else np.full(n, wanted)
            found.targets.extend(self.output.classes[c] for c in classes)
        else:
            found.targets.extend(["value"] * n)
        path = Path(starts, steps, classes)
        found.baseline_output[group] = self._numbers(path, 0.0)
        found.output[group] = self._numbers(path, 1.0)
        found.attributions[group] = self._integrate(path)

    def _numbers(self, path: Path, t: float) -> Floats:
        """Return the explained number (n,) of every row at t."""
        row = np.arange(len(path.classes))
        places = [
            path.places(e, row, np.full(len(row), t)) for e in range(len(path.steps))
        ]
        return self._number(self._logits(places), path.classes)

    def _integrate(self, path: Path) -> Floats:
        """Return the attributions (n, features) of n rows."""
        # What a pass leaves in the layers is large: one set at a time, gone afterwards.
        with self._lock:
            networks = [
                Network.from_arrays(each.spec, each.parameters, each.state)
                for each in self._networks
            ]
            size = self._rows_a_pass
            rows = np.arange(len(path.classes))
            passes = [rows[at : at + size] for at in range(0, len(rows), size)]
            return np.concatenate([self._pass(networks, path, some) for some in passes])

    def _pass(self, networks: list[Network], path: Path, rows: Codes) -> Floats:
        """Return the attributions (p, features) of p of the rows."""
        row = np.repeat(rows, NODES)
        t = np.tile(self._nodes, len(rows))
        weights = np.tile(self._weights, len(rows))
        Z = np.stack(
            [
                network.forward(path.places(e, row, t))
                for e, network in enumerate(networks)
            ]
        )
        dZ = self._slopes(Z, path.classes[row]) * weights[:, None]
        inner = np.zeros((len(rows), len(self._order)))
        for e, network in enumerate(networks):
            dX = network.backward(dZ[e].astype(np.float32), input_gradient=True)
            inner += dX.reshape(len(rows), NODES, -1).sum(axis=1) * path.steps[e][rows]
        parts = np.zeros((len(rows), self._features))
        if len(self._seen):
            grouped = inner[:, self._order]
            parts[:, self._seen] = np.add.reduceat(grouped, self._begins, axis=1)
        return parts

    def _number(self, Z: Array, classes: Codes) -> Floats:
        """Return the explained number (q,) of logits (E, q, O)."""
        answer = self.output.decode(Z)
        if isinstance(self.output, Classification):
            found: Floats = answer["probabilities"][np.arange(Z.shape[1]), classes]
            return found
        return answer["value"]

    def _slopes(self, Z: Array, classes: Codes) -> Floats:
        """Return the slopes (E, q, O) of that number by the logits."""
        if isinstance(self.output, Classification):
            return self.output.gradient(Z, classes)
        return self.output.gradient(Z)

    def _inner(self, network: Network, X: Array) -> Array:
        """Return where encoded rows are behind the embeddings."""
        for layer in network.layers[: self._skipped]:
            X = layer.predict(X)
        return X

    def _logits(self, places: list[Array]) -> Array:
        """Return the logits (E, q, O) of each network at its places (q, W)."""
        return np.stack(
            [n.predict(Y) for n, Y in zip(self._networks, places, strict=True)]
        )


def class_of(output: Output, target: Label | None) -> int | None:
    """Return the place of a named class; a text may be any class as it is spelled.

    A regression has the one output 'value', which need not be named. Raises
    InvalidInput with the nearest name.
    """
    if target is None:
        return None
    if not isinstance(output, Classification):
        if target == "value":
            return None
        raise InvalidInput("target: this model answers a number, 'value', and no class")
    for place, label in enumerate(output.classes):
        both = isinstance(label, bool) == isinstance(target, bool)
        if both and label == target:
            return place
    names = [label_text(label) for label in output.classes]
    if isinstance(target, str) and names.count(target) == 1:
        return names.index(target)
    wanted = label_text(target)[:80]
    known = nearest(wanted, names) or f"; there are {', '.join(names[:8])}"
    more = ", …" if len(names) > 8 and not nearest(wanted, names) else ""
    raise InvalidInput(f"target: there is no class '{wanted}'{known}{more}")


def _widest(spec: NetworkSpec) -> int:
    """Return the most numbers that stand between two layers."""
    width = widest = spec.n_in
    for layer in spec.layers:
        width = layer.width(width)
        widest = max(widest, width)
    return widest
