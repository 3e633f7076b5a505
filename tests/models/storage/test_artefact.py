"""One file that proves itself: what is written is read, and nothing else is."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy

from models.errors import ArtefactCorrupt
from models.features.predictions import Classification, Regression
from models.features.tensor import TensorInput
from models.model import by_row
from models.nn.architectures import mlp
from models.nn.layers import LinearSpec
from models.nn.network import Network, NetworkSpec
from models.storage import archive, artefact
from models.storage.archive import SEAL_BYTES
from models.storage.artefact import (
    FORMAT,
    MANIFEST,
    Artefact,
    Finding,
    Recipe,
    dump,
    load,
)
from tests.models.conftest import make

Members = dict[str, bytes]
#: More than any refusal may take, and far less than what crafted files ask for.
FEW_MIB = 4 << 20


def sealed(write: Callable[[zipfile.ZipFile], None]) -> bytes:
    """An archive of any content with a valid seal: the seal alone proves nothing."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names written twice
        with zipfile.ZipFile(stream, "w") as archive:
            archive.comment = b"0" * SEAL_BYTES
            write(archive)
    return resealed(stream.getvalue())


def resealed(data: bytes) -> bytes:
    body = data[:-SEAL_BYTES]
    return body + hashlib.sha256(body).hexdigest().encode()


def pack(members: Members) -> bytes:
    def write(archive: zipfile.ZipFile) -> None:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)

    return sealed(write)


