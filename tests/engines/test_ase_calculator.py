"""ASE: what the calculator returns, what it does not pay for, and what it refuses."""

import warnings

import ase
import numpy as np
import pytest
from ase.build import molecule as build_molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.optimize import BFGS

from se3set_mlip.engines.ase_calculator import SE3SetCalculator
from se3set_mlip.errors import ArtifactError, InputError, TopologyError
from se3set_mlip.potential.candidate_cache import SKIN_ANGSTROM
from se3set_mlip.potential.fragment_cache import FragmentCache
from se3set_mlip.potential.potential import Potential
from se3set_mlip.topology.molecule import Topology

FLOAT64 = 1e-9
FLOAT32 = 1e-5


def atoms_of(case, positions=None) -> ase.Atoms:
    positions = case.positions if positions is None else positions
    return ase.Atoms(case.numbers, positions, cell=case.cell, pbc=case.periodic)


def relative(found, expected) -> float:
    expected = np.asarray(expected)
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())


def test_energies_and_forces_are_the_potentials(case):
    calculator = SE3SetCalculator(case.potential, topology=case.fragmentation.topology)
    reference = atoms_of(case)
    reference.calc = calculator
    reference.get_potential_energy()  # fragments are made here
    for positions in case.geometries(4):
        expected = case.expected(positions)
        atoms = atoms_of(case, positions)
        atoms.calc = calculator
        assert relative(atoms.get_potential_energy(), expected.energy[0]) < FLOAT64
        assert relative(atoms.get_potential_energies(), expected.atomic_energies) < FLOAT64
        assert relative(atoms.get_forces(), expected.forces) < FLOAT64
        assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
        assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy())


def test_float32_is_float64_to_its_precision(molecule):
    atoms = atoms_of(molecule)
    atoms.calc = SE3SetCalculator(molecule.potential, dtype="float32")
    expected = molecule.expected(molecule.positions)
    assert relative(atoms.get_potential_energy(), expected.energy[0]) < FLOAT32
    assert relative(atoms.get_forces(), expected.forces) < FLOAT32
    assert atoms.get_forces().dtype == np.float64


def test_forces_are_the_slope_of_the_energy(case):
    atoms = atoms_of(case)
    atoms.calc = SE3SetCalculator(case.potential, topology=case.fragmentation.topology)
    numerical = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[0, 7])
    np.testing.assert_allclose(atoms.get_forces()[[0, 7]], numerical, atol=1e-7)


def test_stress_has_the_order_and_sign_of_ase(wet_cell):
    atoms = atoms_of(wet_cell)
    atoms.calc = SE3SetCalculator(wet_cell.potential, topology=wet_cell.fragmentation.topology)
    stress = atoms.get_stress()
    assert stress.shape == (6,)
    numerical = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(stress, numerical, atol=1e-6 * np.abs(stress).max())
    assert np.abs(stress[3:]).min() > 1e-7, "a symmetric cell would hide the order"


@pytest.mark.parametrize("pbc", [False, (True, True, False)])
def test_stress_is_for_full_periodicity_only(wet_cell, pbc):
    atoms = atoms_of(wet_cell)
    atoms.pbc = pbc
    atoms.calc = SE3SetCalculator(wet_cell.potential, topology=wet_cell.fragmentation.topology)
    with pytest.raises(PropertyNotImplementedError, match="periodic in all directions"):
        atoms.get_stress()
    assert np.isfinite(atoms.get_potential_energy())


def test_an_energy_does_not_pay_for_forces(molecule, monkeypatch):
    asked = []
    compute = Potential.compute

    def spy(self, system, *, forces=True, stress=False, **options):
        asked.append((forces, stress))
        return compute(self, system, forces=forces, stress=stress, **options)

    monkeypatch.setattr(Potential, "compute", spy)
    atoms = atoms_of(molecule)
    atoms.calc = SE3SetCalculator(molecule.potential)
    atoms.get_potential_energy()
    assert asked == [(False, False)]
    atoms.get_forces()
    atoms.get_potential_energy()
    assert asked == [(False, False), (True, False)], "energies come with forces"


@pytest.fixture
def found(monkeypatch) -> list[ase.Atoms]:
    """The structures for which fragments were looked for."""
    structures = []
    find = FragmentCache.find

    def spy(self, atoms, *, topology=None):
        structures.append(atoms.copy())
        return find(self, atoms, topology=topology)

    monkeypatch.setattr(FragmentCache, "find", spy)
    return structures


def test_the_topology_is_found_once_for_the_same_atoms(molecule, found):
    atoms = atoms_of(molecule)
    atoms.calc = SE3SetCalculator(molecule.potential)
    for positions in molecule.geometries(3):
        atoms.positions = positions
        atoms.get_forces()
    assert len(found) == 1


def test_other_atoms_get_another_topology(molecule, found):
    atoms = build_molecule("H2O")
    atoms.calc = SE3SetCalculator(molecule.potential)
    atoms.get_potential_energy()
    atoms += build_molecule("CH3OH")
    atoms.positions[3:] += 5.0
    atoms.get_potential_energy()
    atoms.cell, atoms.pbc = 15.0 * np.eye(3), True
    atoms.get_potential_energy()
    assert [len(structure) for structure in found] == [3, 9, 9]


def test_dynamics_through_a_broken_bond_warn_once_and_keep_the_topology(molecule, found):
    atoms = atoms_of(molecule)
    atoms.calc = SE3SetCalculator(molecule.potential)
    atoms.get_potential_energy()
    atoms.positions[13] += [-2.0, -2.0, 1.0]  # a hydrogen of the water
    with pytest.warns(UserWarning, match=r"bond O6-H13 is \d\.\d\d Å long"):
        atoms.get_potential_energy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.rattle(0.01)
        atoms.get_potential_energy()
    assert len(found) == 1


