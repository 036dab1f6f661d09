"""Structures written down differently keep their bonds, and their distances."""

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.geometry import get_distances

from se3set_mlip.engines.ase_calculator import SE3SetCalculator
from se3set_mlip.errors import InputError
from se3set_mlip.testing import specimens as s
from se3set_mlip.testing.paths import (
    parted,
    pulled_atom,
    random_straight,
    random_wave,
    shrinking_cell,
)
from se3set_mlip.testing.subject import Specimen
from se3set_mlip.testing.subjects import (
    BOUNDARY_NAMES,
    CalculatorSubject,
    PotentialSubject,
    as_subject,
)


def bond_lengths(specimen):
    atoms = specimen.atoms
    return [atoms.get_distance(i, j, mic=bool(atoms.pbc.any())) for i, j in specimen.topology.bonds]


@pytest.fixture
def crystal(dimer):
    return s.boxed(dimer)


def test_bonds_travel_along(crystal):
    order = np.random.default_rng(0).permutation(len(crystal.atoms)).tolist()
    expected = sorted(bond_lengths(crystal))
    for other in (
        s.permuted(crystal, order),
        s.wrapped(s.displaced(crystal, [3.0, 2.0, 5.0])),
        s.turned(crystal, -np.eye(3)),
    ):
        assert sorted(bond_lengths(other)) == pytest.approx(expected, abs=1e-12)
    for axis in range(3):
        double = s.doubled(crystal, axis)
        assert sorted(bond_lengths(double)) == pytest.approx(sorted(2 * expected), abs=1e-12)
        assert double.atoms.get_volume() == pytest.approx(2 * crystal.atoms.get_volume())


def test_molecules_are_made_whole_and_taken_out(crystal, dimer):
    split = s.wrapped(s.displaced(crystal, 0.5 * np.asarray(crystal.atoms.cell).sum(axis=0)))
    n = len(crystal.atoms) // 2
    assert not np.allclose(split.atoms.positions[:n], s.whole(split).atoms.positions[:n])
    for chosen in s.molecules(crystal):
        one = s.part(s.isolated(split), chosen)
        assert one.topology.n_atoms == 3
        assert not one.atoms.pbc.any()
        before = s.part(dimer, chosen).atoms.get_all_distances()
        assert one.atoms.get_all_distances() == pytest.approx(before, abs=1e-10)


def test_doubling_needs_a_cell(dimer):
    with pytest.raises(InputError, match="not periodic"):
        s.doubled(dimer, 0)


def test_an_unknown_chemistry_stays_unknown():
    from ase.build import bulk  # noqa: PLC0415 - only here

    assert s.held(Specimen(bulk("Cu"))).topology is None


@pytest.mark.parametrize("make", [random_straight, pulled_atom, parted])
def test_paths_move_at_their_velocity(dimer, make):
    path = make(dimer, length_angstrom=2.0, seed=0)
    for t in (0.0, 0.7, 1.9):
        change = path.at(t + 1e-4).atoms.positions - path.at(t - 1e-4).atoms.positions
        assert change / 2e-4 == pytest.approx(path.velocity(t), abs=1e-8)
        assert np.linalg.norm(path.velocity(t), axis=1).max() == pytest.approx(1.0)


def test_waves_move_at_their_velocity(dimer):
    path = random_wave(dimer, amplitude_angstrom=0.1, seed=0)
    for t in (0.0, 0.3):
        change = path.at(t + 1e-5).atoms.positions - path.at(t - 1e-5).atoms.positions
        assert change / 2e-5 == pytest.approx(path.velocity(t), abs=1e-6)


def test_a_copy_lies_as_far_as_asked(water):
    path = parted(water, length_angstrom=3.0, contact_angstrom=2.0, seed=1)
    positions = path.at(0.0).atoms.positions
    _, distances = get_distances(positions[:3], positions[3:])
    assert 2.0 <= distances.min() < 4.0


def test_a_shrinking_cell_ends_as_it_is(crystal):
    path = shrinking_cell(crystal)
    assert np.allclose(path.at(path.length).atoms.cell, crystal.atoms.cell, atol=1e-12)
    assert path.at(0.0).atoms.get_volume() > 2.0 * crystal.atoms.get_volume()
    with pytest.raises(TypeError, match="moves the cell"):
        path.slope(0.0, None)


def test_subjects(tiny_potential, dimer):
    ours = as_subject(tiny_potential, name="tiny")
    assert ours.name == "tiny"
    assert as_subject(ours) is ours
    assert isinstance(as_subject(SE3SetCalculator(tiny_potential)), PotentialSubject)
    assert as_subject(EMT()).name == "EMT"
    with pytest.raises(InputError, match="cannot check 'MACE'"):
        as_subject("MACE")
    assert len(ours.boundaries(dimer)) == len(BOUNDARY_NAMES)
    assert sum(ours.atomic_energies(dimer)) == pytest.approx(
        ours.values([dimer])[0].energy + 2 * (2 * 13.5 + 2038.0)
    )


def test_forces_of_fixed_atoms_are_seen(toy, dimer):
    fixed = dimer.atoms.copy()
    fixed.set_constraint(FixAtoms([0]))
    (values,) = CalculatorSubject(toy()).values([Specimen(fixed)])
    assert np.abs(values.forces[0]).max() > 1e-3


def test_a_factory_makes_a_calculator_for_each_set_of_bonds(toy, dimer, water):
    asked = []

    def factory(topology):
        asked.append(topology)
        return toy()

    subject = CalculatorSubject(toy(), factory=factory)
    subject.values([dimer, water, dimer])
    assert asked == [dimer.topology, water.topology]
