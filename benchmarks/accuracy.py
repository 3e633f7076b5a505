"""Accuracy by default: this trainer against its peers, all without tuning.

    python benchmarks/accuracy.py DATA_DIR [--sets credit,ames] [--seeds 0,1] [--only a]

DATA_DIR holds CSV files and `tabular.json` ({name: {target, task}}). Each set is split
80/20 by `numpy.random.default_rng(seed).permutation`, the first fifth of it being the
test rows. Printed: log loss or RMSE / std of the test target, seconds of fitting, and
mean ranks.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

Score = tuple[float, float]  # loss, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only")
    parser.add_argument("--set", action="append", default=[], help="for glassnet")
    arguments = parser.parse_args()
    tables = json.loads((arguments.data / "tabular.json").read_text())
    chosen = arguments.sets.split(",") if arguments.sets else list(tables)
    models = {k: v for k, v in MODELS.items() if k != "glassnet"}
    models = {"glassnet": lambda *a: glassnet(*a, settings=arguments.set), **models}
    if arguments.only:
        models = {k: models[k] for k in arguments.only.split(",")}
    ranks: dict[str, list[float]] = {name: [] for name in models}
    total: dict[str, float] = dict.fromkeys(models, 0.0)
    for name in chosen:
        about = tables[name]
        frame = pl.read_csv(arguments.data / f"{name}.csv.gz", infer_schema_length=None)
        for seed in map(int, arguments.seeds.split(",")):
            order = np.random.default_rng(seed).permutation(len(frame))
            cut = len(frame) // 5
            test, train = frame[order[:cut]], frame[order[cut:]]
            losses = {}
            for model, fit in models.items():
                loss, seconds = fit(train, test, about["target"], about["task"])
                losses[model] = loss
                total[model] += seconds
                print(
                    f"{name:14s} {seed} {model:12s} {loss:.4f} {seconds:8.1f} s",
                    flush=True,
                )
            for place, model in enumerate(sorted(losses, key=losses.__getitem__), 1):
                ranks[model].append(place)
    print()
    for model in sorted(ranks, key=lambda m: float(np.mean(ranks[m]))):
        rank = f"mean rank {np.mean(ranks[model]):.2f}"
        print(f"{model:12s} {rank}  fit {total[model]:.0f} s")


def loss_of(task: str, truth: Any, classes: Any, answer: Any) -> float:
    """Log loss of probabilities, or RMSE in standard deviations of the truth."""
    if task == "regression":
        truth = np.asarray(truth, float)
        error = np.asarray(answer, float) - truth
        return float(np.sqrt(np.mean(error**2)) / truth.std())
    place = {str(label): i for i, label in enumerate(classes)}
    rows = [place[str(label)] for label in truth]
    P = np.clip(np.asarray(answer, float)[np.arange(len(rows)), rows], 1e-15, 1)
    return float(-np.log(P).mean())


def glassnet(
    train: pl.DataFrame, test: pl.DataFrame, target: str, task: str, settings: Any = ()
) -> Score:
    """Run the two commands a user would, without a report: the others draw none."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        train.write_csv(place / "train.csv")
        test.drop(target).write_csv(place / "test.csv")
        command = [sys.executable, "-m", "trainer.cli"]
        store = ["--store", str(place / "store")]
        started = time.perf_counter()
        fit = ["fit", place / "train.csv", "--target", target, "--model", "m", "--json"]
        options = [word for text in settings for word in ("--set", text)]
        options += ["--set", "runtime.report=false"]
        done = subprocess.run(
            [*command, *fit, *store, *options],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        if done.returncode:
            sys.exit(done.stderr)
        seconds = time.perf_counter() - started
        out = place / "out.parquet"
        ask = ["predict", place / "test.csv", "--model", "m", "--out", out]
        subprocess.run([*command, *ask, *store], check=True, stderr=subprocess.DEVNULL)
        answer = pl.read_parquet(out)
    if task == "regression":
        return loss_of(
            task, test[target].to_list(), None, answer["prediction"]
        ), seconds
    classes = [name.removeprefix("p_") for name in answer.columns[1:]]
    P = answer.drop("prediction").to_numpy()
    return loss_of(task, test[target].to_list(), classes, P), seconds


def _sklearn_like(make: Callable[..., Any], prepare: str) -> Callable[..., Score]:
    """Fit a model of scikit-learn's interface; `prepare` is how it takes a table."""

    def fit(train: pl.DataFrame, test: pl.DataFrame, target: str, task: str) -> Score:
        import warnings

        import pandas as pd

        warnings.filterwarnings("ignore")
        X, Z = (
            pd.DataFrame(frame.drop(target).to_dict(as_series=False))
            for frame in (train, test)
        )
        texts = [c for c in train.columns if c in X and train[c].dtype == pl.String]
        X, Z = _prepared(prepare, X, Z, texts)
        y = train[target].to_numpy()
        classes = None
        if task != "regression":
            classes, y = np.unique(y.astype(str), return_inverse=True)
        model = make(task, texts)
        started = time.perf_counter()
        model.fit(X, y)
        seconds = time.perf_counter() - started
        answer = model.predict(Z) if task == "regression" else model.predict_proba(Z)
        return loss_of(task, test[target].to_list(), classes, answer), seconds

    return fit


def _prepared(prepare: str, X: Any, Z: Any, texts: list[str]) -> tuple[Any, Any]:
    import pandas as pd

    if prepare == "encoded":  # one-hot, scaled, filled: what an MLP needs
        from sklearn.compose import make_column_transformer
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        numbers = [c for c in X if c not in texts]
        encoder = make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
        )
        return encoder.fit_transform(X).astype("f4"), encoder.transform(Z).astype("f4")
    for c in texts:
        if prepare == "category":
            kind = pd.CategoricalDtype(sorted(X[c].dropna().unique()))
            X[c], Z[c] = X[c].astype(kind), Z[c].astype(kind)
        else:
            X[c], Z[c] = (f[c].fillna("missing").astype(str) for f in (X, Z))
    if prepare == "realmlp":  # it takes no missing numbers
        middle = X.median(numeric_only=True)
        X, Z = X.fillna(middle), Z.fillna(middle)
    return X, Z


