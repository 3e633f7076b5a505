"""Tasks and results as JSON and arrays, for machines that share no memory.

Nothing is unpickled: a value is built from its annotated type, as a request of the
service is. A function is a name below `trainer`, whose annotations say what it takes,
reports and returns.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import io
import json
from collections.abc import Callable, Sequence
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

from models import errors
from models.errors import GlassnetError
from models.storage.interfaces import StoredFile

#: Bytes in front of a packed value: its sha256.
DIGEST_BYTES = 32

Arrays = list[np.ndarray[Any, Any]]


class RemoteFile:
    """A stored file on a machine without the store: its content, and who writes it."""

    def __init__(
        self,
        key: str,
        place: str,
        content: bytes | None,
        write: Callable[[bytes], None],
    ) -> None:
        self.key, self._place, self._content, self._write = key, place, content, write

    def __str__(self) -> str:
        return self._place

    def read(self) -> bytes | None:
        """Return the content that the task came with."""
        return self._content

    def write(self, content: bytes | memoryview) -> None:
        """Have the content written where the store is; raises OSError."""
        self._write(bytes(content))


def flatten(value: Any) -> tuple[str, Arrays]:
    """Return a value as JSON, which names its arrays by number, and those arrays.

    A dataclass may have stored files as fields. Raises TypeError for other objects.
    """
    arrays: Arrays = []
    if dataclasses.is_dataclass(value):
        fields = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        value = {name: _opaque(field) for name, field in fields}

    def plain(item: Any) -> Any:
        if isinstance(item, np.ndarray):
            arrays.append(item)
            return len(arrays) - 1
        if isinstance(item, np.generic):
            return item.item()
        if isinstance(item, np.random.SeedSequence):
            return [str(item.entropy), list(item.spawn_key)]
        if isinstance(item, _File):
            content = item.content()
            blob = None if content is None else np.frombuffer(content, np.uint8)
            return [item.file.key, str(item.file), blob]
        raise TypeError(f"{type(item).__name__} is no plain data")

    # JSON of the standard library keeps infinity, which msgspec's makes null.
    return json.dumps(msgspec.to_builtins(value, enc_hook=plain)), arrays


class _File:
    """A stored file; that of a directory is a dataclass, which msgspec would open."""

    def __init__(self, file: StoredFile) -> None:
        self.file = file

    def content(self) -> bytes | None:
        """Return its content; if it cannot be read, nothing, as of a damaged one."""
        try:
            return self.file.read()
        except (OSError, GlassnetError):
            return b""


def _opaque(value: Any) -> Any:
    return _File(value) if isinstance(value, StoredFile) else value


def build(
    kind: Any,
    text: str,
    arrays: Sequence[np.ndarray[Any, Any]],
    write: Callable[[bytes], None] | None = None,
) -> Any:
    """Return the value of type `kind` that was flattened, its arrays (n, …) among them.

    Files in it are written by `write`. Raises ValueError for a value of another type.
    """

    def made(kind: Any, item: Any) -> Any:
        if (get_origin(kind) or kind) is np.ndarray:
            return arrays[item]
        if kind is np.random.SeedSequence:
            return kind(int(item[0]), spawn_key=item[1])
        if kind is StoredFile and write is not None:
            key, place, index = item
            content = None if index is None else arrays[index].tobytes()
            return RemoteFile(key, place, content, write)
        raise TypeError(f"{kind} is no plain data")

    return msgspec.convert(json.loads(text), kind, dec_hook=made)


def pack(value: Any) -> bytes:
    """Return a value as bytes that begin with their digest."""
    text, arrays = flatten(value)
    stream = io.BytesIO()
    notes = np.frombuffer(text.encode(), np.uint8)
    np.savez(stream, notes, *arrays)
    content = stream.getvalue()
    return hashlib.sha256(content).digest() + content


def unpack(kind: Any, packed: bytes) -> Any:
    """Return the packed value of type `kind`; raises ValueError if it was altered."""
    digest, content = packed[:DIGEST_BYTES], memoryview(packed)[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its bytes do not have the digest they were sent with")
    with np.load(io.BytesIO(content)) as members:
        notes, *arrays = (members[name] for name in members.files)
    return build(kind, notes.tobytes().decode(), arrays)


@dataclasses.dataclass(frozen=True)
class RemoteFunction:
    """A function that may run elsewhere, and its types, from its annotations."""

    name: str
    call: Callable[..., Any]
    shared: Any
    task: Any
    message: Any
    result: Any

    @classmethod
    def of(cls, function: Callable[..., Any]) -> RemoteFunction:
        """Describe a top-level function as `Engine.map` takes it."""
        hints = get_type_hints(function)
        result = hints.pop("return")
        shared, task, report = hints.values()
        (message,) = get_args(report)[0]
        name = f"{function.__module__}:{function.__qualname__}"
        return cls(name, function, shared, task, message, result)

    @classmethod
    def named(cls, name: str) -> RemoteFunction:
        """Find a function by its name; raises ValueError if it is not the trainer's."""
        module, _, attribute = name.partition(":")
        if not module.startswith("trainer."):
            raise ValueError(f"{name} is no function of the trainer")
        return cls.of(getattr(importlib.import_module(module), attribute))


class Failure(msgspec.Struct):
    """An error of a task: its type, sentence and traceback."""

    kind: str
    sentence: str
    traceback: str

    def error(self) -> Exception:
        """Return an error of the same type if it is one of this project's."""
        kind = getattr(errors, self.kind, RuntimeError)
        if not (isinstance(kind, type) and issubclass(kind, GlassnetError)):
            kind = RuntimeError
        ours = issubclass(kind, GlassnetError)
        made: Exception = kind.__new__(kind)
        made.args = (self.sentence if ours else f"{self.kind}: {self.sentence}",)
        made.add_note(self.traceback)
        return made
