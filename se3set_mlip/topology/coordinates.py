"""From coordinates alone to the molecular graph: bonds by distance, orders by valence.

Two atoms are bonded when their distance is below 1.25 times the sum of their covalent radii, images
included. Three rules make this chemistry:

- hydrogen has one bond, to the atom that is nearest in units of the sum of radii, and it may be
  longer (1.5), so that a proton on its way between two oxygen atoms belongs to the nearer;
- an atom with more neighbours than its element can have loses those that are clearly longer than
  a bond (as across a bicyclopentane cage), or is an error;
- lithium is an ion and has none.

Orders and charges then follow from :mod:`se3set_mlip.topology.valence`.
"""

import operator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from se3set_mlip.elements import COVALENT_RADII, SYMBOLS, check_elements
from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.topology.geometry import Box, ClosePairs, as_positions, close_pairs, make_box
from se3set_mlip.topology.graph import MolecularGraph
from se3set_mlip.topology.valence import assign_orders
from se3set_mlip.topology.valence_states import VALENCE_STATES

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BOND_FACTOR = 1.25
HYDROGEN_BOND_FACTOR = 1.5
CLEARLY_LONG_FACTOR = 1.15
COINCIDENT_ANGSTROM = 0.3
HYDROGEN, LITHIUM, NITROGEN = 1, 3, 7


def graph_from_coordinates(
    numbers: ArrayLike,
    positions: ArrayLike,
    charge: int = 0,
    *,
    cell: ArrayLike | None = None,
    pbc: ArrayLike | None = None,
    time_limit_seconds: float = 10.0,
) -> MolecularGraph:
    """Perceive a molecular graph from coordinates; see ``Topology.from_coordinates``."""
    elements = as_numbers(numbers)
    points = as_positions(positions, len(elements))
    try:
        total_charge = operator.index(charge)
    except TypeError as error:
        raise InputError(
            f"charge = {charge!r} is no whole number; give the total charge as an int"
        ) from error
    if not time_limit_seconds > 0.0:
        raise InputError(f"time_limit_seconds = {time_limit_seconds}; expected above 0")
    box = make_box(cell, pbc)
    bonds, shortness = find_bonds(elements, points, box)
    pairs = tuple((int(i), int(j)) for i, j in bonds)
    atoms = tuple(elements.tolist())
    found = assign_orders(
        atoms,
        pairs,
        charge=total_charge,
        shortness=shortness,
        time_limit_seconds=time_limit_seconds,
    )
    return MolecularGraph(atoms, pairs, found.orders, found.formal_charges)


def as_numbers(numbers: ArrayLike) -> IntArray:
    """Return atomic numbers as int64 after checking them.

    Parameters
    ----------
    numbers
        Atomic numbers, (n_atoms,), integers.

    Raises
    ------
    InputError
        For another shape or type, no atoms, or an unknown element.
    """
    values = np.asarray(numbers)
    if values.ndim != 1 or len(values) == 0:
        raise InputError(
            f"numbers have shape {values.shape}; expected (n_atoms,) with at least one atom"
        )
    if not np.issubdtype(values.dtype, np.integer):
        raise InputError(f"numbers have type {values.dtype}; expected integers, such as [8, 1, 1]")
    check_elements(values.tolist())
    return values.astype(np.int64)