def unpack(data: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def change(data: bytes, path: str, value: object) -> bytes:
    """The artefact with one place of its manifest replaced: `network.layers.0.n_in`."""
    members = unpack(data)
    manifest = json.loads(members[MANIFEST])
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place = manifest
    for key in way:
        place = place[key]
    place[last] = value
    return pack({**members, MANIFEST: json.dumps(manifest).encode()})


def places(
    value: object, kind: type = object, way: tuple[Any, ...] = ()
) -> list[tuple[Any, ...]]:
    """The way to every value of a kind inside a JSON document."""
    found = [way] if way and isinstance(value, kind) else []
    if isinstance(value, dict):
        inside: Any = value.items()
    else:
        inside = enumerate(value) if isinstance(value, list) else ()
    return found + [p for k, v in inside for p in places(v, kind, (*way, k))]


def with_array(data: bytes, name: str, content: bytes, **entry: object) -> bytes:
    """The artefact with one `.npy` replaced; the digest in the manifest is right."""
    members = unpack(data)
    manifest = json.loads(members[MANIFEST])
    _, _, body = content.partition(b"\n")
    manifest["arrays"][name]["sha256"] = hashlib.sha256(body).hexdigest()
    manifest["arrays"][name].update(entry)
    members[MANIFEST] = json.dumps(manifest).encode()
    return pack({**members, f"{name}.npy": content})


def header(text: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """A `.npy` of any header."""
    line = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + len(line).to_bytes(2, "little") + line + body


def as_npy(values: Any) -> bytes:
    """A `.npy` as it is written."""
    stream = io.BytesIO()
    npy.write_array(stream, values, version=(1, 0))
    return stream.getvalue()


def refusal(data: bytes) -> str:
    """The sentence that refuses the bytes, which costs next to no memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ArtefactCorrupt) as caught:
            load(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < FEW_MIB + 3 * len(data)
    assert len(str(caught.value)) < 2000
    return str(caught.value)


# What is written is read


def test_what_is_dumped_is_loaded(made: Any) -> None:
    data = made.dump()
    found = load(data)
    assert isinstance(found, Artefact)
    networks = found.model.networks
    assert len(networks) == len(made.networks) == found.manifest.members
    for name in "parameters", "state":
        vectors = [getattr(network, name) for network in networks]
        for vector, network in zip(vectors, made.networks, strict=True):
            np.testing.assert_array_equal(vector, getattr(network, name))
            assert vector.dtype == np.float32
        entry = found.manifest.arrays[name]
        digest = hashlib.sha256(b"".join(v.tobytes() for v in vectors)).hexdigest()
        shape = (len(networks), len(vectors[0]))
        assert (entry.shape, entry.sha256) == (shape, digest)
    written = msgspec.structs.replace(found.manifest, arrays={}, members=1)
    assert written == made.manifest
    assert found.manifest.format == FORMAT
    assert found.sha256 == hashlib.sha256(data).hexdigest()


def test_a_loaded_model_answers_as_the_one_dumped(made: Any) -> None:
    found = load(made.dump())
    rows = made.manifest.inputs.to_json(made.raw, slice(None))
    answered = found.model.answer_json(msgspec.json.encode(rows))
    assert answered == by_row(made.model.predict(made.raw))


def test_the_same_model_is_the_same_bytes(made: Any) -> None:
    data = made.dump()
    assert made.dump() == data
    again = load(data)
    assert dump(again.manifest, again.model.networks) == data


def test_another_number_is_another_identity(made: Any) -> None:
    before = load(made.dump()).sha256
    made.network.parameters[0] += 1e-6
    assert load(made.dump()).sha256 != before


def test_arrays_are_read_only(made: Any) -> None:
    for network in load(made.dump()).model.networks:
        for vector in network.parameters, network.state:
            assert not vector.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            network.initialize(np.random.default_rng(0))


def test_float64_is_written_as_float32() -> None:
    spec = NetworkSpec(1, (LinearSpec(1, 1),))
    network = Network(spec, np.float64)
    network.parameters[...] = [0.1, 1 / 3]
    manifest = msgspec.defstruct("M", ["arrays", "members"])({}, 1)
    members = unpack(dump(manifest, [network]))
    values = np.load(io.BytesIO(members["parameters.npy"]))
    np.testing.assert_array_equal(values, np.float32([[0.1, 1 / 3]]))


def test_numpy_opens_the_file_without_pickle(made: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(made.dump())
    with np.load(path, allow_pickle=False) as file:
        assert sorted(file) == [MANIFEST, "parameters", "state"]
        for name in "parameters", "state":
            rows = [getattr(network, name) for network in made.networks]
            np.testing.assert_array_equal(file[name], rows)
            assert file[name].shape == (len(rows), len(rows[0]))


def test_any_unzip_reads_the_manifest(classifier: Any) -> None:
    data = classifier.dump()
    manifest = json.loads(unpack(data)[MANIFEST])
    assert manifest["format"] == FORMAT
    assert manifest["task"] == classifier.manifest.task
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert (
            archive.comment == hashlib.sha256(data[:-SEAL_BYTES]).hexdigest().encode()
        )
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


# Damage


def structure(data: bytes) -> list[int]:
    """Every position that is not inside a member's content."""
    inside: set[int] = set()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            start = entry.header_offset + 30 + len(entry.filename)
            if entry.filename != MANIFEST:
                start += 128  # the array's header
            inside.update(range(start, start + entry.file_size))
    return sorted(set(range(len(data))) - inside)


def test_every_flipped_byte_is_found(made: Any) -> None:
    data = made.dump()
    sample = np.random.default_rng(0).choice(len(data), 400, replace=False).tolist()
    for position in {*sample, *structure(data)}:
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(ArtefactCorrupt, match="not those that were written"):
            load(bytes(damaged))


def test_every_cut_is_found(made: Any) -> None:
    data = made.dump()
    for length in [*range(100), *range(100, len(data), 37), len(data) - 1]:
        with pytest.raises(ArtefactCorrupt):
            load(data[:length])
        with pytest.raises(ArtefactCorrupt):
            load(data[len(data) - length :])


@pytest.mark.parametrize("more", [b"\x00", b"more", b"0" * SEAL_BYTES])
def test_bytes_before_or_after_are_found(classifier: Any, more: bytes) -> None:
    for data in classifier.dump() + more, more + classifier.dump():
        with pytest.raises(ArtefactCorrupt, match="not those that were written"):
            load(data)


@pytest.mark.parametrize("data", [b"", b"PK", b"\x00" * 1000, b"\x93NUMPY" + b"v" * 90])
def test_what_is_no_artefact_at_all_is_refused(data: bytes) -> None:
    assert refusal(data)
    if len(data) > SEAL_BYTES:
        assert "not a whole .npz archive" in refusal(resealed(data))


def test_structure_flipped_under_a_valid_seal_is_refused_or_changes_nothing(
    made: Any,
) -> None:
    data = made.dump()
    whole = load(data)
    refused = 0
    positions = [p for p in structure(data) if p < len(data) - SEAL_BYTES]
    for position in positions:
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        try:
            found = load(resealed(bytes(damaged)))
        except ArtefactCorrupt:
            refused += 1
            continue
        assert found.manifest == whole.manifest
        for network, other in zip(
            found.model.networks, whole.model.networks, strict=True
        ):
            np.testing.assert_array_equal(network.parameters, other.parameters)
    # The rest is dates, attributes and versions, which are not read.
    assert refused > len(positions) / 2


# Members


def test_exactly_three_members_are_expected(classifier: Any) -> None:
    data = classifier.dump()
    members = unpack(data)
    assert refusal(pack({**members, "extra.npy": b""})).startswith("expected the")
    assert refusal(pack({**members, "../../evil": b""})).startswith("expected the")
    assert refusal(pack({})).startswith("expected the members")
    for name in members:
        rest = {n: content for n, content in members.items() if n != name}
        assert refusal(pack(rest)).startswith("expected the members")
        renamed = {**rest, name.upper(): members[name]}
        assert refusal(pack(renamed)).startswith("expected the members")


def test_a_member_that_stands_twice_is_refused(classifier: Any) -> None:
    members = unpack(classifier.dump())
    for twice in members:

        def write(archive: zipfile.ZipFile, twice: str = twice) -> None:
            for name, content in members.items():
                archive.writestr(name, content)
            archive.writestr(twice, members[twice])

        assert refusal(sealed(write)).startswith("expected the members")


@pytest.mark.parametrize("n", [30, 30_000])
def test_many_members_are_not_even_listed(imager: Any, n: int) -> None:
    # Each has sixty bytes in the file, and a thousand in the memory of who lists it.
    extra = {str(i): b"" for i in range(n)}
    message = refusal(pack({**unpack(imager.dump()), **extra}))
    assert message == "not a whole .npz archive of three members"


def test_a_directory_of_64_bits_is_refused(classifier: Any) -> None:
    data = classifier.dump()
    at = len(data) - SEAL_BYTES - 22
    locator = b"PK\x06\x07" + bytes(16)
    assert "three members" in refusal(resealed(data[:at] + locator + data[at:]))


@pytest.mark.parametrize("name", [MANIFEST, "parameters.npy", "state.npy"])
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_compressed_member_is_refused_unread(
    classifier: Any, name: str, method: int
) -> None:
    members = unpack(classifier.dump())
    members[name] += bytes(16 << 20)  # a bomb of 16 MiB in a few thousand bytes

    def write(archive: zipfile.ZipFile) -> None:
        for member, content in members.items():
            compress = method if member == name else zipfile.ZIP_STORED
            archive.writestr(member, content, compress)

    data = sealed(write)
    assert len(data) < 1 << 20
    assert refusal(data) == f"{name} is compressed or encrypted"


def patched(data: bytes, name: str, offset: int, value: int, size: int = 4) -> bytes:
    """The archive with a number in one entry of its directory replaced."""
    at = data.rindex(name.encode()) - 46 + offset
    assert data[at - offset : at - offset + 4] == b"PK\x01\x02"
    number = value.to_bytes(size, "little")
    return resealed(data[:at] + number + data[at + size :])


@pytest.mark.parametrize("name", [MANIFEST, "parameters.npy", "state.npy"])
def test_a_member_that_lies_about_its_size_is_refused(
    classifier: Any, name: str
) -> None:
    data = classifier.dump()
    true = len(unpack(data)[name])
    for stored, size in [
        (true, true + 1),
        (true, 1 << 30),
        (true + 1, true),
        (1 << 30, 1 << 30),
        (len(data), len(data)),  # its neighbours are read as a part of it
    ]:
        lie = patched(patched(data, name, 20, stored), name, 24, size)
        assert re.search("a wrong size", refusal(lie))
    for less in 0, true - 1:  # what is left no longer has its checksum
        lie = patched(patched(data, name, 20, less), name, 24, less)
        assert refusal(lie)


def test_an_encrypted_member_is_refused(classifier: Any) -> None:
    data = patched(classifier.dump(), "state.npy", 8, 1, size=2)
    assert refusal(data) == "state.npy is compressed or encrypted"


def test_a_manifest_too_long_is_refused_unread(
    classifier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefact, "MAX_MANIFEST_BYTES", 100)
    assert MANIFEST in refusal(classifier.dump())


# Arrays


def array_header(
    made: Any, descr: str = "<f4", order: str = "False", shape: str = ""
) -> str:
    shape = (shape or "(1, N)").replace("N", str(len(made.network.parameters)))
    return f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}"


def test_the_crafted_header_is_right_where_nothing_is_changed(classifier: Any) -> None:
    body = classifier.network.parameters.tobytes()
    content = header(array_header(classifier), body)
    found = load(with_array(classifier.dump(), "parameters", content))
    np.testing.assert_array_equal(
        found.model.networks[0].parameters, classifier.network.parameters
    )


@pytest.mark.parametrize(
    "lie",
    [
        {"shape": "(1000000000000,)"},
        {"shape": "(1,)"},
        {"shape": "()"},
        {"shape": "(-1,)"},
        {"shape": "(2, 3)"},
        {"shape": "(1, 1000000000000)"},
        {"shape": "(1, -1)"},
        {"shape": "(N,)"},  # the right numbers, but not a row for each network
        {"shape": "(N, 1)"},
        {"shape": "(1, 1, N)"},
        {"shape": "(2, N)"},
        {"descr": "<f8"},
        {"descr": ">f4"},
        {"descr": "<i4"},
        {"descr": "|O"},
        {"descr": "<U1"},
        {"descr": "<f4,<f4"},
        {"order": "True"},
    ],
)
def test_a_header_that_lies_is_refused(classifier: Any, lie: dict[str, str]) -> None:
    content = header(
        array_header(classifier, **lie), classifier.network.parameters.tobytes()
    )
    message = refusal(with_array(classifier.dump(), "parameters", content))
    assert message.startswith("parameters: ")
    assert "header" in message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\xff\xff",
        b"PICKLE" + bytes(200),
        header("{}"),
        header("__import__('os').abort()"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}"),
        header("(" * 5000),
        header("[" * 200),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (2L,)}"),
        header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}"),
        header("\x00"),
    ],
)
def test_a_damaged_header_is_refused(classifier: Any, content: bytes) -> None:
    message = refusal(with_array(classifier.dump(), "parameters", content))
    assert message.startswith("parameters: ")
    assert "header" in message


