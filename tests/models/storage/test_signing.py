"""Who made a model: signed by one key, accepted under several, by nothing else."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigError, SignatureInvalid
from models.storage.base import ARTEFACT
from models.storage.directory import DirectoryStore as Store
from models.storage.signing import MAX_SIGNATURE_BYTES, SIGNATURE, Keys

OLD, NEW = b"o" * 32, b"n" * 64
SHA256 = hashlib.sha256(b"model").hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_bytes(OLD + b"\n")
    return path


@pytest.fixture
def store(tmp_path: Path, file: Path) -> Store:
    return Store(tmp_path / "store", str(file))


# Keys


def test_a_signature_is_the_hmac_of_name_and_digest() -> None:
    found = Keys((NEW,)).sign("m", SHA256)
    expected = hmac.new(NEW, f"glassnet model m {SHA256}".encode(), hashlib.sha256)
    assert found == f"hmac-sha256 {expected.hexdigest()}\n".encode()


def test_openssl_makes_the_same_signature(tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_text(f"glassnet model m {SHA256}")
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt"]
    done = subprocess.run(
        [*command, f"key:{OLD.decode()}", str(message)],
        capture_output=True,
        text=True,
        check=True,
    )
    made = done.stdout.split("= ")[1].strip()
    assert Keys((OLD,)).sign("m", SHA256).decode().split() == ["hmac-sha256", made]


def test_the_first_signs_and_all_accept() -> None:
    both = Keys((NEW, OLD))
    assert both.sign("m", SHA256) == Keys((NEW,)).sign("m", SHA256)
    for key in OLD, NEW:
        assert both.accept("m", SHA256, Keys((key,)).sign("m", SHA256))
    assert not Keys((OLD,)).accept("m", SHA256, both.sign("m", SHA256))


@given(st.binary(max_size=100))
def test_nothing_else_is_a_signature(signature: bytes) -> None:
    assert not Keys((NEW, OLD)).accept("m", SHA256, signature)


def test_a_signature_is_of_one_name_and_one_digest() -> None:
    keys = Keys((OLD,))
    signature = keys.sign("m", SHA256)
    assert not keys.accept("n", SHA256, signature)
    assert not keys.accept("m", SHA256[::-1], signature)
    assert not keys.accept("m", SHA256, signature[:-2])
    assert not keys.accept("m", SHA256, signature.split()[1])


def test_a_file_holds_a_key_a_line(file: Path) -> None:
    file.write_bytes(NEW + b"\r\n\n  " + OLD)
    assert Keys.read(file).keys == (NEW, OLD)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected keys, one a line, found none"),
        (b"\n \n", "expected keys, one a line, found none"),
        (OLD + b"\nshort", "line 2: a key has 32 characters or more, this one 5"),
        (b"s" * 31, "line 1: a key has 32 characters or more, this one 31"),
    ],
)
def test_a_weak_or_missing_key_is_told(
    content: bytes, expected: str, file: Path
) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Keys.read(file)
    assert str(caught.value).startswith(f"{file}") and expected in str(caught.value)
    assert "short" not in str(caught.value) and "sss" not in str(caught.value)


def test_keys_are_not_shown() -> None:
    assert "nnnn" not in repr(Keys((NEW,)))


# The store


def refused(store: Store, name: str = "m", version: int = 1) -> str:
    with pytest.raises(SignatureInvalid) as caught:
        store.load(name, version)
    return str(caught.value)


def test_what_is_published_is_signed_and_loads(store: Store, made: Any) -> None:
    content = made.dump()
    assert store.publish("m", {ARTEFACT: content}) == 1
    signature = store.path("m", 1).with_name(SIGNATURE)
    sha256 = hashlib.sha256(content).hexdigest()
    assert signature.read_bytes() == Keys((OLD,)).sign("m", sha256)
    # Its bytes, and so its identity, are those of an unsigned one.
    assert store.path("m", 1).read_bytes() == content
    assert store.load("m", 1).sha256 == sha256
    assert Store(store.root).load("m", 1).sha256 == sha256


def test_what_is_not_signed_is_refused(store: Store, made: Any) -> None:
    Store(store.root).publish("m", {ARTEFACT: made.dump()})
    assert refused(store) == f"{store.path('m', 1)}: it is not signed"
    assert not store.path("m", 1).with_name(SIGNATURE).exists()


def test_another_model_or_key_is_refused(store: Store, made: Any, file: Path) -> None:
    store.publish("m", {ARTEFACT: made.dump()})
    signature = store.path("m", 1).with_name(SIGNATURE)
    for content in (
        b"",
        b"hmac-sha256 ",
        b"x" * 2 * MAX_SIGNATURE_BYTES,
        NEW,
        b"\xff\n",
    ):
        genuine = signature.read_bytes()
        signature.write_bytes(content)
        assert refused(store) == (
            f"{store.path('m', 1)}: its signature is by no key in {file}"
        )
        signature.write_bytes(genuine)
    store.load("m", 1)
    (store.root / "m").rename(store.root / "n")
    assert "by no key" in refused(store, "n")


def test_a_changed_file_is_refused_before_it_is_looked_at(
    store: Store, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish("m", {ARTEFACT: made.dump()})
    # Whole, and by whoever can write to the store: only its maker's key is missing.
    store.path("m", 1).write_bytes(made.dump(target="other"))
    monkeypatch.setattr(
        "models.storage.artefact.load", lambda data: pytest.fail("parsed")
    )
    assert "by no key" in refused(store)


def test_a_key_is_changed_without_a_gap(store: Store, made: Any, file: Path) -> None:
    trainer_file = file.with_name("trainer")
    trainer_file.write_bytes(OLD)
    trainer = Store(store.root, str(trainer_file))
    trainer.publish("m", {ARTEFACT: made.dump()})
    steps = [  # the service's keys, the trainer's
        (OLD + b"\n" + NEW, OLD),
        (OLD + b"\n" + NEW, NEW + b"\n" + OLD),
        (NEW + b"\n" + OLD, NEW),
    ]
    for service_keys, trainer_keys in steps:
        file.write_bytes(service_keys)
        trainer_file.write_bytes(trainer_keys)
        version = trainer.publish("m", {ARTEFACT: made.dump()})
        for each in range(1, version + 1):
            store.load("m", each)
    file.write_bytes(NEW)
    assert "by no key" in refused(store, "m", 1)
    store.load("m", 4)


def test_without_its_key_file_nothing_is_published_or_loaded(
    store: Store, made: Any, file: Path
) -> None:
    store.publish("m", {ARTEFACT: made.dump()})
    file.unlink()
    for call in (
        lambda: store.load("m", 1),
        lambda: store.publish("m", {ARTEFACT: made.dump()}),
    ):
        with pytest.raises(FileNotFoundError):
            call()
    assert store.versions("m") == [1]


def test_a_stamp_changes_with_what_a_load_depends_on(
    store: Store, made: Any, file: Path
) -> None:
    store.publish("m", {ARTEFACT: made.dump()})
    stamps = [store.stamp("m", 1)]
    assert store.stamp("m", 1) == stamps[0]
    for path in (file, store.path("m", 1).with_name(SIGNATURE), store.path("m", 1)):
        path.write_bytes(path.read_bytes() + b"\n")
        stamps.append(store.stamp("m", 1))
    path.unlink()
    stamps.append(store.stamp("m", 1))
    assert len(set(stamps)) == 5
