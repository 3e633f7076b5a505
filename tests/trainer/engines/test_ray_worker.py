"""A task as a worker runs it, without a cluster: `make ray` has clusters."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from models.errors import GlassnetError
from trainer.engines import ray_worker
from trainer.engines.blas import Blas
from trainer.engines.ray_worker import (
    Environment,
    Item,
    Mailbox,
    Reporter,
    find_environment,
    mixture,
    run_task,
)
from trainer.engines.wire import Failure, RemoteFunction, flatten, unpack


def add(shared: int, task: int, report: Callable[[str], None]) -> int:
    report("begins")
    if task < 0:
        raise GlassnetError("a number below 0")
    return shared + task


@pytest.fixture(autouse=True)
def _function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RemoteFunction, "named", lambda name: RemoteFunction.of(add))


def run(task: int, expected: Environment, sent: list[Any]) -> bytes:
    reporter = Reporter(sent.append, lambda content: "")
    wanted = msgspec.json.encode(expected).decode()
    return run_task("add", wanted, flatten(3), flatten(task), reporter)


def test_a_result_comes_back_packed_and_messages_at_once() -> None:
    sent: list[Any] = []
    packed = run(4, find_environment(1), sent)
    assert packed[:1] == b"+" and unpack(int, packed[1:]) == 7
    assert sent == [['"begins"']]


def test_an_error_comes_back_as_its_name_sentence_and_traceback() -> None:
    packed = run(-1, find_environment(1), [])
    failure = unpack(Failure, packed[1:])
    assert packed[:1] == b"-" and "in add" in failure.traceback
    assert (failure.kind, failure.sentence) == ("GlassnetError", "a number below 0")


@pytest.mark.parametrize("field", ["glassnet", "numpy", "blas"])
def test_a_node_that_would_end_in_other_bytes_runs_nothing(field: str) -> None:
    other = Blas("openblas", "0.3", "Zen", 1) if field == "blas" else "0.0.1"
    expected = msgspec.structs.replace(find_environment(1), **{field: other})
    sent: list[Any] = []
    failure = unpack(Failure, run(4, expected, sent)[1:])
    assert failure.kind == "GlassnetError" and not sent
    assert f"{ray_worker.platform.node()} has glassnet" in failure.sentence


def test_the_sentence_on_a_mixture_names_all_nodes() -> None:
    here = Environment("0.1.0", "2.4", Blas("openblas", "0.3", "Haswell", 1))
    zen = msgspec.structs.replace(here, blas=Blas("openblas", "0.3", "Zen", 1))
    sentence = mixture(here, {"node-3": zen, "node-7": zen})
    assert (
        "this machine (glassnet 0.1.0, NumPy 2.4, openblas 0.3 Haswell, 1 " in sentence
    )
    for node in ("node-3", "node-7"):
        assert f"{node} has glassnet 0.1.0, NumPy 2.4, openblas 0.3 Zen," in sentence


def test_messages_that_come_fast_travel_together_and_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(ray_worker.time, "monotonic", lambda: now)
    sent: list[list[str]] = []
    reporter = Reporter(sent.append, lambda content: "")
    for number in range(4):
        reporter.report(number)
    assert sent == [["0"]]
    now += 1.0
    reporter.report(4)
    assert sent == [["0"], ["1", "2", "3", "4"]]
    reporter.report(5)
    reporter.flush()
    assert json.loads(sent[-1][0]) == 5


def test_a_file_that_the_caller_cannot_write_is_an_error_of_the_system() -> None:
    reporter = Reporter(list, lambda content: "No space left on device")
    with pytest.raises(OSError, match="No space") as raised:
        reporter.write(b"content")
    assert raised.value.strerror == "No space left on device"
    assert raised.value.errno != errno.ENOENT


async def _exchange() -> None:
    box = Mailbox()
    taking = asyncio.create_task(box.take(b"[]"))
    await asyncio.sleep(0)
    assert not taking.done()  # there is nothing yet
    await box.put(1, ["a", "b"])
    (item,) = unpack(list[Item], await taking)
    assert (item.task, item.messages, item.content) == (1, ["a", "b"], None)

    writing = asyncio.create_task(box.write(2, b"content"))
    (item,) = unpack(list[Item], await box.take(b"[]"))
    assert item.task == 2 and item.content.tobytes() == b"content"
    assert not writing.done()  # the caller writes it first
    assert unpack(list[Item], await box.take(b'[[2, "full"], [9, ""]]', False)) == []
    assert await writing == "full"

    lost, kept = (asyncio.create_task(box.write(n, b"content")) for n in (3, 4))
    await box.take(b"[]")
    lost.cancel()  # as Ray does when the worker that waits for it has gone
    await box.take(b'[[3, ""], [4, ""]]', False)
    assert await kept == ""


def test_the_mailbox_passes_messages_on_and_answers_writes() -> None:
    asyncio.run(_exchange())
