"""Values as JSON and arrays, and back, by their types alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import ConfigError, TooManyRows, TrainingDiverged
from models.storage.directory import DirectoryStore
from models.storage.interfaces import StoredFile
from trainer.engines.wire import (
    Failure,
    RemoteFunction,
    build,
    flatten,
    pack,
    unpack,
)
from trainer.training.member import fit_encoded_member


@dataclasses.dataclass
class Thing:
    numbers: NDArray[Any]
    losses: list[float]
    stream: np.random.SeedSequence
    more: tuple[NDArray[np.float32], ...] = ()
    maybe: NDArray[Any] | None = None


def thing(**more: Any) -> Thing:
    stream = np.random.SeedSequence(2**80).spawn(3)[2]
    return Thing(np.arange(6).reshape(2, 3), [1.5, math.inf, -math.inf], stream, **more)


@pytest.mark.parametrize(
    "more", [{}, {"more": (np.ones(2, np.float32),), "maybe": np.array([], np.uint8)}]
)
def test_values_arrive_as_they_were(more: dict[str, Any]) -> None:
    sent = thing(**more)
    for got in (build(Thing, *flatten(sent)), unpack(Thing, pack(sent))):
        np.testing.assert_array_equal(got.numbers, sent.numbers)
        assert got.numbers.dtype == sent.numbers.dtype and got.losses == sent.losses
        assert len(got.more) == len(sent.more)
        for one, other in zip(got.more, sent.more, strict=True):
            np.testing.assert_array_equal(one, other)
        if sent.maybe is None:
            assert got.maybe is None
        else:
            assert got.maybe.dtype == np.uint8 and got.maybe.shape == (0,)
        expected = sent.stream.generate_state(4)
        np.testing.assert_array_equal(got.stream.generate_state(4), expected)


def test_numbers_of_numpy_are_plain_numbers() -> None:
    text, arrays = flatten({"a": np.float64(0.1), "b": np.int32(3)})
    assert text == '{"a": 0.1, "b": 3}' and arrays == []


def test_arrays_of_objects_are_not_sent() -> None:
    with pytest.raises(ValueError, match="pickle"):
        unpack(Thing, pack(thing(maybe=np.array([object()]))))


def test_other_objects_are_not_sent() -> None:
    with pytest.raises(TypeError, match="Path is no plain data"):
        flatten({"path": Path("x")})


def test_a_value_of_another_type_is_not_built() -> None:
    with pytest.raises(msgspec.ValidationError):
        build(list[float], '["1"]', [])


@pytest.mark.parametrize("place", [0, 31, 32, 100, -1])
def test_altered_bytes_are_refused(place: int) -> None:
    packed = bytearray(pack(thing()))
    packed[place] ^= 1
    with pytest.raises(ValueError, match="digest"):
        unpack(Thing, bytes(packed))


@dataclasses.dataclass
class Task:
    file: StoredFile


@pytest.mark.parametrize("content", [None, b"", b"content"])
def test_a_file_is_read_before_it_is_sent_and_written_by_the_caller(
    content: bytes | None, tmp_path: Path
) -> None:
    file = DirectoryStore(tmp_path).scratch("m", "key").file("1.npz")
    if content is not None:
        file.write(content)
    got = build(Task, *flatten(Task(file)), write=file.write).file
    assert (got.key, str(got)) == (file.key, str(file))
    assert got.read() == content
    got.write(memoryview(b"new"))
    assert file.read() == b"new"


def test_a_file_that_cannot_be_read_is_damaged_there_too(tmp_path: Path) -> None:
    file = DirectoryStore(tmp_path).scratch("m", "key").file("1.npz")
    Path(str(file)).mkdir(parents=True)
    got = build(Task, *flatten(Task(file)), write=file.write).file
    assert got.read() == b""


def doubled(shared: Thing, task: Task, report: Callable[[str | None], None]) -> float:
    raise NotImplementedError


def test_annotations_say_what_a_function_takes_reports_and_returns() -> None:
    function = RemoteFunction.of(doubled)
    assert (function.shared, function.task) == (Thing, Task)
    assert (function.message, function.result) == (str | None, float)


def test_a_function_of_the_trainer_is_found_by_its_name() -> None:
    name = RemoteFunction.of(fit_encoded_member).name
    assert RemoteFunction.named(name).call is fit_encoded_member


@pytest.mark.parametrize("name", ["os:system", "trainerx:run", "builtins:eval"])
def test_other_functions_are_not_run(name: str) -> None:
    with pytest.raises(ValueError, match="no function of the trainer"):
        RemoteFunction.named(name)


@pytest.mark.parametrize(
    ("kind", "expected", "sentence"),
    [
        ("TrainingDiverged", TrainingDiverged, "why"),
        ("ConfigError", ConfigError, "why"),
        ("TooManyRows", TooManyRows, "why"),  # its constructor takes a number
        ("KeyError", RuntimeError, "KeyError: why"),
        ("annotations", RuntimeError, "annotations: why"),
        ("nearest", RuntimeError, "nearest: why"),
    ],
)
def test_our_own_errors_keep_their_type(
    kind: str, expected: type[Exception], sentence: str
) -> None:
    error = unpack(Failure, pack(Failure(kind, "why", "where"))).error()
    assert type(error) is expected and str(error) == sentence
    assert error.__notes__ == ["where"]
