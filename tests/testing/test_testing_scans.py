"""Curves are counted right; scans stretch the bond they mean, and see wrinkles."""

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.calculator import Calculator
from ase.calculators.morse import MorsePotential

from se3set_mlip.shipped import shipped_structure
from se3set_mlip.structures import structure_from_smiles
from se3set_mlip.testing.curves import Curve, is_sane, shape_of
from se3set_mlip.testing.scans import check_bonds, check_diatomics, diatomic
from se3set_mlip.testing.subject import Specimen
from se3set_mlip.testing.subjects import CalculatorSubject, PotentialSubject
from se3set_mlip.topology.molecule import Topology


def curve_of(energy, low=0.5, high=6.0, n_points=400) -> Curve:
    distances = np.linspace(low, high, n_points)
    step = 1e-5
    forces = -(energy(distances + step) - energy(distances - step)) / (2 * step)
    return Curve("test", distances, energy(distances), forces)


def morse(r):
    return 4.0 * ((1.0 - np.exp(-2.0 * (r - 1.2))) ** 2 - 1.0)


def test_a_morse_curve_has_one_of_each():
    assert shape_of(curve_of(morse)) == (1, 1, 1)


def test_repulsion_alone_has_none():
    assert shape_of(curve_of(lambda r: np.exp(-2.0 * r))) == (0, 0, 0)


def test_a_wrinkle_adds_two_flips_and_a_minimum():
    def wrinkled(r):
        return morse(r) - 0.3 * np.exp(-40.0 * (r - 3.0) ** 2)

    flips, minima, inflections = shape_of(curve_of(wrinkled))
    assert (flips, minima) == (3, 2)
    assert inflections == 3


def test_ripples_below_the_noise_count_as_none():
    def rippled(r):
        return 1e-4 * np.sin(5.0 * r) + morse(r)

    assert shape_of(curve_of(rippled)) == (1, 1, 1)


def test_values_that_are_not_finite_are_not_sane():
    curve = curve_of(morse)
    assert is_sane(curve)
    curve.energies[3] = np.nan
    assert not is_sane(curve)


@pytest.mark.parametrize(
    ("pair", "order"), [((1, 1), 1), ((8, 8), 2), ((6, 6), 3), ((6, 8), 2), ((1, 7), 1)]
)
def test_diatomics_have_the_bond_that_valences_allow(pair, order):
    specimen = diatomic(*pair, 1.25)
    assert specimen.topology == Topology(pair, ((0, 1),), (order,), (0, 0))
    assert specimen.atoms.get_distance(0, 1) == 1.25
    assert diatomic(2, 2, 1.0).topology is None


def morse_subject(**options) -> CalculatorSubject:
    calculator = MorsePotential(epsilon=3.0, r0=1.3, rho0=3.0, rcut1=7.0, rcut2=9.0)
    return CalculatorSubject(calculator, **options)


def test_diatomics_of_a_morse_potential_pass():
    specimen = Specimen(ase.Atoms("CO", [[0, 0, 0], [0, 0, 1.2]]))
    flips, minima = check_diatomics(morse_subject(), specimen, n_points=100)
    assert (flips.measured, minima.measured) == (1, 1)
    assert "3 pairs of the structure's elements" in flips.detail
    known = check_diatomics(morse_subject(numbers=(1, 6, 7, 8)), specimen, n_points=20)
    assert "10 pairs of all elements known" in known[0].detail
    assert set(flips.data["curves"]) == {"C-C", "C-O", "O-O"}


def test_forces_of_diatomics_are_slopes_of_their_energies(tiny_potential):
    specimen = Specimen(ase.Atoms("CO", [[0, 0, 0], [0, 0, 1.2]]))
    flips, _ = check_diatomics(PotentialSubject(tiny_potential), specimen, n_points=50)
    for curve in flips.data["curves"].values():
        energy, force = np.array(curve["energy_ev"]), np.array(curve["force_ev_per_angstrom"])
        slope = np.gradient(energy, curve["distance_angstrom"])
        assert np.corrcoef(-slope[1:-1], force[1:-1])[0, 1] > 0.9


