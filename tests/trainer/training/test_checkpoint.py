"""A run that is interrupted anywhere and resumed gives the same bytes."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.features.table import Layout
from models.nn.architectures import mlp, realmlp
from models.nn.network import Network, NetworkSpec
from models.storage.directory import DirectoryStore, LocalFile
from trainer.config.schema import ResolvedTrainConfig
from trainer.optimization.optimizers import OPTIMIZERS
from trainer.training import checkpoint as module
from trainer.training.checkpoint import (
    ABANDONED_SECONDS,
    LEAST_SECONDS,
    SHARE_OF_TIME,
    Checkpoint,
    Checkpoints,
)
from trainer.training.loop import TrainingRun, train
from trainer.training.losses import mean_squared_error
from trainer.types import Rows, Say

CONFIG = ResolvedTrainConfig(
    optimizer="adamw",
    learning_rate=0.02,
    beta2=0.99,
    weight_decay=0.05,
    schedule="cosine",
    regularization="flat_cosine",
    warm_up=0.1,
    augmentation=0.0,
    batch_size=7,
    epochs=5,
    averaging=0.0,
    choose_epoch="alone",
    patience=1_000_000,
)
EVERYTHING = mlp([3, 6, 5, 1], batch_norm=True, dropout=0.3)


class Interrupted(BaseException):
    """What ends a run from outside."""


def rows(n: int, seed: int, weighted: bool) -> Rows:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).astype(np.float32)
    T = (X[:, 0] * X[:, 1] + rng.normal(0, 0.3, n)).astype(np.float32)
    return Rows(X, T, rng.random(n, np.float32) if weighted else None)


def fresh(
    spec: NetworkSpec = EVERYTHING,
    validated: bool = True,
    weighted: bool = False,
    seed: int = 1,
    **changes: Any,
) -> TrainingRun:
    """Return a run before its first step, always of the same numbers."""
    network = Network(spec)
    network.initialize(np.random.default_rng(seed))
    return TrainingRun(
        network,
        mean_squared_error,
        rows(40, 2, weighted),
        rows(9, 3, weighted) if validated else None,
        msgspec.structs.replace(CONFIG, **changes),
        np.random.default_rng(4),
    )


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def place(tmp_path: Path, said: list[str]) -> Checkpoint:
    return at(tmp_path / "1.npz", said)


def path_of(place: Checkpoint) -> Path:
    return Path(str(place.file))


def at(path: Path, said: list[str]) -> Checkpoint:
    """Return a checkpoint that is always due."""
    made = Checkpoint(LocalFile(path), said.append)
    made.saved = -np.inf
    return made


def interrupt(descent: TrainingRun, place: Checkpoint, after: int) -> None:
    """Train until this many epochs are in the checkpoint."""

    def keep(run: TrainingRun) -> None:
        place.saved = -np.inf
        place.save(run)
        if run.history.epochs == after:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(descent, keep=keep)


def outcome(descent: TrainingRun) -> dict[str, Any]:
    """Return everything that must not differ, as bytes where it is numbers."""
    history = dataclasses.asdict(descent.history)
    del history["seconds"]
    found = {
        "parameters": descent.network.parameters.tobytes(),
        "state": descent.network.state.tobytes(),
        "history": history,
        "generator": descent.rng.bit_generator.state,
        "steps": descent.optimizer.steps,
    }
    for name in descent.optimizer.state_names:
        found[name] = getattr(descent.optimizer, name).tobytes()
    return found


def finished(**given: Any) -> dict[str, Any]:
    descent = fresh(**given)
    train(descent)
    return outcome(descent)


# The same numbers.

SPECS = {
    "plain": mlp([3, 6, 1]),
    "dropout": mlp([3, 6, 1], dropout=0.3),
    "batch norm": mlp([3, 6, 1], batch_norm=True),
    "everything": EVERYTHING,
    "realmlp": realmlp(Layout(2, 1, ()), [6], 1, "mish", dropout=0.2),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@given(
    st.integers(1, 5),
    st.sampled_from(sorted(SPECS)),
    st.sampled_from([0.0, 0.3, 2.0]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 3, 1_000_000]),
)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_interrupted_after_an_epoch_it_ends_in_the_same_bits(
    place: Checkpoint,
    optimizer: Any,
    epoch: int,
    spec: str,
    averaging: float,
    validated: bool,
    weighted: bool,
    patience: int,
) -> None:
    given = {
        "spec": SPECS[spec],
        "validated": validated,
        "weighted": weighted,
        "optimizer": optimizer,
        "averaging": averaging,
        "patience": patience,
    }
    expected = finished(**given)
    epoch = min(epoch, len(expected["history"]["loss"]))
    interrupt(fresh(**given), place, epoch)
    again = fresh(**given)
    assert place.restore(again)
    assert again.history.epochs == epoch
    train(again)
    assert outcome(again) == expected


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("averaging", [0.0, 2.0])
@pytest.mark.parametrize("validated", [False, True])
def test_interrupted_after_every_epoch_it_ends_in_the_same_bits(
    optimizer: Any, averaging: float, validated: bool, place: Checkpoint
) -> None:
    given: dict[str, Any] = {"optimizer": optimizer, "averaging": averaging}
    given |= {"validated": validated}
    for epoch in range(1, 6):
        descent = fresh(**given)
        assert place.restore(descent) == (epoch > 1)
        interrupt(descent, place, epoch)
    last = fresh(**given)
    assert place.restore(last) and last.over
    train(last)
    assert outcome(last) == finished(**given)


def test_what_was_restored_is_what_was_saved(place: Checkpoint) -> None:
    # Not only what the run ends in: nothing of a step's memory is lost.
    descent, again = fresh(averaging=2.0), fresh(averaging=2.0)
    interrupt(descent, place, 3)
    assert place.restore(again)
    for one in (descent, again):
        one.average.swap()  # type: ignore[union-attr]
    assert outcome(again) == outcome(descent)
    assert vars(again.best)["loss"] == descent.best.loss
    np.testing.assert_array_equal(again.best.parameters, descent.best.parameters)
    np.testing.assert_array_equal(again.best.state, descent.best.state)


def test_the_seconds_before_an_interruption_count(place: Checkpoint) -> None:
    descent, again = fresh(), fresh()
    descent.started -= 1000.0
    interrupt(descent, place, 2)
    assert place.restore(again)
    assert 1000.0 <= descent.history.seconds <= again.seconds < 1100.0
    assert train(again).seconds > 1000.0


def test_losses_that_are_no_numbers_are_kept(place: Checkpoint) -> None:
    descent, again = fresh(), fresh()
    interrupt(descent, place, 2)
    descent.history.validation_loss[:] = [np.inf, np.nan]
    descent.best.loss = np.inf
    place.saved = -np.inf
    place.save(descent)
    assert place.restore(again)
    np.testing.assert_equal(again.history.validation_loss, [np.inf, np.nan])
    assert again.best.loss == np.inf


# Damage.


@pytest.fixture
def whole(place: Checkpoint) -> bytes:
    """A checkpoint after three epochs of five."""
    interrupt(fresh(averaging=2.0), place, 3)
    return path_of(place).read_bytes()


EXPECTED = finished(averaging=2.0)


def goes_on_from(content: bytes, place: Checkpoint) -> bool:
    """Whether it is restored; either way the run ends in the same bytes."""
    path_of(place).write_bytes(content)
    descent = fresh(averaging=2.0)
    before = outcome(descent)
    restored = place.restore(descent)
    assert restored or outcome(descent) == before
    train(descent)
    assert outcome(descent) == EXPECTED
    return restored


def test_a_whole_one_is_gone_on_from(whole: bytes, place: Checkpoint) -> None:
    assert goes_on_from(whole, place)


@pytest.mark.long
@given(data=st.data())
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_changed_bytes_never_change_the_outcome(
    data: st.DataObject, whole: bytes, place: Checkpoint
) -> None:
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.integers(0, len(content) - 1))
        content[where] = data.draw(st.integers(0, 255))
    goes_on_from(bytes(content), place)


@given(share=st.floats(0.0, 1.0, exclude_max=True))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_one_starts_anew(share: float, whole: bytes, place: Checkpoint) -> None:
    assert not goes_on_from(whole[: int(share * len(whole))], place)


@pytest.mark.long
def test_every_byte_of_the_directory_may_be_wrong(
    whole: bytes, place: Checkpoint
) -> None:
    start = whole.index(b"PK\1\2")
    for where in range(start, len(whole), 3):
        content = bytearray(whole)
        content[where] ^= 0xFF
        goes_on_from(bytes(content), place)


def members(content: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(content)) as file:
        return dict(file)


def packed(arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def test_the_right_notes_with_arrays_of_other_shapes_start_anew(
    whole: bytes, place: Checkpoint, said: list[str]
) -> None:
    good = members(whole)
    for name in sorted(set(good) - {"notes"}):
        for wrong in (
            good[name][:-1],
            good[name][:, None],
            good[name].astype(np.float64),
            good[name][:1],
        ):
            assert not goes_on_from(packed({**good, name: wrong}), place), name
        rest = {k: v for k, v in good.items() if k != name}
        assert not goes_on_from(packed(rest), place)
    assert not goes_on_from(packed({**good, "more": good["state"]}), place)
    assert said and set(said) == {
        f"{path_of(place)} cannot be read: network 1 starts anew"
    }


@pytest.mark.parametrize(
    "change",
    [
        {"history": None},
        {"history": {"loss": [None]}},
        {"place": "elsewhere/1.npz"},
        {"steps": "18"},
        {"averaged": None},
        {"best_loss": "low"},
        {"generator": {"bit_generator": "MT19937", "state": {}}},
        {"generator": {}},
        {"generator": {"bit_generator": "PCG64", "state": {"state": -1, "inc": 1}}},
    ],
)
def test_notes_that_do_not_fit_start_anew(
    change: dict[str, Any], whole: bytes, place: Checkpoint
) -> None:
    good = members(whole)
    notes = {**module.json.loads(good["notes"].tobytes()), **change}
    text = module.json.dumps(notes).encode()
    content = packed({**good, "notes": np.frombuffer(text, np.uint8)})
    assert not goes_on_from(content, place)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"null", b"\xff", b"{" * 100_000])
def test_notes_that_are_none_start_anew(
    text: bytes, whole: bytes, place: Checkpoint
) -> None:
    good = {**members(whole), "notes": np.frombuffer(text, np.uint8)}
    assert not goes_on_from(packed(good), place)


def test_one_that_was_copied_from_another_run_starts_anew(
    tmp_path: Path, said: list[str]
) -> None:
    """It would fit, but its numbers come from other rows."""
    for name in ("a/1.npz", "b/1.npz", "a/2.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        interrupt(fresh(averaging=2.0), at(tmp_path / name, said), 3)
    content = (tmp_path / "a/1.npz").read_bytes()
    assert goes_on_from(content, at(tmp_path / "a/1.npz", said))
    for name in ("b/1.npz", "a/2.npz"):
        assert not goes_on_from(content, at(tmp_path / name, said))
    # The store as a whole may be moved.
    (tmp_path / "c").mkdir()
    (tmp_path / "a").rename(tmp_path / "c/a")
    assert goes_on_from(content, at(tmp_path / "c/a/1.npz", said))


def test_another_networks_starts_anew(place: Checkpoint) -> None:
    for other in (
        {"spec": mlp([3, 6, 1])},
        {"optimizer": "momentum"},
        {"averaging": 0.0},
    ):
        interrupt(fresh(**{"averaging": 2.0, **other}), place, 2)
        assert not goes_on_from(path_of(place).read_bytes(), place)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", b"PK\5\6" + bytes(18), b"x" * 1000, b"\x80\x04N."],
)
def test_what_is_no_checkpoint_starts_anew(content: bytes, place: Checkpoint) -> None:
    assert not goes_on_from(content, place)


def test_a_pickle_is_not_opened(place: Checkpoint, whole: bytes) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("it was opened",))

    bomb = np.array([Bomb()], object)
    assert not goes_on_from(packed({**members(whole), "state": bomb}), place)


def test_none_is_no_damage(place: Checkpoint, said: list[str]) -> None:
    assert not place.restore(fresh())
    assert said == []


def test_a_directory_in_its_place_starts_anew(
    place: Checkpoint, said: list[str]
) -> None:
    path_of(place).mkdir()
    assert not place.restore(fresh())
    assert len(said) == 1


# When and how it is written.


class Timed:
    """A checkpoint whose clock a test sets, and how long each writing takes."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, place: Checkpoint, cost: float
    ) -> None:
        self.now, self.cost, self.written = 1000.0, cost, 0
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)
        self.place, self.descent = place, fresh()
        place.saved = self.now
        write = place._write

        def slow(run: TrainingRun) -> None:
            write(run)
            self.now += self.cost
            self.written += 1

        monkeypatch.setattr(place, "_write", slow)

    def after(self, seconds: float) -> bool:
        """Tell whether it is written this many seconds after the last time."""
        before = self.written
        self.now = self.place.saved + seconds
        self.place.save(self.descent)
        return self.written > before


