"""Encoded data give every network the rows that the prepared data give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ConfigError
from models.features.table import TableInput
from trainer.data import read
from trainer.data.unnamed_file import UnnamedFile
from trainer.engines.wire import build, flatten
from trainer.preparation.augmentation import Augmentation
from trainer.preparation.encoded import EncodedData, _short, encode
from trainer.preparation.prepare import Prepared, prepare

Make = Callable[..., Prepared]


@pytest.fixture
def prepared(
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
    configured: Callable[..., Any],
) -> Make:
    def make(*settings: str, target: str = "churn", valid: bool = False) -> Prepared:
        path = str(write_csv(table(200)))
        config = configured("ensemble.members=3", *settings)
        validation = path if valid else None
        return prepare(read(path, target), None, validation, config, lambda _: None)

    return make


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ((), {}),
        (("data.split=random",), {}),
        (("data.validation_fraction=0",), {}),
        (("data.weight=level", "train.class_weights=balanced"), {}),
        ((), {"target": "size"}),
        ((), {"valid": True}),
    ],
)
def test_each_network_gets_the_same_rows(
    settings: tuple[str, ...], more: dict[str, Any], prepared: Make
) -> None:
    given = prepared(*settings, **more)
    encoded = encode(given)
    assert (encoded.task, encoded.train_config) == (given.task, given.train_config)
    for number in range(len(given.splits)):
        for one, other in zip(
            given.member_rows(number), encoded.member_rows(number), strict=True
        ):
            assert (one is None) == (other is None)
            for expected, found in zip(one or (), other or (), strict=True):
                np.testing.assert_array_equal(found, expected)
                assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)


def test_directions_reach_another_machine(prepared: Make) -> None:
    given = prepared(
        "data.columns.size.monotone=up", "data.columns.member.monotone=down"
    )
    assert isinstance(given.inputs, TableInput)
    names = given.inputs.feature_names()
    up, down, missing = given.monotone_inputs or ((), (), ())
    assert [[names[i] for i in part] for part in (up, down)] == [["size"], ["member"]]
    assert [names[i] for i in missing] == ["size"] and missing != up
    sent = build(EncodedData, *flatten(encode(given)))
    assert sent.monotone_inputs == given.monotone_inputs
    assert prepared().monotone_inputs is None


def test_images_are_augmented_alike(configured: Callable[..., Any]) -> None:
    config = configured("train.augmentation=0.5")
    data = read("builtin:digits", None)
    given = prepare(data, None, None, config, lambda _: None)
    for augmentation in (given.augmentation(), encode(given).augmentation()):
        assert isinstance(augmentation, Augmentation)
        assert augmentation.strength == 0.5 and list(augmentation.sides) == [8, 8]


def test_row_numbers_take_four_bytes_where_they_fit() -> None:
    for largest, dtype in ((2**31 - 1, np.int32), (2**31, np.int64)):
        short = _short(np.array([0, largest]))
        assert short.dtype == dtype and short[1] == largest
    assert _short(np.array([], np.intp)).size == 0


def test_rows_on_disk_are_not_sent_to_a_cluster(prepared: Make) -> None:
    on_disk = replace(prepared(), encoded=UnnamedFile())
    with pytest.raises(ConfigError, match="--engine ray needs the rows in memory"):
        encode(on_disk)
