"""Checkpoints: there and back, and every kind of damage named."""

import json

import numpy as np
import pytest
import torch
from ase import Atoms

from se3set_mlip.errors import ArtifactError
from se3set_mlip.potential.checkpoint import (
    _settings_checksum,
    checkpoint_bytes,
    checkpoint_info,
    load_checkpoint,
    potential_from_bytes,
    save_checkpoint,
)

WATER = Atoms("OHH", [[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])


def with_header(content, **changes):
    """The file with other strings in its header, and the checksum that goes with them."""
    length = int.from_bytes(content[:8], "little")
    parsed = json.loads(content[8 : 8 + length])
    strings = parsed["__metadata__"]
    strings.update(changes)
    strings["settings_sha256"] = _settings_checksum(strings)
    header = json.dumps(parsed).encode()
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def test_there_and_back_again(tiny_potential, tmp_path):
    path = tmp_path / "models" / "tiny.safetensors"
    save_checkpoint(path, tiny_potential)
    loaded = load_checkpoint(path)
    assert loaded.config == tiny_potential.config
    assert loaded.metadata.level_of_theory == "random weights"
    assert loaded.metadata.created != ""
    one, other = tiny_potential.evaluate(WATER), loaded.evaluate(WATER)
    assert one.energy == other.energy
    assert np.array_equal(one.forces, other.forces)
    assert checkpoint_info(path)["dtype"] == "float64"


def test_float32_of_a_float64_file_and_back(tiny_potential, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, tiny_potential)
    single = load_checkpoint(path, dtype="float32")
    assert single.dtype == torch.float32
    assert single.module.reference_energies.dtype == torch.float64
    double = single.to(dtype="float64").evaluate(WATER)
    assert double.energy == pytest.approx(tiny_potential.evaluate(WATER).energy, abs=1e-5)


@pytest.mark.parametrize("keep", [0, 5, 100, 3000, -1])
def test_truncated(tiny_potential, keep):
    content = checkpoint_bytes(tiny_potential)
    with pytest.raises(ArtifactError, match="damaged"):
        potential_from_bytes(content[:keep])


def test_flipped_bits_in_the_weights(tiny_potential):
    content = bytearray(checkpoint_bytes(tiny_potential))
    content[-20] ^= 4
    with pytest.raises(ArtifactError, match="do not match its checksum"):
        potential_from_bytes(bytes(content))


def test_a_newer_format(tiny_potential):
    content = with_header(checkpoint_bytes(tiny_potential), format_version="99")
    with pytest.raises(ArtifactError, match="format version 99, this package reads up to 1"):
        potential_from_bytes(content)


def test_a_foreign_safetensors_file():
    header = b'{"__metadata__":{}}'
    with pytest.raises(ArtifactError, match="no checkpoint of this package"):
        potential_from_bytes(len(header).to_bytes(8, "little") + header)


def test_settings_from_the_future(tiny_potential):
    content = checkpoint_bytes(tiny_potential)
    info = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    config = json.loads(info["config"])
    config["model"]["telepathy"] = True
    with pytest.raises(ArtifactError, match="telepathy"):
        potential_from_bytes(with_header(content, config=json.dumps(config)))


def test_a_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match="cannot read"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_an_exported_file_is_recognised():
    with pytest.raises(ArtifactError, match="load exported TorchScript files with"):
        potential_from_bytes(b"PK\x03\x04 and more")


def test_a_place_that_cannot_be_written(tiny_potential, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path, tmp_path / "file" / "tiny.safetensors"):
        with pytest.raises(ArtifactError, match="cannot write"):
            save_checkpoint(path, tiny_potential)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert not list(tmp_path.parent.glob("tmp*"))


def test_information_of_a_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match="cannot read"):
        checkpoint_info(tmp_path / "none.safetensors")


def test_a_dtype_that_is_none(tiny_potential):
    content = with_header(checkpoint_bytes(tiny_potential), dtype="sigmoid")
    with pytest.raises(ArtifactError, match="does not describe a potential"):
        potential_from_bytes(content)


def test_altered_settings(tiny_potential):
    content = checkpoint_bytes(tiny_potential)
    altered = content.replace(b'cutoff_angstrom\\": 4.0', b'cutoff_angstrom\\": 5.0')
    assert altered != content
    with pytest.raises(ArtifactError, match=r"settings in .* do not match their checksum"):
        potential_from_bytes(altered)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    del header["__metadata__"]["settings_sha256"]  # as the oldest files are
    text = json.dumps(header).encode()
    oldest = len(text).to_bytes(8, "little") + text + content[8 + length :]
    assert potential_from_bytes(oldest).config == tiny_potential.config
