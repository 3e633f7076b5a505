"""A candidate takes over only if it is as good on the same rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.artefact import Artefact, dump, load
from trainer.config import Config
from trainer.data import Dataset
from trainer.evaluate import classification, regression
from trainer.gate import Policy, Verdict, decide
from trainer.job import manifest, new_network
from trainer.loop import History
from trainer.preparation import Part, prepare

X = np.linspace(-2, 2, 41)


class Candidate:
    """A linear model with weights set by hand, and the rows it is measured on."""

    def __init__(self, artefact: Artefact, measured: Part, where: str) -> None:
        self.artefact, self.measured, self.where = artefact, measured, where

    def against(self, production: Candidate | None, policy: Policy = "auto") -> Verdict:
        return decide(
            policy,
            self.artefact,
            None if production is None else production.artefact,
            self.measured.raw,
            self.measured.target,
            self.where,
        )


@pytest.fixture
def linear(configured: Callable[..., Config]) -> Callable[..., Candidate]:
    """Make a model that answers weight * x + bias (in the network's units)."""

    def make(
        weight: float,
        target: Any,
        inputs: Any = None,
        bias: Any = 0.0,
        kinds: dict[str, str] | None = None,
        task: Any = None,
    ) -> Candidate:
        raw = {"x": X} if inputs is None else inputs
        if kinds is None:
            kinds = {} if isinstance(raw, np.ndarray) else dict.fromkeys(raw, "numeric")
        data = Dataset(raw, kinds, "y", list(target))
        config = configured("network.hidden=[]", "data.validation_fraction=0")
        rng = np.random.default_rng(1)
        ready = prepare(data, task, None, config, rng, lambda sentence: None)
        network = new_network(ready, rng)
        network.parameters[:] = weight
        network.parameters[-ready.output.width :] = bias
        history = History(loss=[1.0], learning_rate=[0.1], best_epoch=1)
        artefact = load(dump(manifest(ready, network, history), network))
        return Candidate(artefact, *ready.measured)

    return make


SIGN = (X > 0.3).astype(int).tolist()
REAL = (2 * X + 1).tolist()


def test_the_first_version_is_promoted(linear: Callable[..., Candidate]) -> None:
    verdict = linear(3.0, SIGN).against(None)
    assert verdict == Verdict(True, "no version is in production yet")


@pytest.mark.parametrize("target", [SIGN, REAL])
def test_a_better_candidate_is_promoted_and_a_worse_is_not(
    target: list[Any], linear: Callable[..., Candidate]
) -> None:
    good, bad = linear(0.5, target), linear(-0.5, target)
    assert good.against(bad).promoted
    verdict = bad.against(good)
    assert not verdict.promoted
    assert verdict.reason.startswith("worse: ")


@pytest.mark.parametrize("target", [SIGN, REAL])
def test_an_equal_candidate_is_promoted(
    target: list[Any], linear: Callable[..., Candidate]
) -> None:
    verdict = linear(0.5, target).against(linear(0.5, target))
    assert verdict.promoted
    assert verdict.reason.startswith("at least as good: ")


def test_the_reason_states_both_figures_and_the_rows(
    linear: Callable[..., Candidate],
) -> None:
    good, bad = linear(2.0, SIGN), linear(-2.0, SIGN)
    raw, target = good.measured.raw, good.measured.target
    new, old = (
        classification(m.artefact.model.predict(raw)["probabilities"], target)
        for m in (good, bad)
    )
    assert good.against(bad).reason == (
        f"at least as good: log_loss {new['log_loss']:.6g} against "
        f"{old['log_loss']:.6g} of production on the same held-out rows"
    )


def test_regression_is_judged_by_rmse(linear: Callable[..., Candidate]) -> None:
    good, bad = linear(0.5, REAL), linear(0.1, REAL)
    old = regression(
        bad.artefact.model.predict(good.measured.raw)["value"], good.measured.target
    )
    new = good.artefact.manifest.metrics
    expected = f"rmse {new['rmse']:.6g} against {old['rmse']:.6g} of production"
    assert expected in good.against(bad).reason


def test_policies_decide_without_looking(linear: Callable[..., Candidate]) -> None:
    good, bad = linear(2.0, SIGN), linear(-2.0, SIGN)
    assert bad.against(good, "always") == Verdict(True, "--promote always")
    assert good.against(bad, "never") == Verdict(False, "--promote never")
    assert good.against(None, "never") == Verdict(False, "--promote never")


def test_another_task_is_not_compared(linear: Callable[..., Candidate]) -> None:
    verdict = linear(2.0, SIGN).against(linear(0.5, REAL))
    assert verdict == Verdict(
        False,
        "cannot be compared with production: its task is regression, "
        "the candidate's binary",
    )


def test_a_column_that_production_needs_is_missed(
    linear: Callable[..., Candidate],
) -> None:
    wide = linear(2.0, SIGN, {"x": X, "z": X[::-1]})
    verdict = linear(2.0, SIGN).against(wide)
    assert not verdict.promoted
    assert "it needs the column 'z' as it was" in verdict.reason


def test_a_column_of_another_kind_is_missed(linear: Callable[..., Candidate]) -> None:
    texts = ["a" if x > 0.3 else "b" for x in X]
    words = linear(2.0, SIGN, {"x": texts}, kinds={"x": "categorical"})
    assert (
        "it needs the column 'x' as it was" in linear(2.0, SIGN).against(words).reason
    )


def test_a_column_that_production_has_not_is_no_hindrance(
    linear: Callable[..., Candidate],
) -> None:
    wide = linear(2.0, SIGN, {"z": X, "x": X})
    assert wide.against(linear(-2.0, SIGN)).promoted


def test_table_and_arrays_are_not_compared(linear: Callable[..., Candidate]) -> None:
    matrix = linear(2.0, SIGN, X[:, None])
    assert "one takes a table" in linear(2.0, SIGN).against(matrix).reason
    assert "one takes a table" in matrix.against(linear(2.0, SIGN)).reason


def test_arrays_of_one_shape_are_compared(linear: Callable[..., Candidate]) -> None:
    good, bad = linear(2.0, SIGN, X[:, None]), linear(-2.0, SIGN, X[:, None])
    assert good.against(bad).promoted
    other = linear(2.0, SIGN, np.stack([X, X], axis=1))
    assert "another shape" in good.against(other).reason


def test_production_that_lacks_a_class_pays_for_its_rows(
    linear: Callable[..., Candidate],
) -> None:
    three = [0 if x < -0.7 else 1 if x < 0.7 else 2 for x in X]
    candidate = linear(0.0, three)
    old = linear(0.0, SIGN)
    verdict = candidate.against(old)
    assert verdict.promoted
    # Half for a class it knows, next to nothing for the one it does not.
    target = candidate.measured.target
    share = float((target == 2).mean())
    expected = (1 - share) * np.log(2) - share * np.log(np.finfo(float).tiny)
    assert f"against {expected:.6g} of production" in verdict.reason


def test_classes_are_matched_by_label_not_by_place(
    linear: Callable[..., Candidate],
) -> None:
    words = ["no" if sign else "yes" for sign in SIGN]
    candidate = linear(0.0, words)
    # Production knows one class more, which stands first.
    shares = {"also": 0.1, "no": 0.7, "yes": 0.2}
    old = linear(0.0, ["also", "also", *words[2:]], bias=np.log([*shares.values()]))
    classes = candidate.artefact.manifest.output.classes  # type: ignore[union-attr]
    target = [classes[code] for code in candidate.measured.target]
    expected = -np.mean([np.log(shares[label]) for label in target])
    verdict = candidate.against(old)
    assert f"against {expected:.6g} of production" in verdict.reason


def test_production_that_cannot_answer_is_not_compared(
    linear: Callable[..., Candidate],
) -> None:
    # Near its own rows its numbers just fit in float32, far away they do not.
    old = linear(2e34, REAL, X[:, None], bias=3e38)
    verdict = linear(0.5, REAL, X[:, None] * 1e6).against(old)
    assert not verdict.promoted
    assert verdict.reason.startswith("cannot be compared with production: row ")