@pytest.mark.parametrize("version", [b"\x02\x00", b"\x03\x00", b"\x09\x09"])
def test_a_header_of_another_version_is_refused(
    classifier: Any, version: bytes
) -> None:
    body = classifier.network.parameters.tobytes()
    content = header(array_header(classifier), body, version)
    assert refusal(with_array(classifier.dump(), "parameters", content))


@pytest.mark.parametrize("off", [-4, -1, 1, 4])
def test_more_or_fewer_bytes_than_the_shape_are_refused(
    classifier: Any, off: int
) -> None:
    body = classifier.network.parameters.tobytes()
    body = body[:off] if off < 0 else body + bytes(off)
    content = header(array_header(classifier), body)
    message = refusal(with_array(classifier.dump(), "parameters", content))
    assert message.startswith(f"parameters: {len(body)} bytes for shape")


def test_a_number_changed_behind_the_manifest_is_found(made: Any) -> None:
    members = unpack(made.dump())
    content = bytearray(members["parameters.npy"])
    content[-1] ^= 1
    members["parameters.npy"] = bytes(content)
    assert refusal(pack(members)) == "parameters: its digest differs from the manifest"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("arrays.parameters.sha256", "0" * 64, "parameters: its digest differs"),
        ("arrays.parameters.shape", [3], "parameters: its network needs shape"),
        ("arrays.parameters.shape", [1 << 28, 1 << 28], "parameters: its network"),
        ("arrays.parameters.shape", [1 << 40], f"{MANIFEST}: "),
        ("arrays.parameters.dtype", "|O", f"{MANIFEST}: "),
        ("arrays", {}, f"{MANIFEST}: expected the arrays"),
        (
            "arrays.more",
            {"dtype": "<f4", "shape": [1], "sha256": ""},
            f"{MANIFEST}: expected the arrays",
        ),
    ],
)
def test_a_manifest_that_lies_of_an_array_is_refused(
    classifier: Any, path: str, value: object, message: str
) -> None:
    assert refusal(change(classifier.dump(), path, value)).startswith(message)


