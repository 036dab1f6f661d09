"""From NumPy arrays to a :class:`System`, with every check that saves a wasted run."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from se3set_mlip.elements import symbol
from se3set_mlip.errors import InputError
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.potential.results import Metadata
from se3set_mlip.topology.arrays import integer_array, real_array
from se3set_mlip.topology.geometry import Box, check_not_huge, close_pairs, make_box
from se3set_mlip.topology.molecule import Topology

COINCIDENT_ANGSTROM = 0.1


def checked_numbers(numbers: ArrayLike) -> np.ndarray:
    """Return atomic numbers (n_atoms,) as int64, at least one."""
    expected = "give one atomic number per atom, such as [8, 1, 1]"
    z = integer_array(numbers, what="numbers", expected=expected)
    if z.ndim != 1 or len(z) == 0:
        raise InputError(f"numbers have shape {z.shape} and type {z.dtype}; {expected}")
    return z.astype(np.int64)


def checked_positions(numbers: np.ndarray, positions: ArrayLike) -> np.ndarray:
    """Return positions (n_atoms, 3) in float64, finite."""
    points = real_array(
        positions, what="positions", expected="give one row of x, y, z in Å per atom"
    )
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
    check_not_huge(points, "positions")
    return points


def has_odd_electrons(numbers: ArrayLike, charge: int) -> bool:
    """Tell whether atoms (n_atoms,) with a total charge have an odd number of electrons."""
    return bool((int(np.sum(numbers)) - charge) % 2)


def check_electrons_known(topology: Topology, metadata: Metadata) -> None:
    """Raise ``InputError`` for a total charge or an odd electron that the training had not."""
    charge, charges = topology.charge, metadata.charges
    if charges and charge not in charges:
        known = ", ".join(f"{known:+d}" if known else "0" for known in charges)
        raise InputError(
            f"the structure has charge {charge:+d}, the potential was trained on charges {known} "
            "only, and its energy would mean nothing; correct the charge or the protonation, or "
            "train a potential on such charges"
        )
    if metadata.closed_shells and has_odd_electrons(topology.numbers, charge):
        raise InputError(
            f"the structure has an odd number of electrons at charge {charge:+d}, the potential "
            "was trained on closed shells only, and its energy would mean nothing; add the "
            "hydrogen that is missing, correct the charge, or train a potential on radicals"
        )


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


def check_apart(points: np.ndarray, box: Box | None) -> None:
    """Raise ``InputError`` for two atoms on one place; positions (n_atoms, 3) in Å."""
    close = close_pairs(points, COINCIDENT_ANGSTROM, box)
    if len(close.first):
        i, j = int(close.first[0]), int(close.second[0])
        raise InputError(
            f"atoms {i} and {j} are less than {COINCIDENT_ANGSTROM} Å apart; remove one of them or "
            "correct the positions (are they in Å?)"
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
        Of the result. In float32 positions are moved near the origin, as a whole and by lattice
        vectors.

    Raises
    ------
    InputError
        For wrong shapes, unknown elements, positions that are not finite, coincident atoms, a
        fragmentation of other atoms, a cell too small for its bonds, or a fragment without end.
    """
    z = checked_numbers(numbers)
    check_elements_known(z, elements)
    points = checked_positions(z, positions)
    if fragmentation.topology.numbers != tuple(z.tolist()):
        raise InputError(
            f"the fragments are of {fragmentation.topology.n_atoms} other atoms than the "
            f"{len(z)} given; make fragments for these atoms"
        )
    box = make_box(cell, pbc)
    check_apart(points, box)
    if box is not None:
        _check_fits_cell(fragmentation, points, box)
    if dtype != torch.float64:
        points = _near_origin(points, box)
    lattice = np.eye(3) if box is None else box.cell
    flags = np.zeros(3, dtype=bool) if box is None else box.periodic

    def tensor(values: ArrayLike, kind: torch.dtype) -> torch.Tensor:
        return torch.as_tensor(np.array(values), dtype=kind, device=device)

    return System(
        numbers=tensor(z, torch.int64),
        positions=tensor(points, dtype),
        fragment=tensor(fragmentation.fragment_index, torch.int64),
        group=tensor(fragmentation.group_index, torch.int64),
        parent=tensor(fragmentation.parents, torch.int64),
        charge=tensor(fragmentation.fragment_charges, torch.int64),
        structure=torch.zeros(len(z), dtype=torch.int64, device=device),
        cell=tensor(lattice, dtype).unsqueeze(0),
        pbc=tensor(flags, torch.bool).unsqueeze(0),
    )


def _near_origin(points: np.ndarray, box: Box | None) -> np.ndarray:
    """Return positions near the origin, where a short float resolves them best.

    Translations and lattice vectors change neither energies nor forces.
    """
    centred = points - points.mean(axis=0)
    if box is None:
        return centred
    wrapped: np.ndarray = centred - np.rint(centred @ box.inverse) * box.periodic @ box.cell
    return wrapped


def _check_fits_cell(fragmentation: Fragmentation, points: np.ndarray, box: Box) -> None:
    """Raise unless there is one way to make every fragment whole.

    The nearest image of a bonded atom must be clear, also of the atoms that link the parts of a
    fragment without a bond; and the bonds of a ring must lead back to where they started, not to
    the fragment's own image.
    """
    bonds = np.asarray(fragmentation.topology.bonds, dtype=np.int64).reshape(-1, 2)
    parents = np.asarray(fragmentation.parents, dtype=np.int64)
    links = np.stack([parents, np.arange(len(parents))], axis=1)

    def images(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return lattice steps (n, 3) to the nearest images, and the distances to them."""
        vectors = points[pairs[:, 1]] - points[pairs[:, 0]]
        steps = -np.rint(vectors @ box.inverse) * box.periodic
        return steps, np.linalg.norm(vectors + steps @ box.cell, axis=1)

    bond_steps, lengths = images(bonds)
    whole, link_lengths = images(links)
    heights = 1.0 / np.linalg.norm(box.inverse, axis=0)  # (3,)
    shortest = float(heights[box.periodic].min())
    for name, values in (("bond", lengths), ("gap between parts of a fragment", link_lengths)):
        longest = float(values.max(initial=0.0))
        if longest > 0.5 * shortest:
            raise InputError(
                f"a {name} of {longest:.2f} Å does not fit into half of the cell's smallest height "
                f"{shortest:.2f} Å, so its nearest image is not clear; use a larger cell"
            )
    while (parents != parents[parents]).any():  # sums of steps up to the roots
        whole, parents = whole + whole[parents], parents[parents]
    owner = fragmentation.fragment_index
    winds = (whole[bonds[:, 0]] + bond_steps != whole[bonds[:, 1]]).any(axis=1)
    winding = np.flatnonzero(winds & (owner[bonds[:, 0]] == owner[bonds[:, 1]]))
    if len(winding):
        i, j = bonds[winding[0]]
        raise InputError(
            f"the fragment of atoms {i} and {j} is bonded to its own periodic image, so it has no "
            "end (a covalent crystal or chain); only molecules can be cut into fragments"
        )
