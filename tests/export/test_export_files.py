"""Files: what they say about themselves, and every way in which they can be wrong."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import torch

from se3set_mlip.errors import ArtifactError
from se3set_mlip.export import artifact
from se3set_mlip.export.artifact import read_record
from se3set_mlip.export.loading import load, load_bound
from se3set_mlip.export.torchscript import export_bound, export_generic
from se3set_mlip.potential.checkpoint import checkpoint_info, save_checkpoint


@pytest.fixture(scope="module")
def generic(isolated, tmp_path_factory):
    return export_generic(isolated.potential, tmp_path_factory.mktemp("files") / "generic.pt")


@pytest.fixture(scope="module")
def bound(isolated, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "bound.pt"
    particles = range(5, 17)
    return export_bound(isolated.potential, path, isolated.fragmentation, particles=particles)


def test_the_record_says_what_the_file_is(isolated, generic, tmp_path):
    record = read_record(generic)
    assert (record.kind, record.dtype, record.elements) == ("generic", "float64", (1, 6, 8))
    assert record.range_angstrom == 4.0
    assert record.units["forces"] == "eV/angstrom"
    assert record.config == isolated.potential.config
    assert record.metadata.level_of_theory == "random weights"
    assert record.metadata.metrics == {"force_rmse_ev": 0.25}
    assert record.metadata.package_version
    assert record.bound is None
    save_checkpoint(tmp_path / "model.safetensors", isolated.potential)
    checksum = checkpoint_info(tmp_path / "model.safetensors")["weights_sha256"]
    assert record.weights_sha256 == checksum


def test_the_record_of_a_bound_file_has_its_system(isolated, bound):
    record = read_record(bound)
    assert record.kind == "bound"
    assert record.units == {"positions": "nm", "boxvectors": "nm", "energy": "kJ/mol"}
    assert record.bound.numbers == isolated.numbers
    assert record.bound.particles == tuple(range(5, 17))
    assert not record.bound.periodic


def test_the_record_is_one_of_torchscripts_extra_files(generic):
    extra = {artifact.RECORD_NAME: ""}
    torch.jit.load(generic, _extra_files=extra)
    values = json.loads(extra[artifact.RECORD_NAME])
    assert (values["format"], values["format_version"]) == ("se3set_mlip.torchscript", 2)


def test_content_and_not_the_name_decides(isolated, generic, tmp_path):
    script = tmp_path / "model.safetensors"
    script.write_bytes(generic.read_bytes())
    assert not isinstance(load(script).module, type(isolated.potential.module))
    checkpoint = tmp_path / "model.pt"
    save_checkpoint(checkpoint, isolated.potential)
    assert isinstance(load(checkpoint).module, type(isolated.potential.module))
    assert load(str(checkpoint), dtype="float32").dtype == torch.float32


def test_each_loader_names_the_other(generic, bound):
    with pytest.raises(ArtifactError, match=r"bound to one system of 12 atoms.*load_bound"):
        load(bound)
    with pytest.raises(ArtifactError, match="generic exported model, bound to no system"):
        load_bound(generic)


def altered(path, tmp_path, change):
    """A copy of a file with its record changed and a valid seal."""
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    name = next(name for name in members if name.endswith(artifact.RECORD_NAME))
    members[name] = change(members[name])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for member, content in members.items():
            if content is not None:
                target.writestr(member, content)
    return artifact.write_sealed(tmp_path / "altered.pt", buffer.getvalue())


def with_values(**values):
    return lambda text: json.dumps(json.loads(text) | values).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_values(format_version=3), "format version 3, this package reads up to 2; upgrade"),
        (with_values(format_version=1), "format version 1, .* export the checkpoint again"),
        (with_values(format="other"), "foreign file: its record"),
        (with_values(format_version="one"), "foreign file: its record"),
        (with_values(knid="generic"), "cannot be understood: unknown key 'knid'"),
        (with_values(elements="HCO"), "cannot be understood: elements = 'HCO'"),
        (lambda text: None, "foreign file: a zip archive without the record"),
        (lambda text: text[:-20], "damaged"),
        (lambda text: b"[1]", "damaged"),
        (lambda text: b"\xff\xfe\xff", "damaged"),
    ],
)
def test_a_record_that_cannot_be_right_is_an_error(generic, tmp_path, change, message):
    path = altered(generic, tmp_path, change)
    for reader in (load, read_record):
        with pytest.raises(ArtifactError, match=message):
            reader(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", b"\x80\x02}q\x00.", bytes(100)])
def test_a_foreign_file_is_an_error(content, tmp_path):
    path = tmp_path / "foreign.pt"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"foreign\.pt"):
        load(path)
    with pytest.raises(ArtifactError, match="is no exported model"):
        load_bound(path)


def test_a_script_of_another_program_is_an_error(tmp_path):
    path = tmp_path / "other.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)
    with pytest.raises(ArtifactError, match=r"foreign file: .* give a file that `se3set export`"):
        load(path)


def test_a_missing_file_is_an_error(tmp_path):
    for reader in (load, load_bound, read_record):
        with pytest.raises(ArtifactError, match=r"cannot read model file .*No such file"):
            reader(tmp_path / "none.pt")


def test_a_folder_that_is_not_there_is_an_error(isolated, tmp_path):
    with pytest.raises(ArtifactError, match=r"cannot write .*No such file.*folder that exists"):
        export_generic(isolated.potential, tmp_path / "none" / "model.pt")


def test_an_old_file_is_replaced_whole_and_nothing_else_is_left(isolated, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"old")
    export_generic(isolated.potential, path)
    assert load(path).elements == (1, 6, 8)
    assert list(tmp_path.iterdir()) == [path]


def test_a_truncated_file_is_an_error(generic, tmp_path):
    content = generic.read_bytes()
    path = tmp_path / "truncated.pt"
    for length in [*np.linspace(4, len(content) - 100, 12).astype(int), -71, -20, -1]:
        path.write_bytes(content[:length])
        with pytest.raises(ArtifactError, match=r"truncated|damaged"):
            load(path)


def test_every_flipped_bit_is_an_error(generic, bound, tmp_path):
    rng = np.random.default_rng(23)
    path = tmp_path / "flipped.pt"
    for source, loader in ((generic, load), (bound, load_bound)):
        content = bytearray(source.read_bytes())
        ends = [*range(4), *range(len(content) - 120, len(content))]
        for place in [*rng.integers(0, len(content), 60).tolist(), *ends]:
            bit = 1 << int(rng.integers(8))
            content[place] ^= bit
            path.write_bytes(content)
            with pytest.raises(ArtifactError, match=r"flipped\.pt"):
                loader(path)
            content[place] ^= bit


def test_a_whole_file_that_torch_refuses_is_an_error(generic, tmp_path):
    with zipfile.ZipFile(generic) as source:
        members = {name: source.read(name) for name in source.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, content in members.items():
            target.writestr(name, b"nonsense" if "/code/" in name else content)
    path = artifact.write_sealed(tmp_path / "nonsense.pt", buffer.getvalue())
    with pytest.raises(ArtifactError, match=rf"torch {torch.__version__[:3]}.* cannot load it"):
        load(path)


def test_the_seal_is_over_the_whole_file(generic):
    content = generic.read_bytes()
    assert content[-64:].decode() == hashlib.sha256(content[:-71]).hexdigest()