def test_weights_that_are_no_numbers_are_refused(made: Any) -> None:
    parameters = np.stack([network.parameters for network in made.networks])
    # Of several networks one is enough.
    for member in range(len(made.networks)):
        damaged = parameters.copy()
        damaged[member] = np.nan
        data = with_array(made.dump(), "parameters", as_npy(damaged))
        assert refusal(data).startswith("its golden request fails: row 0")


@pytest.mark.parametrize("members", [1, 2, 4, 1000])
def test_members_that_are_not_the_rows_of_the_arrays_are_refused(
    ensemble: Any, members: int
) -> None:
    n = len(ensemble.network.parameters)
    message = refusal(change(ensemble.dump(), "members", members))
    assert message.endswith(
        f"its network needs shape ({members}, {n}), the manifest says (3, {n})"
    )


@pytest.mark.parametrize("members", [0, -1, 1001, 2**64, 1.5, "3", None])
def test_a_number_of_members_that_cannot_be_is_refused(
    ensemble: Any, members: object
) -> None:
    message = refusal(change(ensemble.dump(), "members", members))
    assert message.startswith(f"{MANIFEST}: ")


def test_arrays_of_another_number_of_networks_are_refused(ensemble: Any) -> None:
    parameters = np.stack([network.parameters for network in ensemble.networks])
    n = parameters.shape[1]
    for other in parameters[:2], parameters[[0, 1, 2, 0]], parameters[:0]:
        content = as_npy(other)
        # As the manifest says, but not as many as it says; or not even that.
        lie = with_array(
            ensemble.dump(), "parameters", content, shape=list(other.shape)
        )
        assert refusal(lie).startswith("parameters: its network needs shape (3, ")
        lie = with_array(ensemble.dump(), "parameters", content)
        assert "its header float32" in refusal(lie)
        # One array says three networks, the other does not.
        lie = change(lie, "members", len(other))
        assert refusal(lie).startswith((f"{MANIFEST}: ", "parameters: its network"))
    flat = as_npy(parameters.reshape(-1))
    lie = with_array(ensemble.dump(), "parameters", flat, shape=[3 * n])
    assert refusal(lie).startswith(f"parameters: its network needs shape (3, {n})")


