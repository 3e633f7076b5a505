"""Problems of a run that its history, layers and metrics show, with advice on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np

from models.nn.layer_names import layer_names
from models.storage.artefact import Manifest
from trainer.report.record import Record
from trainer.training.history import LayerSnapshot, LayerStats

#: Report a layer if at least this share of its units is dead.
MAX_DEAD_SHARE = 0.7
#: Report a layer if at least this share of its outputs is saturated.
MAX_SATURATED_SHARE = 0.5
#: Report a learning rate if the weights of a layer move further than this in the first
#: epoch, in units of their own length and of the root of the number of steps. On the
#: open data sets the default rates stay below 0.1; rates a hundred times as high reach
#: 0.7 and more.
MAX_MOVE = 0.5
#: Report a vanishing gradient if the first layer gets less than this share of the
#: largest gradient of a layer.
MIN_GRADIENT_SHARE = 1e-4
#: Report missing signal if the metric is at least this share of a constant model's.
MIN_CONSTANT_SHARE = 0.985
#: With fewer rows that could be chance.
MIN_SIGNAL_ROWS = 50
#: Report overfitting if the validation loss ends this many times above its best …
MAX_LOSS_RATIO = 2.0
#: … and the best epoch lies within this first share of the run.
EARLY_SHARE = 0.35


class Problem(msgspec.Struct, frozen=True):
    """A problem of a run, in a sentence, and advice."""

    kind: str
    sentence: str
    advice: str


def find_problems(manifest: Manifest, record: Record) -> list[Problem]:
    """Return all problems of a run, the most important first."""
    names = layer_names(manifest.network)
    return [
        *_leaks(manifest),
        *_no_signal(manifest, record),
        *_learning_rate(manifest, record, names),
        *_layers(record, names, _dead),
        *_layers(record, names, _saturated),
        *_vanishing_gradient(record, names),
        *_overfitting(manifest),
    ]


def _leaks(manifest: Manifest) -> Iterator[Problem]:
    """Repeat the findings on leaks, which make all metrics worthless."""
    for finding in manifest.recipe.findings:
        if finding.kind == "leak":
            sentence, _, advice = finding.sentence.partition(": ")
            yield Problem(
                "leak", f"{sentence}, so the metrics are too good.", f"{advice}."
            )


def _no_signal(manifest: Manifest, record: Record) -> Iterator[Problem]:
    """Compare with a constant; blame drift of the target if it was found."""
    regression = manifest.task == "regression"
    name, key = ("RMSE", "rmse") if regression else ("log loss", "log_loss")
    value = manifest.metrics[key]
    constant = manifest.baselines.get("constant", {}).get(key)
    if constant is None or record.measured < MIN_SIGNAL_ROWS:
        return
    if value < MIN_CONSTANT_SHARE * constant:
        return
    always = "the mean" if regression else "the shares of the classes"
    than = "worse" if value * MIN_CONSTANT_SHARE > constant else "hardly better"
    cause = (
        f"the columns say almost nothing about '{manifest.target}', or training was "
        "too short."
    )
    advice = (
        "Check that each row has its own target (a join or a sort may have mixed them "
        "up) and that some column is known to influence the target."
    )
    for finding in manifest.recipe.findings:
        if finding.kind == "drift" and manifest.target in finding.columns:
            cause = "the targets of the measured rows are not like those that trained."
            advice = (
                "Train on later rows, or on a target that does not trend, such as the "
                "change since the time before."
            )
    yield Problem(
        "no_signal",
        f"The model is {than} than always predicting {always} ({name} {value:.3g} "
        f"against {constant:.3g} on the same rows): {cause}",
        advice,
    )


def _learning_rate(
    manifest: Manifest, record: Record, names: Sequence[str]
) -> Iterator[Problem]:
    limit = MAX_MOVE * np.sqrt(record.steps_an_epoch)
    moves = [
        max((layer.moved or 0.0, name) for name, layer in _linear(snapshots[0], names))
        for snapshots in record.health
        if snapshots and snapshots[0].epoch == 1
    ]
    too_far = [move for move in moves if move[0] > limit]
    if not too_far:
        return
    moved, layer = max(too_far)
    times = f"{moved:.1f} times" if moved < 1000 else "thousands of times"
    rate = manifest.config["train"]["learning_rate"]
    yield Problem(
        "learning_rate",
        f"The learning rate ({rate:g}) is too high: in the first epoch the weights of "
        f"layer {layer} changed by {times} their own length"
        f"{_networks(len(too_far), len(record.health))}.",
        f"Try train.learning_rate={rate / 100:.2g} to {rate / 10:.2g}, or remove the "
        "setting to use the default.",
    )


def _linear(
    snapshot: LayerSnapshot, names: Sequence[str]
) -> list[tuple[str, LayerStats]]:
    layers = zip(names, snapshot.layers, strict=True)
    return [(name, layer) for name, layer in layers if "(linear)" in layer.name]


def _layers(
    record: Record,
    names: Sequence[str],
    check: Callable[[Sequence[LayerSnapshot], int, str], Problem | None],
) -> Iterator[Problem]:
    """Check each layer of all networks; report a problem of several networks once."""
    networks = [snapshots for snapshots in record.health if snapshots]
    for index, name in enumerate(names if networks else ()):
        results = [check(snapshots, index, name) for snapshots in networks]
        problems = [problem for problem in results if problem is not None]
        if problems:
            count = _networks(len(problems), len(record.health))
            sentence = f"{problems[0].sentence.rstrip('.')}{count}."
            yield msgspec.structs.replace(problems[0], sentence=sentence)


def _networks(count: int, networks: int) -> str:
    return "" if networks == 1 else f" ({count} of {networks} networks)"


def _dead(snapshots: Sequence[LayerSnapshot], index: int, name: str) -> Problem | None:
    layer = snapshots[-1].layers[index]
    if layer.dead is None or layer.dead < MAX_DEAD_SHARE:
        return None
    return Problem(
        "dead",
        f"{layer.dead:.0%} of the units of layer {name} are dead: they output 0 for "
        "every row, so their weights no longer change.",
        "Try a lower train.learning_rate, network.batch_norm=true, or an activation "
        "without a flat part (network.activation=leaky_relu).",
    )


def _saturated(
    snapshots: Sequence[LayerSnapshot], index: int, name: str
) -> Problem | None:
    shares = [snapshot.layers[index].saturated for snapshot in snapshots]
    known = [share for share in shares if share is not None]
    if not known or float(np.median(known)) < MAX_SATURATED_SHARE:
        return None
    return Problem(
        "saturated",
        f"Layer {name} is saturated: {np.median(known):.0%} of its "
        "outputs lie at the flat ends of the function, where the gradient is almost 0.",
        "Try network.activation=relu, a lower train.learning_rate, or "
        "network.batch_norm=true.",
    )


def _vanishing_gradient(record: Record, names: Sequence[str]) -> Iterator[Problem]:
    shares = []
    for snapshots in record.health:
        layers = _linear(snapshots[0], names) if snapshots else []
        norms = [x.gradient for _, x in layers if x.gradient is not None]
        if len(norms) > 2 and max(norms) > 0:
            shares.append(norms[0] / max(norms))
    low = [share for share in shares if share < MIN_GRADIENT_SHARE]
    if low:
        yield Problem(
            "vanished",
            f"The gradient vanishes on its way to the front: the first layer gets "
            f"{min(low):.1g} of the largest gradient of a layer"
            f"{_networks(len(low), len(record.health))}.",
            "Try network.activation=relu or selu, fewer hidden layers, or "
            "network.batch_norm=true.",
        )


def _overfitting(manifest: Manifest) -> Iterator[Problem]:
    ratios = []
    for history in manifest.history:
        losses = history.get("validation_loss", [])
        if len(losses) >= 10:
            best, last = min(losses), losses[-1]
            early = history["best_epoch"][0] < EARLY_SHARE * len(losses)
            if early and best > 0 and last > MAX_LOSS_RATIO * best:
                ratios.append(last / best)
    if ratios:
        yield Problem(
            "overfitted",
            f"The network overfits after its best epoch: the validation loss ends at "
            f"{max(ratios):.1f} times its minimum"
            f"{_networks(len(ratios), len(manifest.history))}. The model is the best "
            "epoch.",
            "More rows help most; otherwise try more train.weight_decay or "
            "network.dropout, or a smaller network.hidden.",
        )
