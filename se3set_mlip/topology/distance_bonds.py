"""From distances to bonds.

Two atoms are bonded when their distance is below 1.25 times the sum of their covalent radii, images
included. A few rules make this chemistry:

- hydrogen has one bond, to the atom that is nearest in units of the sum of radii, and it may be
  longer (1.5), so that a proton on its way between two oxygen atoms belongs to the nearer;
- halogens may be farther from other elements (1.35);
- two halogens, or two atoms of the third row and beyond, must be nearer (1.15): across a carbon
  or oxygen atom that they share, as in P-O-P, they come close without a bond;
- an atom with more neighbours than its element can have loses those that are clearly longer than
  a bond (as across a bicyclopentane cage), or is an error;
- lithium is an ion and has none.

Two molecules whose heavy atoms are nearer than 1.4 are an error: a bond that is neither formed nor
broken has no right answer.
"""

import numpy as np
from numpy.typing import NDArray

from se3set_mlip.elements import COVALENT_RADII, SYMBOLS
from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.topology.geometry import Box, ClosePairs, close_pairs
from se3set_mlip.topology.graph import connected_components
from se3set_mlip.topology.valence_states import VALENCE_STATES

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BOND_FACTOR = 1.25
HYDROGEN_BOND_FACTOR = 1.5
HALOGEN_BOND_FACTOR = 1.35
HEAVY_PAIR_FACTOR = 1.15
APART_FACTOR = 1.4
CLEARLY_LONG_FACTOR = 1.15
COINCIDENT_ANGSTROM = 0.3
HYDROGEN, LITHIUM, NITROGEN = 1, 3, 7
HALOGENS = (9, 17, 35, 53)
FIRST_HEAVY = 14  # silicon, the first element of the third row here


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
    bonded = ratios < _bond_factors(numbers[pairs.first], numbers[pairs.second])
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
    bonds = np.stack([first[kept], second[kept]], axis=1)
    _check_apart(numbers, bonds, pairs)
    return bonds, 1.0 - ratios[kept]


def _bond_factors(first: IntArray, second: IntArray) -> FloatArray:
    """Return the largest distance of a bond over the sum of radii, from two atomic numbers."""
    factors = np.full(len(first), BOND_FACTOR)
    n_halogens = np.isin(first, HALOGENS).astype(int) + np.isin(second, HALOGENS)
    factors[n_halogens == 1] = HALOGEN_BOND_FACTOR
    heavy = (first >= FIRST_HEAVY) & (second >= FIRST_HEAVY)
    factors[heavy | (n_halogens == 2)] = HEAVY_PAIR_FACTOR
    factors[(first == HYDROGEN) | (second == HYDROGEN)] = HYDROGEN_BOND_FACTOR
    factors[(first == LITHIUM) | (second == LITHIUM)] = 0.0
    return factors


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


def _check_apart(numbers: IntArray, bonds: IntArray, pairs: ClosePairs) -> None:
    """Raise for two molecules that are nearer than molecules can be."""
    molecule = np.empty(len(numbers), dtype=np.int64)
    for label, atoms in enumerate(connected_components(len(numbers), bonds.tolist())):
        molecule[list(atoms)] = label
    mobile = (HYDROGEN, LITHIUM, *HALOGENS)  # hydrogen and halogen bonds, solvated ions
    heavy = ~np.isin(numbers[pairs.first], mobile) & ~np.isin(numbers[pairs.second], mobile)
    radii = np.array([COVALENT_RADII[int(number)] for number in numbers])
    near = pairs.distances < APART_FACTOR * (radii[pairs.first] + radii[pairs.second])
    wrong = np.flatnonzero(heavy & near & (molecule[pairs.first] != molecule[pairs.second]))
    if len(wrong):
        i, j = int(pairs.first[wrong[0]]), int(pairs.second[wrong[0]])
        raise TopologyError(
            f"atoms {i} ({SYMBOLS[numbers[i]]}) and {j} ({SYMBOLS[numbers[j]]}) are "
            f"{pairs.distances[wrong[0]]:.3f} Å apart, neither bonded nor in separate molecules; "
            "relax the structure, or build the topology from SMILES or a known geometry"
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
