"""What each input contributed to a prediction: integrated gradients, by `backward`.

Sundararajan et al. 2017, "Axiomatic attribution for deep networks" (arXiv 1703.01365),
equation 1. On the straight path from a baseline x' to a row x, the attribution of
input i is the integral over t in [0, 1] of

    (x_i - x'_i)  dF/dx_i (x' + t (x - x'))

and over all inputs these sum to F(x) - F(x'): completeness. F is the predicted number:
the probability of one class, after the mean over the networks and the calibration, or
the value. The chain rule covers all of that, so completeness holds for an ensemble too.

**The path** is straight in the outputs of the embeddings layer, if there is one, else
in the encoded row. There every column is a group of numbers (a value and its waves, a
flag for missing, a point for a category), the attribution of a column is the sum over
its group, and a category moves as smoothly as a number. Each network of an ensemble has
its own embeddings: the path is straight in all of them at once.

**The baseline** is a typical row of training (`baseline` of the signature): the median
of each number and date, the most frequent category and truth value.

**The integral** is a weighted sum over Gauss-Legendre points. Nothing is
rescaled afterwards: `completeness_error` is how far the sum of the attributions is from
F(x) - F(x').
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidInput
from models.features.columns import Floats
from models.features.inputs import Inputs, RawColumns
from models.features.predictions import Label, Output
from models.nn.layers import ActivationSpec, Dropout, EmbeddingsSpec
from models.nn.layers.activations import FUNCTIONS
from models.nn.network import Network, NetworkSpec, count_parameters
from models.storage.artefact import Artefact
from models.types import Array

Codes = NDArray[np.intp]

#: Rows explained together.
GROUP_ROWS = 64
#: Numbers in the widest layer of one pass.
PASS_NUMBERS = 1 << 20


class Path(NamedTuple):
    """From the baseline to n rows, in the W inner inputs of each network."""

    starts: list[Array]  # (W,)
    steps: list[Array]  # (n, W)
    classes: Codes  # (n,)

    def points(self, member: int, row: Codes, t: Floats) -> Array:
        """Return points (q, W) of a network's path, for q rows (q,) and times (q,)."""
        points: Array = self.steps[member][row]
        points *= t[:, None].astype(points.dtype)
        points += self.starts[member]
        return points


@dataclass(frozen=True)
class Explanation:
    """The attributions of n rows, one a column of a table or a feature of a tensor."""

    inputs: Inputs
    baseline: RawColumns  # one row
    targets: list[Label]
    output: Floats  # (n,)
    baseline_output: Floats  # (n,)
    attributions: Floats  # (n, columns) or (n, features)

    @property
    def completeness_error(self) -> Floats:
        """The sum of each row's attributions minus the change in output (n,)."""
        total: Floats = self.attributions.sum(axis=1)
        return total - (self.output - self.baseline_output)

    def reply(self) -> dict[str, Any]:
        """Return the JSON reply: an object a row, and the baseline as a row."""
        (baseline,) = self.inputs.to_json(self.baseline)
        return {"explanations": self._by_row(), "baseline": baseline}

    def _by_row(self) -> list[dict[str, Any]]:
        columns = {
            "output": self.output.tolist(),
            "baseline_output": self.baseline_output.tolist(),
            "target": self.targets,
            "attributions": self.inputs.by_explained(self.attributions),
            "completeness_error": self.completeness_error.tolist(),
        }
        return [
            dict(zip(columns, row, strict=True))
            for row in zip(*columns.values(), strict=True)
        ]


