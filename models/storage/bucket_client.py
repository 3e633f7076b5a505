"""The objects of a bucket of S3, Google Cloud Storage or Azure, by obstore.

Every write may have a condition: that there is no such object, or that it is still the
one that was read. A bucket that ignores conditions is refused. A failure is one
sentence, a `BucketError`.

Only processes that do not fork use this module: see `models.storage.bucket`.
"""

from __future__ import annotations

import configparser
import contextlib
import errno
import importlib.util
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import ArtefactCorrupt, ConfigError

#: The condition of a write that there is no such object.
ABSENT = "absent"
#: Settings of obstore's client. A request may take long, but not be silent for long.
CLIENT: dict[str, Any] = {
    "connect_timeout": "4s",
    "read_timeout": "10s",
    "timeout": "1h",
}
#: Seconds for which a request is repeated while the bucket does not answer.
PATIENCE = 30.0
#: The most bytes of content that is written under a condition.
MAX_CONDITIONAL_BYTES = 64 << 20
#: The name of an object's note in its metadata.
NOTE = "glassnet"
#: Names of a missing bucket in the errors of the three.
_NO_BUCKET = ("NoSuchBucket", "bucket does not exist", "ContainerNotFound")
#: The server in a cloud's machines that has credentials, asked if there are no others.
_METADATA = "//169.254.169.254/"
#: Where credentials come from, if there is no file of them.
_OTHER_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)


class BucketError(OSError):
    """A bucket that cannot be read or written; `strerror` is the whole sentence."""

    def __str__(self) -> str:
        return self.strerror or ""


class Found(NamedTuple):
    """An object, and the revision that it has until it is replaced.

    The content is None if the object is still the one that the reader has.
    """

    content: bytes | None
    revision: str


class Listed(NamedTuple):
    """An object in a list: its key, when it was written (s of Unix), its revision."""

    key: str
    modified: float
    revision: str