def find_bonds(
    numbers: IntArray, positions: FloatArray, box: Box | None
) -> tuple[IntArray, FloatArray]:
    """Return the bonded pairs of atoms by distance.

    Parameters
    ----------
    numbers
        Atomic numbers, (n_atoms,).
    positions
        Positions, (n_atoms, 3), Å.
    box
        The periodic box, or ``None``.

    Returns
    -------
    bonds
        Pairs ``i < j``, sorted, (n_bonds, 2).
    shortness
        (R_u + R_v - d) / (R_u + R_v), (n_bonds,).

    Raises
    ------
    InputError
        For coincident atoms.
    TopologyError
        For an atom with too many neighbours, or bonded to an image of itself.
    """
    radii = np.array([COVALENT_RADII[int(number)] for number in numbers])
    pairs = close_pairs(positions, HYDROGEN_BOND_FACTOR * 2.0 * float(radii.max()), box)
    _check_distances(pairs)
    ratios = pairs.distances / (radii[pairs.first] + radii[pairs.second])
    hydrogen = (numbers[pairs.first] == HYDROGEN) | (numbers[pairs.second] == HYDROGEN)
    lithium = (numbers[pairs.first] == LITHIUM) | (numbers[pairs.second] == LITHIUM)
    bonded = ~lithium & (ratios < np.where(hydrogen, HYDROGEN_BOND_FACTOR, BOND_FACTOR))
    first, second, ratios = pairs.first[bonded], pairs.second[bonded], ratios[bonded]

    nearest = np.full(len(numbers), np.inf)
    np.minimum.at(nearest, first, ratios)
    np.minimum.at(nearest, second, ratios)
    kept = np.ones(len(ratios), dtype=bool)
    for ends in (first, second):
        kept &= (numbers[ends] != HYDROGEN) | (ratios <= nearest[ends])
    first, second, ratios = first[kept], second[kept], ratios[kept]
    _check_images(first, second)
    kept = _within_coordination(numbers, first, second, ratios)
    return np.stack([first[kept], second[kept]], axis=1), 1.0 - ratios[kept]


def _check_distances(pairs: ClosePairs) -> None:
    """Raise for atoms that lie on one another."""
    coincident = np.flatnonzero(pairs.distances < COINCIDENT_ANGSTROM)
    if len(coincident):
        worst = coincident[np.argmin(pairs.distances[coincident])]
        raise InputError(
            f"atoms {pairs.first[worst]} and {pairs.second[worst]} coincide: they are "
            f"{pairs.distances[worst]:.3f} Å apart ({len(coincident)} such pairs), expected at "
            f"least {COINCIDENT_ANGSTROM} Å; check positions, their unit and the cell"
        )


def _check_images(first: IntArray, second: IntArray) -> None:
    """Raise for bonds to an image of the same atom, or to two images of one atom."""
    own = first == second
    again = np.zeros(len(first), dtype=bool)
    again[1:] = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
    wrong = np.flatnonzero(own | again)
    if len(wrong):
        i, j = int(first[wrong[0]]), int(second[wrong[0]])
        raise TopologyError(
            f"atoms {i} and {j} are bonded through more than one periodic image; the cell is too "
            "small for the molecule, or a covalent crystal: use a larger cell or check its unit"
        )


def _within_coordination(
    numbers: IntArray, first: IntArray, second: IntArray, ratios: FloatArray
) -> NDArray[np.bool_]:
    """Tell which bonds remain when no atom has more neighbours than its element allows."""
    kept = np.ones(len(ratios), dtype=bool)
    limits = np.array(
        [max(state.valence for state in VALENCE_STATES[int(number)]) for number in numbers]
    )
    limits[numbers == NITROGEN] = 4  # its valence of five is a way of writing double bonds
    counts = np.bincount(np.concatenate([first, second]), minlength=len(numbers))
    for bond in np.argsort(-ratios, kind="stable"):
        if ratios[bond] <= CLEARLY_LONG_FACTOR:
            break
        ends = [first[bond], second[bond]]
        if (counts[ends] > limits[ends]).any():
            kept[bond] = False
            counts[ends] -= 1
    crowded = np.flatnonzero(counts > limits)
    if len(crowded):
        atom = int(crowded[0])
        raise TopologyError(
            f"atom {atom} ({SYMBOLS[numbers[atom]]}) has {counts[atom]} neighbours within bonding "
            f"distance, at most {limits[atom]} expected; check positions and their unit (Å), or "
            "build the topology from SMILES"
        )
    return kept
