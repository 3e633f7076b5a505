"""Seconds of a default ensemble: `trainer fit`'s, PyTorch's and scikit-learn's.

`train.py` runs this after the lone networks. All libraries fit as many networks for as
many epochs over the same encoded rows, one on each core with one BLAS thread, and
answer the validation rows after each epoch.

- glassnet: `fit_members` as `trainer fit` calls it, with forks, messages, checkpoints,
  averaged weights and layer statistics.
- PyTorch: the same layers, batches and augmentation in processes that have imported it
  and received the rows before the clock starts; `Adam(fused=True)`, no averaging.
- scikit-learn: `MLPClassifier` or `MLPRegressor` of the same hidden widths in the same
  way; it has no embeddings, dropout, batch norm or augmentation, so it does less.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.features.predictions import Task
from models.nn.layers import (
    ActivationSpec,
    BatchNormSpec,
    DropoutSpec,
    EmbeddingsSpec,
    LinearSpec,
    ScalingSpec,
)
from models.nn.network import NetworkSpec, count_parameters
from models.storage.directory import DirectoryStore
from trainer.config.loading import load
from trainer.config.schema import Config
from trainer.data import read
from trainer.data.arrays import read_idx
from trainer.preparation.augmentation import Augmentation
from trainer.preparation.prepare import Prepared, prepare
from trainer.training.checkpoint import Checkpoints
from trainer.training.ensemble import fit_members, network_spec
from trainer.types import Rows

IMAGES = 10_000


@dataclass(frozen=True)
class Work:
    """The same task for every library; `members` are training and validation rows."""

    task: Task
    spec: NetworkSpec
    members: list[tuple[Rows, Rows | None]]
    batch: int
    epochs: int
    rate: float
    augmentation: Augmentation | None


def run(
    tables: Path | None,
    names: list[str],
    images: Path | None,
    epochs: int,
    rounds: int,
    members: int | None,
) -> None:
    """Compare the libraries on each table and on the images."""
    print(f"\nensembles: {epochs} epochs, {len(os.sched_getaffinity(0))} cores")
    settings = [f"train.epochs={epochs}", f"train.patience={epochs}"]
    if members:
        settings.append(f"ensemble.members={members}")
    for name, path, target in sources(tables, names, images):
        compare(name, path, target, load(None, settings, {}), rounds)


def sources(
    tables: Path | None, names: list[str], images: Path | None
) -> Iterator[tuple[str, str, str | None]]:
    """Yield the name, the file and the target of each data set."""
    if tables is not None:
        about = json.loads((tables / "tabular.json").read_text())
        for name in names:
            yield name, str(tables / f"{name}.csv.gz"), about[name]["target"]
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        X = rng.integers(0, 256, (IMAGES, 28, 28), np.uint8)
        y = rng.integers(0, 10, IMAGES)
        if images is not None:
            data = read_idx(images, need_target=True)
            X, y = np.asarray(data.inputs)[:IMAGES], np.asarray(data.target)[:IMAGES]
        path = Path(folder) / "images.npz"
        np.savez(path, X=X, y=y)
        yield f"{IMAGES:,} images", str(path), None


def compare(
    name: str, path: str, target: str | None, config: Config, rounds: int
) -> None:
    """Fit one data set by each library in turn and print a line for each."""
    data = read(path, target)
    prepared = prepare(data, None, None, config, lambda sentence: None)
    work = work_of(prepared)
    rows = len(work.members[0][0].X)
    parameters = count_parameters(work.spec)[0]
    print(
        f"\n{name}: {len(work.members)} networks of {parameters:,} parameters, "
        f"{rows:,} rows each, batch {work.batch}"
    )
    seconds: dict[str, list[float]] = {}
    with (
        pool(torch_member, work) as pytorch,
        pool(sklearn_member, work) as scikit_learn,
    ):
        fits: dict[str, Callable[[], None]] = {
            "glassnet": lambda: glassnet(prepared),
            "torch": pytorch,
            "scikit-learn": scikit_learn,
        }
        for number in range(rounds + 1):
            for library, fit in fits.items():
                started = time.perf_counter()
                fit()
                if number:  # the first warms up
                    elapsed = time.perf_counter() - started
                    seconds.setdefault(library, []).append(elapsed)
    median = {library: float(np.median(times)) for library, times in seconds.items()}
    for library, value in median.items():
        ratio = median["glassnet"] / value
        print(f"  {library:14s} {value:7.2f} s  x{ratio:.2f}", flush=True)


def work_of(prepared: Prepared) -> Work:
    """Return what a library needs to do the same as `fit_members`."""
    config = prepared.config.train
    assert config.epochs and config.batch_size and config.learning_rate
    members = []
    for split in prepared.splits:
        validation = prepared.validation(split)
        members.append(
            (
                prepared.rows(prepared.part(split.train)),
                None if validation is None else prepared.rows(validation),
            )
        )
    return Work(
        prepared.task,
        network_spec(prepared),
        members,
        min(config.batch_size, len(members[0][0].X)),
        config.epochs,
        config.learning_rate,
        prepared.augmentation(),
    )


def glassnet(prepared: Prepared) -> None:
    """Fit the ensemble as `trainer fit` does."""
    streams = np.random.SeedSequence(0).spawn(len(prepared.splits))
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(DirectoryStore(Path(folder)).scratch, "m", print)
        fit_members(
            prepared,
            network_spec(prepared),
            streams,
            lambda progress: None,
            checkpoints,
        )


@contextmanager
def pool(member: Callable[[int], None], work: Work) -> Iterator[Callable[[], None]]:
    """Yield a function that fits all members in processes that are ready."""
    count = len(work.members)
    size = min(len(os.sched_getaffinity(0)), count)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(size, context, receive, (work,)) as processes:

        def fit() -> None:
            list(processes.map(member, range(count)))

        yield fit


def receive(work: Work) -> None:
    """Take the rows in a new process."""
    global WORK
    WORK = work


def sklearn_member(number: int) -> None:
    """Fit one member by scikit-learn."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from threadpoolctl import threadpool_limits

    warnings.simplefilter("ignore")
    rows, validation = WORK.members[number]
    widths = [
        layer.n_out for layer in WORK.spec.layers if isinstance(layer, LinearSpec)
    ]
    regression = WORK.task == "regression"
    model = (MLPRegressor if regression else MLPClassifier)(
        widths[:-1], solver="adam", batch_size=WORK.batch, alpha=0.0,
        learning_rate_init=WORK.rate,
    )  # fmt: skip
    options = {} if regression else {"classes": np.unique(rows.T)}
    with threadpool_limits(1, user_api="blas"):
        for _ in range(WORK.epochs):
            model.partial_fit(rows.X, rows.T, **options)
            if validation is not None:
                model.predict(validation.X)


