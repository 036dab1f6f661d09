"""The data of a general potential: parts that do not touch, geometries that are what they say."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from rdkit import Chem, RDLogger

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "organic"))

import decorated
import pack
import pairs
from active import ions
from geometries import BROKEN, ON_PURPOSE, PROTON_REACH, STRETCH, Made, Shapes
from grow import grown
from ions import learned_termini
from molecules import gather, scaffold
from pack import ANGSTROM, packed, unpacked
from rdkit.Chem.rdMolDescriptors import CalcMolFormula
from small import gather as gather_small
from small import is_training
from unsure import by_level

import se3set_mlip as s3
from se3set_mlip import Topology
from se3set_mlip.potential.potential import Potential, PotentialModule


@pytest.fixture(scope="module")
def organic_molecules():
    """Three structures that the shipped potential has not seen."""
    path = Path(__file__).parents[1] / "data" / "organic" / "unseen_20.xyz"
    return ase.io.read(path, ":3")


@pytest.fixture(scope="module")
def molecules():
    RDLogger.DisableLog("rdApp.*")
    return gather(20, 60, seed=1)


def test_parts_have_no_scaffold_in_common(molecules):
    parts = {}
    for molecule in molecules:
        for smiles in molecule.smiles.split("."):
            key = scaffold(Chem.MolFromSmiles(smiles))
            # Medicines of the test list may have the commonest of all scaffolds, a benzene ring.
            if molecule.source != "test medicine":
                parts.setdefault(key, set()).add(molecule.part)
    assert {part for found in parts.values() for part in found} == {"train", "validation", "test"}
    assert all(len(found) == 1 for found in parts.values())


def test_no_molecule_is_twice_and_charges_are_theirs(molecules):
    singles = [m for m in molecules if m.source != "two molecules"]
    assert len({m.smiles for m in singles}) == len(singles)
    assert sum(m.source == "dipeptide" for m in singles) == 400
    for molecule in molecules:
        assert Chem.GetFormalCharge(Chem.MolFromSmiles(molecule.smiles)) == molecule.charge


@pytest.mark.parametrize("smiles", ["CC(=O)NC", "CO.O"])
def test_geometries_have_the_bonds_of_their_smiles(smiles):
    shapes = Shapes(smiles, np.random.default_rng(1))
    made = shapes.pool(8)
    kinds = {m.kind.split()[0] for m in made}
    assert {"dynamics", "relaxed", "modes", "stretch"} <= kinds
    stated = Topology.from_smiles(shapes.mapped_smiles)
    np.testing.assert_array_equal(stated.numbers, shapes.numbers)
    for m in made:
        if m.kind not in ON_PURPOSE:
            found = Topology.from_coordinates(shapes.numbers, m.positions, charge=0)
            assert sorted(map(tuple, found.bonds)) == sorted(map(tuple, stated.bonds))
    chosen = shapes.diverse(made, 5)
    assert len(chosen) == 5
    assert len({m.positions.tobytes() for m in chosen}) == 5


def test_a_stretch_moves_one_side_of_one_bond():
    shapes = Shapes("CCO", np.random.default_rng(1))
    lengths = [
        np.linalg.norm(np.diff(positions[shapes.bonds.pairs], axis=1)[:, 0], axis=1)
        for positions in (shapes.conformers[0], *(m.positions for m in shapes.stretches(40)))
    ]
    ratios = np.array(lengths[1:]) / lengths[0]
    assert ratios.max() > 1.3
    assert ratios.max() < STRETCH[1] + 0.2
    assert (np.sort(ratios, axis=1)[:, -2] < 1.2).all()


def test_a_proton_goes_towards_a_neighbour_and_nothing_else_moves():
    shapes = Shapes("O=C(O)c1ccccc1O", np.random.default_rng(1))
    start = next(p for p in shapes.conformers if list(shapes.protons([Made(p, "")], 1)))
    for made in (m for _ in range(20) for m in shapes.protons([Made(start, "")], 1)):
        assert made.kind == "proton"
        moved = np.flatnonzero(np.linalg.norm(made.positions - start, axis=1) > 0.0)
        assert shapes.numbers[moved].tolist() == [1]
        (donor,) = np.flatnonzero(shapes.bonds.bonded[moved[0]])
        takers = np.flatnonzero(np.isin(shapes.numbers, (7, 8, 16)))
        takers = takers[takers != donor]
        before, after = (
            np.linalg.norm(p[takers] - p[moved[0]], axis=1) for p in (start, made.positions)
        )
        assert (after < before).any()
        assert before[(before - after).argmax()] < PROTON_REACH


def test_charged_ends_of_proteins_are_of_the_training():
    known = [{"smiles": "CC(=O)N[C@@H](C)C(=O)[O-]", "part": "test"}]
    found = list(learned_termini(known))
    assert {molecule["charge"] for molecule in found} == {-1, 1}
    assert {molecule["part"] for molecule in found} == {"train"}
    names = {Chem.CanonSmiles(molecule["smiles"]) for molecule in found}
    assert Chem.CanonSmiles("CC(=O)N[C@@H](Cc1ccccc1)C(=O)[O-]") in names
    assert Chem.CanonSmiles(known[0]["smiles"]) not in names


@pytest.mark.parametrize("group", [*decorated.SULFUR, *decorated.PHOSPHORUS])
def test_a_group_takes_the_place_of_one_hydrogen(group):
    made = decorated.decorated("CCc1ccccc1", group, np.random.default_rng(1))
    bound, parent = Chem.MolFromSmiles("*" + group), Chem.MolFromSmiles("CCc1ccccc1")
    both = Chem.AddHs(bound).GetNumAtoms() + Chem.AddHs(parent).GetNumAtoms()
    assert Chem.AddHs(made).GetNumAtoms() == both - 2  # a hydrogen, and the place it leaves
    assert made.GetNumHeavyAtoms() == bound.GetNumHeavyAtoms() + parent.GetNumHeavyAtoms()
    assert Chem.GetFormalCharge(made) == Chem.GetFormalCharge(bound)
    assert decorated.usable(made)


def test_pairs_are_two_whole_molecules_at_many_distances():
    found = pairs.geometries(("CO", "CC(=O)[O-]", 12, 0, 1))
    assert len(found) >= 10
    gaps = []
    for atoms in found:
        topology = Topology.from_smiles(atoms.info["mapped_smiles"])
        np.testing.assert_array_equal(topology.numbers, atoms.numbers)
        assert atoms.info["charge"] == topology.charge == -1
        assert topology.bonds_hold(atoms.positions, factor=BROKEN)
        first, second = topology.components
        apart = atoms.positions[list(first)][:, None] - atoms.positions[list(second)][None]
        gaps.append(np.linalg.norm(apart, axis=-1).min())
    assert min(gaps) < 2.5
    assert max(gaps) > 4.0


def test_what_is_packed_is_there_again(tmp_path, organic_molecules):
    files = ["a_gfn2.xyz", "ions/b_gfn2.xyz", "a_gfn2.xyz"]
    np.savez_compressed(tmp_path / "packed.npz", **packed(organic_molecules, files))
    with np.load(tmp_path / "packed.npz") as data:
        found = unpacked(data)
    first, third = found["a_gfn2.xyz"]
    (second,) = found["ions/b_gfn2.xyz"]
    for before, after in zip(organic_molecules, (first, second, third), strict=True):
        np.testing.assert_array_equal(before.numbers, after.numbers)
        np.testing.assert_allclose(after.positions, before.positions, atol=0.51 * ANGSTROM)
        forces = before.arrays["REF_forces"]
        np.testing.assert_allclose(after.arrays["REF_forces"], forces, rtol=1e-3, atol=1e-6)
        for key in ("REF_energy", "charge", "mapped_smiles", "smiles", "kind", "source"):
            assert after.info[key] == before.info[key]


def test_packed_files_hold_all_that_was_labelled(tmp_path, monkeypatch, organic_molecules):
    folder, to, back = (tmp_path / name for name in ("made", "packed", "back"))
    to.mkdir()
    names = ("train_gfn2.xyz", "ions/test_gfn2.xyz", pack.IN_PAIRS[0])
    for name, atoms in zip(names, organic_molecules, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        ase.io.write(folder / name, atoms, format="extxyz")
    (folder / "molecules.json").write_text('[{"smiles": "C"}]', encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["pack.py", "--folder", str(folder), "--to", str(to)])
    pack.main()
    assert {path.name for path in to.iterdir()} == {"gfn2_organic.npz", "gfn2_pairs.npz"}
    options = ["--unpack", "--folder", str(back), "--to", str(to)]
    monkeypatch.setattr("sys.argv", ["pack.py", *options])
    pack.main()
    for name, atoms in zip(names, organic_molecules, strict=True):
        assert ase.io.read(back / name).info["REF_energy"] == atoms.info["REF_energy"]
    assert json.loads((back / "molecules.json").read_text(encoding="utf-8")) == [{"smiles": "C"}]
    with pytest.raises(SystemExit):  # nothing is written over
        pack.main()


def test_modes_have_the_energy_of_their_temperature():
    """Half kT for each mode on average, where the molecule is stiff."""
    shapes = Shapes("C#C", np.random.default_rng(1))
    relaxed, *moved = shapes.modes(200)
    atoms = shapes.atoms(relaxed.positions)
    atoms.calc.set(accuracy=1.0)
    lowest = atoms.get_potential_energy()
    energies = []
    for m in moved:
        atoms.positions = m.positions
        energies.append(atoms.get_potential_energy() - lowest)
    thermal = 0.5 * 8.617e-5 * 600.0 * (3 * 4 - 6)
    # 200 draws of a chi-square with 6 degrees of freedom: 4 % of noise; anharmonicity adds some.
    assert np.mean(energies) == pytest.approx(thermal, rel=0.3)


def test_a_grown_network_computes_what_the_narrow_one_does_and_can_learn_more(organic_molecules):
    torch.manual_seed(1)
    narrow = s3.load("gfn2-small", dtype="float64")
    wide = grown(narrow, "medium")
    assert len(wide.module.network.layers) == len(narrow.module.network.layers) + 1
    before = narrow.evaluate(organic_molecules, forces=True)
    after = wide.evaluate(organic_molecules, forces=True)
    for old, new in zip(before, after, strict=True):
        assert new.energy == pytest.approx(old.energy, abs=1e-9)
        np.testing.assert_allclose(new.forces, old.forces, atol=1e-9)
    # What leads from new channels to old ones is zero and has a slope, in every layer.
    wide.module.train()
    system = wide._system_of(organic_molecules[0], None)
    wide.module(system, False, False).energy.sum().backward()
    for layer in wide.module.network.layers:
        zeros = layer.out_first.weight == 0.0
        assert zeros.any()
        assert layer.out_first.weight.grad[zeros].abs().max() > 0.0
    wide.module.eval()
    for parameter in wide.module.network.layers[1].parameters():
        parameter.data.add_(0.01)
    changed = wide.evaluate(organic_molecules[0]).energy
    assert abs(changed - before[0].energy) > 1e-3


def without_charges(potential):
    """Return the potential with a network that is not told charges."""
    model = replace(potential.config.model, fragment_charge=False)
    config = replace(potential.config, model=model)
    module = PotentialModule(config)
    weights = potential.module.state_dict()
    module.load_state_dict({key: weights[key] for key in module.state_dict()})
    return Potential(
        module.requires_grad_(False), replace(potential.config, model=model), potential.metadata
    )


def test_a_network_learns_of_charges_of_fragments_and_keeps_what_it_knows(organic_molecules):
    """Of the same size, and then of a larger one."""
    old = without_charges(s3.load("gfn2-small", dtype="float64"))
    ion = ase.Atoms("OH", [[0.0, 0.0, 0.0], [0.97, 0.0, 0.0]], info={"charge": -1})
    structures = [*organic_molecules, ion]
    energies = [each.energy for each in old.evaluate(structures)]
    found = grown(old, "small", fragment_charge=True)
    assert found.config.model == replace(old.config.model, fragment_charge=True)
    assert [each.energy for each in found.evaluate(structures)] == energies
    torch.nn.init.normal_(found.module.network.charge_embedding)
    changed = [each.energy for each in found.evaluate(structures)]
    assert changed[:-1] == energies[:-1]
    assert abs(changed[-1] - energies[-1]) > 1e-3
    again = grown(found, "medium")
    assert again.config.model.fragment_charge
    assert [each.energy for each in again.evaluate(structures)] == pytest.approx(changed, abs=1e-9)


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("CCN", {"CC[NH3+]"}),
        ("CC(=O)O", {"CC(=O)[O-]"}),
        ("CC(=O)NC", set()),
        ("c1ccncc1", {"c1cc[nH+]cc1"}),
        ("CS", {"C[S-]"}),
    ],
)
def test_ions_have_a_proton_more_or_less_where_chemistry_puts_it(smiles, expected):
    keys = {scaffold(Chem.MolFromSmiles(made)): "train" for made in expected}
    found = ions({"smiles": smiles}, keys)
    assert {ion.smiles for ion in found} == expected
    for ion in found:
        assert ion.charge == Chem.GetFormalCharge(Chem.MolFromSmiles(ion.smiles)) != 0
        held = dict.fromkeys(keys, "test")
        assert ions({"smiles": smiles}, held) == []


def test_small_molecules_have_no_formula_that_is_held_out():
    RDLogger.DisableLog("rdApp.*")
    unwanted = scaffold(Chem.MolFromSmiles("c1ccncc1"))  # several structures of ANI-1x have it
    found, structures = gather_small(800, 1, {unwanted})
    assert len(found) > 700
    mols = [Chem.MolFromSmiles(smiles) for smiles in found]
    formulas = [ase.Atoms(CalcMolFormula(mol)).get_chemical_formula() for mol in mols]
    formulas += [atoms.get_chemical_formula() for atoms in structures]
    assert all(is_training(formula) for formula in formulas)
    assert not all(is_training(formula) for formula in ("C2H6O", "CH4O", "C3H8", "C4H9NO", "C5H8"))
    stated = [Chem.MolFromSmiles(atoms.info["mapped_smiles"]) for atoms in structures]
    for mol in stated:
        for atom in mol.GetAtoms():
            atom.SetAtomMapNum(0)
    assert unwanted not in {scaffold(mol) for mol in mols}
    assert unwanted not in {scaffold(Chem.RemoveHs(mol)) for mol in stated}
    assert all(Chem.GetFormalCharge(mol) == 0 for mol in mols)
    for atoms in structures[:20]:
        stated = Topology.from_smiles(atoms.info["mapped_smiles"])
        np.testing.assert_array_equal(stated.numbers, atoms.numbers)


def test_structures_are_divided_by_their_most_unsure_atom():
    spread = [np.array([0.01, 0.01 * k]) for k in range(1, 11)]
    error = [np.array([0.5 * k, 0.5 * k]) for k in range(1, 11)]
    energy_error = [np.array([0.001 * k]) for k in range(1, 11)]
    rows = by_level({"spread": spread, "error": error, "energy_error": energy_error})
    assert [row["n"] for row in rows] == [5, 4, 1]
    assert [row["energy_mae_mev_per_atom"] for row in rows] == pytest.approx([3.0, 7.5, 10.0])
    assert rows[2]["error_of_an_atom_mev_per_angstrom"] == pytest.approx(5000.0)
    assert rows[1]["spread_from_ev_per_angstrom"] == pytest.approx(0.055)


def test_ions_are_of_the_part_that_was_asked_for():
    molecule = {"smiles": "OC(=O)c1ccccc1", "charge": 0}
    key = scaffold(Chem.MolFromSmiles(molecule["smiles"]))
    for part in ("train", "test"):
        assert [ion.part for ion in ions(molecule, {key: part}, part)] == [part]
        assert ions(molecule, {key: "validation"}, part) == []
