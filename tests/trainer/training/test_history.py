"""What stands in the manifest of what a run wrote down."""

from __future__ import annotations

from trainer.training.history import History, LayerSnapshot


def test_curves_are_a_value_an_epoch() -> None:
    history = History(loss=[0.9, 0.5], learning_rate=[0.01, 0.001])
    history.validation_loss = [0.8, 0.6]
    history.health = [LayerSnapshot(1, [])]  # for the report alone
    assert history.epochs == 2
    assert history.curves() == {
        "loss": [0.9, 0.5],
        "learning_rate": [0.01, 0.001],
        "validation_loss": [0.8, 0.6],
    }


def test_what_was_not_held_out_has_no_curve() -> None:
    history = History(loss=[0.9], learning_rate=[0.01])
    assert set(history.curves()) == {"loss", "learning_rate"}
