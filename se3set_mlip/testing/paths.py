"""Paths through the space of structures, along which energies are followed.

A path is a smooth curve r(t) with its velocity dr/dt. Along straight ones and pulls t is how far
the atoms that move most have moved, in Å.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from se3set_mlip.testing.specimens import displaced, isolated, joined, molecules
from se3set_mlip.testing.subject import Array, Specimen, Values

Positions = Callable[[float], Array]


@dataclass(frozen=True)
class Path:
    """A curve from t = 0 to ``length``.

    Parameters
    ----------
    name
        For reports.
    length
        Where it ends.
    at
        Structure at t.
    velocity
        dr/dt (n_atoms, 3) at t; None where the cell moves too.
    """

    name: str
    length: float
    at: Callable[[float], Specimen]
    velocity: Callable[[float], Array] | None

    def slope(self, t: float, values: Values) -> float:
        """Return dE/dt from the forces at t."""
        if self.velocity is None:
            raise TypeError(f"the path {self.name!r} moves the cell: forces do not tell its slope")
        return -float((values.forces * self.velocity(t)).sum())


def _straight(name: str, start: Specimen, direction: Array, length: float) -> Path:
    """Return the path ``start + t direction``."""
    return Path(name, length, lambda t: displaced(start, t * direction), lambda _: direction)


def random_straight(specimen: Specimen, *, length_angstrom: float, seed: int) -> Path:
    """Return a straight path along a random direction, the structure in its middle."""
    generator = np.random.default_rng(seed)
    direction = generator.normal(size=(len(specimen.atoms), 3))
    direction /= np.linalg.norm(direction, axis=1).max()
    start = displaced(specimen, -0.5 * length_angstrom * direction)
    return _straight(f"random path {seed}", start, direction, length_angstrom)


def random_wave(
    specimen: Specimen, *, amplitude_angstrom: float, seed: int, n_waves: int = 3
) -> Path:
    """Return a smooth path ``r0 + sum_k a_k sin(2 pi k t + phi_k)``, t from 0 to 1.

    The amplitudes a_k are random with a standard deviation of ``amplitude_angstrom / k``.
    """
    generator = np.random.default_rng(seed)
    k = np.arange(1, n_waves + 1)
    amplitudes = generator.normal(size=(n_waves, len(specimen.atoms), 3))
    amplitudes *= amplitude_angstrom / k[:, None, None]
    phases = generator.uniform(0.0, 2.0 * np.pi, size=n_waves)

    def at(t: float) -> Specimen:
        return displaced(
            specimen, np.tensordot(np.sin(2.0 * np.pi * k * t + phases), amplitudes, axes=1)
        )

    def velocity(t: float) -> Array:
        rates = 2.0 * np.pi * k * np.cos(2.0 * np.pi * k * t + phases)
        found: Array = np.tensordot(rates, amplitudes, axes=1)
        return found

    return Path(f"wave {seed}", 1.0, at, velocity)


def pulled_atom(specimen: Specimen, *, length_angstrom: float, seed: int) -> Path:
    """Return a path on which one atom leaves the others, away from their centre; bonds held."""
    positions = specimen.atoms.positions
    atom = int(np.random.default_rng(seed).integers(len(positions)))
    outward = positions[atom] - positions.mean(axis=0)
    if np.linalg.norm(outward) < 0.1:  # an atom in the centre has no way out
        outward = np.array([1.0, 0.0, 0.0])
    direction = np.zeros_like(positions)
    direction[atom] = outward / np.linalg.norm(outward)
    return _straight(f"atom {atom} pulled away", specimen, direction, length_angstrom)


def parted(
    specimen: Specimen, *, length_angstrom: float, contact_angstrom: float = 1.6, seed: int
) -> Path:
    """Return a path on which two molecules part.

    A structure of several molecules gives up its last one, which is first pushed towards the others
    up to ``contact_angstrom``; of a single molecule a turned copy is put that far away.
    """
    several = molecules(specimen)
    generator = np.random.default_rng(seed)
    if len(several) > 1:
        last = list(several[-1])
        rest = [k for atoms in several[:-1] for k in atoms]
        positions = specimen.atoms.positions
        way = positions[last].mean(axis=0) - positions[rest].mean(axis=0)
        start, moving = specimen, np.array(last)
    else:
        way = generator.normal(size=3)
        start = beside(
            specimen, gap_angstrom=contact_angstrom, way=way, turn=Rotation.random(rng=generator)
        )
        moving = np.arange(len(specimen.atoms), len(start.atoms))
    direction = np.zeros((len(start.atoms), 3))
    direction[moving] = way / np.linalg.norm(way)
    if len(several) > 1:
        pushes = np.arange(0.0, 10.0, 0.1)
        gaps = [cdist(positions[rest], positions[last] - x * direction[last]).min() for x in pushes]
        blocked = [x for x, gap in zip(pushes, gaps, strict=True) if gap < contact_angstrom]
        start = displaced(start, -max(0.0, min(blocked, default=10.0) - 0.1) * direction)
    return _straight("molecules part", start, direction, length_angstrom)


def beside(specimen: Specimen, *, gap_angstrom: float, way: ArrayLike, turn: Rotation) -> Specimen:
    """Return a structure in open space with a turned copy of itself beside it.

    Parameters
    ----------
    specimen
        The structure.
    gap_angstrom
        Distance between the closest atoms of the two, along ``way`` at least.
    way
        Direction from the one to the other, (3,).
    turn
        Rotation of the copy.
    """
    one = isolated(specimen)
    unit = np.asarray(way) / np.linalg.norm(way)
    positions = one.atoms.positions
    centre = positions.mean(axis=0)
    copy = turn.apply(positions - centre)
    along, copy_along = (positions - centre) @ unit, copy @ unit
    distance = along.max() - copy_along.min() + gap_angstrom
    return joined(one, displaced(one, copy + centre + distance * unit - positions))


def shrinking_cell(specimen: Specimen, *, largest: float = 1.6) -> Path:
    """Return a path on which a periodic cell shrinks to what it is from ``largest`` times that.

    Atoms stay where they are, so only distances to images change. ``t`` is how much the longest
    lattice vector has shrunk, in Å.
    """
    cell = np.asarray(specimen.atoms.cell)
    longest = float(np.linalg.norm(cell, axis=1).max())
    length = (largest - 1.0) * longest

    def at(t: float) -> Specimen:
        atoms = specimen.atoms.copy()
        atoms.set_cell(cell * (largest - t / longest), scale_atoms=False)
        return Specimen(atoms, specimen.topology)

    return Path("the cell shrinks", length, at, None)
