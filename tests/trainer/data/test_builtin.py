"""The data that come along are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from models.errors import DataError
from trainer.data.builtin import NAMES, read_builtin


def test_xor_is_its_four_rows() -> None:
    found = read_builtin("xor")
    assert isinstance(found.inputs, dict)
    rows = {
        (x1, x2): y
        for x1, x2, y in zip(
            found.inputs["x1"], found.inputs["x2"], found.target or (), strict=True
        )
    }
    assert rows == {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 0}
    assert found.kinds == {"x1": "numeric", "x2": "numeric"}


def test_digits_are_scikit_learns() -> None:
    found, expected = read_builtin("digits"), load_digits()
    assert isinstance(found.inputs, np.ndarray)
    assert found.inputs.shape == (1797, 8, 8)
    np.testing.assert_array_equal(found.inputs, expected.images)
    assert list(found.target or ()) == expected.target.tolist()
    assert found.kinds == {}


@pytest.mark.parametrize(
    ("name", "hint"), [("digit", "digits"), ("xro", "xor"), ("mnist!", None)]
)
def test_an_unknown_name_is_told_with_those_there_are(
    name: str, hint: str | None
) -> None:
    with pytest.raises(DataError) as caught:
        read_builtin(name)
    message = str(caught.value)
    assert message.startswith(f"no built-in data set '{name}'")
    assert (f"did you mean '{hint}'?" in message) == (hint is not None)
    assert all(known in message for known in NAMES)
