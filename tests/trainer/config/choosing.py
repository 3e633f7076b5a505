"""Facts about data of every kind, and the settings that are chosen for them."""

from __future__ import annotations

from models.features.predictions import Task
from trainer.config.defaults import TOO_FEW_FOR_REALMLP, choose_split, choose_training
from trainer.config.recipes import DataFacts
from trainer.config.schema import Config, ResolvedConfig

TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
#: Rows from which a table gets RealMLP, eight of them.
ENOUGH = TOO_FEW_FOR_REALMLP
SIZES = (4, 99, ENOUGH - 1, ENOUGH, 1_000, 50_000)
EVERY = [
    DataFacts(rows, task, table, image)
    for rows in SIZES
    for task in TASKS
    for table, image in ((True, False), (False, False), (False, True))
]


def image(rows: int, task: Task = "multiclass") -> DataFacts:
    return DataFacts(rows, task, table=False, image=True)


def chosen(
    config: Config, facts: DataFacts, validation_given: bool = False
) -> tuple[ResolvedConfig, list[str]]:
    split, reasons = choose_split(config, facts, validation_given)
    resolved, more = choose_training(split, facts)
    return resolved, reasons + more
