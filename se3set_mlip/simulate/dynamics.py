"""Molecular dynamics: a potential and atoms become samples, a record and a trajectory.

An engine is a function that yields samples; how the samples are recorded, written and reported does
not depend on the engine. Whether dynamics conserve energy is told by the line fitted through the
total energy E(t): its slope over the number of atoms is the drift in meV/atom/ps, the root mean
square of what remains the fluctuation in meV/atom.

Energies in eV, lengths in Å, times in ps except for the time step (fs).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np
from numpy.typing import NDArray

from se3set_mlip.errors import InputError
from se3set_mlip.potential.potential import Potential
from se3set_mlip.simulate.trajectory import open_trajectory
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.units import MEV_PER_EV

ENSEMBLES = ("nve", "nvt")
ENGINES = ("ase", "openmm")
FEMTOSECONDS_PER_PICOSECOND = 1000.0
SECONDS_PER_DAY = 86400.0
PICOSECONDS_PER_NANOSECOND = 1000.0


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
    """

    ensemble: str = "nve"
    duration_ps: float = 1.0
    timestep_fs: float = 0.5
    temperature_kelvin: float = 300.0
    friction_per_ps: float = 1.0
    interval: int = 20
    seed: int = 0
    keep_velocities: bool = False

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

    @property
    def n_steps(self) -> int:
        """Number of time steps, at least one."""
        steps = self.duration_ps * FEMTOSECONDS_PER_PICOSECOND / self.timestep_fs
        return max(1, round(steps))

    @property
    def n_samples(self) -> int:
        """Number of samples after the first, which is taken at time zero."""
        return -(-self.n_steps // self.interval)

    def strides(self) -> Iterator[int]:
        """Yield the number of steps to each next sample; they add up to all steps."""
        done = 0
        while done < self.n_steps:
            stride = min(self.interval, self.n_steps - done)
            done += stride
            yield stride


@dataclass(frozen=True)
class Sample:
    """The system at one time of a run."""

    time_ps: float
    potential_energy: float
    """eV."""
    kinetic_energy: float
    """eV."""
    temperature_kelvin: float
    atoms: ase.Atoms
    """Positions, momenta, and energy and forces as stored results."""

    @property
    def total_energy(self) -> float:
        """Potential and kinetic energy in eV."""
        return self.potential_energy + self.kinetic_energy


@dataclass(frozen=True)
class DynamicsRecord:
    """What a run measured, one entry per sample, and the atoms at its end."""

    times_ps: NDArray[np.float64]  # (n_samples,)
    potential_energies: NDArray[np.float64]  # (n_samples,) eV
    kinetic_energies: NDArray[np.float64]  # (n_samples,) eV
    temperatures_kelvin: NDArray[np.float64]  # (n_samples,)
    wall_seconds: float
    final: ase.Atoms

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.final)

    @property
    def total_energies(self) -> NDArray[np.float64]:
        """Potential and kinetic energy of each sample in eV, (n_samples,)."""
        return self.potential_energies + self.kinetic_energies

    @property
    def drift_mev_per_atom_per_ps(self) -> float:
        """Slope of the line through the total energy; nan with fewer than three samples."""
        return self._line()[0]

    @property
    def fluctuation_mev_per_atom(self) -> float:
        """Root mean square distance of the total energy from that line."""
        return self._line()[1]

    @property
    def nanoseconds_per_day(self) -> float:
        """Speed of the run."""
        simulated_ns = (self.times_ps[-1] - self.times_ps[0]) / PICOSECONDS_PER_NANOSECOND
        return float(simulated_ns * SECONDS_PER_DAY / self.wall_seconds)

    def _line(self) -> tuple[float, float]:
        """Return slope and residual of the line through E(t) in meV per atom."""
        if len(self.times_ps) < 3:
            return float("nan"), float("nan")
        energies = (self.total_energies - self.total_energies[0]) * MEV_PER_EV / self.n_atoms
        line = np.polynomial.Polynomial.fit(self.times_ps, energies, deg=1)
        residual = energies - line(self.times_ps)
        slope = line.convert().coef[1] if len(line.convert().coef) > 1 else 0.0
        return float(slope), float(np.sqrt(np.mean(residual**2)))


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

    Raises
    ------
    InputError
        If the energy is no longer finite.
    """
    measured: list[tuple[float, ...]] = []
    start = time.perf_counter()
    with open_trajectory(trajectory) as write:
        for sample in engine(potential, atoms, config, topology):
            if not np.isfinite(sample.total_energy):
                raise InputError(
                    f"the energy is {sample.total_energy} at {sample.time_ps:.4f} ps; the "
                    "structure exploded: relax it first, take a shorter time step, or check that "
                    "the potential was trained on such structures"
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
            )
            if on_sample is not None:
                on_sample(sample, record)
    return record
