r"""Empirical bond orders: how strongly two atoms are bound, from their distance alone.

With R = R_u + R_v the sum of covalent radii and d the distance (Å):

.. math::
    B_\text{Pauling} = \exp(R - d) \qquad
    B_\text{Lendvay} = \exp\bigl(-(d - R) R / a\bigr), \quad a = 0.25

"Pauling" is called SimpleExp in arXiv 2405.16511; "Lendvay" follows G. Lendvay, J. Mol. Struct.
THEOCHEM 501, 389 (2000). Both are 1 at d = R and dimensionless.
"""

import numpy as np
from numpy.typing import NDArray

from se3set_mlip.errors import ConfigError

FloatArray = NDArray[np.float64]

LENDVAY_DECAY_ANGSTROM2 = 0.25
BOND_ORDERS = ("pauling", "lendvay")


def bond_order(kind: str, radius_sums: FloatArray, distances: FloatArray) -> FloatArray:
    """Return empirical bond orders.

    Parameters
    ----------
    kind
        ``"pauling"`` or ``"lendvay"``.
    radius_sums
        Sums of the two covalent radii, any shape, Å.
    distances
        Distances, a shape that broadcasts with ``radius_sums``, Å.

    Returns
    -------
    ndarray
        Bond orders, dimensionless, in the broadcast shape.

    Raises
    ------
    ConfigError
        For another kind.
    """
    if kind == "pauling":
        return np.exp(radius_sums - distances)
    if kind == "lendvay":
        return np.exp(-(distances - radius_sums) * radius_sums / LENDVAY_DECAY_ANGSTROM2)
    raise ConfigError(f"bond order {kind!r} is unknown; expected one of {', '.join(BOND_ORDERS)}")


def reach_of_bond_order(kind: str, radii: FloatArray, level: float) -> float:
    """Return a distance beyond which no pair of atoms has a bond order of ``level``.

    Parameters
    ----------
    kind
        ``"pauling"`` or ``"lendvay"``.
    radii
        Covalent radii of the atoms, (n_atoms,), Å.
    level
        Bond order, above 0.

    Returns
    -------
    float
        Distance in Å at which the slowest-decaying pair falls to the level.
    """
    sums = 2.0 * np.array([radii.min(), radii.max()])
    if kind == "pauling":
        return float(np.max(sums - np.log(level)))
    # d = R + a ln(1/level) / R is convex in R: its largest value is at one of the two ends.
    return float(np.max(sums - LENDVAY_DECAY_ANGSTROM2 * np.log(level) / sums))
