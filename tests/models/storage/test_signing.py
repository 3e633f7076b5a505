"""Who made a model: signed by one key, accepted under several, by nothing else."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigError, SignatureInvalid
from models.storage.base import ARTEFACT, REPORT, RUN
from models.storage.directory import DirectoryStore as Store
from models.storage.signing import MAX_SIGNATURE_BYTES, SIGNATURE, Keys
from tests.private import write_secret

OLD, NEW = b"o" * 32, b"n" * 64
SHA256 = hashlib.sha256(b"model").hexdigest()
DIGESTS = {"model.npz": SHA256, "run.json": SHA256[::-1]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    write_secret(path, OLD + b"\n")
    return path


@pytest.fixture
def store(tmp_path: Path, file: Path) -> Store:
    return Store(tmp_path / "store", str(file))


# Keys


def test_a_signature_is_the_hmac_of_name_version_and_listing() -> None:
    mac, listing = Keys((NEW,)).sign("m", 3, DIGESTS).split(b"\n", 1)
    assert listing == f"{SHA256}  model.npz\n{SHA256[::-1]}  run.json\n".encode()
    message = b"glassnet version m 3\n" + listing
    expected = hmac.new(NEW, message, hashlib.sha256).hexdigest()
    assert mac == f"hmac-sha256 {expected}".encode()


def test_openssl_makes_the_same_signature(tmp_path: Path) -> None:
    mac, listing = Keys((OLD,)).sign("m", 3, DIGESTS).split(b"\n", 1)
    message = tmp_path / "message"
    message.write_bytes(b"glassnet version m 3\n" + listing)
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt"]
    done = subprocess.run(
        [*command, f"key:{OLD.decode()}", str(message)],
        capture_output=True,
        text=True,
        check=True,
    )
    made = done.stdout.split("= ")[1].strip()
    assert mac.decode().split() == ["hmac-sha256", made]


def accepts(keys: Keys, signature: bytes, name: str = "m", version: int = 3) -> bool:
    try:
        return keys.digests(name, version, signature) == DIGESTS
    except SignatureInvalid:
        return False


def test_the_first_signs_and_all_accept() -> None:
    both = Keys((NEW, OLD))
    assert both.sign("m", 3, DIGESTS) == Keys((NEW,)).sign("m", 3, DIGESTS)
    for key in OLD, NEW:
        assert accepts(both, Keys((key,)).sign("m", 3, DIGESTS))
    assert not accepts(Keys((OLD,)), both.sign("m", 3, DIGESTS))


@given(st.binary(max_size=100))
def test_nothing_else_is_a_signature(signature: bytes) -> None:
    assert not accepts(Keys((NEW, OLD)), signature)
    assert not Keys((NEW, OLD)).signed_alone("m", SHA256, signature)


def test_a_signature_is_of_one_name_one_version_and_its_files() -> None:
    keys = Keys((OLD,))
    signature = keys.sign("m", 3, DIGESTS)
    assert accepts(keys, signature)
    assert not accepts(keys, signature, name="n")
    assert not accepts(keys, signature, version=4)
    for changed in (
        signature[:-2],
        signature.partition(b"\n")[0],
        signature.replace(b"run.json", b"rows.npy"),
        signature + f"{SHA256}  report.html\n".encode(),
    ):
        assert not accepts(keys, changed)


def test_a_file_holds_a_key_a_line(file: Path) -> None:
    write_secret(file, NEW + b"\r\n\n  " + OLD)
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
    write_secret(file, content)
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
    assert signature.read_bytes() == Keys((OLD,)).sign("m", 1, {ARTEFACT: sha256})
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
        "models.storage.archive.members", lambda *data: pytest.fail("parsed")
    )
    assert "not the file that was signed" in refused(store)


def test_a_version_does_not_pass_for_a_later_one(store: Store, made: Any) -> None:
    store.publish("m", {ARTEFACT: made.dump()})
    shutil.copytree(store.root / "m" / "1", store.root / "m" / "9")
    assert "by no key" in refused(store, version=9)


def test_the_files_beside_the_artefact_are_signed_too(store: Store, made: Any) -> None:
    store.publish("m", {ARTEFACT: made.dump(), RUN: b'{"trained_at": "now"}'})
    assert store.run("m", 1) == {"trained_at": "now"}
    store.path("m", 1, RUN).write_bytes(b'{"trained_at": "then"}')
    with pytest.raises(SignatureInvalid, match=r"m/1/run\.json: it is not the file"):
        store.run("m", 1)
    store.path("m", 1, "more").write_bytes(b"unsigned")
    with pytest.raises(SignatureInvalid, match="not the file that was signed"):
        store.read_attachment("m", 1, "more")


def test_a_file_that_is_written_later_is_signed_with_the_others(
    store: Store, made: Any, file: Path
) -> None:
    store.publish("m", {ARTEFACT: made.dump(), RUN: b"{}"})
    write_secret(file, NEW + b"\n" + OLD)
    for content in (b"a report", b"another report"):
        store.write_attachment("m", 1, REPORT, content)
        assert store.read_attachment("m", 1, REPORT) == content
    assert store.run("m", 1) == {} and store.load("m", 1)
    # Who has no key cannot have it signed by whoever has one.
    Store(store.root).publish("m", {ARTEFACT: made.dump()})
    with pytest.raises(SignatureInvalid):
        store.write_attachment("m", 2, REPORT, b"a report")
    Store(store.root).write_attachment("m", 1, REPORT, b"forged")
    with pytest.raises(SignatureInvalid):
        store.read_attachment("m", 1, REPORT)


def test_what_an_earlier_release_signed_loads_but_nothing_beside_it(
    store: Store, made: Any
) -> None:
    content = made.dump()
    Store(store.root).publish("m", {ARTEFACT: content, RUN: b"{}"})
    message = f"glassnet model m {hashlib.sha256(content).hexdigest()}".encode()
    mac = hmac.new(OLD, message, "sha256").hexdigest()
    store.path("m", 1, SIGNATURE).write_text(f"hmac-sha256 {mac}\n")
    assert store.load("m", 1)
    with pytest.raises(SignatureInvalid):
        store.run("m", 1)


def test_a_key_that_everybody_may_read_is_refused(file: Path) -> None:
    for mode in (0o604, 0o644, 0o777):
        file.chmod(mode)
        with pytest.raises(ConfigError, match=f"mode {mode:o}.*chmod 600 {file}"):
            Keys.read(file)
    file.chmod(0o440)
    assert Keys.read(file).keys == (OLD,)


def test_a_key_is_changed_without_a_gap(store: Store, made: Any, file: Path) -> None:
    trainer_file = file.with_name("trainer")
    write_secret(trainer_file, OLD)
    trainer = Store(store.root, str(trainer_file))
    trainer.publish("m", {ARTEFACT: made.dump()})
    steps = [  # the service's keys, the trainer's
        (OLD + b"\n" + NEW, OLD),
        (OLD + b"\n" + NEW, NEW + b"\n" + OLD),
        (NEW + b"\n" + OLD, NEW),
    ]
    for service_keys, trainer_keys in steps:
        write_secret(file, service_keys)
        write_secret(trainer_file, trainer_keys)
        version = trainer.publish("m", {ARTEFACT: made.dump()})
        for each in range(1, version + 1):
            store.load("m", each)
    write_secret(file, NEW)
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
