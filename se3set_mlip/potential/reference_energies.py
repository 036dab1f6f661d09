"""Reference energies E0 of the elements: what the network does not have to learn.

Three ways to them: given, from isolated atoms, or fitted. In eV and float64, outside the network:

    E0 = argmin_E0 sum_s (E_s - sum_v E0[Z_v])^2

Where compositions do not determine the fit (one molecule only), the solution of least norm is taken
around the mean energy per atom, so that the known part stays with every element alike.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from se3set_mlip.errors import InputError


def fit_reference_energies(
    compositions: Sequence[ArrayLike], energies: ArrayLike
) -> dict[int, float]:
    """Fit one energy per element to total energies by least squares.

    Parameters
    ----------
    compositions
        Atomic numbers of each structure, each (n_atoms,).
    energies
        Total energies in eV, (n_structures,).

    Returns
    -------
    dict
        Atomic number to reference energy in eV.

    Raises
    ------
    InputError
        If there is no structure, or the lengths differ or an energy is not finite.
    """
    target = np.asarray(energies, dtype=np.float64)
    if target.ndim != 1 or len(compositions) != len(target) or len(target) == 0:
        raise InputError(
            f"{len(compositions)} compositions and energies of shape {target.shape}; "
            "give one energy per structure, at least one"
        )
    if not np.isfinite(target).all():
        raise InputError(f"energy {int(np.argmin(np.isfinite(target)))} is not finite")
    numbers = [np.asarray(c, dtype=np.int64) for c in compositions]
    elements = np.unique(np.concatenate(numbers))
    counts = np.array([[np.count_nonzero(c == z) for z in elements] for c in numbers], dtype=float)
    mean = float(target.sum() / counts.sum())
    residual = target - mean * counts.sum(axis=1)
    solution = np.linalg.lstsq(counts, residual, rcond=1e-10)[0]
    return {int(z): mean + float(e) for z, e in zip(elements, solution, strict=True)}
