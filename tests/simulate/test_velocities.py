"""Velocities: the temperature is exact, and nothing moves or turns as a whole."""

import ase
import numpy as np
import pytest
from ase.build import molecule

from se3set_mlip.simulate.velocities import degrees_of_freedom, draw_momenta, temperature_kelvin


def with_momenta(atoms: ase.Atoms, temperature: float = 300.0) -> ase.Atoms:
    atoms.set_momenta(draw_momenta(atoms, temperature, seed=3))
    return atoms


@pytest.mark.parametrize(
    ("name", "expected"), [("H2O", 3), ("CO2", 4), ("N2", 1), ("H", 3), ("C6H6", 30)]
)
def test_degrees_of_freedom_of_molecules(name, expected):
    assert degrees_of_freedom(molecule(name)) == expected


def test_degrees_of_freedom_of_a_periodic_system_and_with_a_thermostat():
    atoms = molecule("H2O", pbc=True, vacuum=5.0)
    assert degrees_of_freedom(atoms) == 6
    assert degrees_of_freedom(atoms, overall_motion=True) == 9


@pytest.mark.parametrize("name", ["H2O", "CO2", "N2", "H", "C6H6"])
def test_temperature_is_exact(name):
    atoms = with_momenta(molecule(name))
    found = temperature_kelvin(atoms.get_kinetic_energy(), degrees_of_freedom(atoms))
    assert found == pytest.approx(300.0, rel=1e-12)


@pytest.mark.parametrize("name", ["H2O", "CO2", "C6H6"])
def test_no_overall_motion(name):
    atoms = with_momenta(molecule(name))
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-12
    assert np.abs(atoms.get_angular_momentum()).max() < 1e-10


def test_periodic_systems_keep_their_angular_momentum():
    atoms = with_momenta(molecule("C6H6", pbc=True, vacuum=5.0))
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-12
    assert np.abs(atoms.get_angular_momentum()).max() > 1e-3


def test_zero_temperature_is_rest():
    assert not draw_momenta(molecule("H2O"), 0.0, seed=0).any()


def test_seed_decides():
    atoms = molecule("H2O")
    first, again, other = (draw_momenta(atoms, 300.0, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