def torch_member(number: int) -> None:
    """Fit one member by PyTorch."""
    import torch

    torch.set_num_threads(1)
    rng = np.random.default_rng(number)
    rows, validation = WORK.members[number]
    model = torch_network(WORK.spec)
    optimizer = torch.optim.Adam(model.parameters(), lr=WORK.rate, fused=True)
    functional = torch.nn.functional
    multiclass = WORK.task == "multiclass"
    kind = np.int64 if multiclass else np.float32
    X, T = torch.from_numpy(rows.X), torch.from_numpy(rows.T.astype(kind))

    def loss_of(Z: Any, T: Any) -> Any:
        if multiclass:
            return functional.cross_entropy(Z, T)
        if WORK.task == "binary":
            return functional.binary_cross_entropy_with_logits(Z[:, 0], T)
        return functional.mse_loss(Z[:, 0], T)

    for _ in range(WORK.epochs):
        model.train()
        order = torch.from_numpy(rng.permutation(len(X)))
        for start in range(0, len(X), WORK.batch):
            chosen = order[start : start + WORK.batch]
            batch = X[chosen]
            if WORK.augmentation is not None:
                WORK.augmentation(batch.numpy(), rng)
            optimizer.zero_grad(set_to_none=True)
            loss_of(model(batch), T[chosen]).backward()
            optimizer.step()
        if validation is not None:
            model.eval()
            with torch.inference_mode():
                Z = model(torch.from_numpy(validation.X))
                loss_of(Z, torch.from_numpy(validation.T.astype(kind))).item()


def torch_network(spec: NetworkSpec) -> Any:
    """Build the layers of a spec in PyTorch."""
    import torch
    from torch import nn

    functions = {
        "identity": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh,
        "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "selu": nn.SELU,
        "gelu": nn.GELU, "mish": nn.Mish,
    }  # fmt: skip

    class Scaling(nn.Module):
        def __init__(self, n: int) -> None:
            super().__init__()
            self.s = nn.Parameter(torch.ones(n))

        def forward(self, X: Any) -> Any:
            return X * self.s

    class Parametric(nn.Module):
        def __init__(self, function: Any, n: int) -> None:
            super().__init__()
            self.function, self.r = function, nn.Parameter(torch.ones(n))

        def forward(self, Z: Any) -> Any:
            return torch.lerp(Z, self.function(Z), self.r)

    class Embeddings(nn.Module):
        def __init__(self, spec: EmbeddingsSpec) -> None:
            super().__init__()
            self.spec = spec
            k, F, waves = spec.numbers, spec.frequencies, spec.number_width - 1
            self.w, self.b = (nn.Parameter(torch.randn(k, 1, F)) for _ in range(2))
            self.V = nn.Parameter(torch.randn(k, F, waves) / math.sqrt(F))
            self.c = nn.Parameter(torch.randn(k, 1, waves))
            # The last row is the origin, for a category never seen.
            self.E = nn.ModuleList(
                nn.Embedding(n + 1, spec.category_width, padding_idx=n)
                for n in spec.categories
            )

        def forward(self, X: Any) -> Any:
            k = self.spec.numbers
            stop = k + self.spec.plain
            parts = [X[:, k:stop]]
            if k:
                x = X[:, :k].T[:, :, None]
                turns = 2.0 * math.pi * x * self.w + self.b
                curves = torch.baddbmm(self.c, torch.cos(turns), self.V)
                numbers = torch.cat([x, curves], 2).transpose(0, 1)
                parts.insert(0, numbers.reshape(len(X), -1))
            for number, embedding in enumerate(self.E):
                n = self.spec.categories[number]
                code = X[:, stop + number].long()
                code = torch.where((code < 0) | (code >= n), n, code)
                parts.append(embedding(code))
            return torch.cat(parts, 1)

    layers: list[Any] = []
    width = spec.n_in
    for layer in spec.layers:
        match layer:
            case LinearSpec():
                layers.append(nn.Linear(layer.n_in, layer.n_out))
            case ActivationSpec(slopes=0):
                layers.append(functions[layer.function]())
            case ActivationSpec():
                function = functions[layer.function]()
                layers.append(Parametric(function, layer.slopes))
            case BatchNormSpec():
                layers.append(nn.BatchNorm1d(layer.n))
            case DropoutSpec():
                layers.append(nn.Dropout(layer.rate))
            case ScalingSpec():
                layers.append(Scaling(layer.n))
            case EmbeddingsSpec():
                layers.append(Embeddings(layer))
        width = layer.width(width)
    return nn.Sequential(*layers)
