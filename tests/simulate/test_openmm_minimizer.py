"""Minimising in OpenMM: to the minimum nearby, from poor starts too, and nothing broken."""

import ase.io
import numpy as np
import openmm
import pytest

from se3set_mlip import Topology, load
from se3set_mlip.engines.openmm_force import create_force
from se3set_mlip.errors import InputError
from se3set_mlip.shipped import shipped_model, shipped_structure
from se3set_mlip.simulate.openmm_minimizer import minimize_energy
from se3set_mlip.simulate.relax import relax
from se3set_mlip.units import KJ_PER_MOL_PER_EV


def context_of(system, positions_nm):
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions_nm)
    return context


def positions_of(context):
    return 10 * context.getState(positions=True).getPositions(asNumpy=True)._value


@pytest.fixture(scope="module")
def acetylacetone():
    potential = load(shipped_model("acetylacetone"), dtype="float64")
    atoms = ase.io.read(shipped_structure("acetylacetone"))
    topology = Topology.from_coordinates(atoms.numbers, atoms.positions, charge=0)
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    system.addForce(create_force(potential, potential.fragment(topology, atoms.positions)))
    return potential, atoms, topology, system


def test_the_minimum_is_that_of_ase(acetylacetone):
    potential, atoms, topology, system = acetylacetone
    start = atoms.copy()
    start.rattle(0.02, seed=1)
    context = context_of(system, start.positions / 10)
    seen = []
    found = minimize_energy(context, max_force=0.005, on_step=lambda *step: seen.append(step))
    expected = relax(potential, start, max_force=0.005, topology=topology)
    assert found.converged
    assert found.max_force < 0.005
    assert found.energy == pytest.approx(expected.energy, abs=2e-4)
    assert [step for step, _, _ in seen] == list(range(found.n_steps + 1))
    assert seen[-1][1:] == (found.energy, found.max_force)
    rest = potential.evaluate(ase.Atoms(atoms.numbers, positions_of(context)), topology=topology)
    assert np.linalg.norm(rest.forces, axis=1).max() == pytest.approx(found.max_force, rel=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_poor_starts_stay_whole(acetylacetone, seed):
    _, atoms, topology, system = acetylacetone
    start = atoms.positions + np.random.default_rng(seed).normal(scale=0.15, size=(15, 3))
    context = context_of(system, start / 10)
    assert minimize_energy(context).converged
    bonds = np.array(topology.bonds)
    lengths = [
        np.linalg.norm(positions[bonds[:, 0]] - positions[bonds[:, 1]], axis=1)
        for positions in (atoms.positions, positions_of(context))
    ]
    # The proton may have gone to the other oxygen, which is 1.0 Å further.
    longer = np.sort(lengths[1] / lengths[0])
    assert longer[0] > 0.9
    assert longer[-2] < 1.1


def springs():
    system = openmm.System()
    for mass in (0.0, 12.0, 12.0):
        system.addParticle(mass)
    bonds = openmm.HarmonicBondForce()
    bonds.addBond(0, 1, 0.15, 1000.0)
    bonds.addBond(1, 2, 0.20, 1000.0)
    system.addForce(bonds)
    return system


def test_particles_without_mass_stay_and_units_are_ev_and_angstrom():
    start = [[0, 0, 0], [0.2, 0, 0], [0.5, 0, 0]]
    context = context_of(springs(), start)
    steps = []
    found = minimize_energy(context, max_force=1e-4, on_step=lambda *step: steps.append(step))
    np.testing.assert_allclose(
        positions_of(context), [[0, 0, 0], [1.5, 0, 0], [3.5, 0, 0]], atol=1e-3
    )
    first = 0.5 * 1000.0 * (0.05**2 + 0.1**2) / KJ_PER_MOL_PER_EV
    assert steps[0][1] == pytest.approx(first, rel=1e-9)
    assert steps[0][2] == pytest.approx(1000.0 * 0.1 / KJ_PER_MOL_PER_EV / 10, rel=1e-9)
    assert found.energy == pytest.approx(0.0, abs=1e-6)


def test_a_run_that_is_too_short_says_so():
    context = context_of(springs(), [[0, 0, 0], [0.2, 0, 0], [0.5, 0, 0]])
    found = minimize_energy(context, max_steps=2)
    assert not found.converged
    assert found.n_steps == 2


def test_constraints_virtual_sites_and_settings_are_refused():
    system = springs()
    system.addConstraint(1, 2, 0.2)
    start = [[0, 0, 0], [0.2, 0, 0], [0.4, 0, 0]]
    with pytest.raises(InputError, match="1 constraints"):
        minimize_energy(context_of(system, start))
    with pytest.raises(InputError, match="must be above zero"):
        minimize_energy(context_of(springs(), start), max_force=0.0)
    system = springs()
    system.addParticle(0.0)
    system.setVirtualSite(3, openmm.TwoParticleAverageSite(1, 2, 0.5, 0.5))
    with pytest.raises(InputError, match="virtual sites"):
        minimize_energy(context_of(system, [*start, [0, 0, 0]]))
