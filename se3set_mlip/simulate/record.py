"""What a run measured: samples of the moving system, and the record of all of them.

Whether dynamics conserve energy is told by the line fitted through the total energy E(t): its slope
over the number of atoms is the drift in meV/atom/ps, the root mean square of what remains the
fluctuation in meV/atom.
"""

from dataclasses import dataclass

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from se3set_mlip.engines.bond_policy import TopologyChange
from se3set_mlip.simulate.velocities import temperature_kelvin
from se3set_mlip.units import MEV_PER_EV

SECONDS_PER_DAY = 86400.0
PICOSECONDS_PER_NANOSECOND = 1000.0


def line_through(
    times: NDArray[np.floating], energies: NDArray[np.floating]
) -> tuple[float, float]:
    """Return the slope of the least-squares line, and the root mean square distance from it.

    Both are nan with fewer than three points, or where one is not finite.

    Parameters
    ----------
    times, energies
        (n,), in any units.
    """
    if len(times) < 3 or not np.all(np.isfinite(energies)):
        return float("nan"), float("nan")
    line = np.polynomial.Polynomial.fit(times, energies, deg=1)
    residual = energies - line(times)
    coefficients = line.convert().coef
    slope = coefficients[1] if len(coefficients) > 1 else 0.0
    return float(slope), float(np.sqrt(np.mean(residual**2)))


def with_results(
    atoms: ase.Atoms,
    *,
    energy: float,
    forces: NDArray[np.float64],
    energy_std: float | None = None,
    forces_std: NDArray[np.float64] | None = None,
) -> ase.Atoms:
    """Return a copy of atoms that remembers energy and forces, and the spread of a committee.

    Parameters
    ----------
    atoms
        Positions and momenta.
    energy, forces
        Potential energy in eV and forces in eV/Å, (n_atoms, 3).
    energy_std, forces_std
        Spread, eV and (n_atoms, 3) eV/Å; None: there is none.
    """
    frozen = atoms.copy()
    frozen.calc = SinglePointCalculator(frozen, energy=energy, forces=forces)
    if energy_std is not None:
        frozen.info["energy_std"] = energy_std
    if forces_std is not None:
        frozen.arrays["forces_std"] = forces_std
    return frozen


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
    topology_changes: tuple[TopologyChange, ...] = ()
    """All since the start."""
    uncertainty: float | None = None
    """Of a committee: the largest ``forces_std_norm`` of an atom, eV/Å."""

    @classmethod
    def of(
        cls,
        atoms: ase.Atoms,
        *,
        energy: float,
        forces: NDArray[np.float64],
        time_ps: float,
        n_degrees_of_freedom: int,
        topology_changes: tuple[TopologyChange, ...] = (),
        energy_std: float | None = None,
        forces_std: NDArray[np.float64] | None = None,
    ) -> "Sample":
        """Take a sample of moving atoms.

        Parameters
        ----------
        atoms
            Positions and momenta now; they are copied.
        energy, forces
            Potential energy in eV and forces in eV/Å, (n_atoms, 3).
        time_ps
            Time since the start in ps.
        n_degrees_of_freedom
            Those that carry kinetic energy, for the temperature.
        topology_changes
            All since the start.
        energy_std, forces_std
            Spread of a committee, eV and (n_atoms, 3) eV/Å; None: there is none. It is kept in
            ``atoms.info`` and ``atoms.arrays``.
        """
        frozen = with_results(
            atoms, energy=energy, forces=forces, energy_std=energy_std, forces_std=forces_std
        )
        frozen.info["time_ps"] = time_ps
        kinetic = float(frozen.get_kinetic_energy())
        return cls(
            time_ps=time_ps,
            potential_energy=energy,
            kinetic_energy=kinetic,
            temperature_kelvin=temperature_kelvin(kinetic, n_degrees_of_freedom),
            atoms=frozen,
            topology_changes=topology_changes,
            uncertainty=(
                None if forces_std is None else float(np.linalg.norm(forces_std, axis=1).max())
            ),
        )

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
    topology_changes: tuple[TopologyChange, ...] = ()
    stopped: str | None = None
    """Why a committee ended the run before its time."""

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
        """Slope of the line through the total energy; nan with fewer than three samples.

        Energy jumps of ``topology_changes`` count.
        """
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
        energies = (self.total_energies - self.total_energies[0]) * MEV_PER_EV / self.n_atoms
        return line_through(self.times_ps, energies)
