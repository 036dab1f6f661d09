"""Shapes of curves: energies and forces along a distance become counts of flips, minima, bends.

A bond has one minimum, at which its force changes sign once, and one inflection beyond (P. M.
Morse, Phys. Rev. 34, 57 (1929)); a pair that only repels has none. More of them are wrinkles of
the potential that dynamics can be caught in.
"""

from typing import NamedTuple

import numpy as np

from se3set_mlip.testing.subject import Array

FORCE_NOISE_EV_PER_ANGSTROM = 1e-3
"""A force below this has no sign: it is 1/25 of kT at 300 K over a whole Å, and far out, where the
energy goes to its limit, the sign of what little is left moves nothing."""


class Curve(NamedTuple):
    """Energy and force along a distance."""

    name: str
    distances: Array
    """(n_points,), increasing, Å."""
    energies: Array
    """(n_points,), eV."""
    forces: Array
    """Minus the derivative by the distance, (n_points,), eV/Å."""


class Shape(NamedTuple):
    """What a curve looks like."""

    flips: int
    """Changes of sign of the force."""
    minima: int
    """Where repulsion turns into attraction on the way out."""
    inflections: int
    """Changes of sign of the slope of the force."""


def _changes(values: Array) -> Array:
    """Return the sign after each change of sign of values that are not zero."""
    signs = np.sign(values)
    return signs[1:][signs[1:] != signs[:-1]]


def shape_of(curve: Curve) -> Shape:
    """Return the counts of a curve; forces in the noise count as none."""
    loud = np.abs(curve.forces) > FORCE_NOISE_EV_PER_ANGSTROM
    flips = _changes(curve.forces[loud])
    slopes = np.diff(curve.forces)
    steep = np.abs(slopes) > FORCE_NOISE_EV_PER_ANGSTROM
    return Shape(len(flips), int((flips < 0).sum()), len(_changes(slopes[steep])))


def is_sane(curve: Curve) -> bool:
    """Tell whether all numbers of a curve are finite."""
    return bool(np.isfinite(curve.energies).all() and np.isfinite(curve.forces).all())
