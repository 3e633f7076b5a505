"""What is asked and answered, logged for a share of the requests."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service import create_app
from service.monitoring.payload_log import MAX_ROWS, REDACTED
from service.server.json_logging import JsonFormatter
from service.settings import Settings

ROW = {"income": None, "home": "rent", "member": True, "since": "2024-05-01"}
ROW |= {"children": 2}


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    found = [r for r in caplog.records if r.name == "glassnet.payload"]
    assert all("payload" in JsonFormatter().format(record) for record in found)
    return [vars(record) for record in found]


def client(served: Path, **settings: Any) -> FlaskClient:
    return create_app(Settings(store=str(served), **settings)).test_client()


def ask(client: FlaskClient, model: str, *rows: Any, status: int = 200) -> Any:
    reply = client.post(
        f"/v1/models/{model}:predict",
        json={"instances": rows},
        headers={"X-Request-Id": "r1"},
    )
    assert reply.status_code == status
    return reply.get_json()


def test_a_line_has_rows_and_answers_but_no_redacted_column(
    served: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = client(served, payload_share=1.0, payload_redact="home, since")
    with caplog.at_level(logging.INFO, "glassnet.payload"):
        (answer,) = ask(asked, "people", ROW)["predictions"]
    (line,) = lines(caplog)
    assert (line["model"], line["version"], line["rows"]) == ("people", 1, 1)
    assert line["request_id"] == "r1"
    assert line["inputs"]["home"] == line["inputs"]["since"] == REDACTED
    assert (line["inputs"]["member"], line["inputs"]["children"]) == ([1.0], [2.0])
    assert line["outputs"]["label"] == [answer["label"]]
    assert line["outputs"]["probabilities"] == [answer["probabilities"]]
    assert '"income":[null]' in JsonFormatter().format(caplog.records[-1])
    assert "rent" not in caplog.text and "rent" not in str(line)


def test_a_line_has_so_many_rows_at_most(
    served: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "glassnet.payload"):
        ask(client(served, payload_share=1.0), "digits", *[[0] * 64] * (MAX_ROWS + 1))
    (line,) = lines(caplog)
    assert line["rows"] == MAX_ROWS + 1
    assert len(line["inputs"]["x"]) == len(line["outputs"]["label"]) == MAX_ROWS


@pytest.mark.parametrize(("share", "least", "most"), [(0, 0, 0), (0.5, 20, 80)])
def test_it_is_a_share_and_none_unless_asked(
    served: Path,
    caplog: pytest.LogCaptureFixture,
    share: float,
    least: int,
    most: int,
) -> None:
    asked = client(served, payload_share=share) if share else client(served)
    with caplog.at_level(logging.INFO, "glassnet.payload"):
        for _ in range(100):
            ask(asked, "xor", [0, 1])
        ask(asked, "xor", ["no"], status=400)
    assert least <= len(lines(caplog)) <= most
