"""What is wrong with a run, a sentence for each thing, and what to try."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np

from models.storage.artefact import Manifest
from trainer.report.record import Record
from trainer.training.history import LayerSnapshot, LayerStats

#: Share of a layer's units that are dead, or flat, before it is said.
DEAD, SATURATED = 0.7, 0.5
#: How far weights go in the first epoch, in their own lengths and roots of its steps.
#: On the open sets the recipes' own rates stay below 0.1, those a hundred times as high
#: come to 0.7 and more.
TOO_FAR = 0.5
#: Of the strongest gradient the first layer's has this much left.
VANISHED = 1e-4
#: The figure is no better than this share of a constant answer's.
NO_BETTER = 0.985
#: Fewest rows of which that is no chance.
FEWEST = 50
#: The validation loss ends so far above its best, in the first part of the run.
OVERFITTED, EARLY = 2.0, 0.35


class Fault(msgspec.Struct, frozen=True):
    """What is wrong, and what to try."""

    kind: str
    sentence: str
    advice: str


def faults(manifest: Manifest, record: Record) -> list[Fault]:
    """Return everything that is wrong, the most telling first."""
    found = [
        *_findings(manifest),
        *_no_better(manifest, record),
        *_rate(manifest, record),
        *_layers(record, _dead),
        *_layers(record, _saturated),
        *_vanished(record),
        *_overfitted(manifest),
    ]
    return found


def _findings(manifest: Manifest) -> Iterator[Fault]:
    """Repeat the finding that makes all figures worthless."""
    for finding in manifest.recipe.findings:
        if finding.kind == "leak":
            said, _, advice = finding.sentence.partition(": ")
            yield Fault("leak", f"{said}, so these figures flatter.", f"{advice}.")


def _no_better(manifest: Manifest, record: Record) -> Iterator[Fault]:
    figures = manifest.metrics
    figure = figures["rmse" if manifest.task == "regression" else "log_loss"]
    if record.measured < FEWEST or figure < NO_BETTER * record.constant:
        return
    always = (
        "always answering the mean"
        if manifest.task == "regression"
        else "always answering how frequent each class is"
    )
    yield Fault(
        "no_signal",
        f"The answers are hardly better than {always} ({figure:.4g} against "
        f"{record.constant:.4g}): the columns tell next to nothing of "
        f"'{manifest.target}'.",
        "Look whether each row has its own target (a join or a sort may have shuffled "
        "them), and whether anything here is known to bear on it.",
    )


def _rate(manifest: Manifest, record: Record) -> Iterator[Fault]:
    limit = TOO_FAR * np.sqrt(record.steps_an_epoch)
    far = [
        max((x.moved or 0.0, x.name) for x in looks[0].layers if _is_linear(x))
        for looks in record.health
        if looks and looks[0].epoch == 1
    ]
    far = [(moved, name) for moved, name in far if moved > limit]
    if not far:
        return
    moved, layer = max(far)
    rate = manifest.config["train"]["learning_rate"]
    yield Fault(
        "learning_rate",
        f"The learning rate ({rate:g}) is too high: in the first epoch the weights of "
        f"{layer} went {_times(moved)} their own length"
        f"{_where(len(far), len(record.health))}.",
        f"Try train.learning_rate={rate / 100:.2g} to {rate / 10:.2g}, or leave it to "
        "the recipe.",
    )


def _times(moved: float) -> str:
    return f"{moved:.1f} times" if moved < 1000 else "thousands of times"


def _is_linear(reading: LayerStats) -> bool:
    return "(linear)" in reading.name


def _layers(
    record: Record, check: Callable[[Sequence[LayerSnapshot], int], Fault | None]
) -> Iterator[Fault]:
    """Check every layer of each network; say once what is wrong with several."""
    if not record.health or not record.health[0]:
        return
    for place in range(len(record.health[0][0].layers)):
        found = [check(looks, place) for looks in record.health if looks]
        wrong = [fault for fault in found if fault is not None]
        if wrong:
            where = _where(len(wrong), len(record.health))
            sentence = f"{wrong[0].sentence.rstrip('.')}{where}."
            yield msgspec.structs.replace(wrong[0], sentence=sentence)


def _where(found: int, networks: int) -> str:
    return "" if networks == 1 else f" ({found} of {networks} networks)"


def _dead(looks: Sequence[LayerSnapshot], place: int) -> Fault | None:
    layer = looks[-1].layers[place]
    if layer.dead is None or layer.dead < DEAD:
        return None
    return Fault(
        "dead",
        f"{layer.dead:.0%} of the ReLU units of {layer.name} are dead: they give 0 for "
        "every row looked at, and what gives 0 learns nothing.",
        "Try a lower train.learning_rate, network.batch_norm=true, or an activation "
        "that never goes flat (network.activation=leaky_relu).",
    )


def _saturated(looks: Sequence[LayerSnapshot], place: int) -> Fault | None:
    shares = [look.layers[place].saturated for look in looks]
    known = [share for share in shares if share is not None]
    if not known or float(np.median(known)) < SATURATED:
        return None
    layer = looks[-1].layers[place]
    return Fault(
        "saturated",
        f"{layer.name[0].upper()}{layer.name[1:]} is saturated: {np.median(known):.0%} "
        "of its outputs lie at the ends of the function, where the slope, and so the "
        "gradient, is next to nothing.",
        "Try network.activation=relu, a lower train.learning_rate, or "
        "network.batch_norm=true.",
    )


def _vanished(record: Record) -> Iterator[Fault]:
    """Find gradients that do not reach the first layer."""
    shares = []
    for looks in record.health:
        if looks:
            lengths = [x.gradient for x in looks[0].layers if _is_linear(x)]
            known = [length for length in lengths if length is not None]
            if len(known) > 2 and max(known) > 0:
                shares.append(known[0] / max(known))
    low = [share for share in shares if share < VANISHED]
    if low:
        yield Fault(
            "vanished",
            f"The gradient vanishes on its way: the first layer gets {min(low):.1g} of "
            f"what the strongest gets{_where(len(low), len(record.health))}.",
            "Try network.activation=relu or selu, fewer hidden layers, or "
            "network.batch_norm=true.",
        )


def _overfitted(manifest: Manifest) -> Iterator[Fault]:
    ended = []
    for history in manifest.history:
        held_out = history.get("validation_loss", [])
        if len(held_out) >= 10:
            best, last = min(held_out), held_out[-1]
            early = history["best_epoch"][0] < EARLY * len(held_out)
            if early and best > 0 and last > OVERFITTED * best:
                ended.append(last / best)
    if ended:
        yield Fault(
            "overfitted",
            f"After its best epoch the network learns its rows by heart: the "
            f"validation loss ends {max(ended):.1f} times as high as its lowest"
            f"{_where(len(ended), len(manifest.history))}. The best epoch is kept.",
            "More rows help most; else more train.weight_decay or network.dropout, or "
            "smaller network.hidden.",
        )
