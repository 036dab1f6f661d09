"""The wall between nuclei: the literature's numbers, a smooth end, and nothing beyond it."""

import dataclasses

import ase
import numpy as np
import pytest
import torch

import se3set_mlip as s3
from se3set_mlip.errors import ConfigError
from se3set_mlip.potential.inputs import make_system
from se3set_mlip.potential.pair_repulsion import PairRepulsion
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialModule


@pytest.fixture(scope="module")
def walled(tiny_potential):
    """The tiny potential, and the same with a wall."""
    config = dataclasses.replace(tiny_potential.config, repulsion="zbl")
    module = PotentialModule(config, dtype=torch.float64)
    module.load_state_dict(tiny_potential.module.state_dict())
    return tiny_potential, Potential(module.eval(), config)


def water(distance: float) -> tuple[ase.Atoms, s3.Topology]:
    """Return water with one O-H of that length in Å, and its bonds."""
    positions = [[0.0, 0.0, 0.0], [distance, 0.0, 0.0], [-0.24, 0.93, 0.0]]
    topology = s3.Topology((8, 1, 1), ((0, 1), (0, 2)), (1, 1), (0, 0, 0))
    return ase.Atoms("OHH", positions), topology


def wall(walled, distance, **settings) -> tuple[float, np.ndarray]:
    """Return what the wall adds to energy and forces."""
    atoms, topology = water(distance)
    for name, value in settings.items():
        setattr(atoms, name, value)
    plain, other = (p.evaluate(atoms, topology=topology) for p in walled)
    return other.energy - plain.energy, other.forces - plain.forces


def test_the_energy_is_that_of_the_formula(walled):
    # O-H at 0.4 Å by hand: a = 0.8854 * 0.529177 / (8^0.23 + 1) = 0.179290, x = 2.231032
    phi = 0.18175 * np.exp(-3.1998 * 2.231032) + 0.50986 * np.exp(-0.94229 * 2.231032)
    phi += 0.28022 * np.exp(-0.4029 * 2.231032) + 0.02817 * np.exp(-0.20162 * 2.231032)
    envelope = (1.0 - (0.4 / (0.7 * 0.97)) ** 2) ** 4
    energy, _ = wall(walled, 0.4)
    assert energy == pytest.approx(14.399645 * 8 / 0.4 * phi * envelope, rel=1e-5)


def test_forces_are_its_derivative_and_repel(walled):
    step = 1e-4
    _, forces = wall(walled, 0.4)
    slope = (wall(walled, 0.4 + step)[0] - wall(walled, 0.4 - step)[0]) / (2 * step)
    assert forces[1, 0] == pytest.approx(-slope, rel=1e-5)
    assert forces[1, 0] > 10.0
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-9)


def test_it_ends_inside_every_bond_and_smoothly(walled):
    end = 0.7 * 0.97
    assert wall(walled, end)[0] == 0.0
    assert not wall(walled, end + 1e-9)[1].any()
    near, nearer = (wall(walled, end - gap)[0] for gap in (1e-2, 2e-2))
    assert nearer / near == pytest.approx(16.0, rel=0.2)  # fourth power


def test_the_nearest_image_is_seen(walled):
    cell = np.diag([3.0, 6.0, 6.0])
    inside = wall(walled, 0.4, cell=cell, pbc=True)
    across = wall(walled, 0.4 + 3.0, cell=cell, pbc=True)
    assert across[0] == pytest.approx(inside[0], rel=1e-12)


def test_a_scripted_module_agrees():
    repulsion = PairRepulsion((1, 8), 0.7)
    system = s3_system(0.5)
    assert torch.jit.script(repulsion)(system).sum() == repulsion(system).sum() > 0.0


def s3_system(distance: float):
    """Return water as a system."""
    atoms, topology = water(distance)
    return make_system(
        atoms.numbers,
        atoms.positions,
        s3.fragment(topology, atoms.positions),
        elements=(1, 8),
        dtype=torch.float64,
        device=torch.device("cpu"),
    )


def test_elements_without_a_radius_and_bad_settings_are_refused(tiny_potential):
    with pytest.raises(ConfigError, match=r"elements \[92\] do not have"):
        PairRepulsion((1, 92), 0.7)
    with pytest.raises(ConfigError, match="expected 'none' or 'zbl'"):
        dataclasses.replace(tiny_potential.config, repulsion="lj")
    with pytest.raises(ConfigError, match="repulsion_fraction = 0"):
        dataclasses.replace(tiny_potential.config, repulsion_fraction=0.0)