def test_state_has_a_row_for_each_network_too(classifier: Any, ensemble: Any) -> None:
    assert load(ensemble.dump()).manifest.arrays["state"].shape == (3, 0)
    n = len(classifier.network.state)
    assert n
    twins = [*classifier.networks, Network(classifier.manifest.network)]
    twins[1].parameters[...] = twins[0].parameters
    twins[1].state[...] = twins[0].state
    data = dump(classifier.manifest, twins)  # two alike answer as one
    assert load(data).manifest.arrays["state"].shape == (2, n)
    lie = with_array(data, "state", as_npy(twins[0].state[None]), shape=[1, n])
    assert refusal(lie).startswith(f"state: its network needs shape (2, {n})")


def test_every_network_of_several_answers(ensemble: Any) -> None:
    # Another member, another answer: the golden pair tells.
    for member in range(3):
        parameters = np.stack([network.parameters for network in ensemble.networks])
        parameters[member] = 0.0
        data = with_array(ensemble.dump(), "parameters", as_npy(parameters))
        assert refusal(data) == "it no longer gives its golden answer"


def test_one_network_is_what_a_manifest_without_members_means(single: Any) -> None:
    members = unpack(single.dump())
    manifest = json.loads(members[MANIFEST])
    assert manifest.pop("members") == 1
    members[MANIFEST] = json.dumps(manifest).encode()
    assert len(load(pack(members)).model.networks) == 1


def test_codes_beyond_the_embedding_are_as_never_seen(ensemble: Any) -> None:
    # Such a manifest fits its arrays where the rows of another embedding make up.
    layout = ensemble.manifest.inputs.layout
    assert layout.categories == (12,)
    for n in 11, 13:
        data = change(ensemble.dump(), "network.layers.0.categories", [n])
        assert refusal(data).startswith("parameters: its network needs shape")
    assert refusal(
        change(ensemble.dump(), "network.layers.0.categories", [0])
    ).startswith(f"{MANIFEST}: ")
    # One known value fewer, in eight numbers more of the scaling: never a crash.
    spec = ensemble.manifest.network
    front = msgspec.structs.replace(spec.layers[0], categories=(2,))
    smaller = msgspec.structs.replace(spec, layers=(front, *spec.layers[1:]))
    networks = [Network(smaller) for _ in range(3)]
    data = dump(msgspec.structs.replace(ensemble.manifest, network=smaller), networks)
    assert refusal(data) == "it no longer gives its golden answer"


# The manifest


def test_a_recipe_of_reasons_alone_is_read(made: Any) -> None:
    """Earlier versions wrote no more; their rows were divided by content."""
    found = load(change(made.dump(), "recipe", {"reasons": ["it suits"]}))
    assert found.manifest.recipe == Recipe(("it suits",))
    assert found.manifest.recipe.split_strategy == "hash"
    assert found.manifest.recipe.findings == ()