def acetate() -> ase.Atoms:
    atoms = build_molecule("CH3COOH")
    assert atoms.get_distance(2, 3) < 1.0, "the hydroxyl group"
    del atoms[3]
    return atoms


def test_the_charge_of_the_atoms_is_honoured(molecule, found):
    atoms = acetate()
    atoms.calc = SE3SetCalculator(molecule.potential)
    with pytest.raises(TopologyError):
        atoms.get_potential_energy()
    atoms.info["charge"] = -1
    energy = atoms.get_potential_energy()
    assert atoms.calc.fragmentation(atoms).topology.charge == -1
    other = acetate()
    other.calc = SE3SetCalculator(molecule.potential, charge=-1)
    assert other.get_potential_energy() == energy
    assert "charge" not in other.info


def test_a_changed_charge_is_a_change(molecule):
    atoms = acetate()
    atoms.info["charge"] = -1
    atoms.calc = SE3SetCalculator(molecule.potential)
    atoms.get_potential_energy()
    atoms.info["charge"] = 0
    with pytest.raises(TopologyError):
        atoms.get_potential_energy()


def test_contradicting_charges_are_an_error(molecule):
    atoms = acetate()
    atoms.info["charge"] = 0
    atoms.calc = SE3SetCalculator(molecule.potential, charge=-1)
    with pytest.raises(InputError, match=r"info\[\"charge\"\] = 0, the calculator .* charge -1"):
        atoms.get_potential_energy()
    with pytest.raises(InputError, match="charge = 1, the topology's formal charges sum to 0"):
        SE3SetCalculator(molecule.potential, topology=Topology.from_smiles("O"), charge=1)


def test_atoms_that_do_not_fit_the_topology_are_an_error(molecule):
    calculator = SE3SetCalculator(molecule.potential, topology=Topology.from_smiles("O"))
    atoms = build_molecule("CH3OH")
    atoms.calc = calculator
    with pytest.raises(InputError, match=r"they have 6 atoms, the topology given .* 3"):
        atoms.get_potential_energy()
    atoms = ase.Atoms("HOH", build_molecule("H2O").positions[[1, 0, 2]], calculator=calculator)
    with pytest.raises(InputError, match=r"they have H as atom 0, .* O"):
        atoms.get_potential_energy()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda atoms: atoms.positions.__setitem__((2, 1), np.nan), "atom 2 .* not finite"),
        (lambda atoms: atoms.positions.__setitem__(1, atoms.positions[0]), "atoms 0 and 1"),
    ],
)
def test_positions_that_cannot_be_right_are_an_error(molecule, change, message):
    atoms = build_molecule("H2O")
    atoms.calc = SE3SetCalculator(molecule.potential)
    atoms.get_potential_energy()
    change(atoms)
    with pytest.raises(InputError, match=message):
        atoms.get_forces()


def test_an_unknown_element_is_an_error(molecule):
    atoms = build_molecule("CH3SH")
    atoms.calc = SE3SetCalculator(molecule.potential)
    with pytest.raises(InputError, match="knows H, C, O"):
        atoms.get_potential_energy()


def test_a_path_is_as_good_as_a_potential(tiny_potential, tiny_model, tmp_path):
    energies = []
    for model in (tiny_potential, tiny_model, str(tiny_model)):
        atoms = build_molecule("CH3OH")
        atoms.calc = SE3SetCalculator(model)
        energies.append(atoms.get_potential_energy())
    assert energies[0] == energies[1] == energies[2]
    with pytest.raises(ArtifactError, match=r"none\.safetensors"):
        SE3SetCalculator(tmp_path / "none.safetensors")


@pytest.mark.parametrize("symbol", ["H2", "H2O"])
def test_the_smallest_molecules_compute(molecule, symbol):
    atoms = build_molecule(symbol)
    atoms.calc = SE3SetCalculator(molecule.potential)
    assert atoms.get_forces().shape == (len(atoms), 3)


def test_a_relaxation_goes_down(molecule):
    atoms = atoms_of(molecule, molecule.geometries(1)[0])
    atoms.calc = SE3SetCalculator(molecule.potential, topology=molecule.fragmentation.topology)
    before = atoms.get_potential_energy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # random weights may well break a bond
        BFGS(atoms, logfile=None, maxstep=0.05).run(steps=5)
    assert atoms.get_potential_energy() < before


def test_a_memory_ceiling_changes_no_number(wet_cell):
    atoms = atoms_of(wet_cell)
    atoms.calc = SE3SetCalculator(wet_cell.potential)
    expected = atoms.get_forces()
    atoms.calc = SE3SetCalculator(wet_cell.potential, memory_gib=0.001)
    assert atoms.get_forces() == pytest.approx(expected, abs=1e-10)
    assert atoms.calc.potential._chunked.n_parts > 1
    with pytest.raises(InputError, match="give a positive number of GiB"):
        SE3SetCalculator(wet_cell.potential, memory_gib=0)


def test_a_search_is_not_needed_at_every_step(wet_cell, searches):
    atoms = atoms_of(wet_cell)
    atoms.calc = SE3SetCalculator(wet_cell.potential)
    rng = np.random.default_rng(4)
    for _ in range(8):
        atoms.positions += rng.normal(scale=0.01, size=atoms.positions.shape)
        atoms.wrap()
        found = atoms.get_potential_energy()
        expected = float(wet_cell.expected(atoms.positions).energy)
        assert found == pytest.approx(expected, abs=1e-11)
    assert searches.count(SKIN_ANGSTROM) == 1
