"""From NumPy arrays to a :class:`System`, with every check that saves a wasted run."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from se3set_mlip.elements import symbol
from se3set_mlip.errors import InputError
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.topology.geometry import close_pairs, make_box, minimum_image

COINCIDENT_ANGSTROM = 0.1


def _checked_positions(numbers: np.ndarray, positions: ArrayLike) -> np.ndarray:
    """Return positions (n_atoms, 3) in float64, finite."""
    points = np.asarray(positions, dtype=np.float64)
    if points.shape != (len(numbers), 3):
        raise InputError(
            f"positions have shape {points.shape}, expected ({len(numbers)}, 3) for "
            f"{len(numbers)} atoms; give one row of x, y, z in Å per atom"
        )
    if not np.isfinite(points).all():
        atom = int(np.argmin(np.isfinite(points).all(axis=1)))
        raise InputError(
            f"position of atom {atom} is {points[atom].tolist()}, not finite; a simulation that "
            "produced it has blown up, restart it from an earlier frame with a smaller time step"
        )
    return points


def check_elements_known(numbers: np.ndarray, elements: tuple[int, ...]) -> None:
    """Raise ``InputError`` for an element that the potential was not trained on."""
    for atom, number in enumerate(numbers.tolist()):
        if number not in elements:
            name = symbol(number) if 0 < number < 119 else "no element"
            known = ", ".join(symbol(z) for z in elements)
            raise InputError(
                f"atom {atom} has atomic number {number} ({name}), the potential knows {known}; "
                "use a potential trained on this element"
            )


def make_system(
    numbers: ArrayLike,
    positions: ArrayLike,
    fragmentation: Fragmentation,
    *,
    elements: tuple[int, ...],
    cell: ArrayLike | None = None,
    pbc: ArrayLike | None = None,
    dtype: torch.dtype,
    device: torch.device,
) -> System:
    """Check one structure and make its system.

    Parameters
    ----------
    numbers
        Atomic numbers, (n_atoms,).
    positions
        (n_atoms, 3) in Å.
    fragmentation
        Fragments of these atoms.
    elements
        Atomic numbers that the potential knows.
    cell, pbc
        Lattice vectors as rows in Å, (3, 3), and three flags; none for an open system.
    dtype, device
        Of the result.

    Raises
    ------
    InputError
        For wrong shapes, unknown elements, positions that are not finite, coincident atoms, a
        fragmentation of other atoms, or a cell too small for its bonds.
    """
    z = np.asarray(numbers, dtype=np.int64)
    if z.ndim != 1 or len(z) == 0:
        raise InputError(f"numbers have shape {z.shape}; give one atomic number per atom")
    check_elements_known(z, elements)
    points = _checked_positions(z, positions)
    if fragmentation.topology.numbers != tuple(z.tolist()):
        raise InputError(
            f"the fragments are of {fragmentation.topology.n_atoms} other atoms than the "
            f"{len(z)} given; make fragments for these atoms"
        )
    flags = np.zeros(3, dtype=bool) if pbc is None else np.broadcast_to(np.asarray(pbc, bool), (3,))
    if pbc is None and cell is not None:
        flags = np.ones(3, dtype=bool)
    box = make_box(cell, flags) if flags.any() else None
    close = close_pairs(points, COINCIDENT_ANGSTROM, box)
    if len(close.first):
        i, j = int(close.first[0]), int(close.second[0])
        raise InputError(
            f"atoms {i} and {j} are less than {COINCIDENT_ANGSTROM} Å apart; remove one of them or "
            "correct the positions (are they in Å?)"
        )
    lattice = np.eye(3)
    if box is not None:
        lattice = np.asarray(cell, dtype=np.float64)
        _check_bonds_fit(fragmentation, points, lattice, flags)

    if dtype != torch.float64:
        points = _near_origin(points, lattice, flags)

    def tensor(values: ArrayLike, kind: torch.dtype) -> torch.Tensor:
        return torch.as_tensor(np.array(values), dtype=kind, device=device)

    return System(
        numbers=tensor(z, torch.int64),
        positions=tensor(points, dtype),
        fragment=tensor(fragmentation.fragment_index, torch.int64),
        group=tensor(fragmentation.group_index, torch.int64),
        parent=tensor(fragmentation.parents, torch.int64),
        structure=torch.zeros(len(z), dtype=torch.int64, device=device),
        cell=tensor(lattice, dtype).unsqueeze(0),
        pbc=tensor(flags, torch.bool).unsqueeze(0),
    )


def _near_origin(points: np.ndarray, cell: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """Return positions near the origin, where a short float resolves them best.

    Translations and lattice vectors change neither energies nor forces.
    """
    centred = points - points.mean(axis=0)
    if not flags.any():
        return centred
    full = make_box(cell, flags)
    assert full is not None
    images = np.round(centred @ full.inverse) * flags
    wrapped: np.ndarray = centred - images @ full.cell
    return wrapped


def _check_bonds_fit(
    fragmentation: Fragmentation, points: np.ndarray, cell: np.ndarray, flags: np.ndarray
) -> None:
    """Raise if a bond's nearest image is not clear: the cell is too small."""
    bonds = np.asarray(fragmentation.topology.bonds, dtype=np.int64).reshape(-1, 2)
    if len(bonds) == 0:
        return
    vectors = minimum_image(points[bonds[:, 1]] - points[bonds[:, 0]], make_box(cell, flags))
    longest = float(np.linalg.norm(vectors, axis=1).max())
    areas = np.linalg.norm(np.cross(np.roll(cell, -1, axis=0), np.roll(cell, -2, axis=0)), axis=1)
    heights = abs(np.linalg.det(cell)) / areas
    shortest = float(heights[flags].min())
    if longest > 0.5 * shortest:
        raise InputError(
            f"a bond of {longest:.2f} Å does not fit into half of the cell's smallest height "
            f"{shortest:.2f} Å, so its nearest image is not clear; use a larger cell"
        )
