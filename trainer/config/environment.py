"""What the trainer takes from its environment: where things are, and secrets.

The settings of a model (`trainer.config.schema`) are stored in the artefact. What is
here differs from machine to machine, and some of it is secret.
"""

from __future__ import annotations

import os

STORE = "GLASSNET_STORE"
SIGNING_KEY_FILE = "GLASSNET_SIGNING_KEY_FILE"
DATABASE_PASSWORD_FILE = "GLASSNET_DATABASE_PASSWORD_FILE"
METRICS_DIRECTORY = "GLASSNET_METRICS_DIRECTORY"
PUSHGATEWAY_URL = "GLASSNET_PUSHGATEWAY_URL"
WEBHOOK_URL = "GLASSNET_WEBHOOK_URL"

#: Every variable, with its help.
VARIABLES = {
    STORE: "Directory of models and versions.",
    SIGNING_KEY_FILE: "Keys, one a line: the first signs, all are accepted.",
    DATABASE_PASSWORD_FILE: "Password of the database that DATA names.",
    METRICS_DIRECTORY: "Where node_exporter's textfile collector looks.",
    PUSHGATEWAY_URL: "Pushgateway that the metrics are pushed to.",
    WEBHOOK_URL: "Gets a JSON object by POST when a run fails or its model is refused.",
}


def read(variable: str) -> str | None:
    """Return what a variable says; an empty one says nothing."""
    return os.environ.get(variable) or None
