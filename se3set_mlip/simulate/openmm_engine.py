"""Dynamics in OpenMM with a `PythonForce` that acts on all particles.

The same velocity Verlet as ASE's, written as a custom integrator (OpenMM's own is a leapfrog, whose
velocities are half a step off), and OpenMM's Langevin middle integrator. Everything comes back in
eV, Å and ASE's units of momentum.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import ase
import ase.units
import numpy as np
import openmm
from openmm import unit

from se3set_mlip.engines.openmm_computation import SE3SetComputation
from se3set_mlip.engines.openmm_force import create_force
from se3set_mlip.engines.uncertainty import UncertaintyPolicy, WatchedCommittee
from se3set_mlip.errors import InputError
from se3set_mlip.potential.committee import Committee
from se3set_mlip.potential.fragment_cache import FragmentCache
from se3set_mlip.potential.potential import Potential
from se3set_mlip.simulate.dynamics import DynamicsConfig
from se3set_mlip.simulate.record import Sample
from se3set_mlip.simulate.velocities import degrees_of_freedom
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.units import (
    ANGSTROM_PER_NANOMETER,
    FEMTOSECONDS_PER_PICOSECOND,
    KJ_PER_MOL_PER_EV,
)

_ASE_VELOCITY_PER_NM_PER_PS = ANGSTROM_PER_NANOMETER / (FEMTOSECONDS_PER_PICOSECOND * ase.units.fs)


def openmm_samples(
    potential: Potential,
    atoms: ase.Atoms,
    config: DynamicsConfig,
    topology: Topology | None = None,
) -> Iterator[Sample]:
    """Run dynamics in OpenMM and yield a sample at time zero and after every interval.

    Parameters
    ----------
    potential
        The potential; its device and precision are those of the run.
    atoms
        Where to start, with momenta; not changed.
    config
        What to run.
    topology
        Chemistry, if known.

    Yields
    ------
    Sample
    """
    context, computation = _context(potential, atoms, config, topology)
    freedom = degrees_of_freedom(atoms, overall_motion=config.overall_motion)
    yield _sample(context, computation, atoms, 0.0, freedom)
    for stride, time_ps in config.strides():
        with _own_errors(computation):
            context.getIntegrator().step(stride)
        yield _sample(context, computation, atoms, time_ps, freedom)


@contextmanager
def _own_errors(computation: SE3SetComputation) -> Iterator[None]:
    """Raise an error of the computation as what it was, before OpenMM took its message."""
    try:
        yield
    except openmm.OpenMMException as error:
        if computation.failure is None:
            raise
        raise computation.failure from error


def _context(
    potential: Potential, atoms: ase.Atoms, config: DynamicsConfig, topology: Topology | None
) -> tuple[openmm.Context, SE3SetComputation]:
    """Return a context with all atoms in place and in motion, and what it calls.

    The reference platform computes in double precision, and all the work is in the network anyway.
    """
    periodic = bool(atoms.pbc.all())
    if periodic != bool(atoms.pbc.any()):
        raise InputError(
            f"pbc = {atoms.pbc.tolist()}; OpenMM knows boxes that are periodic in all directions "
            "or none; use the ASE engine"
        )
    fragmentation = FragmentCache(potential.config.fragmentation).find(atoms, topology=topology)
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    if periodic:
        _set_box(system, atoms)
    if isinstance(potential, Committee):
        thresholds = UncertaintyPolicy(warn_above=config.warn_above, stop_above=config.stop_above)
        potential = WatchedCommittee(potential.members, thresholds)
    force = create_force(
        potential,
        fragmentation,
        periodic=periodic,
        device=str(potential.device),
        on_bond_change=config.on_bond_change,
        check_interval=config.check_interval,
        memory_gib=config.memory_gib,
    )
    system.addForce(force)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, _integrator(config), platform)
    context.setPositions(atoms.positions / ANGSTROM_PER_NANOMETER)
    context.setVelocities(atoms.get_velocities() / _ASE_VELOCITY_PER_NM_PER_PS)
    return context, force.computation


def _set_box(system: openmm.System, atoms: ase.Atoms) -> None:
    """Set the box vectors of a system."""
    cell = atoms.cell.array / ANGSTROM_PER_NANOMETER
    try:
        system.setDefaultPeriodicBoxVectors(*cell)
    except openmm.OpenMMException as error:
        raise InputError(
            f"OpenMM refuses the cell {atoms.cell.array.tolist()} ({error}); it wants lower "
            "triangular, reduced box vectors: convert the cell, or use the ASE engine"
        ) from error


def _integrator(config: DynamicsConfig) -> openmm.Integrator:
    """Return OpenMM's integrator for the ensemble."""
    timestep = config.timestep_fs * unit.femtosecond
    if config.ensemble == "nve":
        verlet = openmm.CustomIntegrator(timestep)
        verlet.addUpdateContextState()
        verlet.addComputePerDof("v", "v + 0.5 * dt * f / m")
        verlet.addComputePerDof("x", "x + dt * v")
        verlet.addComputePerDof("v", "v + 0.5 * dt * f / m")
        return verlet
    langevin = openmm.LangevinMiddleIntegrator(
        config.temperature_kelvin * unit.kelvin, config.friction_per_ps / unit.picosecond, timestep
    )
    langevin.setRandomNumberSeed(config.seed + 1)
    return langevin


def _sample(
    context: openmm.Context,
    computation: SE3SetComputation,
    start: ase.Atoms,
    time_ps: float,
    freedom: int,
) -> Sample:
    """Return the system as it is now."""
    with _own_errors(computation):
        state = context.getState(positions=True, velocities=True, energy=True, forces=True)
    positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    velocities = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
    kilojoule = unit.kilojoule_per_mole
    forces = state.getForces(asNumpy=True).value_in_unit(kilojoule / unit.nanometer)
    now = start.copy()
    now.positions = np.array(positions) * ANGSTROM_PER_NANOMETER
    now.set_velocities(np.array(velocities) * _ASE_VELOCITY_PER_NM_PER_PS)
    spread = computation.spread
    return Sample.of(
        now,
        energy=state.getPotentialEnergy().value_in_unit(kilojoule) / KJ_PER_MOL_PER_EV,
        forces=np.array(forces) / (KJ_PER_MOL_PER_EV * ANGSTROM_PER_NANOMETER),
        time_ps=time_ps,
        n_degrees_of_freedom=freedom,
        topology_changes=computation.topology_changes,
        energy_std=None if spread is None else float(spread.energy_std),
        forces_std=None if spread is None else spread.forces_std.cpu().numpy(),
    )
