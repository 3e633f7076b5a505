"""The environment variables of the trainer: paths, addresses and secrets.

They differ from machine to machine. The settings of a model (`trainer.config.schema`)
do not, and are stored in the artefact.
"""

from __future__ import annotations

import os

STORE = "GLASSNET_STORE"
SIGNING_KEY_FILE = "GLASSNET_SIGNING_KEY_FILE"
DATABASE_PASSWORD_FILE = "GLASSNET_DATABASE_PASSWORD_FILE"
METRICS_DIRECTORY = "GLASSNET_METRICS_DIRECTORY"
PUSHGATEWAY_URL = "GLASSNET_PUSHGATEWAY_URL"
WEBHOOK_URL = "GLASSNET_WEBHOOK_URL"
MLFLOW_TRACKING_TOKEN = "MLFLOW_TRACKING_TOKEN"
MLFLOW_TRACKING_USERNAME = "MLFLOW_TRACKING_USERNAME"
MLFLOW_TRACKING_PASSWORD = "MLFLOW_TRACKING_PASSWORD"

#: The help of every variable.
VARIABLES = {
    STORE: "Directory of models and versions, or s3://, gs:// or az://BUCKET/PREFIX.",
    SIGNING_KEY_FILE: "File of keys, one a line: the first signs, all are accepted.",
    DATABASE_PASSWORD_FILE: "File with the password of the database that DATA names.",
    METRICS_DIRECTORY: "Directory that node_exporter's textfile collector reads.",
    PUSHGATEWAY_URL: "Address of the Pushgateway that metrics are pushed to.",
    WEBHOOK_URL: "Receives a JSON object by POST when a run fails or the gate refuses "
    "its model.",
    MLFLOW_TRACKING_TOKEN: "Bearer token for the server of --track.",
    MLFLOW_TRACKING_USERNAME: "User of the server of --track, instead of a token.",
    MLFLOW_TRACKING_PASSWORD: "Password of that user.",
}


def read(variable: str) -> str | None:
    """Return the value of a variable, or None if it is unset or empty."""
    return os.environ.get(variable) or None