@pytest.mark.parametrize("cost", [0.0, 0.001, 0.3, 60.0])
def test_writing_takes_a_small_share_of_the_time(
    cost: float, monkeypatch: pytest.MonkeyPatch, place: Checkpoint
) -> None:
    timed = Timed(monkeypatch, place, cost)
    assert not timed.after(LEAST_SECONDS * 0.99)
    assert timed.after(LEAST_SECONDS * 1.01)
    wait = max(cost / SHARE_OF_TIME, LEAST_SECONDS)
    for _ in range(2):
        assert not timed.after(wait * 0.99)
        assert timed.after(wait * 1.01)


def test_a_network_that_is_done_is_written(
    monkeypatch: pytest.MonkeyPatch, place: Checkpoint
) -> None:
    timed = Timed(monkeypatch, place, 60.0)
    assert timed.after(1.0)
    train(timed.descent)
    assert not timed.after(LEAST_SECONDS * 0.99)  # sooner done again
    assert timed.after(LEAST_SECONDS * 1.01)


def test_a_file_is_replaced_whole(
    place: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks while it is written finds the file before, and no half one."""
    interrupt(fresh(), place, 1)
    before = path_of(place).read_bytes()
    descent, seen = fresh(), []
    assert place.restore(descent)
    savez = np.savez

    def watched(file: Any, **arrays: Any) -> None:
        class Slow(io.RawIOBase):
            def seekable(self) -> bool:
                return False

            def writable(self) -> bool:
                return True

            def write(self, content: Any) -> int:
                seen.append(path_of(place).read_bytes() == before)
                seen.append(
                    [p.name for p in path_of(place).parent.glob("*.npz")] == ["1.npz"]
                )
                return int(file.write(content))

        savez(Slow(), **arrays)

    monkeypatch.setattr(module.np, "savez", watched)
    interrupt(descent, place, 2)
    assert len(seen) > 20 and all(seen)
    monkeypatch.undo()
    assert path_of(place).read_bytes() != before
    assert os.listdir(path_of(place).parent) == ["1.npz"]
    again = fresh()
    assert place.restore(again) and again.history.epochs == 2


def test_one_that_is_killed_while_writing_leaves_the_one_before(
    place: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(fresh(), place, 2)
    descent = fresh()
    assert place.restore(descent)

    def dies(file: Any, **arrays: Any) -> None:
        file.write(b"PK half")
        raise Interrupted

    monkeypatch.setattr(module.np, "savez", dies)
    with pytest.raises(Interrupted):
        train(descent, keep=at(path_of(place), []).save)
    again = fresh()
    assert place.restore(again) and again.history.epochs == 2


# Where nothing can be written.


@contextmanager
def no_room(bytes_a_file: int) -> Iterator[None]:
    """Limit the size of every file, which fails as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_a_file, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 10, 1000, 20_000, 40_000])
