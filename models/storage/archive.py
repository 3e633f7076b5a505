"""The container of an artefact: a zip archive of stored members, with a seal.

The seal is the sha256 of all bytes before it, in the comment of the archive. Members
are read in place: no byte of them is copied.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from models.errors import ArtefactCorrupt

MAX_FILE_BYTES = 1 << 30
#: A file of this size is read at once, whatever it is.
SMALL_BYTES = 1 << 18
SEAL_BYTES = 64  # a sha256 in hexadecimal
#: The end record of a zip without its comment, and the largest directory accepted.
END_BYTES, MAX_DIRECTORY_BYTES = 22, 1024
#: Bytes of a member's header before its name.
HEADER_BYTES = 30


def digest_of(content: bytes | memoryview) -> str:
    """Return the sha256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def seal(members: Mapping[str, bytes]) -> bytes:
    """Return an archive of members, the same bytes for the same members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = b"0" * SEAL_BYTES
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # dated 1980
    body = stream.getvalue()[:-SEAL_BYTES]
    return body + digest_of(body).encode()


def read(file: BinaryIO) -> bytes:
    """Return the content of a sealed archive; raises ArtefactCorrupt and OSError.

    The end is looked at first, so that a large file of something else is not read.
    """
    size = file.seek(0, io.SEEK_END)
    if size > MAX_FILE_BYTES:
        raise ArtefactCorrupt(f"larger than {MAX_FILE_BYTES} bytes")
    if size > SMALL_BYTES:
        file.seek(size - MAX_DIRECTORY_BYTES)
        if not _ends_as_written(file.read()):
            raise ArtefactCorrupt(
                "its bytes are not those that were written: its end is missing"
            )
    file.seek(0)
    return file.read(size)


def check_seal(data: bytes, check_signature: Callable[[str], None]) -> str:
    """Return the sha256 of an archive; raises ArtefactCorrupt if its seal is broken.

    `check_signature` gets the sha256 first.
    """
    view = memoryview(data)
    digest = hashlib.sha256(view[:-SEAL_BYTES])
    true_seal = digest.hexdigest().encode()
    digest.update(view[-SEAL_BYTES:])
    check_signature(digest.hexdigest())
    if true_seal != view[-SEAL_BYTES:]:
        raise ArtefactCorrupt("its bytes are not those that were written")
    return digest.hexdigest()


def first_member(data: bytes) -> memoryview:
    """Return the first member, a view of `data`, by its header alone.

    Raises ArtefactCorrupt.
    """
    return _content(memoryview(data), 0)


def members(data: bytes, expected: Sequence[str]) -> dict[str, memoryview]:
    """Return the members, views of `data`; raises ArtefactCorrupt for others."""
    view = memoryview(data)
    if not _ends_as_written(data):
        raise ArtefactCorrupt("not a whole .npz archive of three members")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    # zipfile reports damage in many ways: BadZipFile, struct.error, ValueError, …
    except Exception as error:
        raise ArtefactCorrupt(f"not a whole .npz archive ({error})") from None
    names = sorted(entry.filename[:80] for entry in entries)
    if names != expected:
        raise ArtefactCorrupt(f"expected the members {expected}, found {names}")
    for entry in entries:
        _check_entry(entry, len(data))
    if sum(entry.file_size for entry in entries) > len(data):
        raise ArtefactCorrupt("its members have a wrong size")
    contents = {e.filename: _content(view, e.header_offset) for e in entries}
    if any(len(contents[entry.filename]) != entry.file_size for entry in entries):
        raise ArtefactCorrupt("its members have a wrong size")
    return contents


def _content(data: memoryview, at: int) -> memoryview:
    """Return the bytes of a stored member, which follow its header."""
    header = bytes(data[at : at + HEADER_BYTES]).ljust(HEADER_BYTES)
    magic, size, name, extra = struct.unpack("<4s18xI2H", header)
    begin = at + HEADER_BYTES + name + extra
    content = data[begin : begin + size]
    if magic != b"PK\3\4" or len(content) != size:
        raise ArtefactCorrupt("a member is not where it was written")
    return content


def _ends_as_written(data: bytes | memoryview) -> bool:
    """Tell whether the end of an archive is that of three members without a comment.

    `zipfile` would read a larger directory at once. The end of the data is enough.
    """
    end = bytes(data[-MAX_DIRECTORY_BYTES:-SEAL_BYTES])
    before, end = end[:-END_BYTES], end[-END_BYTES:]
    size = int.from_bytes(end[12:16], "little")
    in_64_bits = before[-20:].startswith(b"PK\6\7")
    whole = end.startswith(b"PK\5\6") and size <= MAX_DIRECTORY_BYTES
    return whole and not in_64_bits


def _check_entry(entry: zipfile.ZipInfo, file_bytes: int) -> None:
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise ArtefactCorrupt(f"{entry.filename} is compressed or encrypted")
    if not entry.compress_size == entry.file_size <= file_bytes:
        raise ArtefactCorrupt(f"{entry.filename} has a wrong size")
