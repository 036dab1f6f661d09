"""A committee in OpenMM: the mean in its units, the spread, and a stop; also after a copy."""

import copy

import numpy as np
import openmm
import pytest
from openmm import unit

from se3set_mlip.engines.openmm_force import create_force
from se3set_mlip.engines.uncertainty import UncertaintyError, UncertaintyPolicy, WatchedCommittee
from se3set_mlip.potential.committee import Committee
from se3set_mlip.units import KJ_PER_MOL_PER_EV

FACTOR = 3.0
STD = (FACTOR - 1.0) / np.sqrt(2.0)
MEAN = (FACTOR + 1.0) / 2.0


@pytest.fixture(scope="module")
def members(molecule):
    one, other = molecule.potential, copy.deepcopy(molecule.potential)
    other.module.set_energies(
        reference={z: FACTOR * float(one.reference_energies[z]) for z in (1, 6, 8)},
        scale=FACTOR * float(one.module.energy_scale),
    )
    return [one, other]


def context_of(force, case) -> openmm.Context:
    system = openmm.System()
    for _ in case.numbers:
        system.addParticle(12.0)
    system.addForce(force)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.0005), platform)
    context.setPositions(case.positions / 10.0)
    return context


@pytest.mark.parametrize("kind", [Committee, WatchedCommittee])
def test_mean_and_spread_in_openmm(molecule, members, kind):
    force = create_force(kind(members), molecule.fragmentation)
    expected = molecule.expected(molecule.positions)
    for copied in (force, copy.deepcopy(force)):
        context = context_of(copied, molecule)
        state = context.getState(energy=True, forces=True)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        assert energy == pytest.approx(MEAN * KJ_PER_MOL_PER_EV * float(expected.energy), rel=1e-9)
        forces = state.getForces(asNumpy=True).value_in_unit(
            unit.kilojoule_per_mole / unit.nanometer
        )
        wanted = MEAN * KJ_PER_MOL_PER_EV * 10.0 * expected.forces.numpy()
        np.testing.assert_allclose(forces, wanted, atol=1e-9 * abs(wanted).max())
    spread = force.computation.spread
    assert float(spread.energy_std) == pytest.approx(STD * abs(float(expected.energy)), rel=1e-10)
    np.testing.assert_allclose(spread.forces_std, STD * abs(expected.forces), atol=1e-10)


def test_a_threshold_stops(molecule, members):
    largest = STD * float(molecule.expected(molecule.positions).forces.norm(dim=1).max())
    for stop_above, stops in ((1.01 * largest, False), (0.99 * largest, True)):
        committee = WatchedCommittee(members, UncertaintyPolicy(stop_above=stop_above))
        force = create_force(committee, molecule.fragmentation)
        context = context_of(force, molecule)
        if not stops:
            context.getState(energy=True)
            continue
        with pytest.raises(openmm.OpenMMException, match="above stop_above"):
            context.getState(energy=True)
        assert isinstance(force.computation.failure, UncertaintyError)
        found = force.computation.failure.geometry
        np.testing.assert_allclose(found.positions, molecule.positions, atol=1e-9)


def test_one_potential_has_no_spread(molecule):
    force = create_force(molecule.potential, molecule.fragmentation)
    context_of(force, molecule).getState(energy=True)
    assert force.computation.spread is None