def test_a_full_disk_does_not_end_the_run(
    room: int, place: Checkpoint, said: list[str]
) -> None:
    descent = fresh(mlp([3, 50, 50, 1]))

    def keep(run: TrainingRun) -> None:
        place.saved = -np.inf
        with no_room(room):
            place.save(run)

    train(descent, keep=keep)
    assert outcome(descent) == finished(spec=mlp([3, 50, 50, 1]))
    assert len(said) == 5 and len(set(said)) == 1
    assert os.strerror(errno.EFBIG) in said[0] and "\n" not in said[0]
    assert os.listdir(path_of(place).parent) == []


def test_what_was_written_before_the_disk_was_full_stays(
    place: Checkpoint, said: list[str]
) -> None:
    descent = fresh()
    interrupt(descent, place, 2)
    place.saved = -np.inf
    with no_room(1000):
        descent.run_epoch()
        place.save(descent)
    assert len(said) == 1
    again = fresh()
    assert place.restore(again) and again.history.epochs == 2


def test_it_is_said_once_for_all_networks(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "m").write_text("a file where a directory should be")
    all_of_them = at_home(tmp_path / "m", said.append, "key")
    for number in range(3):
        place = Checkpoint(all_of_them.file(number), all_of_them.say_once)
        for _ in range(2):
            place.saved = -np.inf
            place.save(fresh())
    assert len(said) == 1
    assert "no checkpoint can be written" in said[0]
    assert str(tmp_path / "m") in said[0]


