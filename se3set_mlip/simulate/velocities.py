"""Velocities at a temperature: Maxwell-Boltzmann, as a rule without overall motion.

p = sqrt(m kT) N(0, 1) per component; the motion of the centre of mass, and without periodic
boundaries the overall rotation, are taken out, and the rest is scaled to the temperature.
"""

import ase
import ase.units
import numpy as np
from numpy.typing import NDArray

from se3set_mlip.units import BOLTZMANN_EV_PER_KELVIN


def degrees_of_freedom(atoms: ase.Atoms, *, overall_motion: bool = False) -> int:
    """Return how many degrees of freedom carry kinetic energy.

    Parameters
    ----------
    atoms
        One or more atoms.
    overall_motion
        Whether translation and rotation of the whole system count, as they do with a Langevin
        thermostat, which pushes each atom on its own.
    """
    n_atoms = len(atoms)
    if overall_motion or n_atoms == 1:
        return 3 * n_atoms
    if atoms.pbc.any():
        return 3 * n_atoms - 3
    return 3 * n_atoms - 3 - _n_rotations(atoms)


def temperature_kelvin(kinetic_energy: float, n_degrees_of_freedom: int) -> float:
    """Return T = 2 E_kin / (f k) in K for a kinetic energy in eV."""
    return 2.0 * kinetic_energy / (n_degrees_of_freedom * BOLTZMANN_EV_PER_KELVIN)


def draw_momenta(
    atoms: ase.Atoms, temperature: float, *, seed: int, overall_motion: bool = False
) -> NDArray[np.float64]:
    """Draw momenta at a temperature.

    Parameters
    ----------
    atoms
        Masses, positions and periodicity.
    temperature
        Temperature in K; the kinetic energy is exactly f k T / 2 with f degrees of freedom.
    seed
        Seed of the draw.
    overall_motion
        Leave translation and rotation of the whole system in, as a Langevin thermostat will.

    Returns
    -------
    numpy.ndarray
        Momenta in ASE's units, (n_atoms, 3).
    """
    masses = atoms.get_masses()[:, None]  # (n_atoms, 1)
    normal = np.random.default_rng(seed).standard_normal((len(atoms), 3))
    momenta = np.sqrt(masses * BOLTZMANN_EV_PER_KELVIN * temperature) * normal
    if len(atoms) > 1 and not overall_motion:
        momenta -= masses * momenta.sum(axis=0) / masses.sum()
        if not atoms.pbc.any():
            momenta -= masses * _rotation_velocities(atoms, momenta)
    kinetic = 0.5 * float((momenta**2 / masses).sum())
    if kinetic == 0.0:
        return momenta
    freedom = degrees_of_freedom(atoms, overall_motion=overall_motion)
    found = temperature_kelvin(kinetic, freedom)
    return momenta * np.sqrt(temperature / found)


def _inertia(atoms: ase.Atoms) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positions about the centre of mass (n_atoms, 3) and the tensor of inertia (3, 3)."""
    masses = atoms.get_masses()
    arms = atoms.positions - atoms.get_center_of_mass()
    squares = (masses * (arms**2).sum(axis=1)).sum()
    return arms, squares * np.eye(3) - np.einsum("n,ni,nj->ij", masses, arms, arms)


def _n_rotations(atoms: ase.Atoms) -> int:
    """Return 3 for a bent molecule, 2 for a linear one, 0 for an atom."""
    _, inertia = _inertia(atoms)
    moments = np.linalg.eigvalsh(inertia)
    return int((moments > 1e-6 * max(moments.max(), 1e-300)).sum())


def _rotation_velocities(atoms: ase.Atoms, momenta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the velocities of the rigid rotation that carries all the angular momentum."""
    arms, inertia = _inertia(atoms)
    angular_momentum = np.cross(arms, momenta).sum(axis=0)
    angular_velocity = np.linalg.pinv(inertia, rcond=1e-6) @ angular_momentum
    return np.cross(angular_velocity, arms)
