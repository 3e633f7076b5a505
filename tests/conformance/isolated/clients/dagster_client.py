"""Run the recipe of Dagster for some commands; print how each materialization ended."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any

import dagster


def main(facts: dict[str, Any]) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("retrain", facts["recipe"])
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    recipe.FOLDER = facts["folder"]

    @dagster.asset(deps=[recipe.churn])
    def after() -> None:
        """Depend on the model."""

    found: dict[str, Any] = {"ends": {}}
    (schedule,) = recipe.definitions.schedules
    found["cron"] = schedule.cron_schedule
    for name, command in facts["commands"].items():
        recipe.FIT = command
        result = dagster.materialize([recipe.churn, after], raise_on_error=False)
        made = [
            e.asset_key.to_user_string()
            for e in result.get_asset_materialization_events()
        ]
        found["ends"][name] = {"success": result.success, "made": made}
    return found


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
