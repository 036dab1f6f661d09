"""Structures in which atoms lie inside each other: no potential can start from them.

A network is not trained there, and forces of thousands of eV/Å throw atoms anywhere.
"""

import ase
import numpy as np

from se3set_mlip.elements import COVALENT_RADII, SYMBOLS
from se3set_mlip.errors import InputError
from se3set_mlip.topology.geometry import close_pairs, make_box

CLASH_FRACTION = 0.5
"""Of the sum of two covalent radii; the shortest bond, of H2, is 1.2 times that sum long."""


def check_no_clash(atoms: ase.Atoms) -> None:
    """Raise ``InputError`` if two atoms are nearer than half the sum of their covalent radii.

    Atoms without a covalent radius here, and positions that are not finite, are for others to
    refuse.
    """
    known = np.isin(atoms.numbers, list(COVALENT_RADII)) & np.isfinite(atoms.positions).all(axis=1)
    places = np.flatnonzero(known)
    if len(places) < 2:
        return
    radii = np.array([COVALENT_RADII[int(number)] for number in atoms.numbers[places]])
    box = make_box(atoms.cell.array, atoms.pbc)
    pairs = close_pairs(atoms.positions[places], 2.0 * CLASH_FRACTION * radii.max(), box)
    limits = CLASH_FRACTION * (radii[pairs.first] + radii[pairs.second])
    clashing = np.flatnonzero(pairs.distances < limits)
    if len(clashing):
        worst = clashing[np.argmin((pairs.distances / limits)[clashing])]
        i, j = (int(places[side[worst]]) for side in (pairs.first, pairs.second))
        names = " and ".join(f"{SYMBOLS[int(atoms.numbers[k])]}{k}" for k in (i, j))
        raise InputError(
            f"{names} are {pairs.distances[worst]:.2f} Å apart, so they coincide or lie inside "
            "each other; are the positions in Å, and has each molecule its own place?"
        )
