"""Dynamics of several copies of a structure at once, over what a subject computes in one batch.

Velocity Verlet (L. Verlet, Phys. Rev. 159, 98 (1967), velocity form) and Langevin dynamics in the
splitting BAOAB (B. Leimkuhler, C. Matthews, Appl. Math. Res. Express 2013, 34): half a kick B, half
a drift A, the exact Ornstein-Uhlenbeck step O, A, B. Copies differ in positions, velocities,
temperature and time step, so that what must be compared is computed side by side.

Units: eV, Å, u and ASE's unit of time Å sqrt(u/eV), in which ``ase.units.fs`` is a femtosecond.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import units
from ase.optimize import LBFGS

from se3set_mlip.testing.subject import Array, Specimen, Subject
from se3set_mlip.units import BOLTZMANN_EV_PER_KELVIN, FEMTOSECONDS_PER_PICOSECOND

RELAXED_EV_PER_ANGSTROM = 0.02
"""Largest force of a structure whose vibrations are to be thermal: 0.02 eV/Å on a stretch of
20 eV/Å^2 is 0.01 meV."""


class State(NamedTuple):
    """Copies of a structure in motion."""

    positions: Array
    """(n_copies, n_atoms, 3), Å."""
    velocities: Array
    """(n_copies, n_atoms, 3), Å per ASE's unit of time."""
    energies: Array
    """Potential energy, (n_copies,), eV."""
    forces: Array
    """(n_copies, n_atoms, 3), eV/Å."""

    def chosen(self, copies: Any) -> "State":
        """Return some of the copies, by indices or flags."""
        return State(*(values[copies] for values in self))


def specimens_at(specimen: Specimen, positions: Array) -> list[Specimen]:
    """Return the specimen at each of several positions (n_copies, n_atoms, 3)."""
    found = []
    for points in positions:
        atoms = specimen.atoms.copy()
        atoms.positions[:] = points
        found.append(Specimen(atoms, specimen.topology))
    return found


def _computed(subject: Subject, specimen: Specimen, positions: Array) -> tuple[Array, Array]:
    """Return energies (n_copies,) and forces (n_copies, n_atoms, 3); NaN where positions are."""
    energies = np.full(len(positions), np.nan)
    forces = np.full(positions.shape, np.nan)
    sane = np.flatnonzero(np.isfinite(positions).all(axis=(1, 2)))
    found = subject.values(specimens_at(specimen, positions[sane])) if len(sane) else []
    for copy, values in zip(sane, found, strict=True):
        energies[copy] = values.energy
        forces[copy] = values.forces
    return energies, forces


def initial_state(
    subject: Subject, specimen: Specimen, *, positions: Array, velocities: Array
) -> State:
    """Return a state with its energies and forces.

    Parameters
    ----------
    subject
        What computes them.
    specimen
        Elements, bonds and cell of all copies.
    positions, velocities
        (n_copies, n_atoms, 3); Å, and Å per ASE's unit of time.
    """
    energies, forces = _computed(subject, specimen, positions)
    return State(np.array(positions), np.array(velocities), energies, forces)


def _moved(
    subject: Subject, specimen: Specimen, state: State, *, positions: Array, half: Array
) -> State:
    """Return the state at new positions, its velocities kicked by ``half`` time steps."""
    energies, forces = _computed(subject, specimen, positions)
    return State(positions, state.velocities + half * forces / _masses(specimen), energies, forces)


def _masses(specimen: Specimen) -> Array:
    """Return masses that divide forces, (n_atoms, 1), u."""
    masses: Array = specimen.atoms.get_masses()[:, None]
    return masses


def _per_copy(values: Sequence[float] | Array, scale: float = 1.0) -> Array:
    """Return one number a copy in the shape (n_copies, 1, 1)."""
    return np.asarray(values, dtype=np.float64)[:, None, None] * scale


