"""Checkpoints from anywhere: our error or a sound potential; nothing is run, memory is bounded."""

import json
import os
import pickle
import struct
import zlib

import numpy as np
import pytest
import torch
from ase import Atoms
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from se3set_mlip.errors import ArtifactError
from se3set_mlip.export.loading import load
from se3set_mlip.potential import checkpoint, files
from se3set_mlip.potential.checkpoint import checkpoint_bytes, checkpoint_info, potential_from_bytes

WATER = Atoms("OHH", [[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])


@pytest.fixture(scope="module")
def content(tiny_potential):
    return checkpoint_bytes(tiny_potential)


@pytest.fixture(scope="module")
def header_length(content):
    return 8 + int.from_bytes(content[:8], "little")


def refused(content, tmp_path, match=None):
    """Write a file, and require our error from every reader of checkpoints."""
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=match) as caught:
        load(path)
    assert len(str(caught.value)) > 30
    with pytest.raises(ArtifactError):
        potential_from_bytes(content)


def resealed(content, *, tensors=None, **strings):
    """The checkpoint with other weights or strings in its header, all checksums right."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])["__metadata__"] | strings
    tensors = load_tensors(content) if tensors is None else tensors
    header["weights_sha256"] = checkpoint.weights_checksum(tensors)
    header["settings_sha256"] = checkpoint._settings_checksum(header)
    return save_tensors(tensors, metadata=header)


def with_json(text, body=b""):
    text = text.encode()
    return len(text).to_bytes(8, "little") + text + body


def test_truncated_at_every_kind_of_boundary(content, header_length, tmp_path):
    ends = sorted({
        *range(12),
        *(header_length + step for step in (-2, -1, 0, 1, 4, 8)),
        *np.linspace(12, len(content) - 1, 25).astype(int).tolist(),
        *range(len(content) - 9, len(content)),
    })  # fmt: skip
    for end in ends:
        refused(content[:end], tmp_path)
    refused(content + b"\0", tmp_path)
    refused(content + content, tmp_path)


def flips(content, header_length, n_header, n_body, seed):
    """Refused, or the flip is where nothing depends on it: then the energy is the same."""
    rng = np.random.default_rng(seed)
    expected = potential_from_bytes(content).evaluate(WATER).energy
    in_header = rng.integers(0, header_length, n_header)
    in_body = rng.integers(header_length, len(content), n_body)
    n_refused = 0
    for place in [*in_header.tolist(), *in_body.tolist()]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        try:
            loaded = potential_from_bytes(bytes(damaged))
        except ArtifactError:
            n_refused += 1
        else:
            assert place < header_length, f"a flipped weight at byte {place} was not noticed"
            assert loaded.evaluate(WATER).energy == expected
    assert n_refused >= 0.97 * (n_header + n_body)


def test_flipped_bits(content, header_length):
    flips(content, header_length, 250, 250, seed=3)


@pytest.mark.heavy
def test_flipped_bits_by_the_thousand(content, header_length):
    flips(content, header_length, 3000, 3000, seed=4)


def test_bytes_replaced_dropped_and_repeated(content, header_length):
    rng = np.random.default_rng(8)
    for _ in range(60):
        start, other = sorted(rng.integers(0, len(content), 2).tolist())
        width = int(rng.integers(1, 40))
        for damaged in (
            content[:start] + rng.bytes(width) + content[start + width :],
            content[:start] + content[start + width :],
            content[:start] + content[other : other + width] + content[start:],
        ):
            if damaged != content:
                with pytest.raises(ArtifactError):
                    potential_from_bytes(damaged)


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_foreign_files(content, tmp_path):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    saved = tmp_path / "saved.pt"
    torch.save({"weights": torch.ones(3)}, saved)
    torch.save(torch.ones(3), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    other = save_tensors({"layer.weight": torch.ones(2, 3)}, metadata={"format": "pt"})
    rng = np.random.default_rng(0)
    for foreign in (
        b"",
        png,
        b'{"model": "se3set"}',
        saved.read_bytes(),
        (tmp_path / "old.pt").read_bytes(),
        other,
        save_tensors({"layer.weight": torch.ones(2, 3)}),
        rng.bytes(1),
        rng.bytes(100_000),
        bytes(5000),
        b"\xff" * 5000,
        content[::-1],
    ):
        refused(foreign, tmp_path)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_pickles_are_not_run(protocol, tmp_path):
    place = tmp_path / "made"
    trap = pickle.dumps(Trap(place), protocol=protocol)
    refused(trap, tmp_path)
    torch.save(Trap(place), tmp_path / "trap.pt")
    torch.save(Trap(place), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("trap.pt", "old.pt"):
        refused((tmp_path / name).read_bytes(), tmp_path)
    assert not place.exists()
    pickle.loads(trap)  # the trap works
    assert place.is_dir()


def test_what_is_no_file(tmp_path):
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", files.MOST_FILE_BYTES + 1)  # takes no room
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place in (tmp_path, "/dev/zero", *(tmp_path / n for n in ("huge", "pipe", "lost", "loop"))):
        for reader in (load, checkpoint_info):
            with pytest.raises(ArtifactError, match="model file"):
                reader(place)


def test_headers_that_cannot_be_right(content, header_length, tmp_path):
    text = content[8:header_length].decode()
    body = content[header_length:]
    own = json.loads(text)
    for length in (0, 1, header_length, 2**31, 2**63, 2**64 - 1):
        refused(length.to_bytes(8, "little") + content[8:], tmp_path)
    for bad in (
        "{}",
        "[]",
        "null",
        "[" * 100_000,
        '{"__metadata__":' * 20_000,
        '{"__metadata__": {"format": "se3set_mlip.checkpoint", "format_version": 1e999}}',
        '{"__metadata__": {"format": "se3set_mlip.checkpoint", "format_version": null}}',
        '{"__metadata__": {"format": "se3set_mlip.checkpoint", "format_version": "1"}}',
        json.dumps({"__metadata__": {**own["__metadata__"], "format_version": "9" * 5000}}),
        text.replace('"__metadata__"', '"__metadata__": {}, "other"', 1),
        text[:-1] + ', "__metadata__": {}}',
    ):
        refused(with_json(bad, body), tmp_path)
    names = [name for name in own if name != "__metadata__"]
    for field, value in (
        ("data_offsets", [0, 2**60]),
        ("data_offsets", [-8, 0]),
        ("shape", [2**40, 2**40]),
        ("shape", [-1]),
        ("dtype", "F8"),
        ("dtype", "I128"),
    ):
        changed = own | {names[0]: own[names[0]] | {field: value}}
        refused(with_json(json.dumps(changed), body), tmp_path)
    repeated = text[:-1] + f', "{names[0]}": {json.dumps(own[names[1]])}}}'
    refused(with_json(repeated, body), tmp_path)


def test_weights_that_are_not_those_of_the_settings(content, tmp_path):
    tensors = load_tensors(content)
    name = max(tensors, key=lambda name: tensors[name].numel())
    value = tensors[name]
    changes = {
        "wrong shape": {name: value[..., :-1].contiguous()},
        "one axis more": {name: value[None]},
        "short floats": {name: value.to(torch.float16)},
        "other floats": {name: value.to(torch.float32)},
        "eight bits": {name: value.to(torch.float8_e4m3fn)},
        "integers": {name: value.to(torch.int64)},
        "complex": {name: value.to(torch.complex64)},
        "one more": {"surplus": torch.ones(3)},
        "nan": {name: torch.full_like(value, torch.nan)},
        "one infinite": {name: value.clone().index_fill_(0, torch.tensor([0]), torch.inf)},
    }
    for change in changes.values():
        damaged = resealed(content, tensors=tensors | change)
        refused(damaged, tmp_path)
    missing = {key: tensor for key, tensor in tensors.items() if key != name}
    refused(resealed(content, tensors=missing), tmp_path, match="does not describe a potential")
    refused(resealed(content, tensors={}), tmp_path)


def test_settings_that_are_not_those_of_the_weights(content, tmp_path):
    """With every checksum right: wrong, unknown, and of a size that would fill the memory."""
    own = json.loads(checkpoint.read_header(content, "")["config"])

    def model(**changes):
        return json.dumps(own | {"model": own["model"] | changes})

    huge = "9" * 14
    for config in (
        "",
        "null",
        "[]",
        "[" * 100_000,
        json.dumps(own | {"telepathy": 1}),
        model(lmax=2),
        model(n_layers=3),
        model(n_layers=10**9),
        model(n_layers=10**400),
        model(n_heads=10**9),
        model(n_radial=10**10),
        model(radial_hidden=[10**6, 10**6]),
        model(radial_hidden=[1] * 10_000),
        model(irreps=f"{huge}x0e+4x1o"),
        model(irreps="3000x0e+4x1o"),
        model(irreps_hidden=f"{huge}x0e"),
        model(irreps_final=f"{huge}x0e"),
        model(irreps_head="1000000x0e"),
    ):
        refused(resealed(content, config=config), tmp_path)
    for strings in (
        {"dtype": "float16"},
        {"dtype": "nn"},
        {"dtype": "float32"},
        {"metadata": "[]"},
        {"metadata": "{"},
        {"metadata": '{"metrics": {"rmse": "small"}}'},
        {"metadata": '{"authors": 3}'},
        {"format_version": "2"},
        {"format_version": "one"},
        {"format": "other"},
    ):
        refused(resealed(content, **strings), tmp_path)
    assert potential_from_bytes(resealed(content)).evaluate(WATER).energy != 0.0
