"""The general model: any organic molecule, by name, without training; and what it refuses."""

import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from click.testing import CliRunner

import se3set_mlip as s3
from se3set_mlip.cli import main
from se3set_mlip.errors import InputError
from se3set_mlip.shipped import (
    GENERAL_MODEL,
    SEVERAL_MOLECULES_MODEL,
    find_model,
    is_model,
    shipped_structure,
)
from se3set_mlip.structures import structure_from_smiles

SECOND_MODEL = SEVERAL_MOLECULES_MODEL
DATA = Path(__file__).parents[1] / "data" / "organic" / "unseen_20.xyz"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: object) -> str:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    return invoke


def test_molecules_it_never_saw_have_the_forces_of_gfn2():
    frames = ase.io.read(DATA, ":")
    found = s3.load(GENERAL_MODEL).evaluate(frames)
    errors = [a.forces - b.arrays["REF_forces"] for a, b in zip(found, frames, strict=True)]
    assert np.abs(np.concatenate(errors)).mean() < 0.05


def test_names_and_paths():
    path = find_model(GENERAL_MODEL)
    assert path.name == "gfn2-small.safetensors"
    assert find_model(path) == path
    assert is_model(GENERAL_MODEL)
    assert is_model("any.safetensors")
    assert not is_model("caffeine.xyz")
    atoms = ase.io.read(shipped_structure(GENERAL_MODEL))
    by_name = s3.SE3SetCalculator(GENERAL_MODEL).get_potential_energy(atoms)
    assert by_name == s3.SE3SetCalculator(path).get_potential_energy(atoms)


def test_a_file_of_ones_own_relaxes_without_a_model_named(run, tmp_path):
    ase.io.write(tmp_path / "caffeine.xyz", ase.io.read(shipped_structure(GENERAL_MODEL)))
    output = run("relax", "caffeine.xyz", "--fmax", 0.05)
    assert "with the model gfn2-small" in output
    assert "\nconverged" in output


def test_several_molecules_get_the_model_that_learned_pairs(run, tmp_path):
    waters, _ = structure_from_smiles("O.O")
    ase.io.write(tmp_path / "waters.xyz", waters, columns=["symbols", "positions"], plain=True)
    for arguments in (("waters.xyz",), ("--smiles", "O.O")):
        output = run("relax", *arguments, "--fmax", 1.0)
        assert f"with the model {SECOND_MODEL}, for several organic molecules" in output
    output = run("relax", GENERAL_MODEL, "waters.xyz", "--fmax", 1.0)
    assert "with the model" not in output
    two = ("--smiles", "O.O", "--duration", 0.002, "--timestep", 1, "--committee", SECOND_MODEL)
    assert f"with the model {GENERAL_MODEL}, for organic molecules" in run("md", *two)


def test_ions_relax_whoever_says_their_charge(run, tmp_path):
    structure, _ = structure_from_smiles("CC(=O)[O-]")
    structure.info["charge"] = -1
    ase.io.write(tmp_path / "says_its_charge.xyz", structure)
    ase.io.write(tmp_path / "does_not.xyz", structure, columns=["symbols", "positions"], plain=True)
    energies = []
    for arguments in (
        ("says_its_charge.xyz",),
        ("does_not.xyz", "--charge", -1),
        ("--smiles", "CC(=O)[O-]"),
    ):
        output = run("relax", *arguments, "--fmax", 0.5)
        assert f"with the model {GENERAL_MODEL}, for organic molecules" in output
        energies.append(re.search(r"-\d+\.\d{3}", output)[0])
    assert len(set(energies)) == 1


def test_both_models_tell_how_unsure_they_are(run):
    methanol = ("--smiles", "CO", "--duration", 0.005, "--timestep", 1)
    assert "spread (eV/Å)" in run("md", *methanol, "--committee", SECOND_MODEL)
    assert "spread (eV/Å)" not in run("md", *methanol)
    other = run("md", *methanol, "--committee", GENERAL_MODEL)
    assert f"with the model {SECOND_MODEL}" in other
    twice = [GENERAL_MODEL, "--smiles", "C[NH3+]", "--committee", GENERAL_MODEL]
    found = CliRunner().invoke(main, ["md", *twice])
    assert found.exit_code != 0
    assert "gfn2-small.safetensors is in the committee twice" in str(found.output)


def test_dynamics_of_aspirin_by_smiles(run):
    output = run("md", "--smiles", "CC(=O)Oc1ccccc1C(=O)O", "--duration", 0.01, "--timestep", 1)
    assert "trajectory in md.traj" in output
    assert len(ase.io.read("md.traj", ":")) > 1


def test_a_name_does_for_every_command(run):
    assert '"GFN2-xTB"' in run("info", GENERAL_MODEL)
    assert "force" in run("evaluate", GENERAL_MODEL, DATA)


def test_charges_and_elements_that_it_never_saw_are_refused():
    potential = s3.load(GENERAL_MODEL)
    assert potential.metadata.charges == (-1, 0, 1)
    dication, _ = structure_from_smiles("[NH3+]CC[NH3+]")
    with pytest.raises(InputError, match=r"charge \+2, .* trained on charges -1, 0, \+1 only"):
        potential.evaluate(dication)
    silane, _ = structure_from_smiles("C[SiH3]")
    with pytest.raises(InputError, match="Si"):
        potential.evaluate(silane)


def test_radicals_are_refused(run):
    result = CliRunner().invoke(main, ["relax", "--smiles", "C[CH2]"])
    assert result.exit_code == 2
    assert "odd number of electrons at charge +0" in result.stderr


def test_molecules_of_one_smiles_lie_beside_each_other(run):
    for smiles in ("CC#N.O", "O.O.O", "CC(=O)[O-].C[NH3+]", "C[Si](C)(C)C.O"):
        atoms, topology = structure_from_smiles(smiles)
        distances = atoms.get_all_distances()
        bonded = np.eye(len(atoms), dtype=bool)
        for i, j in topology.bonds:
            bonded[i, j] = bonded[j, i] = True
        assert distances[~bonded].min() > 1.4
        assert distances.max() < 10.0
    output = run("relax", "--smiles", "CC#N.O", "--fmax", 0.05)
    assert "\nconverged" in output
    assert ase.io.read("relaxed.xyz").get_all_distances()[5].max() < 8.0


def test_two_structures_are_one_too_many(run, tmp_path):
    for name in ("a.xyz", "b.xyz"):
        ase.io.write(tmp_path / name, ase.io.read(shipped_structure(GENERAL_MODEL)))
    result = CliRunner().invoke(main, ["relax", "a.xyz", "b.xyz"])
    assert result.exit_code == 2
    assert "2 structures; name one" in result.output
