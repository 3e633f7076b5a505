"""Settings from a file, from `--set` and from options; a value that does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import ConfigError
from trainer.config.loading import load
from trainer.config.schema import NAME, Config, Setting, settings


def value(config: Config, key: str) -> object:
    found: object = config
    for part in key.split("."):
        found = getattr(found, part)
    return found


def refused(*assignments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(None, assignments, {})
    return str(caught.value)


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "fit.toml"
        path.write_text(text, "utf-8")
        return path

    return write


@pytest.mark.parametrize("setting", list(settings()), ids=lambda setting: setting.key)
def test_the_example_of_a_setting_can_be_given(setting: Setting) -> None:
    load(None, (f"{setting.key}={setting.example}",), {})


def test_a_value_of_another_type_is_answered_with_an_example() -> None:
    assert refused("network.hidden=256,128").endswith(
        "; for example --set 'network.hidden=[64]'"
    )


def test_nothing_given_is_the_defaults() -> None:
    config = load(None, (), {})
    assert config == Config()
    single = [setting for setting in settings() if NAME not in setting.key]
    assert {s.key: value(config, s.key) for s in single} == {
        s.key: s.default for s in single
    }
    assert config.seed == 42


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("network.hidden=[256, 128]", "network.hidden", [256, 128]),
        ("network.hidden=[]", "network.hidden", []),
        ("network.activation=gelu", "network.activation", "gelu"),
        ('network.activation="gelu"', "network.activation", "gelu"),
        ("network.batch_norm=true", "network.batch_norm", True),
        ("network.dropout=0", "network.dropout", 0.0),
        ("network.architecture=mlp", "network.architecture", "mlp"),
        ("ensemble.members=3", "ensemble.members", 3),
        ("train.beta2=0.9", "train.beta2", 0.9),
        ("train.weight_decay=0", "train.weight_decay", 0.0),
        ("train.regularization=flat_cosine", "train.regularization", "flat_cosine"),
        ("train.optimizer=adam", "train.optimizer", "adam"),
        ("train.learning_rate=1e-3", "train.learning_rate", 0.001),
        ("train.learning_rate = 1", "train.learning_rate", 1.0),
        ("train.batch_size=128", "train.batch_size", 128),
        ("train.clip_norm=1", "train.clip_norm", 1.0),
        ("data.validation_fraction=0", "data.validation_fraction", 0.0),
        ("train.class_weights=balanced", "train.class_weights", "balanced"),
        (
            "train.class_weights={yes = 10, 'a b' = 0.5, 7 = 1}",
            "train.class_weights",
            {"yes": 10.0, "a b": 0.5, "7": 1.0},
        ),
        ("data.split=grouped", "data.split", "grouped"),
        ("data.group=customer", "data.group", "customer"),
        ('data.time="2024"', "data.time", "2024"),
        ("data.weight=times seen", "data.weight", "times seen"),
        ("data.findings=stop", "data.findings", "stop"),
        ("runtime.threads=2", "runtime.threads", 2),
        ("seed=7", "seed", 7),
    ],
)
def test_set_reaches_a_setting_by_its_dotted_name(
    text: str, key: str, expected: object
) -> None:
    found = value(load(None, [text], {}), key)
    assert found == expected and type(found) is type(expected)


def test_toml_reaches_the_same_settings(toml: Callable[[str], Path]) -> None:
    path = toml("seed = 7\n[network]\nhidden = [8]\n[train]\noptimizer = 'adam'\n")
    config = load(path, (), {})
    assert (config.seed, config.network.hidden) == (7, [8])
    assert config.train.optimizer == "adam"
    assert load(toml("train.epochs = 3"), (), {}).train.epochs == 3


def test_a_table_of_weights_is_one_setting(toml: Callable[[str], Path]) -> None:
    for text in (
        "[train.class_weights]\nyes = 2\n",
        "[train]\nclass_weights = {yes = 2}\n",
        "train.class_weights.yes = 2\n",
    ):
        assert load(toml(text), (), {}).train.class_weights == {"yes": 2.0}
    path = toml("train.class_weights = {yes = 2, no = 1}\n")
    found = load(path, ["train.class_weights={no = 3}"], {}).train
    assert found.class_weights == {"no": 3.0}


def test_set_goes_over_the_file_and_options_over_both(
    toml: Callable[[str], Path],
) -> None:
    path = toml("seed = 1\ntrain.epochs = 1\ntrain.batch_size = 1\n")
    config = load(path, ["train.epochs=2", "seed=2"], {"seed": 3, "train.epochs": None})
    assert config.train.batch_size == 1
    assert config.train.epochs == 2
    assert config.seed == 3


def test_the_later_set_wins() -> None:
    assert load(None, ["seed=1", "seed=2"], {}).seed == 2


@pytest.mark.parametrize("word", ["null", "none"])
def test_null_takes_a_setting_back(word: str, toml: Callable[[str], Path]) -> None:
    path = toml("train.clip_norm = 1.0\nnetwork.hidden = [8]\n")
    config = load(path, [f"train.clip_norm={word}", f"network.hidden={word}"], {})
    assert config.train.clip_norm is None
    assert config.network.hidden is None


def test_null_is_refused_where_there_must_be_a_value() -> None:
    assert "setting 'train.momentum'" in refused("train.momentum=null")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("train.learningrate=1", "train.learning_rate"),
        ("train.epoch=1", "train.epochs"),
        ("network.hiden=[1]", "network.hidden"),
        ("Seed=1", "seed"),
    ],
)
def test_an_unknown_key_names_the_nearest(text: str, hint: str) -> None:
    key = text.partition("=")[0]
    assert refused(text) == f"there is no setting '{key}'; did you mean '{hint}'?"


def test_a_key_like_none_gets_no_suggestion() -> None:
    assert refused("xyzzy=1") == "there is no setting 'xyzzy'"
    assert refused("=1") == "there is no setting ''"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("train.optimizer=adm", "adam"),
        ("train.schedule=cosin", "cosine"),
        ("network.activation=rellu", "relu"),
        ("train.class_weights=balance", "balanced"),
        ("data.split=groups", "grouped"),
        ("data.findings=stopp", "stop"),
    ],
)
def test_a_bad_word_names_the_nearest(text: str, hint: str) -> None:
    key, _, word = text.partition("=")
    message = refused(text)
    assert message.startswith(f"setting '{key}'")
    assert f"'{word}'; did you mean '{hint}'?" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.learning_rate=fast", "`float | null`, got `str`"),
        ("train.learning_rate=0", "`float` > 0"),
        ("train.learning_rate=-1", "`float` > 0"),
        ("train.learning_rate=nan", "`float` > 0"),
        ("train.learning_rate=inf", "`float` <= 1"),
        ("train.weight_decay=nan", "`float` >= 0"),
        ("train.momentum=1", "`float` < 1"),
        ("train.epochs=0", "`int` >= 1"),
        ("train.epochs=1.5", "`int | null`, got `float`"),
        ("train.batch_size=many", "`int | null`, got `str`"),
        ("network.hidden=256", "`array | null`, got `int`"),
        ("network.hidden=[0]", "`int` >= 1"),
        ("network.batch_norm=1", "`bool | null`, got `int`"),
        ("network.dropout=1", "`float` < 1"),
        ("data.test_fraction=1", "`float` < 1"),
        ("data.test_fraction=-0.1", "`float` >= 0"),
        ("runtime.threads=0", "`int` >= 1"),
        ("train.class_weights=2", "`str | object | null`, got `int`"),
        ("train.class_weights={a = 0}", "`float` > 0"),
        ("train.class_weights={a = 'b'}", "`float`, got `str`"),
        ("data.group=''", "length >= 1"),
        ("data.group=7", "`str | null`, got `int`"),
        ("seed=-1", "`int` >= 0"),
        ("train.schedule=", "setting 'train.schedule'"),
    ],
)
def test_a_bad_value_names_the_setting_and_what_fits(text: str, expected: str) -> None:
    message = refused(text)
    assert message.startswith(f"setting '{text.partition('=')[0]}")
    assert expected in message


def test_set_without_an_equals_sign_is_told() -> None:
    assert refused("train.epochs") == "--set takes key=value, not 'train.epochs'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[train]\nepoch = 1\n", "did you mean 'train.epochs'?"),
        ("[trian]\nepochs = 1\n", "did you mean 'train.epochs'?"),
        ("train = 5\n", "there is no setting 'train'"),
        ("train.epochs = 'x'\n", "setting 'train.epochs'"),
        ("train.epochs = \n", "fit.toml: "),
    ],
)
def test_a_bad_file_is_told(
    text: str, expected: str, toml: Callable[[str], Path]
) -> None:
    with pytest.raises(ConfigError, match=r".") as caught:
        load(toml(text), (), {})
    assert expected in str(caught.value)


def test_an_absent_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such config file"):
        load(tmp_path / "none.toml", (), {})


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "fit.toml"
    path.write_bytes(b"seed = 1 # \xff\n")
    with pytest.raises(ConfigError, match=r"fit\.toml"):
        load(path, (), {})
