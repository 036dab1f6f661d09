"""Structures in which atoms lie inside each other: no potential can start from them.

A network is not trained there, and forces of thousands of eV/Å throw atoms anywhere.
"""

import ase
import numpy as np

from se3set_mlip.elements import COVALENT_RADII, SYMBOLS
from se3set_mlip.errors import InputError
from se3set_mlip.topology.geometry import close_pairs, make_box
from se3set_mlip.topology.molecule import Topology

CLASH_FRACTION = 0.5
"""Of the sum of two covalent radii; the shortest bond, of H2, is 1.2 times that sum long."""
APART_ANGSTROM = 1.0
"""Atoms that are not bonded are farther apart, the proton of the strongest hydrogen bond too."""


def check_no_clash(atoms: ase.Atoms, topology: Topology | None = None) -> None:
    """Raise ``InputError`` if two atoms lie inside each other.

    Nearer than half the sum of their covalent radii; with a topology, not bonded and nearer than 1
    Å. Atoms without a covalent radius here, and positions that are not finite, are for others to
    refuse.

    Parameters
    ----------
    atoms
        The structure.
    topology
        Who is bonded to whom, of the same atoms; None: not known.
    """
    known = np.isin(atoms.numbers, list(COVALENT_RADII)) & np.isfinite(atoms.positions).all(axis=1)
    places = np.flatnonzero(known)
    if len(places) < 2:
        return
    radii = np.array([COVALENT_RADII[int(number)] for number in atoms.numbers[places]])
    reach = max(2.0 * CLASH_FRACTION * radii.max(), APART_ANGSTROM)
    pairs = close_pairs(atoms.positions[places], reach, make_box(atoms.cell.array, atoms.pbc))
    limits = CLASH_FRACTION * (radii[pairs.first] + radii[pairs.second])
    first, second = places[pairs.first], places[pairs.second]
    if topology is not None:
        bonds = {frozenset(bond) for bond in topology.bonds}
        ends = zip(first.tolist(), second.tolist(), strict=True)
        bonded = np.array([frozenset(pair) in bonds for pair in ends], dtype=bool)
        limits = np.where(bonded, limits, np.maximum(limits, APART_ANGSTROM))
    clashing = np.flatnonzero(pairs.distances < limits)
    if len(clashing):
        worst = clashing[np.argmin((pairs.distances / limits)[clashing])]
        i, j = int(first[worst]), int(second[worst])
        names = " and ".join(f"{SYMBOLS[int(atoms.numbers[k])]}{k}" for k in (i, j))
        raise InputError(
            f"{names} are {pairs.distances[worst]:.2f} Å apart, so they coincide or lie inside "
            "each other; are the positions in Å, and has each molecule its own place?"
        )
