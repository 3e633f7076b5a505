"""A file of results appears whole, and its writer has it alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.storage.bucket import Bucket
from trainer.data.results import appearing, read_note


def test_a_file_appears_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with appearing(out) as temporary:
        temporary.write_text("whole")
        assert not out.exists()
    assert out.read_text() == "whole" and [*tmp_path.iterdir()] == [out]


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")
    with pytest.raises(ZeroDivisionError), appearing(out) as temporary:
        raise ZeroDivisionError(temporary.write_text("half"))
    assert out.read_text() == "old" and [*tmp_path.iterdir()] == [out]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with (
        appearing(out),
        pytest.raises(BlockingIOError),
        appearing(out),
    ):
        pass


@pytest.mark.cloud
def test_an_object_appears_at_the_end_with_its_note(bucket: str) -> None:
    out = f"{bucket}/folder/out.csv"
    with pytest.raises(ZeroDivisionError), appearing(out, "first"):
        raise ZeroDivisionError
    assert read_note(out) == "" and Bucket(bucket).entries("") == []
    with appearing(out, "second") as temporary:
        temporary.write_text("whole")
    found = Bucket(bucket).get("folder/out.csv", 10)
    assert found and found.content == b"whole" and read_note(out) == "second"


def test_an_error_names_the_file_asked_for(tmp_path: Path) -> None:
    out = tmp_path / ("x" * 252)  # with its hidden name's ends it is too long
    with pytest.raises(OSError, match="name too long") as error, appearing(out):
        pass
    assert error.value.filename == str(out)
