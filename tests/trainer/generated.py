"""Tables whose truth is known: any number of fresh rows follow the same law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Table = dict[str, list[Any]]
TASKS = ("binary", "multiclass", "regression")


@dataclass(frozen=True)
class Law:
    """A law from which rows are drawn, of a task; `seed` chooses it."""

    task: str
    seed: int

    def rows(self, n: int, seed: int) -> Table:
        """Draw n rows: six columns, two of them categories, and the target `y`."""
        law = np.random.default_rng(self.seed)
        w, v = law.normal(size=4), law.normal(size=4)
        shift = law.normal(0, 0.7, 3)
        noise, gain = law.uniform(0.3, 0.9), law.uniform(0.8, 2.0)
        rng = np.random.default_rng((self.seed, seed))
        X = rng.normal(size=(n, 4))
        c = rng.integers(0, 3, n)
        d = rng.integers(0, 2, n)
        score = X @ w + shift[c] + (2 * d - 1) * (X[:, 0] * 0.5) + 0.5 * np.sin(X @ v)
        table: Table = {f"x{i}": X[:, i].round(5).tolist() for i in range(4)}
        table["c"] = [f"c{k}" for k in c]
        table["d"] = ["yes" if k else "no" for k in d]
        table["y"] = self._target(score * gain, X @ v, noise, rng).tolist()
        return table

    def _target(self, score: Any, other: Any, noise: float, rng: Any) -> Any:
        if self.task == "regression":
            return (score + noise * rng.normal(size=len(score))).round(5)
        if self.task == "binary":
            up = rng.logistic(size=len(score)) < score
            return np.where(up, "up", "down")
        Z = np.column_stack([score, other, np.zeros(len(score))])
        return np.array(["a", "b", "c"])[(Z + rng.gumbel(size=Z.shape)).argmax(axis=1)]


def broken(table: Table, way: str, seed: int) -> Table:
    """Return a table that went wrong in one of the ways of `WAYS`."""
    rng = np.random.default_rng(seed)
    n = len(table["y"])
    table = {name: list(values) for name, values in table.items()}
    order = rng.permutation(n)
    if way == "shuffled target":
        table["y"] = [table["y"][i] for i in order]
    elif way == "few rows":
        table = {name: values[:5] for name, values in table.items()}
    elif way == "few shuffled rows":
        table = {name: values[:38] for name, values in table.items()}
        table["y"] = table["y"][::-1]
    elif way == "half a table":
        table = {name: values[: n // 2] for name, values in table.items()}
    elif way == "a column lost":
        table["x0"] = [0.0] * n
        table["x1"] = [0.0] * n
    elif way == "units changed":
        for name in ("x0", "x1", "x2", "x3"):
            table[name] = [value * 1000 for value in table[name]]
    elif way == "columns shifted":
        names = ["x0", "x1", "x2", "x3"]
        for name, other in zip(names, names[1:] + names[:1], strict=True):
            table[name] = [table[other][i] for i in order]
    elif way == "target turned":
        table["y"] = _turned(table["y"])
    elif way == "a class or the upper half gone":
        kept = _without(table["y"])
        table = {name: [values[i] for i in kept] for name, values in table.items()}
    elif way == "one row again and again":
        table = {
            name: [values[0]] * (n - 20) + values[:20] for name, values in table.items()
        }
    return table


WAYS = (
    "shuffled target",
    "few rows",
    "few shuffled rows",
    "half a table",
    "a column lost",
    "units changed",
    "columns shifted",
    "target turned",
    "a class or the upper half gone",
    "one row again and again",
)


def _turned(y: list[Any]) -> list[Any]:
    if isinstance(y[0], float):
        return [-value for value in y]
    names = sorted(set(y))
    after = dict(zip(names, names[1:] + names[:1], strict=True))
    return [after[value] for value in y]


def _without(y: list[Any]) -> list[int]:
    if isinstance(y[0], float):
        middle = float(np.median(y))
        return [i for i, value in enumerate(y) if value < middle]
    last = sorted(set(y))[-1]
    return [i for i, value in enumerate(y) if value != last]