# Which run finds which.


def at_home(home: Path, say: Say, *decides: object) -> Checkpoints:
    """Return the checkpoints of the model whose directory is `home`."""
    return Checkpoints(DirectoryStore(home.parent).scratch, home.name, say, *decides)


def directory_of(checkpoints: Checkpoints) -> Path:
    return Path(str(checkpoints.file(0))).parent


def directory(tmp_path: Path, *decides: object) -> Path:
    return directory_of(at_home(tmp_path, print, *decides))


def test_another_run_has_another_key(tmp_path: Path) -> None:
    config = {"train": {"epochs": 5}, "seed": 1}
    key = ("data", None, config, EVERYTHING, "binary", "2.0")
    others = [
        ("other", None, config, EVERYTHING, "binary", "2.0"),
        ("data", (b"own", b"rows"), config, EVERYTHING, "binary", "2.0"),
        ("data", None, {**config, "seed": 2}, EVERYTHING, "binary", "2.0"),
        ("data", None, config, mlp([3, 6, 1]), "binary", "2.0"),
        ("data", None, config, EVERYTHING, "multiclass", "2.0"),
        ("data", None, config, EVERYTHING, "binary", "2.1"),
    ]
    found = {directory(tmp_path, *decides) for decides in [key, *others]}
    assert len(found) == 1 + len(others)
    assert directory(tmp_path, *key) in found
    assert all(path.parent == tmp_path for path in found)


