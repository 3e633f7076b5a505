"""The artefact: one `.npz` file that holds a model and everything to verify it.

    manifest.json      what the model is and how it was made
    parameters.npy     the parameters, one row for each network
    state.npy          the running statistics, one row for each network
    (zip comment)      the seal: sha256 of all bytes before it

Writing is deterministic: the same model gives the same bytes, so the sha256 of the
file is its identity. Reading checks, in this order: the seal; names, counts, sizes,
dtypes and shapes against the manifest, before any array is made; the digest of each
array; and the golden request, whose reply is computed again. Nothing is unpickled, and
every fault raises `ArtefactCorrupt`.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.lib import format as npy

from models.errors import ArtefactCorrupt, InvalidInput
from models.features.inputs import Inputs
from models.features.predictions import Output, Regression, Task
from models.features.reference import Reference
from models.model import Model
from models.nn.network import Network, NetworkSpec, count_parameters
from models.storage import archive
from models.types import Array

FORMAT = 6
#: The formats before, which are still read; see `_upgrade`.
PREVIOUS_FORMATS = (2, 3, 4, 5)
MANIFEST = "manifest.json"
MEMBERS = [MANIFEST, "parameters.npy", "state.npy"]
MAX_MANIFEST_BYTES = 32 << 20
#: Bytes of the header of an array.
_NPY_HEADER_BYTES = 128
#: Where in the file the parameters begin: at a multiple of it, to be used in place.
_ALIGNMENT = 64
#: The largest error of a golden reply: processors sum in different orders.
GOLDEN_TOLERANCE = 1e-4


class ArrayEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Dtype, shape and digest of one array, as in the manifest."""

    dtype: Literal["<f4"]
    shape: tuple[Annotated[int, msgspec.Meta(ge=0, le=1 << 28)], ...]
    sha256: str


class Fingerprint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data a model was fitted to: digest, size, and rows of each part."""

    sha256: str
    rows: int
    columns: int
    train_rows: int
    validation_rows: int
    test_rows: int


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rows of a request and the predictions that the model must give for them."""

    instances: list[Any]
    predictions: list[Any]


