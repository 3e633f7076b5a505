"""One network by one command, and the version that is made of them all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import Result

from models.errors import ConfigError
from models.storage.directory import DirectoryStore as Store
from trainer.engines.blas import Blas
from trainer.members import MemberNumber
from trainer.training import member

Run = Callable[..., Result]
THREE = ("ensemble.members=3", "train.epochs=3", "network.hidden=[8]")


@pytest.fixture
def fit(command: Run, people_csv: Path) -> Run:
    """Run `trainer fit` with three small networks."""

    def fit(
        *options: str,
        settings: tuple[str, ...] = THREE,
        code: int = 0,
        data: Path = people_csv,
    ) -> Result:
        sets = [text for setting in settings for text in ("--set", setting)]
        arguments = ("--target", "Status", "--model", "m", "--promote", "always")
        return command("fit", str(data), *arguments, *sets, *options, code=code)

    return fit


def test_networks_of_separate_commands_make_the_bytes_of_one(
    fit: Run, command: Run, store: Store
) -> None:
    whole = json.loads(fit("--json").stdout)
    for number in (3, 1, 2):
        fitted = json.loads(fit("--member", f"{number}/3", "--json").stdout)
        assert (fitted["member"], fitted["members"], fitted["epochs"]) == (number, 3, 3)
        assert store.versions("m") == [1]
    made = json.loads(command("assemble", "m", "--promote", "always", "--json").stdout)
    assert (made["version"], made["sha256"]) == (2, whole["sha256"])
    assert not list((store.root / "m").glob(".checkpoint-*"))


def test_networks_with_files_of_their_own_make_the_bytes_of_one_command(
    fit: Run, command: Run, people_csv: Path, tmp_path: Path
) -> None:
    people = pl.read_csv(people_csv, infer_schema_length=None)
    for number in range(4):
        people[number::4].write_parquet(tmp_path / f"{number}.parquet")
    own = {"settings": (*THREE, "data.partitions=members"), "data": tmp_path}
    whole = json.loads(fit("--json", **own).stdout)
    for number in (2, 3, 1):
        fit("--member", f"{number}/3", **own)
    made = json.loads(command("assemble", "m", "--promote", "always", "--json").stdout)
    assert (made["version"], made["sha256"]) == (2, whole["sha256"])


def test_a_network_that_is_there_is_not_fitted_again(fit: Run) -> None:
    first = fit("--member", "2/3")
    assert "make a version of all with trainer assemble m" in first.output
    assert "network 2 of 3 is fitted already" in fit("--member", "2/3").output


def test_the_missing_networks_are_named(fit: Run, command: Run, store: Store) -> None:
    fit("--member", "2/3")
    failed = command("assemble", "m", code=1)
    assert "2 of 3 networks have not been fitted" in failed.output
    assert "--member 1/3" in failed.output and "(missing: 1, 3)" in failed.output
    assert not store.versions("m")


def test_networks_of_other_settings_are_not_taken(fit: Run, command: Run) -> None:
    for number in (1, 2, 3):
        fit("--member", f"{number}/3")
    fit("--member", "1/3", settings=(*THREE, "train.learning_rate=0.001"))
    assert "(missing: 2, 3)" in command("assemble", "m", code=1).output


def test_a_damaged_network_is_missing(fit: Run, command: Run, store: Store) -> None:
    for number in (1, 2, 3):
        fit("--member", f"{number}/3")
    (file,) = (store.root / "m").glob(".checkpoint-*/2.fitted")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert "(missing: 2)" in command("assemble", "m", code=1).output


def test_networks_of_different_kernels_are_refused(
    fit: Run, command: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, kernel in ((1, "Haswell"), (2, "Zen"), (3, "Haswell")):
        blas = Blas("openblas", "0.3", kernel, 1)
        monkeypatch.setattr(member, "find_blas", lambda blas=blas: blas)
        fit("--member", f"{number}/3")
    failed = command("assemble", "m", code=1)
    assert "different BLAS kernels" in failed.output
    assert "Haswell" in failed.output and "Zen" in failed.output
    assert not store.versions("m")


def test_the_number_of_networks_must_be_that_of_the_run(fit: Run) -> None:
    failed = fit("--member", "3/8", code=2)
    assert "--member 3/8: this run has 3 networks, not 8" in failed.output


def test_nothing_to_assemble_is_said(command: Run) -> None:
    failed = command("assemble", "m", code=1)
    assert "no network of m waits in" in failed.output


@pytest.mark.parametrize("text", ["0/8", "9/8", "3", "3/", "-1/8", "a/b", "3/8/9", ""])
def test_a_member_is_a_number_of_a_number(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a network as 3/8"):
        MemberNumber.parse(text)
    assert MemberNumber.parse("3/8") == (3, 8)


def test_the_arguments_of_a_run_survive(fit: Run, command: Run, store: Store) -> None:
    options = ("--seed", "7")
    whole = json.loads(fit(*options, "--json").stdout)
    for number in (1, 2, 3):
        fit(*options, "--member", f"{number}/3")
    made = json.loads(command("assemble", "m", "--promote", "always", "--json").stdout)
    assert made["sha256"] == whole["sha256"] and made["config"]["seed"] == 7
