"""Tasks that run one after the other, in the process of the caller."""

from __future__ import annotations

import os
from typing import Any

import pytest

from trainer.engines import open_engine
from trainer.engines.base import Engine, Report
from trainer.engines.processes import ProcessEngine
from trainer.engines.serial import SerialEngine


def ignore(number: int, message: Any) -> None:
    pass


def doubled(shared: list[int], task: int, report: Report) -> tuple[int, int]:
    report(shared)
    return 2 * task, os.getpid()


@pytest.mark.parametrize("engine", [SerialEngine(), ProcessEngine(1)])
@pytest.mark.parametrize("tasks", [[], [5], [5, 7, 6]])
def test_tasks_run_in_the_caller_in_their_order(
    engine: Engine, tasks: list[int]
) -> None:
    heard: list[tuple[int, Any]] = []
    shared = [1]
    results = engine.map(doubled, shared, tasks, lambda *m: heard.append(m))
    assert results == [(2 * task, os.getpid()) for task in tasks]
    assert [number for number, _ in heard] == list(range(len(tasks)))
    assert all(message is shared for _, message in heard)


def test_a_lone_task_runs_in_the_caller() -> None:
    assert ProcessEngine(8).map(doubled, [], [3], ignore) == [(6, os.getpid())]


def failing(shared: None, task: int, report: Report) -> None:
    if task == 2:
        raise KeyError(task)
    report("begins")


def test_an_error_stops_the_tasks_after_it() -> None:
    heard: list[int] = []
    with pytest.raises(KeyError, match="2"):
        SerialEngine().map(failing, None, [1, 2, 3], lambda n, m: heard.append(n))
    assert heard == [0]


@pytest.mark.parametrize("cores", [1, 3])
def test_an_engine_runs_a_task_on_each_core_unless_told(
    cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    for size, expected in ((None, cores), (2, 2)):
        with open_engine("processes", size, 1, pytest.fail) as engine:
            assert engine.size == expected and engine.shares_memory
