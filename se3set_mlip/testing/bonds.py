"""Bonds under watch: positions become the bonds that are off, and those whose hydrogen moved over.

A bond is off if its length differs from the relaxed one by more than 0.5 Å. If it is that of a
hydrogen that another oxygen or nitrogen holds, within 1.3 Å, the hydrogen was transferred. Lengths
in Å, to nearest images.
"""

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from se3set_mlip.elements import COVALENT_RADII
from se3set_mlip.engines.bond_policy import bond_name
from se3set_mlip.testing.subject import Array, Specimen
from se3set_mlip.topology.coordinates import bonded_pairs

BOND_CHANGE_ANGSTROM = 0.5
TRANSFER_ANGSTROM = 1.3
"""A hydrogen nearer than this to an oxygen or nitrogen is held by it."""
_HYDROGEN = 1
_ACCEPTORS = (7, 8)


class Bonds:
    """The bonds of a structure and their lengths in it.

    Parameters
    ----------
    still
        A relaxed structure. Without a topology its bonds are those by distance, and none if an
        element has no covalent radius here.
    """

    def __init__(self, still: Specimen) -> None:
        atoms = still.atoms
        pairs = _by_distance(atoms) if still.topology is None else still.topology.bonds
        self.atoms = atoms
        self.pairs = np.array(pairs, dtype=int).reshape(-1, 2)  # (n_bonds, 2)
        self.relaxed = self.lengths(atoms.positions)  # (n_bonds,)
        self.acceptors = np.flatnonzero(np.isin(atoms.numbers, _ACCEPTORS))

    def _distances(self, vectors: Array) -> Array:
        """Return distances to nearest images of vectors (n, 3), Å."""
        distances: Array = find_mic(vectors, self.atoms.cell, self.atoms.pbc)[1]
        return distances

    def lengths(self, positions: Array) -> Array:
        """Return the lengths of all bonds, (n_bonds,), Å."""
        if not len(self.pairs):
            return np.zeros(0)
        return self._distances(positions[self.pairs[:, 1]] - positions[self.pairs[:, 0]])

    def off(self, positions: Array) -> tuple[list[int], list[int]]:
        """Return the bonds that are off, and those of transferred hydrogens, by their indices."""
        changes = np.abs(self.lengths(positions) - self.relaxed)
        broken: list[int] = []
        transferred: list[int] = []
        for bond in np.flatnonzero(~(changes <= BOND_CHANGE_ANGSTROM)):
            is_transfer = changes[bond] > 0.0 and self._transferred(int(bond), positions)
            (transferred if is_transfer else broken).append(int(bond))
        return broken, transferred

    def _transferred(self, bond: int, positions: Array) -> bool:
        """Tell whether another oxygen or nitrogen holds the hydrogen of a bond."""
        pair = self.pairs[bond]
        hydrogens = pair[self.atoms.numbers[pair] == _HYDROGEN]
        others = np.setdiff1d(self.acceptors, pair)
        if len(hydrogens) != 1 or not len(others):
            return False
        distances = self._distances(positions[others] - positions[hydrogens[0]])
        return bool(distances.min() < TRANSFER_ANGSTROM)

    def name(self, bond: int) -> str:
        """Return a bond as text, e.g. ``"C3-H9"``."""
        return bond_name(self.atoms.numbers, self.pairs[bond])


def _by_distance(atoms: Atoms) -> tuple[tuple[int, int], ...]:
    """Return the bonds that distances tell, none where radii are missing."""
    if not set(atoms.numbers.tolist()) <= COVALENT_RADII.keys():
        return ()
    periodic = bool(atoms.pbc.any())
    return bonded_pairs(
        atoms.numbers,
        atoms.positions,
        cell=np.asarray(atoms.cell) if periodic else None,
        pbc=atoms.pbc if periodic else None,
    )
