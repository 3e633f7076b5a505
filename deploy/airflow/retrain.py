"""Airflow 3: train every night; a version that the gate refuses is a skipped task."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

FIT = "trainer fit docs/customers.csv --target churned --model churn"

with DAG("retrain", schedule="0 3 * * *", catchup=False, max_active_runs=1) as dag:
    # Wrong usage (2) is not worth a second try, but Airflow knows one such code only.
    BashOperator(
        task_id="fit",
        bash_command=FIT,
        cwd="/srv/glassnet",
        append_env=True,
        skip_on_exit_code=3,
        retries=1,
        execution_timeout=timedelta(hours=2),
    )