class BucketClient:
    """A prefix of a bucket, used from this process.

    Every method raises BucketError.
    """

    def __init__(self, address: str, patience: float = PATIENCE) -> None:
        """Connect to an address, SCHEME://BUCKET/PREFIX; raises ConfigError."""
        self.address = address
        self._store = _connect(address, patience)

    def get(self, key: str, limit: int, revision: str = "") -> Found | None:
        """Return an object, or None if it does not exist.

        With a `revision`, the content is None if the object still has it. Raises
        ArtefactCorrupt if it has more than `limit` bytes.
        """
        import obstore
        from obstore.exceptions import NotModifiedError

        options: Any = {"if_none_match": _e_tag(revision)} if revision else {}
        with self._sentences():
            try:
                result = obstore.get(self._store, key, options=options)
                size = result.meta["size"]
                if size > limit:
                    raise ArtefactCorrupt(
                        f"{self.address}/{key}: larger than {limit} bytes"
                    )
                content = result.bytes().to_bytes()
                return Found(content, _revision(result.meta))
            except NotModifiedError:
                return Found(None, revision)
            except FileNotFoundError as error:
                self._require_bucket(error)
                return None

    def revision(self, key: str) -> str:
        """Return the revision of an object, or nothing if it does not exist."""
        import obstore

        with self._sentences():
            try:
                return _revision(obstore.head(self._store, key))
            except FileNotFoundError as error:
                self._require_bucket(error)
                return ""

    def put(self, key: str, content: bytes, condition: str = "") -> str:
        """Write an object; return its revision, or nothing if the condition fails.

        The condition is ABSENT, or the revision that the object must have. The content
        is then small, and unlike any other.
        """
        if not condition:
            return self._put(key, content)
        names = "e_tag", "version"
        update = dict(zip(names, condition.split(" "), strict=False))
        mode: Any = "create" if condition == ABSENT else update
        if revision := self._put(key, content, mode=mode, use_multipart=False):
            return revision
        # obstore repeats a request whose reply was lost, which then fails.
        found = self.get(key, MAX_CONDITIONAL_BYTES)
        return found.revision if found and found.content == content else ""

    def _put(self, key: str, content: bytes, **options: Any) -> str:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._sentences():
            try:
                return _revision(obstore.put(self._store, key, content, **options))
            except (AlreadyExistsError, PreconditionError):
                return ""
            except FileNotFoundError as error:  # it was deleted meanwhile
                self._require_bucket(error)
                return ""

    def download(self, key: str, path: str) -> bool:
        """Copy an object to a file of this disk; return False if it does not exist.

        Raises BucketError if the disk takes no more.
        """
        import obstore

        with self._sentences():
            try:
                chunks = obstore.get(self._store, key).stream()
            except FileNotFoundError as error:
                self._require_bucket(error)
                return False
            try:
                with open(path, "wb") as file:
                    for chunk in chunks:
                        file.write(chunk)
            except OSError as error:
                raise BucketError(
                    error.errno or 0, f"{path}: {error.strerror or error}"
                ) from None
            return True

    def upload(self, key: str, path: str, note: str = "") -> None:
        """Copy a file of this disk to an object, with a note of ASCII letters."""
        import obstore

        with self._sentences():
            attributes = {NOTE: note} if note else {}
            obstore.put(self._store, key, Path(path), attributes=attributes)

    def note(self, key: str) -> str:
        """Return the note of an object; nothing if it has none, or does not exist."""
        import obstore

        with self._sentences():
            try:
                found = obstore.get(self._store, key)  # HEAD does not name the error
            except FileNotFoundError as error:
                self._require_bucket(error)
                return ""
            return str(found.attributes.get(NOTE, ""))

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, if they exist."""
        import obstore

        with self._sentences(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, list(keys))

    def entries(self, prefix: str) -> list[Listed]:
        """Return the objects below a prefix."""
        import obstore

        with self._sentences():
            return [
                Listed(
                    str(entry["path"]),
                    entry["last_modified"].timestamp(),
                    _revision(entry),
                )
                for chunk in obstore.list(self._store, prefix)
                for entry in chunk
            ]

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders in one, such as those of versions."""
        import obstore

        with self._sentences():
            found = obstore.list_with_delimiter(self._store, prefix)
            return [str(path).rpartition("/")[2] for path in found["common_prefixes"]]

    def check_conditions(self) -> None:
        """Raise BucketError unless conditional writes are done as they should be."""
        key = f".probe-{uuid.uuid4().hex}"
        self.get(key, MAX_CONDITIONAL_BYTES)  # tells whether there is a bucket
        revision = self.put(key, b"1", ABSENT)
        try:
            creates_twice = self.put(key, b"2", ABSENT)
            newer = self.put(key, b"3", revision)
            if creates_twice or not newer or self.put(key, b"4", revision):
                raise BucketError(
                    errno.ENOTSUP,
                    f"{self.address}: this bucket ignores the conditions of writes "
                    "(If-None-Match and If-Match), so two trainers could overwrite "
                    "each other's versions; use a server that has them",
                )
        finally:
            self.delete([key])

    def _require_bucket(self, error: Exception) -> None:
        """Raise BucketError if what is not found is the bucket itself."""
        if any(name in str(error) for name in _NO_BUCKET):
            raise BucketError(errno.ENOENT, f"{self.address}: there is no such bucket")

    @contextlib.contextmanager
    def _sentences(self) -> Iterator[None]:
        """Raise BucketError for the errors of obstore."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BucketError, ArtefactCorrupt):
            raise
        except (BaseError, OSError) as error:
            number, sentence = _reason(error)
            raise BucketError(number, f"{self.address}: {sentence}") from None


def check(address: str) -> None:
    """Raise ConfigError if an address names no bucket, or obstore is missing."""
    scheme, _, rest = address.partition("://")
    if not rest.partition("/")[0]:
        raise ConfigError(f"'{address}': expected {scheme}://BUCKET/PREFIX")
    if importlib.util.find_spec("obstore") is None:
        raise ConfigError(
            f"'{address}': buckets need obstore; install it with: "
            "pip install 'glassnet[cloud]'"
        )


def _connect(address: str, patience: float) -> Any:
    """Return obstore's store of an address."""
    check(address)
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, S3Store

    scheme, _, rest = address.partition("://")
    bucket, _, prefix = rest.partition("/")
    options: Any = {
        "prefix": prefix.strip("/") or None,
        "client_options": CLIENT | _client_settings(),
        "retry_config": {
            "max_retries": 20,
            "retry_timeout": timedelta(seconds=patience),
            "backoff": {"max_backoff": timedelta(seconds=2)},
        },
    }
    try:
        if scheme == "gs":
            return GCSStore(bucket, **options)
        if scheme == "az":
            return AzureStore(bucket, **options)
        return S3Store(bucket, **options, **_shared_credentials())
    except (BaseError, ValueError) as error:
        raise ConfigError(f"'{address}': {_reason(error)[1]}") from None