class Explainer:
    """Explains the predictions of one model; threads may share it.

    Its networks share the parameters of the model's networks.
    """

    def __init__(self, artefact: Artefact) -> None:
        self.model = artefact.model
        self.output: Output = self.model.output
        inputs = self.model.inputs
        self.baseline: RawColumns = inputs.baseline(artefact.manifest.reference.inputs)
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
        self._n_nodes = _path_points(spec)
        self._rows_a_pass = max(1, PASS_NUMBERS // _widest(inner) // self._n_nodes)
        self._features = len(inputs.explained)
        explained_by = inputs.explained_by()
        owner = np.array([explained_by[source] for source in sources], np.intp)
        # The inner inputs grouped by column, and the first of each group.
        self._order = np.argsort(owner, kind="stable")
        self._used, self._begins = np.unique(owner[self._order], return_index=True)
        nodes, weights = np.polynomial.legendre.leggauss(self._n_nodes)
        self._nodes, self._weights = (nodes + 1.0) / 2.0, weights / 2.0  # on [0, 1]

    def explain(self, raw: RawColumns, target: Label | None = None) -> Explanation:
        """Explain the class `target`, or the likeliest of each of n raw rows.

        Raises InvalidInput for a class that the model does not know, or if numbers
        overflow inside the network.
        """
        wanted = self.output.class_number(target)
        encode: Any = self.model.inputs.encode
        X, start = encode(raw), encode(self.baseline)
        n = len(X)
        explanation = Explanation(
            inputs=self.model.inputs,
            baseline=self.baseline,
            targets=[],
            output=np.empty(n),
            baseline_output=np.empty(n),
            attributions=np.zeros((n, self._features)),
        )
        with np.errstate(over="ignore", invalid="ignore"):
            for first in range(0, n, GROUP_ROWS):
                group = slice(first, first + GROUP_ROWS)
                self._explain(X[group], start, wanted, group, explanation)
        numbers = np.stack([explanation.output, explanation.baseline_output])
        finite = np.isfinite(numbers).all(axis=0)
        finite &= np.isfinite(explanation.attributions).all(axis=1)
        if not finite.all():
            row = np.flatnonzero(~finite)[0]
            raise InvalidInput(f"row {row}: its numbers are too large for this model")
        return explanation

    def activations(self, raw: RawColumns) -> list[list[dict[str, Any]]]:
        """Return the outputs of each layer of the model's first network, by row."""
        encode: Any = self.model.inputs.encode
        X: Array = encode(raw)
        layers: list[tuple[str, list[list[float]]]] = []
        for number, layer in enumerate(self.model.networks[0].layers, 1):
            X = layer.predict(X)
            if not isinstance(layer, Dropout):  # it acts in training only
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
        explanation: Explanation,
    ) -> None:
        ends = [self._inner(network, X) for network in self.model.networks]
        starts = [self._inner(network, start)[0] for network in self.model.networks]
        steps = [end - start for end, start in zip(ends, starts, strict=True)]
        predictions = self.output.decode(self._logits(ends))
        classes = self.output.explained_classes(predictions, wanted)
        explanation.targets.extend(self.output.explained_names(classes))
        path = Path(starts, steps, classes)
        explanation.baseline_output[group] = self._numbers(path, 0.0)
        explanation.output[group] = self._numbers(path, 1.0)
        explanation.attributions[group] = self._integrate(path)

    def _numbers(self, path: Path, t: float) -> Floats:
        """Return the explained number (n,) of every row at t."""
        row = np.arange(len(path.classes))
        points = [
            path.points(e, row, np.full(len(row), t)) for e in range(len(path.steps))
        ]
        predictions = self.output.decode(self._logits(points))
        return self.output.explained_numbers(predictions, path.classes)

    def _integrate(self, path: Path) -> Floats:
        """Return the attributions (n, features) of n rows."""
        # The layers keep large arrays between forward and backward: use one set of
        # networks at a time, and drop it afterwards.
        with self._lock:
            networks = [
                Network.from_arrays(network.spec, network.parameters, network.state)
                for network in self._networks
            ]
            size = self._rows_a_pass
            rows = np.arange(len(path.classes))
            passes = [rows[first : first + size] for first in range(0, len(rows), size)]
            return np.concatenate([self._pass(networks, path, some) for some in passes])

    def _pass(self, networks: list[Network], path: Path, rows: Codes) -> Floats:
        """Return the attributions (p, features) of p of the rows."""
        row = np.repeat(rows, self._n_nodes)
        t = np.tile(self._nodes, len(rows))
        weights = np.tile(self._weights, len(rows))
        Z = np.stack(
            [
                network.forward(path.points(e, row, t))
                for e, network in enumerate(networks)
            ]
        )
        dZ = self.output.gradient(Z, path.classes[row]) * weights[:, None]
        inner = np.zeros((len(rows), len(self._order)))
        for e, network in enumerate(networks):
            dX = network.backward(dZ[e].astype(np.float32), input_gradient=True)
            summed = dX.reshape(len(rows), self._n_nodes, -1).sum(axis=1)
            inner += summed * path.steps[e][rows]
        parts = np.zeros((len(rows), self._features))
        if len(self._used):
            grouped = inner[:, self._order]
            parts[:, self._used] = np.add.reduceat(grouped, self._begins, axis=1)
        return parts

    def _inner(self, network: Network, X: Array) -> Array:
        """Return the inner inputs (n, W) of encoded rows: the embeddings' outputs."""
        for layer in network.layers[: self._skipped]:
            X = layer.predict(X)
        return X

    def _logits(self, points: list[Array]) -> Array:
        """Return the logits (E, q, O) of each network at its points (q, W)."""
        return np.stack(
            [n.predict(Y) for n, Y in zip(self._networks, points, strict=True)]
        )


def _path_points(spec: NetworkSpec) -> int:
    used = {x.function for x in spec.layers if isinstance(x, ActivationSpec)}
    return max(FUNCTIONS[name].path_points for name in {"identity", *used})


def _widest(spec: NetworkSpec) -> int:
    """Return the largest width between two layers."""
    width = widest = spec.n_in
    for layer in spec.layers:
        width = layer.width(width)
        widest = max(widest, width)
    return widest
