"""The curves of a run, epoch by epoch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LayerStats:
    """One layer's outputs, and how its parameters change.

    `mean` and `spread` are of its outputs; `dead` is the share of ReLU units that are 0
    on every row, `saturated` that of sigmoid or tanh outputs whose slope is nearly 0.
    `gradient` is the norm of its parameters' gradient, `moved` that of their change in
    the epoch, as a share of their own norm.
    """

    name: str
    mean: float
    spread: float
    dead: float | None = None
    saturated: float | None = None
    gradient: float | None = None
    moved: float | None = None


@dataclass(frozen=True)
class LayerSnapshot:
    """All layers after an epoch, counted from 1."""

    epoch: int
    layers: list[LayerStats]


@dataclass
class History:
    """The losses of each epoch, and the epoch whose weights are kept (from 1)."""

    #: Epochs of the whole run, unless it stops early, and training rows.
    planned: int = 0
    rows: int = 0
    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0
    out_of_time: bool = False
    #: For the report only; not stored in the model.
    health: list[LayerSnapshot] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        return len(self.loss)

    def until(self, epoch: int) -> History:
        """Return what it was after an epoch, with that as the best one."""
        return dataclasses.replace(
            self,
            loss=self.loss[:epoch],
            validation_loss=self.validation_loss[:epoch],
            learning_rate=self.learning_rate[:epoch],
            best_epoch=epoch,
            health=[snapshot for snapshot in self.health if snapshot.epoch <= epoch],
        )

    def curves(self) -> dict[str, list[float]]:
        """Return the curves that the manifest stores."""
        curves = {"loss": self.loss, "learning_rate": self.learning_rate}
        if self.validation_loss:
            curves["validation_loss"] = self.validation_loss
        return curves
