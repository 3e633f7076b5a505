"""Too many rows are refused with the setting; the rest is told by the dialects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.errors import InvalidInput, TooManyRows
from service.inference.inference import decode_within


def test_rows_within_the_limit_are_returned() -> None:
    rows = np.zeros(3)
    assert decode_within(lambda decoder: rows, None, 3) is rows


def test_more_are_refused_with_the_setting() -> None:
    def counted(decoder: Any) -> Any:
        raise TooManyRows(3)

    for decode in counted, lambda decoder: {"a": np.zeros(4)}:
        with pytest.raises(InvalidInput, match="GLASSNET_MAX_ROWS"):
            decode_within(decode, None, 3)