def test_a_whole_recipe_is_read_as_it_was_written(made: Any) -> None:
    recipe = Recipe(
        ("it suits",),
        "group",
        (0.1, 0.7234567890123456),
        7,
        (Finding("drift", ("age", "city"), "they move"),),
    )
    assert load(made.dump(recipe=recipe)).manifest.recipe == recipe


def test_the_manifest_may_be_spelled_otherwise(made: Any) -> None:
    found = load(change(made.dump(), "target", "another"))
    assert found.manifest.target == "another"


@pytest.mark.parametrize(
    "value", [0, 1, FORMAT + 1, 10**30, -1, 1.0, "1", None, [1], {"a": "é" * 99}]
)
def test_another_format_is_refused_by_its_number(
    classifier: Any, value: object
) -> None:
    data = change(classifier.dump(), "format", value)
    spelled = json.dumps(value).encode()[:20].decode()
    assert refusal(data).startswith(f"its format is {spelled}")
    # Whatever else a later format brings: its number is said first.
    assert refusal(change(data, "novelty", 1)).startswith("its format is")


def test_no_format_is_refused(classifier: Any) -> None:
    members = unpack(classifier.dump())
    manifest = json.loads(members[MANIFEST])
    del manifest["format"]
    members[MANIFEST] = json.dumps(manifest).encode()
    assert refusal(pack(members)).startswith("its format is none")


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"not JSON",
        b"[]",
        b"null",
        b'{"format":2}',
        b'{"format":2,',
        b'{"format":\xff}',
        b"\xff\xfe",
        b'{"format":' * 20_000,
        b'{"format":2,"config":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"format":2,"config":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    ],
)
def test_what_is_no_manifest_is_refused(classifier: Any, manifest: bytes) -> None:
    members = unpack(classifier.dump())
    message = refusal(pack({**members, MANIFEST: manifest}))
    assert message.startswith((f"{MANIFEST}: ", "its format is"))


#: Where any name may stand: of a column, a metric, a setting.
OPEN = re.compile(
    r"config|metrics|intervals|baselines|history|arrays$|golden\.(instances|predictions)"
    r"|reference\.(inputs|outputs)$"
)


def test_an_unknown_field_is_refused_wherever_it_stands(made: Any) -> None:
    data = made.dump()
    manifest = json.loads(unpack(data)[MANIFEST])
    ways = [".".join(map(str, way)) for way in places(manifest, dict)]
    closed = [way for way in ways if not OPEN.match(way)]
    assert len(closed) > 8
    for way in closed:
        message = refusal(change(data, f"{way}.novelty", 1))
        assert message.startswith(f"{MANIFEST}: "), way
        assert "novelty" in message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("novelty", 1),
        ("task", "clustering"),
        ("data.rows", "6"),
        ("inputs.kind", "sound"),
        ("output.kind", "sound"),
        ("reference.inputs", []),
        ("network.layers.0.type", "convolution"),
        ("network.layers.0.n_out", 0),
        ("network.layers.0.n_out", 1 << 21),
        ("network.n_in", -1),
    ],
)
def test_a_manifest_of_another_form_is_refused(
    classifier: Any, path: str, value: object
) -> None:
    assert refusal(change(classifier.dump(), path, value)).startswith(f"{MANIFEST}: ")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("network.n_in", 3, "its parts do not fit together: a linear layer of"),
        ("network.layers.0.n_in", 3, "parameters: its network needs shape"),
        ("network.layers.0.n_out", 4, "parameters: its network needs shape"),
        ("network.layers", [], "parameters: its network needs shape (1, 0)"),
        (
            "network",
            {
                "n_in": 1 << 20,
                "layers": [{"type": "linear", "n_in": 1 << 20, "n_out": 1 << 20}] * 9,
            },
            "parameters: its network needs shape (1, 9895614",
        ),
        (
            "network",
            {"n_in": 1 << 20, "layers": [{"type": "batch_norm", "n": 1 << 20}] * 200},
            "parameters: its network needs shape (1, 419430400)",
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused_before_it_is_made(
    single: Any, path: str, value: object, message: str
) -> None:
    assert refusal(change(single.dump(), path, value)).startswith(message)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("network.n_in", 3, "its parts do not fit together: embeddings of"),
        ("network.layers.0.numbers", 3, "parameters: its network needs shape (3, "),
        ("network.layers.0.numbers", 1 << 21, f"{MANIFEST}: "),
        ("network.layers.0.plain", 3, "its parts do not fit together: embeddings of"),
        ("network.layers.0.categories", [], "parameters: its network needs shape (3, "),
        ("network.layers.0.categories", [-1], f"{MANIFEST}: "),
        (
            "network.layers.0.categories",
            [1 << 20] * 99,
            "parameters: its network needs shape (3, 830",
        ),
        ("network.layers.0.frequencies", 257, f"{MANIFEST}: "),
        ("network.layers.0.frequencies", 15, "parameters: its network needs shape"),
        ("network.layers.0.number_width", 1, f"{MANIFEST}: "),
        ("network.layers.0.category_width", 0, f"{MANIFEST}: "),
        ("network.layers.1.n", 3, "parameters: its network needs shape (3, "),
        ("network.layers.3.slopes", 5, "parameters: its network needs shape (3, "),
        ("network.layers.3.slopes", -1, f"{MANIFEST}: "),
    ],
)
def test_a_front_that_cannot_be_is_refused_before_it_is_made(
    ensemble: Any, path: str, value: object, message: str
) -> None:
    assert refusal(change(ensemble.dump(), path, value)).startswith(message)