def verlet_step(
    subject: Subject, specimen: Specimen, state: State, *, timesteps_fs: Sequence[float] | Array
) -> State:
    """Return the state one step of velocity Verlet later.

    Parameters
    ----------
    subject, specimen
        What moves, and what computes its forces.
    state
        Where the copies are.
    timesteps_fs
        Time step of each copy, (n_copies,), fs.
    """
    step = _per_copy(timesteps_fs, units.fs)
    kicked = state.velocities + 0.5 * step * state.forces / _masses(specimen)
    return _moved(
        subject,
        specimen,
        state._replace(velocities=kicked),
        positions=state.positions + step * kicked,
        half=0.5 * step,
    )


def langevin_step(
    subject: Subject,
    specimen: Specimen,
    state: State,
    *,
    timestep_fs: float,
    temperatures_kelvin: Sequence[float] | Array,
    friction_per_ps: float,
    generator: np.random.Generator,
) -> State:
    """Return the state one BAOAB step later.

    Parameters
    ----------
    subject, specimen
        What moves, and what computes its forces.
    state
        Where the copies are.
    timestep_fs
        Time step in fs.
    temperatures_kelvin
        Temperature of each copy, (n_copies,), K.
    friction_per_ps
        Friction in 1/ps.
    generator
        Draws the random forces.
    """
    positions, velocities = baoa(
        state.positions,
        state.velocities,
        state.forces,
        masses=_masses(specimen),
        timestep_fs=timestep_fs,
        temperatures_kelvin=_per_copy(temperatures_kelvin),
        friction_per_ps=friction_per_ps,
        generator=generator,
    )
    return _moved(
        subject,
        specimen,
        state._replace(velocities=velocities),
        positions=positions,
        half=np.full((len(state.energies), 1, 1), 0.5 * timestep_fs * units.fs),  # B
    )


def baoa(
    positions: Array,
    velocities: Array,
    forces: Array,
    *,
    masses: Array,
    timestep_fs: float,
    temperatures_kelvin: Array,
    friction_per_ps: float,
    generator: np.random.Generator,
) -> tuple[Array, Array]:
    """Return where atoms are after a BAOAB step, and their velocities before its last kick.

    Parameters
    ----------
    positions, velocities, forces
        (..., n_atoms, 3); Å, Å per ASE's unit of time, eV/Å.
    masses, temperatures_kelvin
        Of each atom or copy, in shapes that go with these; u, K.
    timestep_fs, friction_per_ps
        Time step in fs and friction in 1/ps.
    generator
        Draws the random forces.
    """
    step = timestep_fs * units.fs
    decay = np.exp(-friction_per_ps * timestep_fs / FEMTOSECONDS_PER_PICOSECOND)
    thermal = np.sqrt(temperatures_kelvin * BOLTZMANN_EV_PER_KELVIN / masses)
    kicked = velocities + 0.5 * step * forces / masses  # B
    middle = positions + 0.5 * step * kicked  # A
    noise = generator.standard_normal(positions.shape)
    damped = decay * kicked + np.sqrt(1.0 - decay**2) * thermal * noise  # O
    return middle + 0.5 * step * damped, damped  # A


def kinetic_energies(specimen: Specimen, state: State) -> Array:
    """Return the kinetic energy of each copy, (n_copies,), eV."""
    energies: Array = 0.5 * (_masses(specimen) * state.velocities**2).sum(axis=(1, 2))
    return energies


def relaxed(subject: Subject, specimen: Specimen, *, max_steps: int = 200) -> Specimen:
    """Return the specimen near a minimum, where its vibrations can be thermal.

    Not converging is no error: the structure is then as near as ``max_steps`` steps of LBFGS take
    it.
    """
    atoms = specimen.atoms.copy()
    atoms.calc = subject.calculator(specimen.topology)
    with LBFGS(atoms, logfile=None) as driver:
        driver.run(fmax=RELAXED_EV_PER_ANGSTROM, steps=max_steps)
    atoms.calc = None
    return Specimen(atoms, specimen.topology)
