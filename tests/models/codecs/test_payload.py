from __future__ import annotations

from models.codecs.payload import row_id


def test_only_rows_of_many_have_a_number() -> None:
    assert row_id("r", 0, 1) == "r"
    assert [row_id("r", i, 2) for i in range(2)] == ["r/0", "r/1"]