#: How rows are assigned to training, validation and test: by a hash of their values,
#: at random, by a hash of their group, or by their time.
SplitStrategy: TypeAlias = Literal["hash", "random", "group", "time"]


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fact about the data that a person should know before using the model."""

    kind: str
    columns: tuple[str, ...]
    sentence: str


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the model was made.

    `reasons` explain the defaults that depend on the data. Test rows have a hash below
    `test_below`, or a time from `test_from` on, in seconds. In formats before 4 the
    limits are None, `groups` are the hashes of few groups, which were spread evenly,
    and `split_seed` is the seed of a random split.
    """

    reasons: tuple[str, ...]
    split_strategy: SplitStrategy = "hash"
    groups: tuple[float, ...] = ()
    split_seed: int = 0
    findings: tuple[Finding, ...] = ()
    test_below: float | None = None
    test_from: float | None = None

    @property
    def shared_test_rows(self) -> bool:
        """Tell whether all networks have the same test rows, as from format 4 on."""
        return self.test_below is not None or self.split_strategy == "time"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about a model but its arrays.

    `intervals` has the 95 % interval of each metric, and `baselines` the metrics of a
    constant answer and of a linear model on the same rows.
    """

    task: Task
    inputs: Inputs
    output: Output
    target: str
    network: NetworkSpec
    recipe: Recipe
    config: dict[str, Any]
    data: Fingerprint
    metrics: dict[str, Any]
    history: list[dict[str, list[float]]]
    reference: Reference
    golden: Golden
    arrays: dict[str, ArrayEntry] = {}
    members: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    intervals: dict[str, tuple[float, float]] = {}
    baselines: dict[str, dict[str, float]] = {}
    format: int = FORMAT

    @property
    def networks(self) -> int:
        """How many members there are without the linear model, which is the last.

        If it answers alone there are 0, and `history` is of the networks left out.
        """
        alone = self.members < len(self.history)
        return 0 if alone else self.members - bool(self.output.weights)


class Summary(msgspec.Struct, frozen=True):
    """The line about a version in a list of versions."""

    task: Task
    metrics: dict[str, Any]
    intervals: dict[str, tuple[float, float]] = {}
    sha256: str = ""


_summary = msgspec.json.Decoder(Summary)


class Artefact(msgspec.Struct, frozen=True):
    """A manifest and its model, verified."""

    manifest: Manifest
    model: Model
    sha256: str


def dump(manifest: Manifest, networks: Sequence[Network]) -> bytes:
    """Return the bytes of an artefact of these networks.

    `manifest.arrays` and `manifest.members` are set from the networks.
    """
    arrays = {
        name: np.ascontiguousarray(values, "<f4")
        for name, values in _vectors(networks).items()
    }
    entries = {
        name: ArrayEntry("<f4", array.shape, hashlib.sha256(array.data).hexdigest())
        for name, array in arrays.items()
    }
    manifest = msgspec.structs.replace(manifest, arrays=entries, members=len(networks))
    encoded = msgspec.json.encode(manifest)
    headers = sum(archive.HEADER_BYTES + len(name) for name in MEMBERS[:2])
    begin = headers + len(encoded) + _NPY_HEADER_BYTES
    members = {MANIFEST: encoded + b" " * (-begin % _ALIGNMENT)}
    for name, array in arrays.items():
        stream = io.BytesIO()
        npy.write_array(stream, array, version=(1, 0), allow_pickle=False)
        members[f"{name}.npy"] = stream.getvalue()
    return archive.seal(members)


def _vectors(networks: Sequence[Network]) -> dict[str, Array]:
    return {
        "parameters": np.stack([network.parameters for network in networks]),
        "state": np.stack([network.state for network in networks]),
    }


def load(
    data: bytes, check_signature: Callable[[str], None] = lambda sha256: None
) -> Artefact:
    """Verify the bytes of an artefact and return it; raises ArtefactCorrupt.

    `check_signature` gets the sha256 before anything is parsed. The arrays of the model
    are read-only views of `data`.
    """
    sha256 = archive.check_seal(data, check_signature)
    members = archive.members(data, MEMBERS)
    manifest = _manifest(members.pop(MANIFEST))
    arrays = _arrays(manifest, members)
    try:
        networks = [
            Network.from_arrays(manifest.network, parameters, state)
            for parameters, state in zip(
                arrays["parameters"], arrays["state"], strict=True
            )
        ]
        model = Model(manifest.inputs, networks, manifest.output)
    except (ValueError, TypeError) as error:
        raise ArtefactCorrupt(f"its parts do not fit together: {error}") from None
    _replay(model, manifest.golden)
    return Artefact(manifest, model, sha256)


def summarize(
    data: bytes, check_signature: Callable[[str], None] = lambda sha256: None
) -> Summary:
    """Return what a list says of an artefact, whose bytes are verified but not used.

    Raises ArtefactCorrupt.
    """
    sha256 = archive.check_seal(data, check_signature)
    try:
        summary = _summary.decode(archive.first_member(data))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtefactCorrupt(f"{MANIFEST}: {error}") from None
    return msgspec.structs.replace(summary, sha256=sha256)


def _manifest(raw: memoryview) -> Manifest:
    if len(raw) > MAX_MANIFEST_BYTES:
        raise ArtefactCorrupt(f"{MANIFEST} is too large")
    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        version = bytes(fields.get("format", b"none"))
        if version in [str(number).encode() for number in PREVIOUS_FORMATS]:
            return msgspec.json.decode(_upgrade(fields), type=Manifest)
        if version != str(FORMAT).encode():
            raise ArtefactCorrupt(
                f"its format is {version[:20].decode(errors='replace')}; this version "
                f"of glassnet reads {', '.join(map(str, PREVIOUS_FORMATS))} and "
                f"{FORMAT}"
            )
        return msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtefactCorrupt(f"{MANIFEST}: {error}") from None


class _RecipeOfFormat2(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reasons: tuple[str, ...]
    divided_by: Literal["content", "chance", "grouped", "time"] = "content"
    groups: tuple[float, ...] = ()
    salt: int = 0
    findings: tuple[Finding, ...] = ()


def _upgrade(fields: dict[str, msgspec.Raw]) -> bytes:
    """Return a manifest of an earlier format, given by its fields, in that of today.

    Format 3 renames two fields of the recipe, and the split strategies. Format 4 adds
    the limits of the test rows, which all networks share; before, they had their own.
    Format 5 adds weights of the networks, which were equal before, and format 6 the
    spelling of the target.
    """
    if bytes(fields["format"]) in (b"3", b"4", b"5"):
        return msgspec.json.encode({**fields, "format": FORMAT})
    names: dict[str, SplitStrategy] = {
        "content": "hash",
        "chance": "random",
        "grouped": "group",
        "time": "time",
    }
    raw = fields.get("recipe", msgspec.Raw(b"null"))
    old = msgspec.json.decode(raw, type=_RecipeOfFormat2)
    strategy = names[old.divided_by]
    recipe = Recipe(old.reasons, strategy, old.groups, old.salt, old.findings)
    return msgspec.json.encode({**fields, "recipe": recipe, "format": FORMAT})


def _arrays(manifest: Manifest, members: dict[str, memoryview]) -> dict[str, Array]:
    n_parameters, n_state = count_parameters(manifest.network)
    n = manifest.members
    expected = {"parameters": (n, n_parameters), "state": (n, n_state)}
    if set(manifest.arrays) != set(expected):
        raise ArtefactCorrupt(
            f"{MANIFEST}: expected the arrays {sorted(expected)}, "
            f"found {[name[:80] for name in sorted(manifest.arrays)[:8]]}"
        )
    arrays: dict[str, Array] = {}
    for name, entry in manifest.arrays.items():
        if entry.shape != expected[name]:
            raise ArtefactCorrupt(
                f"{name}: its network needs shape {expected[name]}, "
                f"the manifest says {entry.shape}"
            )
        arrays[name] = _array(name, entry, members[f"{name}.npy"])
    return arrays


def _array(name: str, entry: ArrayEntry, raw: memoryview) -> Array:
    stream = io.BytesIO(raw[: 1 << 16])
    try:
        if npy.read_magic(stream) != (1, 0):
            raise ValueError("expected .npy version 1.0")
        shape, fortran, dtype = npy.read_array_header_1_0(stream)
    except Exception as error:
        raise ArtefactCorrupt(f"{name}: its header is damaged ({error})") from None
    content = raw[stream.tell() :]
    if shape != entry.shape or dtype != np.dtype(entry.dtype) or fortran:
        raise ArtefactCorrupt(
            f"{name}: the manifest says {entry.dtype} {entry.shape}, "
            f"its header {dtype} {shape}"
        )
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ArtefactCorrupt(f"{name}: {len(content)} bytes for shape {shape}")
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise ArtefactCorrupt(f"{name}: its digest differs from the manifest")
    array = np.frombuffer(content, dtype).reshape(shape)
    if not array.flags.aligned:  # else each matrix product would copy it
        array = array.copy()
        array.setflags(write=False)
    return array


def _replay(model: Model, golden: Golden) -> None:
    """Raise ArtefactCorrupt unless the golden request gets its golden reply."""
    try:
        answered = model.answer_json(msgspec.json.encode(golden.instances))
    except InvalidInput as error:
        raise ArtefactCorrupt(f"its golden request fails: {error}") from None
    if len(golden.predictions) != len(answered) or not all(
        _agree(model.output, expected, found)
        for expected, found in zip(golden.predictions, answered, strict=True)
    ):
        raise ArtefactCorrupt("it no longer gives its golden answer")


def _agree(output: Output, expected: Any, found: Any) -> bool:
    """Tell whether a prediction is the expected one, within GOLDEN_TOLERANCE."""
    try:
        if isinstance(output, Regression):
            # The tolerance is relative to the scale of the target.
            tolerance = GOLDEN_TOLERANCE * (output.std + abs(found - output.mean))
            return bool(abs(expected - found) <= tolerance)
        P, Q = expected["probabilities"], found["probabilities"]
        second, first = sorted(Q)[-2:]
        tie = first - second <= 2 * GOLDEN_TOLERANCE  # either label is right
        return (
            len(P) == len(Q)
            and all(abs(p - q) <= GOLDEN_TOLERANCE for p, q in zip(P, Q, strict=True))
            and (tie or expected["label"] == found["label"])
        )
    except (KeyError, TypeError, OverflowError):
        return False
