from __future__ import annotations

import pytest

from models.errors import ConfigError
from service.settings import Settings, from_environment, misspelt, table


def test_defaults_stand_where_nothing_is_given() -> None:
    assert from_environment({}) == Settings()
    assert from_environment({"PATH": "/bin", "PORT": "1"}) == Settings()


def test_the_environment_is_read_as_text() -> None:
    found = from_environment(
        {
            "GLASSNET_STORE": "/models",
            "GLASSNET_WORKERS": "3",
            "GLASSNET_POLL_SECONDS": "0.5",
            "GLASSNET_ACCESS_LOG": "false",
            "GLASSNET_LOG_LEVEL": "warning",
        }
    )
    assert found.store == "/models"
    assert (found.workers, found.poll_seconds) == (3, 0.5)
    assert (found.access_log, found.log_level) == (False, "warning")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GLASSNET_WORKERS", "0"),
        ("GLASSNET_WORKERS", "many"),
        ("GLASSNET_POLL_SECONDS", "-1"),
        ("GLASSNET_LOG_LEVEL", "loud"),
        ("GLASSNET_ACCESS_LOG", "perhaps"),
    ],
)
def test_a_value_that_does_not_fit_is_named(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        from_environment({variable: value})


def test_a_misspelt_variable_is_told_and_a_strange_one_let_pass() -> None:
    found = list(misspelt({"GLASSNET_WORKER": "2", "GLASSNET_PORT_8080_TCP": "x"}))
    assert found == ["there is no GLASSNET_WORKER; did you mean 'GLASSNET_WORKERS'?"]


def test_every_setting_has_a_name_and_help() -> None:
    rows = list(table())
    assert len(rows) == len(Settings.__struct_fields__)
    assert all(row.variable.isupper() and row.help.endswith(".") for row in rows)


def test_there_is_a_worker_for_each_processor_at_most() -> None:
    import os

    assert 1 <= Settings().workers <= (os.cpu_count() or 1)