def test_each_network_has_a_file_of_its_own(tmp_path: Path) -> None:
    found = at_home(tmp_path, print, "key")
    assert not found.exist
    for number in (0, 1, 10):
        place = Checkpoint(found.file(number), print)
        place.saved = -np.inf
        place.save(fresh(seed=number))
    assert found.exist
    assert sorted(os.listdir(directory_of(found))) == ["1.npz", "11.npz", "2.npz"]
    for number in (0, 1, 10):
        again = fresh(seed=5)
        assert Checkpoint(found.file(number), print).restore(again)
        assert outcome(again) == outcome(fresh(seed=number))


# Clearing up.


def made(home: Path, *decides: object) -> Checkpoints:
    """Return checkpoints of which one is written."""
    found = at_home(home, print, *decides)
    place = Checkpoint(found.file(0), print)
    place.saved = -np.inf
    place.save(fresh())
    assert found.exist
    return found


def test_clear_removes_what_was_made_for_it(tmp_path: Path) -> None:
    found = made(tmp_path / "deep" / "store" / "m", "key")
    found.clear()
    assert list(tmp_path.iterdir()) == []
    found.clear()  # there is nothing more to do
    assert list(tmp_path.iterdir()) == []


def test_clear_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    home = tmp_path / "store" / "m"
    home.parent.mkdir()
    found, other = made(home, "key"), made(home, "other")
    found.clear()
    assert not directory_of(found).exists()
    assert other.exist
    other.clear()
    # The store was there, and the first of the two has made the model's directory.
    assert [p.name for p in tmp_path.rglob("*")] == ["store", "m"]


def test_clear_leaves_an_empty_store_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    made(tmp_path / "store" / "m", "key").clear()
    assert [p.name for p in tmp_path.rglob("*")] == ["store"]


def test_clear_takes_the_half_written_along(tmp_path: Path) -> None:
    found = made(tmp_path / "m", "key")
    (directory_of(found) / "1.0123abcd").write_bytes(b"half")
    found.clear()
    assert list(tmp_path.iterdir()) == []


def test_clear_removes_checkpoints_that_no_run_can_resume(tmp_path: Path) -> None:
    old, recent, found = (made(tmp_path, key) for key in ("old", "recent", "key"))
    now = time.time()
    for which, age in ((old, 1.01), (recent, 0.99)):
        then = now - age * ABANDONED_SECONDS
        os.utime(directory_of(which), (then, then))
    found.clear()
    assert [p.name for p in tmp_path.iterdir()] == [directory_of(recent).name]