def test_a_network_of_endless_layers_is_refused_before_it_is_made(
    imager: Any,
) -> None:
    layers = [{"type": "dropout", "rate": 0}] * 100_000
    message = refusal(change(imager.dump(), "network.layers", layers))
    assert message.startswith(f"{MANIFEST}: ")
    assert "network.layers" in message


def test_parts_that_do_not_fit_together_are_refused(imager: Any) -> None:
    data = imager.dump()
    for path, value in [
        ("output.classes", [0, 1, 2, 3]),
        ("output.classes", [0, 1]),
        ("inputs.shape", [2, 4]),
        ("inputs.shape", [1 << 20, 1 << 20]),
        ("inputs", {"kind": "table", "columns": []}),
    ]:
        assert refusal(change(data, path, value)).startswith("its parts do not fit")


def test_a_tensor_of_endless_dimensions_is_refused(imager: Any) -> None:
    for n in 9, 64, 500, 100_000:
        shape = [1] * (n - 2) + [2, 3]
        data = change(imager.dump(), "inputs.shape", shape)
        assert refusal(data).startswith(f"{MANIFEST}: ")


# The golden pair


def test_an_altered_golden_answer_is_refused(made: Any) -> None:
    data = made.dump()
    path = "golden.predictions.1"
    if made.manifest.task == "regression":
        altered: list[tuple[str, object]] = [
            (path, made.manifest.golden.predictions[1] + 0.1),
            (path, "7"),
            (path, [7.0]),
            (path, None),
            (path, 10**400),
        ]
    else:
        reply = made.manifest.golden.predictions[1]
        P = reply["probabilities"]
        (other,) = {*made.manifest.output.classes[:2]} - {reply["label"]} or {"none"}
        altered = [
            (f"{path}.probabilities", [P[0] + 0.001, *P[1:]]),
            (f"{path}.probabilities", P[:-1]),
            (f"{path}.probabilities", [*P, 0.0]),
            (f"{path}.probabilities", P[::-1]),
            (f"{path}.probabilities.0", 10**400),
            (f"{path}.probabilities.0", "0.5"),
            (f"{path}.probabilities", 0.5),
            (f"{path}.label", other),
            (f"{path}.label", ["unhashable"]),
            (path, {}),
            (path, 0.5),
            (path, None),
        ]
    altered += [
        ("golden.predictions", []),
        ("golden.predictions", made.manifest.golden.predictions[:2]),
        ("golden.predictions", made.manifest.golden.predictions[::-1]),
    ]
    for place, value in altered:
        message = refusal(change(data, place, value))
        assert message == "it no longer gives its golden answer", (place, value)


def test_a_golden_request_that_does_not_fit_is_refused(made: Any) -> None:
    first = made.manifest.golden.instances[0]
    for instances in [], [{}], [[]], [7], [None], [first, 7], [first, [first]]:
        data = change(made.dump(), "golden.instances", instances)
        assert refusal(data).startswith("its golden request fails: ")


def test_a_golden_pair_of_any_depth_is_refused(made: Any) -> None:
    members = unpack(made.dump())
    for depth in [*range(940, 1010, 3), 100_000]:
        deep = b"[" * depth + b"]" * depth + b","
        for field in b'"instances":[', b'"predictions":[':
            manifest = members[MANIFEST].replace(field, field + deep)
            assert refusal(pack({**members, MANIFEST: manifest}))


