"""Molecular dynamics: a potential and atoms become samples, a record and a trajectory.

An engine is a function that yields samples; how the samples are recorded, written and reported does
not depend on the engine.

Energies in eV, lengths in Å, times in ps except for the time step (fs).
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import ase
import numpy as np

from se3set_mlip.engines.bond_policy import CHECK_INTERVAL, BondPolicy
from se3set_mlip.engines.uncertainty import UncertaintyError, UncertaintyPolicy
from se3set_mlip.errors import InputError
from se3set_mlip.potential.chunked import check_memory
from se3set_mlip.potential.committee import Committee
from se3set_mlip.potential.potential import Potential
from se3set_mlip.simulate.clashes import check_no_clash
from se3set_mlip.simulate.record import DynamicsRecord, Sample, with_results
from se3set_mlip.simulate.trajectory import open_trajectory
from se3set_mlip.simulate.velocities import draw_momenta
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.units import FEMTOSECONDS_PER_PICOSECOND

ENSEMBLES = ("nve", "nvt")


@dataclass(frozen=True)
class DynamicsConfig:
    """What to run.

    Attributes
    ----------
    ensemble
        ``"nve"`` (velocity Verlet) or ``"nvt"`` (Langevin dynamics).
    duration_ps
        Length of the run in ps.
    timestep_fs
        Time step in fs.
    temperature_kelvin
        Temperature at which the velocities are drawn, and of the thermostat.
    friction_per_ps
        Friction of the Langevin thermostat in 1/ps.
    interval
        Steps between samples.
    seed
        Seed of the velocities and of the thermostat.
    keep_velocities
        Start with the velocities that the atoms have instead of drawing new ones.
    hydrogen_mass_u
        Mass of hydrogens in u; None: that of the atoms. With 4 u a time step of 2 fs does (3 fs
        is in resonance with O-H bonds, which break). At equilibrium geometries are as likely as
        before; what happens how fast is not.
    on_bond_change, check_interval
        What to do when bonds change, and how often ``"reperceive"`` looks; see
        :class:`~se3set_mlip.engines.bond_policy.BondPolicy`.
    memory_gib
        What one evaluation may take in GiB; None: what makes it fast.
    warn_above, stop_above
        Of a committee: spread of the forces on an atom, in eV/Å, above which to warn and to end the
        run; see :class:`~se3set_mlip.engines.uncertainty.UncertaintyPolicy`.

    Raises
    ------
    InputError, ConfigError
        For a value out of range.
    """

    ensemble: str = "nve"
    duration_ps: float = 1.0
    timestep_fs: float = 0.5
    temperature_kelvin: float = 300.0
    friction_per_ps: float = 1.0
    interval: int = 20
    seed: int = 0
    keep_velocities: bool = False
    hydrogen_mass_u: float | None = None
    on_bond_change: str = "keep"
    check_interval: int = CHECK_INTERVAL
    memory_gib: float | None = None
    warn_above: float | None = None
    stop_above: float | None = None

    def __post_init__(self) -> None:
        """Validate the values."""
        if self.ensemble not in ENSEMBLES:
            raise InputError(f"ensemble {self.ensemble!r}; expected one of {', '.join(ENSEMBLES)}")
        for name in ("duration_ps", "timestep_fs", "friction_per_ps", "interval"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} = {getattr(self, name)}; give a positive number")
        if not self.temperature_kelvin >= 0.0:
            raise InputError(
                f"temperature_kelvin = {self.temperature_kelvin}; give zero or a positive number"
            )
        if self.hydrogen_mass_u is not None and not 1.0 <= self.hydrogen_mass_u < math.inf:
            raise InputError(
                f"hydrogen_mass_u = {self.hydrogen_mass_u}; give 1 or more, such as 4, in u"
            )
        BondPolicy(on_bond_change=self.on_bond_change, check_interval=self.check_interval)
        UncertaintyPolicy(warn_above=self.warn_above, stop_above=self.stop_above)
        check_memory(self.memory_gib)

    @property
    def overall_motion(self) -> bool:
        """Whether the system moves and turns as a whole, as a thermostat makes it do."""
        return self.ensemble == "nvt"

    @property
    def n_steps(self) -> int:
        """Number of time steps, at least one."""
        steps = self.duration_ps * FEMTOSECONDS_PER_PICOSECOND / self.timestep_fs
        return max(1, round(steps))

    @property
    def n_samples(self) -> int:
        """Number of samples after the first, which is taken at time zero."""
        return -(-self.n_steps // self.interval)

    def strides(self) -> Iterator[tuple[int, float]]:
        """Yield the steps to each next sample, which add up to all steps, and its time in ps."""
        done = 0
        while done < self.n_steps:
            stride = min(self.interval, self.n_steps - done)
            done += stride
            yield stride, done * self.timestep_fs / FEMTOSECONDS_PER_PICOSECOND


Engine = Callable[[Potential, ase.Atoms, DynamicsConfig, Topology | None], Iterator[Sample]]


def run_dynamics(
    potential: Potential,
    atoms: ase.Atoms,
    config: DynamicsConfig,
    *,
    engine: Engine,
    topology: Topology | None = None,
    trajectory: Path | None = None,
    on_sample: Callable[[Sample, DynamicsRecord], None] | None = None,
) -> DynamicsRecord:
    """Run dynamics and record them.

    Parameters
    ----------
    potential
        The potential; its device and precision are those of the run.
    atoms
        Where to start; not changed.
    config
        What to run.
    engine
        :func:`~se3set_mlip.simulate.ase_engine.ase_samples` or
        :func:`~se3set_mlip.simulate.openmm_engine.openmm_samples`.
    topology
        Chemistry, if known; else it is perceived from the coordinates.
    trajectory
        File for all samples in a format of ASE (``.traj``, ``.xyz``), see :mod:`.trajectory`.
    on_sample
        Called with each sample and the record up to it.

    Returns
    -------
    DynamicsRecord
        Of all samples before the end. Where a committee ended the run, ``stopped`` says why, and
        the trajectory has one more frame, the geometry at which it did.

    Raises
    ------
    InputError
        If the energy is no longer finite; for thresholds of a spread without a committee, and for
        atoms inside each other.
    UncertaintyError
        If a committee's spread is above ``stop_above`` at the start.
    TopologyError
        If the chemistry cannot be found; for a broken bond, where the configuration says so.
    """
    thresholds = {"warn_above": config.warn_above, "stop_above": config.stop_above}
    if not isinstance(potential, Committee) and any(thresholds.values()):
        raise InputError(
            f"thresholds of a spread, {thresholds}, but one potential alone has none; give a "
            "committee of two or more, or no thresholds"
        )
    check_no_clash(atoms, topology)
    moving = atoms.copy()
    if config.hydrogen_mass_u is not None:
        velocities = moving.get_velocities()
        masses = np.where(moving.numbers == 1, config.hydrogen_mass_u, moving.get_masses())
        moving.set_masses(masses)
        moving.set_velocities(velocities)
    if not config.keep_velocities:
        moving.set_momenta(
            draw_momenta(
                moving,
                config.temperature_kelvin,
                seed=config.seed,
                overall_motion=config.overall_motion,
            )
        )
    measured: list[tuple[float, ...]] = []
    start = time.perf_counter()
    with open_trajectory(trajectory) as write:
        try:
            for sample in engine(potential, moving, config, topology):
                if not np.isfinite(sample.total_energy):
                    raise InputError(
                        f"the energy is {sample.total_energy} at {sample.time_ps:.4f} ps; the "
                        "structure exploded: relax it first, take a shorter time step, or check "
                        "that the potential was trained on such structures"
                    )
                measured.append(
                    (
                        sample.time_ps,
                        sample.potential_energy,
                        sample.kinetic_energy,
                        sample.temperature_kelvin,
                    )
                )
                write(sample.atoms)
                times, potentials, kinetics, temperatures = np.array(measured).T
                record = DynamicsRecord(
                    times_ps=times,
                    potential_energies=potentials,
                    kinetic_energies=kinetics,
                    temperatures_kelvin=temperatures,
                    wall_seconds=time.perf_counter() - start,
                    final=sample.atoms,
                    topology_changes=sample.topology_changes,
                )
                if on_sample is not None:
                    on_sample(sample, record)
        except UncertaintyError as error:
            if not measured:
                raise
            write(_geometry_of(moving, error))
            record = replace(record, stopped=str(error))
    return record


def _geometry_of(atoms: ase.Atoms, error: UncertaintyError) -> ase.Atoms:
    """Return the atoms, without velocities, where the members of a committee disagree."""
    found = error.geometry
    assert found is not None
    frame = atoms.copy()
    frame.arrays.pop("momenta", None)
    frame.positions = found.positions
    if found.pbc.any():
        frame.cell = found.cell
    return with_results(
        frame,
        energy=found.energy,
        forces=found.forces,
        energy_std=found.energy_std,
        forces_std=found.forces_std,
    )
