"""Positions, periodic boxes and close pairs of atoms, on the host side (NumPy, Å).

Only what perception and fragmentation need, once per topology; the differentiable neighbour search
of the model is in ``hypergraph``.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from se3set_mlip.errors import InputError
from se3set_mlip.topology.arrays import LARGEST_COORDINATE_ANGSTROM, real_array, three_flags

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MINIMUM_VOLUME_ANGSTROM3 = 1e-6
MINIMUM_HEIGHT_ANGSTROM = (
    0.5  # no bond is as short; the search for images grows as its inverse cube
)


class Box(NamedTuple):
    """A cell of which at least one lattice vector is periodic."""

    cell: FloatArray
    """Lattice vectors as rows, (3, 3), Å; those that are not periodic are unit normals."""
    inverse: FloatArray
    """Inverse of the cell, (3, 3): positions @ inverse are fractional coordinates."""
    periodic: NDArray[np.bool_]
    """Which lattice vectors are periodic, (3,)."""


class ClosePairs(NamedTuple):
    """Pairs of atoms within a range, each pair of images once."""

    first: IntArray
    """First atom, (n_pairs,), not above the second."""
    second: IntArray
    """Second atom, (n_pairs,); the first again for an atom close to its own image."""
    distances: FloatArray
    """Distance in Å, (n_pairs,)."""


def as_positions(positions: ArrayLike, n_atoms: int) -> FloatArray:
    """Return positions as a float64 array after checking them.

    Parameters
    ----------
    positions
        Positions in Å, (n_atoms, 3).
    n_atoms
        Expected number of atoms.

    Raises
    ------
    InputError
        If the shape is not (n_atoms, 3), or a value is no number, not finite or above 1e8 Å.
    """
    points = real_array(positions, what="positions", expected=f"expected shape ({n_atoms}, 3) in Å")
    if points.shape != (n_atoms, 3):
        raise InputError(
            f"positions have shape {points.shape}; expected ({n_atoms}, 3) in Å, one row per atom"
        )
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        atom = int(bad[0])
        raise InputError(
            f"position of atom {atom} is {points[atom].tolist()} ({len(bad)} atoms are not "
            "finite); give finite positions in Å"
        )
    check_not_huge(points, "positions")
    return points


def check_not_huge(values: FloatArray, what: str) -> None:
    """Raise ``InputError`` for lengths in Å that no structure has."""
    largest = float(np.abs(values).max(initial=0.0))
    if largest > LARGEST_COORDINATE_ANGSTROM:
        raise InputError(
            f"{what} reach {largest:.3g} Å, expected at most {LARGEST_COORDINATE_ANGSTROM:.0e} Å; "
            "check their unit, or move the structure to the origin"
        )


def make_box(cell: ArrayLike | None, pbc: ArrayLike | None) -> Box | None:
    """Return the periodic box, or ``None`` if nothing is periodic.

    Parameters
    ----------
    cell
        Lattice vectors as rows, (3, 3), or three lengths of a rectangular cell, Å.
    pbc
        One or three bools; all true if a cell is given without it.

    Raises
    ------
    InputError
        For wrong shapes and types, values that are not finite, periodicity without a cell, or
        periodic vectors that enclose no volume or lie almost in one plane.
    """
    if cell is None:
        if pbc is not None and three_flags(pbc, what="pbc").any():
            raise InputError(f"pbc = {pbc!r} without a cell; give cell=(3, 3) lattice vectors in Å")
        return None
    periodic = three_flags(True if pbc is None else pbc, what="pbc")
    vectors = real_array(cell, what="cell vectors", expected="expected (3, 3), rows in Å")
    if vectors.shape == (3,):
        vectors = np.diag(vectors)
    if vectors.shape != (3, 3):
        raise InputError(f"cell has shape {vectors.shape}; expected (3, 3), vectors as rows in Å")
    if not np.isfinite(vectors).all():
        raise InputError(f"cell {vectors.tolist()} is not finite; give lattice vectors in Å")
    check_not_huge(vectors, "cell vectors")
    if not periodic.any():
        return None
    # Replace what is not periodic by unit normals, so that the cell always has an inverse.
    _, _, normals = np.linalg.svd(vectors[periodic])
    vectors[~periodic] = normals[int(periodic.sum()) :]
    if abs(np.linalg.det(vectors)) < MINIMUM_VOLUME_ANGSTROM3:
        raise InputError(
            f"the periodic vectors of cell {vectors.tolist()} enclose no volume; give linearly "
            "independent vectors in Å, or pbc=False"
        )
    inverse: FloatArray = np.linalg.inv(vectors).astype(np.float64)
    lowest = float((1.0 / np.linalg.norm(inverse, axis=0))[periodic].min())
    if lowest < MINIMUM_HEIGHT_ANGSTROM:
        raise InputError(
            f"the faces of cell {vectors.tolist()} are {lowest:.3g} Å apart, expected at least "
            f"{MINIMUM_HEIGHT_ANGSTROM} Å; check its unit, or describe the lattice by less skewed "
            "vectors (ase.geometry.minkowski_reduce)"
        )
    return Box(vectors, inverse, periodic)


def minimum_image(vectors: FloatArray, box: Box | None) -> FloatArray:
    """Return each vector's shortest periodic image.

    The fractional vector is rounded into the cell and its 26 neighbours are tried, in a basis
    reduced pairwise so that this suffices for skewed cells too.

    Parameters
    ----------
    vectors
        Differences of positions, (n, 3), Å.
    box
        The periodic box, or ``None``.

    Returns
    -------
    ndarray
        Shortest images, (n, 3), Å.
    """
    if box is None or len(vectors) == 0:
        return vectors
    basis = _reduced_basis(box.cell[box.periodic])  # (n_periodic, 3)
    coefficients = np.linalg.lstsq(basis.T, vectors.T, rcond=None)[0].T
    folded = vectors - np.rint(coefficients) @ basis
    best = folded.copy()
    shortest = np.einsum("ij,ij->i", best, best)
    for steps in product((-1, 0, 1), repeat=len(basis)):
        trial = folded + np.asarray(steps, dtype=np.float64) @ basis
        squared = np.einsum("ij,ij->i", trial, trial)
        closer = squared < shortest
        best[closer] = trial[closer]
        shortest[closer] = squared[closer]
    return best


def close_pairs(positions: FloatArray, reach: float, box: Box | None) -> ClosePairs:
    """Return all pairs of atoms, images included, that are at most ``reach`` apart.

    A k-d tree over the atoms and those images that lie within reach of the cell: linear in atoms
    at constant density, for any cell shape and any ratio of reach to cell.

    Parameters
    ----------
    positions
        Positions, (n_atoms, 3), Å.
    reach
        Largest distance, Å.
    box
        The periodic box, or ``None``.
    """
    if box is None:
        found = KDTree(positions).query_pairs(reach, output_type="ndarray").reshape(-1, 2)
        pairs = np.sort(found, axis=1)[np.lexsort((found.max(axis=1), found.min(axis=1)))]
        lengths = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
        return ClosePairs(pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64), lengths)
    fractional = positions @ box.inverse
    fractional -= np.where(box.periodic, np.floor(fractional), 0.0)
    home = fractional @ box.cell
    margins = reach * np.linalg.norm(box.inverse, axis=0)  # (3,) reach over the cell's heights
    ranges = [
        range(-int(np.ceil(margin)), int(np.ceil(margin)) + 1) if periodic else range(1)
        for margin, periodic in zip(margins, box.periodic, strict=True)
    ]
    images, owners = [], []
    for shift in product(*ranges):
        moved = fractional + np.asarray(shift, dtype=np.float64)
        inside = (moved >= -margins) & (moved <= 1.0 + margins)
        near = np.flatnonzero((inside | ~box.periodic).all(axis=1))
        images.append(moved[near] @ box.cell)
        owners.append(near)
    owner = np.concatenate(owners)
    found = KDTree(home).sparse_distance_matrix(
        KDTree(np.concatenate(images)), reach, output_type="ndarray"
    )
    first, second, lengths = found["i"], owner[found["j"]], found["v"]
    # An atom's own image comes once from each side; the atom itself is at distance zero exactly.
    keep = (first < second) | ((first == second) & (lengths > 1e-9))
    order = np.lexsort((lengths[keep], second[keep], first[keep]))
    return ClosePairs(
        first[keep][order].astype(np.int64),
        second[keep][order].astype(np.int64),
        lengths[keep][order],
    )


def _reduced_basis(basis: FloatArray) -> FloatArray:
    """Return a pairwise reduced basis of the same lattice: no vector has a long projection."""
    reduced = basis.copy()
    improved = True
    while improved:
        improved = False
        for i, j in product(range(len(reduced)), repeat=2):
            if i == j:
                continue
            steps = np.rint(reduced[i] @ reduced[j] / (reduced[j] @ reduced[j]))
            trial = reduced[i] - steps * reduced[j]
            if trial @ trial < (1.0 - 1e-12) * (reduced[i] @ reduced[i]):
                reduced[i] = trial
                improved = True
    return reduced