def _client_settings() -> dict[str, Any]:
    """Allow HTTP if the endpoint says so, as the tools of the clouds do."""
    endpoints = "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"
    plain = any(os.environ.get(name, "").startswith("http://") for name in endpoints)
    return {"allow_http": True} if plain else {}


def _shared_credentials() -> dict[str, Any]:
    """Return keys and region of AWS's files, which obstore does not read."""
    profile = os.environ.get("AWS_PROFILE", "default")
    home = Path("~/.aws").expanduser()
    keys = os.environ.get("AWS_SHARED_CREDENTIALS_FILE", str(home / "credentials"))
    settings = os.environ.get("AWS_CONFIG_FILE", str(home / "config"))
    parser = configparser.RawConfigParser()
    with contextlib.suppress(configparser.Error, OSError, UnicodeDecodeError):
        parser.read([settings, keys])
    found: dict[str, str] = {}
    for section in f"profile {profile}", profile:
        if parser.has_section(section):
            found |= dict(parser.items(section))
    regions = "AWS_REGION", "AWS_DEFAULT_REGION"
    names = set() if any(map(os.environ.get, regions)) else {"region"}
    if not any(os.environ.get(name) for name in _OTHER_CREDENTIALS):
        names |= {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"}
    return {name.removeprefix("aws_"): found[name] for name in names & found.keys()}


def _revision(meta: Any) -> str:
    """Return what identifies the content of an object: S3's ETag, GCS's generation."""
    return f"{meta['e_tag'] or ''} {meta['version'] or ''}".rstrip()


def _e_tag(revision: str) -> str:
    return revision.partition(" ")[0]


def _reason(error: Exception) -> tuple[int, str]:
    """Return the number and the sentence of an error of obstore."""
    text, kind = str(error), type(error).__name__
    code = re.search(r"<Code>(\w+)</Code>", text)
    if any(name in text for name in _NO_BUCKET):
        return errno.ENOENT, "there is no such bucket"
    if _METADATA in text:
        return errno.EACCES, (
            "no credentials were found; set those of the cloud's own tools, such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "GOOGLE_APPLICATION_CREDENTIALS or AZURE_STORAGE_ACCOUNT_KEY"
        )
    if kind in ("PermissionDeniedError", "UnauthenticatedError", "PermissionError"):
        said = f" ({code[1]})" if code else ""
        return errno.EACCES, f"access is denied{said}; check the keys and their rights"
    if "NotImplemented" in text:
        return errno.ENOTSUP, "this bucket has no conditional writes"
    if code:
        return errno.EIO, f"the server replied {code[1]}"
    return errno.EIO, _cause(text)


def _cause(text: str) -> str:
    """Return what a message of obstore says, on one line and without its details."""
    line = " ".join(text.split("Debug source:")[0].split())
    line = re.sub(r"^Generic \w+ error: ", "", line)
    request = re.match(r"Error performing \w+ \w+://([^/ ]+).* - (.+)$", line)
    if request is None:
        return line[:300]
    return f"{request[1]} does not answer ({request[2][:300]})"
