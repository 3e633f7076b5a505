"""Run the task of Airflow's recipe for some commands; print how each ended."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from typing import Any

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp()

from airflow.exceptions import AirflowException
from airflow.sdk.exceptions import AirflowSkipException


def main(facts: dict[str, Any]) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("retrain", facts["recipe"])
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    task = recipe.dag.get_task("fit")
    task.cwd = facts["folder"]
    found: dict[str, Any] = {"cron": recipe.dag.schedule, "ends": {}}
    for name, command in facts["commands"].items():
        task.bash_command = command
        try:
            task.execute({})
            end = "success"
        except AirflowSkipException:
            end = "skipped"
        except AirflowException:
            end = "failed"
        found["ends"][name] = end
    return found


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
