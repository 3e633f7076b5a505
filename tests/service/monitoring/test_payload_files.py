"""Logged predictions as Parquet files, and as rows to learn from."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from flask.testing import FlaskClient

from models.errors import ConfigError
from service import create_app
from service.monitoring import payload_files
from service.monitoring.payload_files import PayloadFiles
from service.settings import Settings

ROW = {"income": None, "home": "rent", "member": True, "since": "2024-05-01"}
ROW |= {"children": 2}


def client(served: Path, folder: Path, redact: str = "") -> tuple[FlaskClient, Any]:
    app = create_app(
        Settings(
            store=str(served),
            payload_share=1.0,
            payload_folder=str(folder),
            payload_redact=redact,
        )
    )
    files = app.extensions["glassnet"].log_payload.files
    files.start()
    return app.test_client(), files


def ask(client: FlaskClient, model: str, request_id: str, *rows: Any) -> list[Any]:
    reply = client.post(
        f"/v1/models/{model}:predict",
        json={"instances": rows},
        headers={"X-Request-Id": request_id},
    )
    assert reply.status_code == 200
    return list(reply.get_json()["predictions"])


def test_a_file_has_rows_answers_and_ids_but_no_redacted_column(
    served: Path, tmp_path: Path
) -> None:
    asked, files = client(served, tmp_path, "income, home")
    (first,) = ask(asked, "people", "r1", ROW)
    others = ask(asked, "people", "r2", ROW, {**ROW, "since": None, "children": 0})
    files.stop()
    (file,) = (tmp_path / "people").iterdir()
    assert file.name.startswith("1-") and file.suffix == ".parquet"
    frame = pl.read_parquet(file)
    assert set(frame.columns) == {
        *("member", "since", "children"),
        *("glassnet_id", "glassnet_time", "glassnet_version"),
        *("glassnet_label", "glassnet_probabilities"),
    }
    assert frame["glassnet_id"].to_list() == ["r1", "r2/0", "r2/1"]
    assert frame["member"].to_list() == [True] * 3
    assert frame["since"].to_list() == [datetime(2024, 5, 1)] * 2 + [None]
    assert frame["children"].to_list() == [2.0, 2.0, 0.0]
    answers = [first, *others]
    assert frame["glassnet_label"].to_list() == [a["label"] for a in answers]
    for found, answer in zip(frame["glassnet_probabilities"], answers, strict=True):
        assert [*found] == pytest.approx(answer["probabilities"], abs=1e-6)
    age = datetime.now(UTC) - frame["glassnet_time"][0]
    assert abs(age.total_seconds()) < 600


def test_images_stay_in_the_log(
    served: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked, files = client(served, tmp_path)
    with caplog.at_level(logging.INFO, "glassnet.payload"):
        ask(asked, "digits", "r1", [[0.0] * 8] * 8)
    files.stop()
    assert [r.message for r in caplog.records if r.name == "glassnet.payload"]
    assert not any(tmp_path.iterdir())


def test_rows_that_cannot_be_kept_are_told(
    served: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(payload_files, "WAITING", 2)
    (tmp_path / "people").write_text("no folder")
    asked, files = client(served, tmp_path)
    ask(asked, "people", "r1", ROW, ROW)
    ask(asked, "people", "r2", ROW)
    files.stop()
    assert "1 rows were not logged: too many at once" in caplog.text
    assert "2 rows were not logged: File exists" in caplog.text


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'glassnet\[payload\]'"):
        PayloadFiles("folder", frozenset(), 1.0)