@pytest.mark.parametrize("std", [1e-9, 1.0, 1e12])
def test_how_far_an_answer_may_be_off_is_told_by_the_target(
    regressor: Any, std: float
) -> None:
    # One golden answer is 0 in the target's units: nothing relative to it is small.
    z = (regressor.manifest.golden.predictions[0] - 100.0) / 20.0
    output = Regression(-z * std, std)
    model = regressor._replace(
        manifest=msgspec.structs.replace(regressor.manifest, output=output)
    ).model
    instances = regressor.manifest.golden.instances
    predictions = model.answer_json(msgspec.json.encode(instances))
    golden = {"instances": instances, "predictions": predictions}
    data = change(regressor.dump(output=output), "golden", golden)
    load(data)
    nearly = [value + 1e-5 * std for value in predictions]
    load(change(data, "golden.predictions", nearly))
    for off in 1e-3, -1e-3:
        wrong = [value + off * std for value in predictions]
        assert "golden answer" in refusal(change(data, "golden.predictions", wrong))


def test_of_equally_likely_classes_either_is_the_label(imager: Any) -> None:
    imager.network.parameters[...] = 0.0
    thirds = [1 / 3, 1 / 3, 1 / 3]
    for label in 0, 1, 2:
        predictions = [{"label": label, "probabilities": thirds}] * 3
        load(change(imager.dump(), "golden.predictions", predictions))


# Whatever comes

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, 1, -1, 2**20, 1e308, "", "relu", "zeros", "1"])
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "kind", "n"]), inner, max_size=2)
    ),
    max_leaves=5,
)


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_manifest_changed_anywhere_loads_or_is_refused(
    made: Any, data: st.DataObject
) -> None:
    members = unpack(made.dump())
    manifest = json.loads(members[MANIFEST])
    for _ in range(data.draw(st.integers(1, 2))):
        *way, last = data.draw(st.sampled_from(places(manifest)))
        place = manifest
        for key in way:
            place = place[key]
        place[last] = data.draw(ANY)
    changed = pack({**members, MANIFEST: json.dumps(manifest).encode()})
    try:
        found = load(changed)
    except ArtefactCorrupt as error:
        sentence = str(error)
    else:
        sentence = "loaded"
        rows = msgspec.json.encode(found.manifest.golden.instances)
        assert len(found.model.answer_json(rows)) > 0
    assert sentence


@settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(position=st.integers(0, 10_000), more=st.binary(max_size=4))
@example(position=0, more=b"")
def test_bytes_changed_under_a_valid_seal_load_or_are_refused(
    made: Any, position: int, more: bytes
) -> None:
    data = made.dump()
    at = position % (len(data) - SEAL_BYTES)
    changed = resealed(data[:at] + more + data[at + 1 :])
    try:
        assert load(changed).manifest.format == FORMAT
    except ArtefactCorrupt:
        assert changed != data


# Memory


@pytest.fixture(scope="module")
def large() -> bytes:
    """An artefact of three networks of 1 M parameters each."""
    raw = np.random.default_rng(2).random((6, 1000), np.float32)
    inputs = TensorInput.fit(raw)
    spec = mlp([1000, 1000, 3], batch_norm=True)
    return make(inputs, raw, spec, Classification((0, 1, 2)), members=3).dump()


def test_to_read_and_load_takes_little_more_than_the_file(
    large: bytes, tmp_path: Path
) -> None:
    (tmp_path / "model.npz").write_bytes(large)
    tracemalloc.start()
    try:
        with (tmp_path / "model.npz").open("rb") as file:
            found = load(archive.read(file))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * len(large)
    for network in found.model.networks:
        assert network.parameters.flags.aligned
        assert not network.parameters.flags.writeable


def test_arrays_that_are_not_aligned_in_the_file_are_in_memory(made: Any) -> None:
    members = unpack(made.dump())
    for spaces in range(4):
        padded = {**members, MANIFEST: members[MANIFEST] + b" " * spaces}
        for network in load(pack(padded)).model.networks:
            for array in (network.parameters, network.state):
                assert array.flags.aligned and not array.flags.writeable


def test_a_summary_is_that_of_the_manifest(made: Any) -> None:
    data = made.dump()
    found, whole = artefact.summarize(data), load(data)
    assert found.task == whole.manifest.task and found.sha256 == whole.sha256
    assert found.metrics == whole.manifest.metrics
    with pytest.raises(ArtefactCorrupt, match="its bytes"):
        artefact.summarize(data[:40] + b"x" + data[41:])
