"""A look at one point of a path from ever closer.

With f at four points of equal spacing d, the middle two on either side of the point,

    step = f2 - f1 - ((f1 - f0) + (f3 - f2)) / 2

is of order d^3 for a smooth function, and the height of a jump between f1 and f2 otherwise.
"""

from typing import Any

import numpy as np

from se3set_mlip.testing.paths import Path
from se3set_mlip.testing.subject import Array, Subject

ZOOMS_ANGSTROM = (1e-2, 1e-4, 1e-6)
N_POINTS = 10


def steps_at(subject: Subject, path: Path, intervals: list[tuple[float, float]]) -> Array:
    """Return the steps of energy (eV) and largest force component (eV/Å) across intervals.

    Parameters
    ----------
    subject
        Whose energy.
    path
        Along which.
    intervals
        n short intervals of t.

    Returns
    -------
    ndarray
        (n, 2).
    """
    times = [t for low, high in intervals for t in (2 * low - high, low, high, 2 * high - low)]
    values = subject.values([path.at(t) for t in times])
    found = []
    for k in range(0, len(values), 4):
        energies = np.array([v.energy - values[k].energy for v in values[k : k + 4]])
        forces = np.array([v.forces for v in values[k : k + 4]])
        found.append([float(np.abs(_step(f)).max()) for f in (energies, forces)])
    return np.array(found).reshape(-1, 2)


def _step(f: Array) -> Array:
    """Return the step between the middle two of four rows."""
    jump: Array = f[2] - f[1] - 0.5 * ((f[1] - f[0]) + (f[3] - f[2]))
    return jump


def pictures(subject: Subject, path: Path, interval: tuple[float, float]) -> list[dict[str, Any]]:
    """Return what is seen around a point at several zooms, for a picture.

    Each zoom has ``t`` (Å from the point), ``energy_ev`` and ``force_ev_per_angstrom`` (the
    component that changes most across the point), both minus what a parabola through the points
    before the crossing says: a jump or a kink stands out after it, a smooth function does not.
    """
    low, high = interval
    middle = 0.5 * (low + high)
    pictured: list[dict[str, Any]] = []
    for zoom in ZOOMS_ANGSTROM:
        offsets = np.concatenate(
            [np.linspace(-zoom, low - middle, N_POINTS), np.linspace(high - middle, zoom, N_POINTS)]
        )
        values = subject.values([path.at(middle + t) for t in offsets])
        energies = np.array([v.energy - values[0].energy for v in values])
        forces = np.array([v.forces.reshape(-1) for v in values])  # (n, 3 n_atoms)
        component = int(np.argmax(np.abs(forces[N_POINTS] - forces[N_POINTS - 1])))
        pictured.append(
            {
                "half_width_angstrom": zoom,
                "t_angstrom": offsets.tolist(),
                "energy_ev": _without_trend(offsets / zoom, energies).tolist(),
                "force_ev_per_angstrom": _without_trend(
                    offsets / zoom, forces[:, component]
                ).tolist(),
            }
        )
    return pictured


def _without_trend(x: Array, y: Array) -> Array:
    """Return y minus the parabola through its first half, extrapolated."""
    rest: Array = y - np.polyval(np.polyfit(x[:N_POINTS], y[:N_POINTS], 2), x)
    return rest
