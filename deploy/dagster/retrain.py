"""Dagster: train every night; without a promotion there is no new materialization."""

import json
import subprocess
from collections.abc import Iterator

import dagster

FOLDER = "/srv/glassnet"
FIT = "trainer fit docs/customers.csv --target churned --model churn --json"
DONE, REFUSED = 0, 3


@dagster.asset(output_required=False)
def churn(
    context: dagster.AssetExecutionContext,
) -> Iterator[dagster.MaterializeResult]:
    """The version that is in production."""
    done = subprocess.run(
        FIT.split(), cwd=FOLDER, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode not in (DONE, REFUSED):
        raise dagster.Failure(f"trainer fit: exit code {done.returncode}")
    result = json.loads(done.stdout)
    if done.returncode == REFUSED:
        context.log.warning(result["reason"])
        return  # what depends on the asset is skipped
    yield dagster.MaterializeResult(
        metadata={"version": result["version"], "reason": result["reason"]}
    )


retrain = dagster.define_asset_job("retrain", selection=[churn])
definitions = dagster.Definitions(
    assets=[churn],
    jobs=[retrain],
    schedules=[dagster.ScheduleDefinition(job=retrain, cron_schedule="0 3 * * *")],
)
