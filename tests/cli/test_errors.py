"""A mistake prints one line that names it and the remedy, and exits with 2."""

import ase
import ase.io
import pytest
from click.testing import CliRunner

from se3set_mlip.cli import main
from se3set_mlip.shipped import GENERAL_MODEL, shipped_structure

STRUCTURE = str(shipped_structure("acetylacetone"))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def error_of(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: ")
    return lines[0]


def test_neither_file_nor_smiles(tiny_model):
    assert "either a file, or --smiles" in error_of("relax", tiny_model)


def test_both_file_and_smiles(tiny_model):
    assert "either a file, or --smiles" in error_of("relax", tiny_model, STRUCTURE, "--smiles", "O")


def test_unreadable_smiles():
    assert "cannot be read by RDKit" in error_of("fragments", "--smiles", "C(C")


def test_charge_that_the_smiles_contradicts():
    assert "charges of 'O' sum to 0" in error_of("fragments", "--smiles", "O", "--charge", 1)


def test_unreadable_structure(tmp_path):
    path = tmp_path / "broken.xyz"
    path.write_text("two\nlines\n")
    assert "cannot read structure -1 of" in error_of("fragments", path)


def test_structure_that_is_not_there():
    assert "cannot read structure 7 of" in error_of("fragments", STRUCTURE, "--index", 7)


def test_unknown_element(tiny_model):
    message = error_of("md", tiny_model, "--smiles", "CS")
    assert "16" in message or "S" in message


def test_coincident_atoms(tiny_model, tmp_path):
    path = tmp_path / "coincident.xyz"
    ase.io.write(path, ase.Atoms("OH2", [[0, 0, 0], [0, 0, 1], [0, 0, 1]]))
    assert "coincide" in error_of("relax", tiny_model, path)


def test_truncated_model(tiny_model, tmp_path):
    path = tmp_path / "truncated.safetensors"
    path.write_bytes(tiny_model.read_bytes()[:200])
    assert str(path) in error_of("info", path).replace("\n", "")


def test_dataset_without_labels(tiny_model):
    error_of("evaluate", tiny_model, STRUCTURE)


def test_unknown_key_in_a_configuration(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("data: {train_file: a.xyz}\npotential: {}\noptimizer: {}\nrun: {}\n")
    assert "did you mean 'train_files'" in error_of("train", path)


def test_structure_without_bound(tiny_model):
    assert "add --bound" in error_of("export", tiny_model, STRUCTURE, "-o", "x.pt")


def test_impossible_time_step(tiny_model):
    assert "timestep_fs = -1.0" in error_of("md", tiny_model, STRUCTURE, "--timestep", "-1")


@pytest.mark.parametrize("command", ["relax", "md", "info", "evaluate", "check"])
def test_missing_file_is_an_error_of_usage(command):
    result = CliRunner().invoke(main, [command, "nowhere.safetensors"])
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


@pytest.mark.parametrize(
    "command", [("md",), ("md", "--engine", "openmm"), ("relax",)], ids=["ase", "openmm", "relax"]
)
def test_a_memory_ceiling_that_is_too_low(tiny_model, command):
    name, *options = command
    message = error_of(name, tiny_model, STRUCTURE, *options, "--memory", 1e-6)
    assert "memory_gib = 1e-06 is too little" in message


def test_a_misspelt_model_is_answered_with_the_names_of_all():
    for structure in ((STRUCTURE,), ("--smiles", "O")):
        message = error_of("relax", "gfn2-smal", *structure)
        assert "'gfn2-smal' is no file, and no shipped model; those are acetylacetone" in message
        assert GENERAL_MODEL in message


def test_what_would_run_uncompiled_is_not_compiled(tiny_model, tmp_path):
    message = error_of("md", tiny_model, STRUCTURE, "--compile", "--memory", 1.0)
    assert "--memory for parts; leave one out" in message
    molecule = ase.io.read(STRUCTURE)
    cell = ase.Atoms(molecule.symbols, molecule.positions, cell=[9.0] * 3, pbc=True)
    ase.io.write(tmp_path / "large.xyz", cell.repeat((5, 5, 3)))  # 1,125 atoms
    message = error_of("md", tiny_model, tmp_path / "large.xyz", "--compile")
    assert "up to 1,024 atoms, the structure has 1,125" in message
