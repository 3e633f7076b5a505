"""A candidate takes over only if it is as good on the same rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from models.errors import ConfigError
from models.nn.network import Network
from models.storage.artefact import Artefact, dump, load
from trainer.config.schema import Config
from trainer.config.thresholds import GateConfig
from trainer.data import Dataset, read
from trainer.evaluation.gate import Policy, Verdict, check, decide
from trainer.evaluation.metrics import classification, regression
from trainer.evaluation.paired_comparison import MIN_ROWS
from trainer.evaluation.production import ProductionModel
from trainer.evaluation.row_fingerprints import fingerprint_rows
from trainer.pipeline import Member, manifest, network_spec
from trainer.preparation.prepare import Part, prepare
from trainer.training.history import History

X = np.linspace(-2, 2, 41)
DEFAULTS = GateConfig()


class Candidate:
    """A linear model with weights set by hand, and the rows it is measured on."""

    def __init__(self, artefact: Artefact, measured: Part, where: str) -> None:
        self.artefact, self.measured, self.where = artefact, measured, where

    @property
    def serving(self) -> ProductionModel:
        manifest = self.artefact.manifest
        there = fingerprint_rows(self.measured, manifest.inputs, manifest.output)
        return ProductionModel(1, self.artefact, there)

    def against(
        self,
        production: Candidate | None,
        policy: Policy = "auto",
        settings: GateConfig = DEFAULTS,
    ) -> Verdict:
        serving = None if production is None else production.serving
        found = decide(
            policy, settings, self.artefact, serving, self.measured, self.where
        )
        assert msgspec.json.decode(msgspec.json.encode(found), type=Verdict) == found
        return found


@pytest.fixture
def linear(configured: Callable[..., Config]) -> Callable[..., Candidate]:
    """Make a model that answers weight * x + bias (in the network's units)."""

    def make(
        weight: Any,
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
        plain = ("network.architecture=mlp", "network.hidden=[]", "ensemble.members=1")
        config = configured(*plain, "data.validation_fraction=0")
        rng = np.random.default_rng(1)
        ready = prepare(data, task, None, config, rng, lambda sentence: None)
        network = Network(network_spec(ready))
        network.parameters[: len(network.parameters) - ready.output.width] = weight
        network.parameters[-ready.output.width :] = bias
        history = History(loss=[1.0], learning_rate=[0.1], best_epoch=1)
        members = [Member(network, history)]
        artefact = load(dump(manifest(ready, members), [network]))
        (measured,), where = ready.evaluation_parts
        return Candidate(artefact, measured, where)

    return make


SIGN = (X > 0.3).astype(int).tolist()
REAL = (2 * X + 1).tolist()


def test_the_first_version_is_promoted(linear: Callable[..., Candidate]) -> None:
    verdict = linear(3.0, SIGN).against(None)
    assert verdict == Verdict(True, "there is no production version to compare with")


@pytest.mark.parametrize("target", [SIGN, REAL])
def test_a_better_candidate_is_promoted_and_a_worse_is_not(
    target: list[Any], linear: Callable[..., Candidate]
) -> None:
    good, bad = linear(0.5, target), linear(-0.5, target)
    assert good.against(bad).promoted
    verdict = bad.against(good)
    assert not verdict.promoted
    assert verdict.reason.startswith("significantly worse: ")


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
    verdict = good.against(bad)
    (found,) = verdict.comparisons  # too few rows for another on those that were there
    assert verdict.reason == (
        f"significantly better: log_loss {new['log_loss']:.6g}, production "
        f"{old['log_loss']:.6g}, on {len(target)} held-out rows (95% interval of the "
        f"difference: {found.low:.3g} to {found.high:.3g})"
    )
    assert found.low is not None and found.high is not None
    assert found.low < new["log_loss"] - old["log_loss"] < found.high


def test_regression_is_judged_by_rmse(linear: Callable[..., Candidate]) -> None:
    good, bad = linear(0.5, REAL), linear(0.1, REAL)
    old = regression(
        bad.artefact.model.predict(good.measured.raw)["value"], good.measured.target
    )
    new = good.artefact.manifest.metrics
    expected = f"rmse {new['rmse']:.6g}, production {old['rmse']:.6g}, on "
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
        "and the candidate's is binary",
    )


def test_a_column_that_production_needs_is_missed(
    linear: Callable[..., Candidate],
) -> None:
    wide = linear(2.0, SIGN, {"x": X, "z": X[::-1]})
    verdict = linear(2.0, SIGN).against(wide)
    assert not verdict.promoted
    assert "column 'z' is missing from the candidate" in verdict.reason


def test_a_column_of_another_kind_is_missed(linear: Callable[..., Candidate]) -> None:
    texts = ["a" if x > 0.3 else "b" for x in X]
    words = linear(2.0, SIGN, {"x": texts}, kinds={"x": "categorical"})
    assert (
        "column 'x' is missing from the candidate, or of another kind"
        in linear(2.0, SIGN).against(words).reason
    )


def test_a_column_that_production_has_not_is_no_hindrance(
    linear: Callable[..., Candidate],
) -> None:
    wide = linear(2.0, SIGN, {"z": X, "x": X})
    assert wide.against(linear(-2.0, SIGN)).promoted


def test_table_and_arrays_are_not_compared(linear: Callable[..., Candidate]) -> None:
    matrix = linear(2.0, SIGN, X[:, None])
    assert "not columns of a table" in linear(2.0, SIGN).against(matrix).reason
    assert "not an array of shape (1,)" in matrix.against(linear(2.0, SIGN)).reason


def test_arrays_of_one_shape_are_compared(linear: Callable[..., Candidate]) -> None:
    good, bad = linear(2.0, SIGN, X[:, None]), linear(-2.0, SIGN, X[:, None])
    assert good.against(bad).promoted
    other = linear(2.0, SIGN, np.stack([X, X], axis=1))
    assert "its rows are an array of shape (2,), not" in good.against(other).reason


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
    assert f", production {expected:.6g}, on " in verdict.reason


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
    assert f", production {expected:.6g}, on " in verdict.reason


def test_production_that_cannot_answer_is_not_compared(
    linear: Callable[..., Candidate],
) -> None:
    # Near its own rows its numbers just fit in float32, far away they do not.
    old = linear(2e34, REAL, X[:, None], bias=3e38)
    verdict = linear(0.5, REAL, X[:, None] * 1e6).against(old)
    assert not verdict.promoted
    assert verdict.reason.startswith("cannot be compared with production: row ")


# What chance may do: targets drawn from a known law, so that the truth is known.

WIDE = np.linspace(-2, 2, 3000)
#: Log-odds of the truth are three times x, which the network sees halved: by quartiles.
DRAWN = (np.random.default_rng(5).random(3000) < 1 / (1 + np.exp(-3 * WIDE))).tolist()
TRUE = 6.0


@pytest.mark.parametrize(
    ("slope", "than", "promoted", "word"),
    [
        (TRUE, TRUE / 3, True, "significantly better: "),
        (TRUE / 3, TRUE, False, "significantly worse: "),
        # Equally wrong to either side: chance alone decides which figure is lower.
        (TRUE * 1.1, TRUE / 1.1, True, "at least as good: "),
        (TRUE / 1.1, TRUE * 1.1, True, "not significantly worse: "),
    ],
)
def test_the_verdict_is_that_of_the_truth(
    slope: float,
    than: float,
    promoted: bool,
    word: str,
    linear: Callable[..., Candidate],
) -> None:
    candidate, production = (linear(w, DRAWN, {"x": WIDE}) for w in (slope, than))
    verdict = candidate.against(production)
    assert verdict.promoted is promoted
    assert verdict.reason.startswith(word)
    everywhere, there = verdict.comparisons
    assert there == msgspec.structs.replace(everywhere, rows=there.rows)


def test_what_is_asked_for_moves_the_verdict(linear: Callable[..., Candidate]) -> None:
    best, worse = linear(TRUE, DRAWN, {"x": WIDE}), linear(TRUE / 3, DRAWN, {"x": WIDE})
    found = best.against(worse).comparisons[0]
    assert found.production is not None and found.high is not None
    shown = -found.high / found.production  # beyond doubt it is better by this share
    assert best.against(worse, settings=GateConfig(minimum_gain=0.9 * shown)).promoted
    verdict = best.against(worse, settings=GateConfig(minimum_gain=1.1 * shown))
    assert not verdict.promoted
    assert verdict.reason.startswith("not significantly better by ")

    found = worse.against(best).comparisons[0]
    assert found.production is not None and found.low is not None
    shown = found.low / found.production
    assert worse.against(best, settings=GateConfig(allowed_loss=1.1 * shown)).promoted
    strict = GateConfig(allowed_loss=0.9 * shown)
    assert not worse.against(best, settings=strict).promoted


def test_an_equal_candidate_gains_nothing(linear: Callable[..., Candidate]) -> None:
    again = linear(TRUE, DRAWN, {"x": WIDE})
    verdict = again.against(again, settings=GateConfig(minimum_gain=0.0))
    assert verdict.promoted  # not worse than itself by a hair: nothing is in doubt
    verdict = again.against(again, settings=GateConfig(minimum_gain=0.01))
    assert not verdict.promoted


def test_rows_that_were_there_are_compared_on_their_own(
    linear: Callable[..., Candidate],
) -> None:
    """What came tonight is turned round: who follows it is the worse on what was."""
    production = linear(TRUE, DRAWN, {"x": WIDE})
    later = np.linspace(-1.999, 1.999, 9000)
    turned = (np.random.default_rng(6).random(9000) > 1 / (1 + np.exp(-3 * later))) * 1
    grown = linear(
        -TRUE, [*DRAWN, *turned.tolist()], {"x": np.concatenate([WIDE, later])}
    )
    verdict = grown.against(production)
    everywhere, there = verdict.comparisons
    assert everywhere.refused == "" and there.refused == "significantly worse"
    assert there.count == len(production.measured)
    assert not verdict.promoted
    assert verdict.reason.startswith("significantly worse: log_loss ")
    assert " test rows of production (" in verdict.reason


# Floors.


def test_a_candidate_out_of_calibration_is_refused(
    linear: Callable[..., Candidate],
) -> None:
    sure = linear(10 * TRUE, DRAWN, {"x": WIDE})
    ece = sure.artefact.manifest.metrics["ece"]
    verdict = sure.against(None, settings=GateConfig(calibration=0.9 * ece))
    assert verdict == Verdict(
        False,
        f"poorly calibrated: ece {ece:.3g} is above gate.calibration={0.9 * ece:g}",
    )
    assert sure.against(None, settings=GateConfig(calibration=1.1 * ece)).promoted


GROUPS = ["ab"[i % 2] for i in range(3000)]
#: In "b" the log-odds are higher by 2.
ODDS = 3 * WIDE + np.array([2.0 * (group == "b") for group in GROUPS])
OF_GROUPS = (np.random.default_rng(7).random(3000) < 1 / (1 + np.exp(-ODDS))).tolist()


@pytest.fixture
def two(linear: Callable[..., Candidate]) -> Callable[..., Candidate]:
    """Make a model that is off by some log-odds in "a" and by some in "b"."""

    def make(in_a: float, in_b: float) -> Candidate:
        inputs = {"x": WIDE, "group": GROUPS}
        kinds = {"x": "numeric", "group": "categorical"}
        middle, half = (in_a + in_b + 2) / 2, (in_b + 2 - in_a) / 2
        weight = np.array([TRUE, half])
        return linear(weight, OF_GROUPS, inputs, bias=middle, kinds=kinds)

    return make


def test_no_group_pays_for_the_others(two: Callable[..., Candidate]) -> None:
    before, after = two(3.0, 0.0), two(0.0, 2.0)
    assert after.against(before).promoted
    verdict = after.against(before, settings=GateConfig(group="group"))
    assert not verdict.promoted
    assert verdict.reason.startswith("significantly worse: log_loss ")
    assert " rows of group = b (" in verdict.reason
    in_a, in_b = verdict.comparisons[2:]
    assert (in_a.refused, in_b.refused) == ("", "significantly worse")
    assert in_a.count + in_b.count == len(after.measured)


def test_a_group_has_a_limit_even_without_production(
    two: Callable[..., Candidate],
) -> None:
    lone = two(0.0, 3.0)
    found = lone.against(None, settings=GateConfig(group="group")).comparisons
    assert [each.production for each in found] == [None, None]
    limit = (found[0].candidate + found[1].candidate) / 2
    verdict = lone.against(None, settings=GateConfig(group="group", group_limit=limit))
    assert not verdict.promoted
    assert verdict.reason == (
        f"above gate.group_limit={limit:g}: log_loss {found[1].candidate:.6g} "
        f"on {found[1].count} rows of group = b"
    )


def test_groups_of_few_rows_say_nothing(linear: Callable[..., Candidate]) -> None:
    words = ["rare" if i % 50 == 0 else "common" for i in range(len(WIDE))]
    inputs = {"x": WIDE, "word": words}
    kinds = {"x": "numeric", "word": "categorical"}
    made = linear(TRUE, DRAWN, inputs, kinds=kinds)
    found = made.against(None, settings=GateConfig(group="word")).comparisons
    assert isinstance(made.measured.raw, dict)
    assert made.measured.raw["word"].count("rare") < MIN_ROWS
    assert [each.rows for each in found] == ["rows of word = common"]


@pytest.mark.parametrize(
    ("settings", "target", "says"),
    [
        (("gate.group=colur",), "churn", "no column 'colur'; did you mean 'colour'?"),
        (("gate.group=size",), "churn", "'size' has .* values, and at most 50"),
        (("gate.group_limit=1",), "churn", "needs gate.group, the column of groups"),
        (("gate.calibration=0.1",), "price", "needs a target of classes"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_told(
    settings: tuple[str, ...],
    target: str,
    says: str,
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
    configured: Callable[..., Config],
) -> None:
    kept = {name: table()[name] for name in ("size", "colour", target)}
    data, config = read(str(write_csv(kept)), target), configured(*settings)
    rng = np.random.default_rng(1)
    ready = prepare(data, None, None, config, rng, lambda sentence: None)
    with pytest.raises(ConfigError, match=says):
        check(config.gate, ready)
