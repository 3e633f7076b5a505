from __future__ import annotations

import pytest

from models.errors import ConfigError
from service.settings import (
    Address,
    Settings,
    from_environment,
    misspelt,
    parse_address,
    table,
)


def test_defaults_stand_where_nothing_is_given() -> None:
    assert from_environment({}) == Settings()
    assert from_environment({"PATH": "/bin", "PORT": "1"}) == Settings()


def test_the_environment_is_read_as_text() -> None:
    found = from_environment(
        {
            "GLASSNET_STORE": "/models",
            "GLASSNET_WORKERS": "3",
            "GLASSNET_POLL_SECONDS": "0.5",
            "GLASSNET_ACCESS_LOG": "none",
            "GLASSNET_LOG_LEVEL": "warning",
        }
    )
    assert found.store == "/models"
    assert (found.workers, found.poll_seconds) == (3, 0.5)
    assert (found.access_log, found.log_level) == ("none", "warning")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GLASSNET_WORKERS", "0"),
        ("GLASSNET_WORKERS", "many"),
        ("GLASSNET_POLL_SECONDS", "-1"),
        ("GLASSNET_LOG_LEVEL", "loud"),
        ("GLASSNET_ACCESS_LOG", "perhaps"),
        ("GLASSNET_BIND", "8080"),
        ("GLASSNET_BIND", "127.0.0.1"),
        ("GLASSNET_BIND", "127.0.0.1:99999"),
        ("GLASSNET_BIND", "::1:8080"),
        ("GLASSNET_BIND", "fd://3"),
        ("GLASSNET_BIND", "127.0.0.1:80,127.0.0.1:81"),
        ("GLASSNET_BIND", ""),
        ("GLASSNET_BIND", "unix:x"),
        ("AIP_HTTP_PORT", "70000"),
        ("AIP_PREDICT_ROUTE", "predict"),
        ("AIP_HEALTH_ROUTE", "/v1/<name>"),
    ],
)
def test_a_value_that_does_not_fit_is_named(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        from_environment({variable: value})


def test_an_address_is_a_host_and_port_or_a_path() -> None:
    assert parse_address("[::1]:8080") == Address("::1", 8080)
    assert parse_address("localhost:0") == Address("localhost", 0)
    assert parse_address(":80") == Address("", 80)
    assert parse_address("unix:/run/a:b") == Address("", 0, "/run/a:b")
    vertex = {"AIP_HTTP_PORT": "9000", "GLASSNET_BIND": "unix:/run/a"}
    assert from_environment(vertex).address == ":9000"


def test_what_vertex_sets_goes_before_what_the_image_sets() -> None:
    image = {"GLASSNET_BIND": "0.0.0.0:8080", "GLASSNET_STORE": "/store"}
    found = from_environment(image)
    assert (found.address, found.directory) == ("0.0.0.0:8080", "/store")
    vertex = {"AIP_HTTP_PORT": "9000", "AIP_STORAGE_URI": "/tmp/model"}
    found = from_environment({**image, **vertex, "AIP_MODE": "PREDICTION"})
    assert (found.address, found.directory) == ("0.0.0.0:9000", "/tmp/model")
    assert from_environment({**image, "AIP_STORAGE_URI": ""}).directory == "/store"


def test_a_misspelt_variable_is_told_and_a_strange_one_let_pass() -> None:
    found = list(misspelt({"GLASSNET_WORKER": "2", "GLASSNET_PORT_8080_TCP": "x"}))
    expected = "unknown setting GLASSNET_WORKER; did you mean 'GLASSNET_WORKERS'?"
    assert found == [expected]


def test_every_setting_has_a_name_and_help() -> None:
    rows = list(table())
    assert len(rows) == len(Settings.__struct_fields__)
    assert all(row.variable.isupper() and row.help.endswith(".") for row in rows)


def test_there_is_a_worker_for_each_processor_at_most() -> None:
    import os

    assert 1 <= Settings().workers <= (os.cpu_count() or 1)
