"""What is timed: atoms with their chemistry stated, and how they move from call to call.

Both ends of the pipe import this module, so it needs NumPy alone. Lengths are in Å.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

VIBRATION_ANGSTROM = 0.03
VIBRATION_PER_CALL = 0.3
DRIFT_ANGSTROM = 0.3
DRIFT_PER_CALL = 0.02


class Structure(NamedTuple):
    """One system of atoms; nothing about it needs to be perceived."""

    name: str
    numbers: NDArray[np.int64]
    """Atomic numbers, (n_atoms,)."""
    positions: NDArray[np.float64]
    """(n_atoms, 3) Å."""
    cell: NDArray[np.float64] | None
    """Lattice vectors as rows, (3, 3) Å, periodic in all directions; None for an open system."""
    bonds: tuple[tuple[int, int], ...]
    """Pairs of bonded atoms, sorted."""
    orders: tuple[int, ...]
    """Kekulé order of each bond."""
    charges: tuple[int, ...]
    """Formal charge of each atom."""
    molecule: NDArray[np.int64]
    """The molecule of each atom, (n_atoms,)."""

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.numbers)


class Motion:
    """Positions that move a little at every call, as in dynamics, and stay near the start.

    Every atom vibrates (0.03 Å, at most 0.009 Å from call to call). Every molecule drifts and turns
    to and fro as a whole (0.3 Å each for its farthest atom, at most 0.006 Å from call to call;
    water at room temperature drifts by 0.003 Å and turns by more in 0.5 fs). So neighbours change
    from call to call, and lists that are kept with a skin have to be made anew about as often as in
    dynamics.

    Parameters
    ----------
    structure
        Where the atoms start.
    seed
        Of directions and phases.
    """

    def __init__(self, structure: Structure, *, seed: int) -> None:
        rng = np.random.default_rng(seed)
        n_molecules = int(structure.molecule.max()) + 1
        self._start = structure.positions
        self._vibration = _directions(rng, structure.n_atoms) * VIBRATION_ANGSTROM
        sizes = np.bincount(structure.molecule)[:, None]
        centres = np.zeros((n_molecules, 3))
        np.add.at(centres, structure.molecule, structure.positions)
        arms = structure.positions - (centres / sizes)[structure.molecule]
        turn = np.cross(_directions(rng, n_molecules)[structure.molecule], arms)
        farthest = np.zeros(n_molecules)
        np.maximum.at(farthest, structure.molecule, np.linalg.norm(turn, axis=1))
        turn /= np.maximum(farthest, 1e-3)[structure.molecule, None]
        drift = _directions(rng, n_molecules)[structure.molecule]
        self._drift = (drift + turn) * DRIFT_ANGSTROM
        self._phase = rng.uniform(0.0, 2.0 * np.pi, (structure.n_atoms, 1))

    def positions(self, call: int) -> NDArray[np.float64]:
        """Return the positions (n_atoms, 3) at a call, counted from 0."""
        vibration = self._vibration * np.sin(VIBRATION_PER_CALL * call + self._phase)
        moved: NDArray[np.float64] = (
            self._start + vibration + self._drift * np.sin(DRIFT_PER_CALL * call)
        )
        return moved


def _directions(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Return unit vectors (n, 3)."""
    vectors = rng.normal(size=(n, 3))
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
