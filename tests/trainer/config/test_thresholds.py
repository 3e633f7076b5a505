"""Settings of guards and gate: refused where they make no sense, and no model's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from models.errors import ConfigError
from trainer.config.schema import Config

Configured = Callable[..., Config]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('guards.stop=["shema"]', "'guards.stop'.*'shema'; did you mean 'schema'?"),
        ("guards.rows=1.5", "guards.rows"),
        ("guards.psi=0", "guards.psi"),
        ("guards.hours=-1", "guards.hours"),
        ("gate.allowed_loss=-0.1", "gate.allowed_loss"),
        ("gate.minimum_gain=1", "gate.minimum_gain"),
        ("gate.calibration=0", "gate.calibration"),
        ("gate.min_gain=0.1", "did you mean 'gate.minimum_gain'?"),
    ],
)
def test_what_makes_no_sense_is_told(
    text: str, says: str, configured: Configured
) -> None:
    with pytest.raises(ConfigError, match=says):
        configured(text)


def test_nothing_stops_a_run_unless_asked(configured: Configured) -> None:
    assert configured().guards.stop == ()
    assert configured('guards.stop=["rows", "stale"]').guards.stop == ("rows", "stale")
