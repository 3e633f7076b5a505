"""A candidate takes over only if it is as good on the same rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from models.errors import ConfigError
from models.model import Model
from models.nn.network import Network
from models.storage.artefact import Artefact, dump, load
from trainer.candidate import manifest
from trainer.config.schema import Config
from trainer.config.thresholds import GateConfig
from trainer.data import Dataset, read
from trainer.evaluation.baselines import constant
from trainer.evaluation.gate import Policy, Verdict, check, decide
from trainer.evaluation.measurement import measure
from trainer.evaluation.metrics import classification, losses, regression
from trainer.evaluation.paired_comparison import MIN_ROWS
from trainer.evaluation.production import ProductionModel
from trainer.evaluation.row_fingerprints import fingerprint_rows
from trainer.preparation.prepare import Evaluation, prepare
from trainer.training.ensemble import network_spec
from trainer.training.history import History
from trainer.training.member import Member

X = np.linspace(-2, 2, 41)
#: Small tables and models set by hand: only the comparison decides.
DEFAULTS = GateConfig(minimum_rows=1, baseline=False)


def gated(**settings: Any) -> GateConfig:
    """Return settings like DEFAULTS, with some changed."""
    return msgspec.structs.replace(DEFAULTS, **settings)


class Candidate:
    """A linear model with weights set by hand, and the rows it is measured on."""

    def __init__(self, artefact: Artefact, evaluation: Evaluation) -> None:
        self.artefact, self.evaluation = artefact, evaluation
        self.measured = evaluation.rows

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
        faults: Sequence[str] = (),
    ) -> Verdict:
        serving = None if production is None else production.serving
        rows, output = self.measured, self.artefact.manifest.output
        answer = constant(output, rows.target, rows.weights, len(rows))
        found = decide(
            policy,
            settings,
            self.artefact,
            serving,
            self.evaluation,
            losses(output, answer, rows.target),
            faults,
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
        ready = prepare(data, task, None, config, lambda sentence: None)
        network = Network(network_spec(ready))
        network.parameters[: len(network.parameters) - ready.output.width] = weight
        network.parameters[-ready.output.width :] = bias
        history = History(loss=[1.0], learning_rate=[0.1], best_epoch=1)
        members = [Member(network, history)]
        model = Model(ready.inputs, [network], ready.output)
        answer = model.predict(ready.evaluation.rows.raw)
        described = manifest(
            ready, members, model, answer, measure(ready, model, answer)
        )
        return Candidate(load(dump(described, [network])), ready.evaluation)

    return make


def limited(candidate: Candidate, limit: float) -> None:
    """Let the rows with a hash below the limit be those that it has not learnt."""
    manifest = candidate.artefact.manifest
    recipe = msgspec.structs.replace(manifest.recipe, test_below=limit)
    manifest = msgspec.structs.replace(manifest, recipe=recipe)
    candidate.artefact = msgspec.structs.replace(candidate.artefact, manifest=manifest)


SIGN = (X > 0.3).astype(int).tolist()
REAL = (2 * X + 1).tolist()


def test_the_first_version_is_promoted(linear: Callable[..., Candidate]) -> None:
    verdict = linear(3.0, SIGN).against(None)
    assert verdict == Verdict(True, "first version of this model")


@pytest.mark.parametrize("target", [SIGN, REAL])
def test_a_first_version_has_to_beat_a_constant(
    target: list[Any], linear: Callable[..., Candidate]
) -> None:
    settings = gated(baseline=True)
    good = 3.0 if target is SIGN else 1.0
    assert linear(good, target).against(None, settings=settings).promoted
    verdict = linear(-0.5, target).against(None, settings=settings)
    assert not verdict.promoted
    assert verdict.reason.startswith("not significantly better than always answering ")


def test_few_rows_are_not_compared(linear: Callable[..., Candidate]) -> None:
    good, bad = linear(0.5, SIGN), linear(-0.5, SIGN)
    settings = gated(minimum_rows=20)
    n = len(good.measured)
    assert n < 20
    assert good.against(None, settings=settings).reason == (
        f"cannot be compared: only {n} rows were held out, and 20 are needed "
        "(gate.minimum_rows)"
    )
    assert good.against(bad, settings=settings).reason == (
        f"cannot be compared: {n} of {n} held-out rows, and 20 are needed "
        "(gate.minimum_rows)"
    )


def test_rows_that_production_learnt_are_left_out(
    linear: Callable[..., Candidate],
) -> None:
    good, bad = linear(0.5, SIGN), linear(-0.5, SIGN)
    limited(bad, 0.0)
    assert bad.serving.measured is not None
    production = dataclasses.replace(bad.serving, measured=None)
    found = decide(
        "auto",
        DEFAULTS,
        good.artefact,
        production,
        good.evaluation,
        np.zeros(len(good.measured)),
    )
    assert not found.promoted
    assert "0 of " in found.reason and "not learnt by version 1" in found.reason


def test_rows_that_trained_are_never_compared(
    linear: Callable[..., Candidate],
) -> None:
    good = linear(0.5, SIGN)
    good.evaluation = good.evaluation._replace(held_out=False)
    assert good.against(linear(-0.5, SIGN)).reason == (
        "cannot be compared: no row was held out, and 1 are needed (gate.minimum_rows)"
    )


def test_a_class_that_has_gone_is_not_compared(
    linear: Callable[..., Candidate],
) -> None:
    three = [0 if x < -0.7 else 1 if x < 0.7 else 2 for x in X]
    verdict = linear(0.5, SIGN).against(linear(0.0, three))
    assert verdict.reason == (
        "cannot be compared: class '2' of target 'y' is known to production, and no "
        "row has it"
    )


def test_rows_that_production_cannot_answer_are_suspicious(
    linear: Callable[..., Candidate],
) -> None:
    """Labels that are turned round are learnt well, and are wrong all the same."""
    production = linear(TRUE, DRAWN, {"x": WIDE})
    turned = linear(-TRUE, [not sign for sign in DRAWN], {"x": WIDE})
    settings = gated(baseline=True)
    assert turned.against(production).promoted
    verdict = turned.against(production, settings=settings)
    assert not verdict.promoted
    assert "production no longer answers better than the shares" in verdict.reason


def test_faults_of_the_data_refuse(linear: Callable[..., Candidate]) -> None:
    good = linear(TRUE, DRAWN, {"x": WIDE})
    assert good.against(good).promoted
    verdict = good.against(good, faults=["column 'x' is broken"])
    assert not verdict.promoted
    assert verdict.reason == "column 'x' is broken"


def test_one_wrong_target_does_not_decide(linear: Callable[..., Candidate]) -> None:
    """The candidate is far off, yet for its RMSE one row of 9999 outweighs it."""
    real = (2 * WIDE + np.random.default_rng(8).normal(0, 0.1, 3000)).tolist()
    good, off = linear(1.0, real, {"x": WIDE}), linear(0.8, real, {"x": WIDE})
    for each in (good, off):
        each.measured.target[0] = 9999.0
    verdict = off.against(good)
    everywhere, clipped = verdict.comparisons
    assert everywhere.refused == "" and clipped.refused
    assert not verdict.promoted and "errors clipped at" in verdict.reason


def test_wrong_targets_do_not_hide_a_worse_model(
    linear: Callable[..., Candidate],
) -> None:
    """A tenth of the targets are those of other rows, as after a join gone wrong."""
    rng = np.random.default_rng(8)
    real = (2 * WIDE + rng.normal(0, 0.3, 3000)).tolist()
    good, off = linear(1.0, real, {"x": WIDE}), linear(1.0, real, {"x": WIDE}, 0.1)
    assert off.against(good).comparisons[0].refused
    wrong = rng.permutation(len(good.measured.target))[: len(good.measured.target) // 8]
    for each in (good, off):
        target = each.measured.target
        target[wrong] = target[np.roll(wrong, 1)]
    assert good.against(good).promoted
    verdict = off.against(good)
    assert not verdict.promoted and "errors clipped at" in verdict.reason


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
        f"significantly better: log_loss {new['log_loss']:.3g}, production "
        f"{old['log_loss']:.3g}, on {len(target)} held-out rows (95% interval of the "
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
    expected = f"rmse {new['rmse']:.3g}, production {old['rmse']:.3g}, on "
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
        "cannot be compared: production's task is regression, and the candidate's "
        "is binary",
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
    wide = linear(2.0, DRAWN, {"z": WIDE, "x": WIDE})
    assert wide.against(linear(-2.0, DRAWN, {"x": WIDE})).promoted


def test_table_and_arrays_are_not_compared(linear: Callable[..., Candidate]) -> None:
    matrix = linear(2.0, SIGN, X[:, None])
    assert "not columns of a table" in linear(2.0, SIGN).against(matrix).reason
    assert "not an array of shape (1,)" in matrix.against(linear(2.0, SIGN)).reason


def test_arrays_of_one_shape_are_compared(linear: Callable[..., Candidate]) -> None:
    good, bad = linear(2.0, SIGN, X[:, None]), linear(-2.0, SIGN, X[:, None])
    assert good.against(bad).promoted
    other = linear(2.0, SIGN, np.stack([X, X], axis=1))
    assert (
        "production's rows are an array of shape (2,), not"
        in good.against(other).reason
    )


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
    assert f", production {expected:.3g}, on " in verdict.reason


def test_classes_are_matched_by_label_not_by_place(
    linear: Callable[..., Candidate],
) -> None:
    three = [["also", "no", "yes"][i % 3] for i in range(len(X))]
    candidate = linear(0.0, three)
    # Production does not know the first.
    shares = {"no": 0.7, "yes": 0.3}
    two = [label for label in three if label != "also"]
    old = linear(0.0, two, {"x": X[: len(two)]}, bias=np.log(0.3 / 0.7))
    limited(old, 1.0)
    classes = candidate.artefact.manifest.output.classes  # type: ignore[union-attr]
    target = [classes[code] for code in candidate.measured.target]
    tiny = float(np.finfo(float).tiny)
    expected = -np.mean([np.log(shares.get(label, tiny)) for label in target])
    verdict = candidate.against(old)
    assert f", production {expected:.3g}, on " in verdict.reason


def test_production_that_cannot_answer_is_not_compared(
    linear: Callable[..., Candidate],
) -> None:
    # Near its own rows its numbers just fit in float32, far away they do not.
    old = linear(2e34, REAL, X[:, None], bias=3e38)
    verdict = linear(0.5, REAL, X[:, None] * 1e6).against(old)
    assert not verdict.promoted
    assert verdict.reason.startswith("cannot be compared: row ")


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
        (TRUE * 1.1, TRUE / 1.1, True, "not significantly worse: "),
        (TRUE / 1.1, TRUE * 1.1, True, "at least as good: "),
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
    # All rows were test rows of production: one comparison says it.
    assert len(verdict.comparisons) == 1


def test_what_is_asked_for_moves_the_verdict(linear: Callable[..., Candidate]) -> None:
    best, worse = linear(TRUE, DRAWN, {"x": WIDE}), linear(TRUE / 3, DRAWN, {"x": WIDE})
    found = best.against(worse).comparisons[0]
    assert found.production is not None and found.high is not None
    shown = -found.high / found.production  # beyond doubt it is better by this share
    assert best.against(worse, settings=gated(minimum_gain=0.9 * shown)).promoted
    verdict = best.against(worse, settings=gated(minimum_gain=1.1 * shown))
    assert not verdict.promoted
    assert verdict.reason.startswith("not significantly better by ")

    found = worse.against(best).comparisons[0]
    assert found.production is not None and found.low is not None
    shown = found.low / found.production
    assert worse.against(best, settings=gated(allowed_loss=1.1 * shown)).promoted
    strict = gated(allowed_loss=0.9 * shown)
    assert not worse.against(best, settings=strict).promoted


def test_an_equal_candidate_gains_nothing(linear: Callable[..., Candidate]) -> None:
    again = linear(TRUE, DRAWN, {"x": WIDE})
    verdict = again.against(again, settings=gated(minimum_gain=0.0))
    assert verdict.promoted  # not worse than itself by a hair: nothing is in doubt
    verdict = again.against(again, settings=gated(minimum_gain=0.01))
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
    assert everywhere.refused == "" and there.refused.startswith("significantly worse")
    assert there.count == len(production.measured)
    assert not verdict.promoted
    assert verdict.reason.startswith("significantly worse: ")
    assert " test rows of production (" in verdict.reason


# Floors.


def test_a_candidate_out_of_calibration_is_refused(
    linear: Callable[..., Candidate],
) -> None:
    sure = linear(10 * TRUE, DRAWN, {"x": WIDE})
    ece = sure.artefact.manifest.metrics["ece"]
    verdict = sure.against(None, settings=gated(calibration=0.9 * ece))
    assert verdict == Verdict(
        False,
        f"poorly calibrated: ece {ece:.3g} is above gate.calibration={0.9 * ece:g}",
    )
    assert sure.against(None, settings=gated(calibration=1.1 * ece)).promoted


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
    verdict = after.against(before, settings=gated(group="group"))
    assert not verdict.promoted
    assert verdict.reason.startswith("significantly worse: ")
    assert " rows of group = b (" in verdict.reason
    in_a, in_b = verdict.comparisons[1:]
    assert in_a.refused == "" and in_b.refused.startswith("significantly worse")
    assert in_a.count + in_b.count == len(after.measured)


def test_a_group_has_a_limit_even_without_production(
    two: Callable[..., Candidate],
) -> None:
    lone = two(0.0, 3.0)
    found = lone.against(None, settings=gated(group="group")).comparisons
    assert [each.production for each in found] == [None, None]
    limit = (found[0].candidate + found[1].candidate) / 2
    verdict = lone.against(None, settings=gated(group="group", group_limit=limit))
    assert not verdict.promoted
    assert verdict.reason == (
        f"above gate.group_limit={limit:g}: log_loss {found[1].candidate:.3g} "
        f"on {found[1].count} rows of group = b"
    )


def test_groups_of_few_rows_say_nothing(linear: Callable[..., Candidate]) -> None:
    words = ["rare" if i % 50 == 0 else "common" for i in range(len(WIDE))]
    inputs = {"x": WIDE, "word": words}
    kinds = {"x": "numeric", "word": "categorical"}
    made = linear(TRUE, DRAWN, inputs, kinds=kinds)
    found = made.against(None, settings=gated(group="word")).comparisons
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
    ready = prepare(data, None, None, config, lambda sentence: None)
    with pytest.raises(ConfigError, match=says):
        check(config.gate, ready)
