"""Settings of columns, by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ConfigError
from trainer.config.data import ColumnConfig
from trainer.config.loading import load


def test_columns_have_settings_by_their_names(tmp_path: Path) -> None:
    given = (
        "data.columns.age.kind=numeric",
        "data.columns.first.name.kind=categorical",
        "data.columns.since.format=%d/%m/%Y",
        "data.columns.age.missing=['-9', 'x']",
        "data.ignore=['id']",
    )
    data = load(None, given, {}).data
    assert data.columns["age"] == ColumnConfig(kind="numeric", missing=["-9", "x"])
    assert data.columns["first.name"].kind == "categorical"
    assert data.columns["since"].format == "%d/%m/%Y"
    assert data.ignore == ["id"]
    file = tmp_path / "fit.toml"
    file.write_text('[data.columns.age]\nkind = "numeric"\nmissing = ["-9", "x"]\n')
    assert load(file, (), {}).data.columns == {"age": data.columns["age"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "data.columns.age.kin=numeric",
            "there is no setting 'data.columns.age.kin'; did you mean "
            "'data.columns.age.kind'?",
        ),
        (
            "data.columns.age.kind=number",
            "setting 'data.columns.NAME.kind': expected boolean or categorical or "
            "datetime or numeric, found 'number'; did you mean 'numeric'?",
        ),
        ("data.columns.age=numeric", "there is no setting 'data.columns.age'"),
    ],
)
def test_a_wrong_setting_of_a_column_is_told(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, (text,), {})
    assert str(caught.value).startswith(message)
