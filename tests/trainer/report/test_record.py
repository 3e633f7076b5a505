"""What is kept of a run comes back as it was, or as one error."""

from __future__ import annotations

import pytest

from models.errors import ArtefactCorrupt
from trainer.report.record import (
    ColumnImportance,
    Curve,
    Record,
    decode,
    encode,
)
from trainer.training.history import LayerSnapshot, LayerStats


def test_a_record_comes_back() -> None:
    record = Record(
        rows=10,
        measured=12,
        where="held-out rows",
        steps_an_epoch=3,
        health=[
            [
                LayerSnapshot(
                    1, [LayerStats("layer 1 (linear)", 0.1, 1.0, gradient=1e38)]
                )
            ]
        ],
        roc=[Curve("yes", [0.0, 1.0], [0.0, 1.0], 0.5)],
        weights=[ColumnImportance("a", 0.5), ColumnImportance("b", 0.1, -0.2)],
    )
    assert decode(encode(record)) == record


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"rows": 1}', b"[" * 100_000])
def test_a_damaged_record_is_told(raw: bytes) -> None:
    with pytest.raises(ArtefactCorrupt, match=r"record\.json"):
        decode(raw)