def _catboost(task: str, texts: list[str]) -> Any:
    from catboost import CatBoostClassifier, CatBoostRegressor

    kind = CatBoostRegressor if task == "regression" else CatBoostClassifier
    return kind(
        cat_features=texts, verbose=0, thread_count=2, allow_writing_files=False
    )


def _lightgbm(task: str, texts: list[str]) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    return (LGBMRegressor if task == "regression" else LGBMClassifier)(
        verbose=-1, n_jobs=2
    )


def _xgboost(task: str, texts: list[str]) -> Any:
    from xgboost import XGBClassifier, XGBRegressor

    kind = XGBRegressor if task == "regression" else XGBClassifier
    return kind(enable_categorical=True, n_jobs=2)


def _histogram(task: str, texts: list[str]) -> Any:
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )

    if task == "regression":
        return HistGradientBoostingRegressor()
    return HistGradientBoostingClassifier()


def _mlp(task: str, texts: list[str]) -> Any:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    return (MLPRegressor if task == "regression" else MLPClassifier)()


def _realmlp(suffix: str) -> Callable[[str, list[str]], Any]:
    def make(task: str, texts: list[str]) -> Any:
        import pytabkit

        kind = "Regressor" if task == "regression" else "Classifier"
        model = getattr(pytabkit, f"RealMLP_{suffix}_{kind}")
        return model(device="cpu", n_threads=2, verbosity=0)

    return make


MODELS: dict[str, Callable[..., Score]] = {
    "glassnet": glassnet,
    "catboost": _sklearn_like(_catboost, "text"),
    "lightgbm": _sklearn_like(_lightgbm, "category"),
    "xgboost": _sklearn_like(_xgboost, "category"),
    "sklearn-hgb": _sklearn_like(_histogram, "encoded"),
    "sklearn-mlp": _sklearn_like(_mlp, "encoded"),
    "realmlp-td": _sklearn_like(_realmlp("TD"), "realmlp"),
    "realmlp-td-s": _sklearn_like(_realmlp("TD_S"), "realmlp"),
}

if __name__ == "__main__":
    main()