class Broken(Calculator):
    """Energies that are not numbers at short distance."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        distance = atoms.get_distance(0, 1)
        energy = np.nan if distance < 0.7 else 1.0 / distance
        force = np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]) / distance**2
        self.results = {"energy": energy, "forces": force}


def test_energies_that_are_no_numbers_fail():
    specimen = Specimen(ase.Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]))
    flips, minima = check_diatomics(CalculatorSubject(Broken()), specimen, n_points=30)
    assert flips.passed is False
    assert minima.passed is False
    assert "not finite: H-H" in flips.detail


class Pull(Calculator):
    """A harmonic spring between two atoms, and nothing else."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, pair, length):
        super().__init__()
        self.pair, self.length = pair, length

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        i, j = self.pair
        vector = atoms.positions[j] - atoms.positions[i]
        distance = np.linalg.norm(vector)
        forces = np.zeros((len(atoms), 3))
        forces[i] = 10.0 * (distance - self.length) * vector / distance
        forces[j] = -forces[i]
        self.results = {"energy": 5.0 * (distance - self.length) ** 2, "forces": forces}


def test_bond_scans_move_both_sides_as_rigid_halves():
    atoms, topology = structure_from_smiles("CCO")
    length = atoms.get_distance(1, 2)
    subject = CalculatorSubject(Pull((1, 2), length))
    flips, minima = check_bonds(subject, Specimen(atoms, topology), n_points=31)
    curves = flips.data["curves"]
    # C-C, C-O, O-H and the C-H of both carbons.
    assert set(curves) == {"C0-C1", "C1-O2", "O2-H8", "C0-H3", "C1-H6"}
    for name, curve in curves.items():
        distances = np.array(curve["distance_angstrom"])
        stretched = 5.0 * (distances - length) ** 2 if name == "C1-O2" else 0.0 * distances
        assert curve["energy_ev"] == pytest.approx(stretched, abs=1e-9), name
        slope = -10.0 * (distances - length) if name == "C1-O2" else 0.0 * distances
        assert curve["force_ev_per_angstrom"] == pytest.approx(slope, abs=1e-9), name
    assert curves["C1-O2"]["flips"] == curves["C1-O2"]["minima"] == 1
    # The other bonds are held by nothing.
    assert (flips.measured, flips.at_least, flips.passed) == (0, 1, False)
    assert "C0-C1 0" in minima.detail
    assert "C1-O2" not in minima.detail


def test_a_scan_ends_before_a_proton_is_nearer_to_another_atom():
    """Acetylacetone: the proton of the enol on its way to the other oxygen."""
    atoms = ase.io.read(shipped_structure("acetylacetone"))
    topology = Topology.from_coordinates(atoms.numbers, atoms.positions)
    ((own, proton),) = [
        bond for bond in topology.bonds if tuple(atoms.numbers[list(bond)]) == (8, 1)
    ]
    start = atoms.get_distance(own, proton)
    (acceptor,) = set(np.flatnonzero(atoms.numbers == 8)) - {own}
    hydrogen_bond = atoms.get_distance(acceptor, proton)
    assert hydrogen_bond < 2.0
    flips, _ = check_bonds(CalculatorSubject(Pull((0, 1), 1.5)), Specimen(atoms, topology))
    lengths = flips.data["curves"][f"O{own}-H{proton}"]["distance_angstrom"]
    assert 1.1 * start < lengths[-1] < 1.5 * start
    assert flips.data["curves"]["C0-C1"]["distance_angstrom"][-1] > 2.3


def test_a_held_bond_passes():
    specimen = diatomic(6, 8, 1.25)
    subject = CalculatorSubject(Pull((0, 1), 1.3))
    assert all(result.passed for result in check_bonds(subject, specimen))


def test_rings_and_unknown_bonds_are_left_out():
    atoms, topology = structure_from_smiles("C1CC1")
    subject = CalculatorSubject(Pull((0, 1), 1.5))
    flips, _ = check_bonds(subject, Specimen(atoms, topology), n_points=5)
    assert set(flips.data["curves"]) == {"C0-H3"}
    assert (
        "bonds of the structure are not known" in check_bonds(subject, Specimen(atoms))[0].skipped
    )
