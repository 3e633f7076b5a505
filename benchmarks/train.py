"""Seconds of training: glassnet, scikit-learn and PyTorch, in turn within one run.

    python benchmarks/train.py [IDX_IMAGES] [--data DATA_DIR] [--rounds 5]

First lone networks: seconds per epoch of the same network, data and batch, with Adam in
float32. PyTorch runs `Adam(fused=True)` over indexed batches, without a DataLoader.
Then the default ensembles of `trainer fit` (see `ensembles.py`): of the tables in
DATA_DIR, which holds CSV files and `tabular.json` ({name: {target}}), and of 10,000
images. IDX_IMAGES is a file such as Fashion-MNIST's train-images-idx3-ubyte.gz; without
it the pixels are noise, which costs the same. Printed are the median of the rounds,
ours divided by it, and for lone networks the share of this machine's sgemm peak.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ensembles
import numpy as np
from threadpoolctl import threadpool_limits

from models.nn.architectures import mlp
from models.nn.network import Network
from trainer.config.schema import ResolvedTrainConfig
from trainer.data.arrays import read_idx
from trainer.training.loop import TrainingRun
from trainer.training.losses import softmax_cross_entropy
from trainer.types import Rows

Epoch = Callable[[], None]
CASES = [
    ([784, 256, 128, 10], 128),
    ([784, 64, 32, 10], 32),
    ([784, 1024, 1024, 10], 256),
    ([20, 64, 64, 2], 32),
]
SMALL_ROWS = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--data", type=Path, help="a folder of tables")
    parser.add_argument("--sets", default="credit", help="names of tables")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", help="`ensembles`, or a lone network's number, from 0"
    )
    parser.add_argument("--epochs", type=int, default=10, help="of the ensembles")
    parser.add_argument("--members", type=int, help="networks of an ensemble")
    arguments = parser.parse_args()
    if arguments.only != "ensembles":
        lone_networks(arguments)
    if arguments.only in (None, "ensembles"):
        ensembles.run(
            arguments.data,
            arguments.sets.split(","),
            arguments.images,
            arguments.epochs,
            arguments.rounds,
            arguments.members,
        )


def lone_networks(arguments: argparse.Namespace) -> None:
    """Time each network of CASES."""
    peak = sgemm_peak()
    print(f"{os.cpu_count()} processors, sgemm peak {peak / 1e9:.0f} GFLOP/s")
    X, y = pixels(arguments.images)
    chosen = CASES if arguments.only is None else [CASES[int(arguments.only)]]
    for widths, batch in chosen:
        wide = widths[0] == X.shape[1]
        some = (
            X if wide else np.ascontiguousarray(X[:SMALL_ROWS, 400 : 400 + widths[0]])
        )
        labels = (y if wide else y[:SMALL_ROWS]) % widths[-1]
        run(widths, batch, some, labels, arguments.rounds, peak)


def run(
    widths: list[int], batch: int, X: Any, y: Any, rounds: int, peak: float
) -> None:
    """Time one network and print a line for each library."""
    epochs: dict[str, Epoch] = {
        f"glassnet ({threads})": glassnet(widths, batch, X, y, threads)
        for threads in (1, 2)
    }
    epochs["scikit-learn"] = scikit_learn(widths, batch, X, y)
    for threads in (1, 2):
        epochs[f"torch ({threads})"] = pytorch(widths, batch, X, y, threads)
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for number in range(rounds + 1):
        for name, epoch in epochs.items():
            started = time.perf_counter()
            epoch()
            if number:  # the first warms up
                seconds[name].append(time.perf_counter() - started)
    median = {name: float(np.median(times)) for name, times in seconds.items()}
    ours = min(median[f"glassnet ({threads})"] for threads in (1, 2))
    multiplied = sum(a * b for a, b in zip(widths, widths[1:], strict=False))
    work = 2 * len(X) * (3 * multiplied - widths[0] * widths[1])
    print(f"\n{'-'.join(map(str, widths))}, batch {batch}, {len(X):,} rows")
    for name, value in median.items():
        share = work / value / peak
        print(f"  {name:14s} {value:7.3f} s  x{ours / value:.2f}  {share:.0%} of peak")


def pixels(images: Path | None) -> tuple[Any, Any]:
    """Return 60,000 rows of 784 numbers in [0, 1] and their labels."""
    rng = np.random.default_rng(0)
    if images is None:
        return rng.random((60_000, 784), np.float32), rng.integers(0, 10, 60_000)
    data = read_idx(images, need_target=True)
    X = np.asarray(data.inputs).reshape(len(data), -1).astype(np.float32) / 255
    return X, np.array(data.target)


def sgemm_peak() -> float:
    """Return the best FLOP/s of a 2048 x 2048 float32 product over both cores."""
    A = np.ones((2048, 2048), np.float32)
    out = np.empty_like(A)
    times = []
    for _ in range(8):
        started = time.perf_counter()
        np.matmul(A, A, out=out)
        times.append(time.perf_counter() - started)
    return 2 * 2048**3 / min(times)


def glassnet(widths: list[int], batch: int, X: Any, y: Any, threads: int) -> Epoch:
    network = Network(mlp(widths))
    network.initialize(np.random.default_rng(0))
    rng, rows = np.random.default_rng(0), Rows(X, y)
    config = ResolvedTrainConfig(
        optimizer="adam",
        learning_rate=1e-3,
        beta2=0.999,
        weight_decay=0.0,
        schedule="constant",
        regularization="constant",
        augmentation=0.0,
        batch_size=batch,
        averaging=0.0,
        epochs=1_000,
        choose_epoch="alone",
        patience=1_000,
    )

    # One run for all rounds, as the others keep their optimizer's memory.
    run = TrainingRun(network, softmax_cross_entropy, rows, None, config, rng)

    def epoch() -> None:
        with threadpool_limits(threads, user_api="blas"):
            run.run_epoch()

    return epoch


def scikit_learn(widths: list[int], batch: int, X: Any, y: Any) -> Epoch:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(widths[1:-1], solver="adam", batch_size=batch, alpha=0.0)
    classes = np.arange(widths[-1])

    def epoch() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.partial_fit(X, y, classes=classes)

    return epoch


def pytorch(widths: list[int], batch: int, X: Any, y: Any, threads: int) -> Epoch:
    import torch

    layers: list[Any] = []
    for n_in, n_out in zip(widths, widths[1:], strict=False):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    Xt, yt = torch.from_numpy(X), torch.from_numpy(y.astype(np.int64))

    def epoch() -> None:
        torch.set_num_threads(threads)
        order = torch.randperm(len(Xt))
        for start in range(0, len(Xt), batch):
            chosen = order[start : start + batch]
            loss = torch.nn.functional.cross_entropy(model(Xt[chosen]), yt[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return epoch


if __name__ == "__main__":
    main()
