"""Dynamics with ASE's integrators."""

from collections.abc import Iterator
from typing import Any

import ase
import ase.units
import numpy as np
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from se3set_mlip.engines.ase_calculator import SE3SetCalculator
from se3set_mlip.engines.committee_calculator import CommitteeCalculator
from se3set_mlip.potential.committee import Committee
from se3set_mlip.potential.potential import Potential
from se3set_mlip.simulate.dynamics import DynamicsConfig
from se3set_mlip.simulate.record import Sample
from se3set_mlip.simulate.velocities import degrees_of_freedom
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.units import FEMTOSECONDS_PER_PICOSECOND


def ase_samples(
    potential: Potential,
    atoms: ase.Atoms,
    config: DynamicsConfig,
    topology: Topology | None = None,
) -> Iterator[Sample]:
    """Run dynamics in ASE and yield a sample at time zero and after every interval.

    Parameters
    ----------
    potential
        The potential; its device and precision are those of the run.
    atoms
        Where to start, with momenta; not changed.
    config
        What to run: velocity Verlet, or Langevin dynamics with ASE's default propagator.
    topology
        Chemistry, if known.

    Yields
    ------
    Sample
    """
    moving = atoms.copy()
    moving.calc = _calculator(potential, config, topology)
    integrator = _integrator(moving, config)
    freedom = degrees_of_freedom(moving, overall_motion=config.overall_motion)
    yield _sample(moving, 0.0, freedom)
    for stride, time_ps in config.strides():
        integrator.run(stride)
        yield _sample(moving, time_ps, freedom)


def _calculator(
    potential: Potential, config: DynamicsConfig, topology: Topology | None
) -> SE3SetCalculator:
    """Return the calculator of a potential; that of a committee minds the thresholds."""
    settings: dict[str, Any] = {
        "device": potential.device,
        "dtype": potential.dtype,
        "topology": topology,
        "on_bond_change": config.on_bond_change,
        "check_interval": config.check_interval,
        "memory_gib": config.memory_gib,
    }
    if not isinstance(potential, Committee):
        return SE3SetCalculator(potential, **settings)
    return CommitteeCalculator(
        potential, warn_above=config.warn_above, stop_above=config.stop_above, **settings
    )


def _integrator(atoms: ase.Atoms, config: DynamicsConfig) -> MolecularDynamics:
    """Return ASE's integrator for the ensemble."""
    timestep = config.timestep_fs * ase.units.fs
    if config.ensemble == "nve":
        return VelocityVerlet(atoms, timestep=timestep)
    return Langevin(
        atoms,
        timestep=timestep,
        temperature_K=config.temperature_kelvin,
        friction=config.friction_per_ps / (FEMTOSECONDS_PER_PICOSECOND * ase.units.fs),
        fixcm=False,
        rng=np.random.default_rng(config.seed + 1),
    )


def _sample(atoms: ase.Atoms, time_ps: float, freedom: int) -> Sample:
    """Return the system as it is now."""
    forces = atoms.get_forces()  # the energy comes with it
    return Sample.of(
        atoms,
        energy=float(atoms.get_potential_energy()),
        forces=forces,
        time_ps=time_ps,
        n_degrees_of_freedom=freedom,
        topology_changes=atoms.calc.topology_changes,
        energy_std=atoms.calc.results.get("energy_std"),
        forces_std=atoms.calc.results.get("forces_std"),
    )
