"""Structure of the liquid: radial distribution functions, and whether molecules are whole.

g_ab(r) = V h(r) / (N_ab n 4 pi r^2 dr) with the counts h of pairs of different molecules in n
frames and the number N_ab of such pairs: what is bonded does not show. Distances are those of
nearest images, up to half the edge of a cubic cell; lengths in Å.
"""

from collections.abc import Sequence
from typing import NamedTuple

import ase
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

PAIRS = (("O", "O"), ("O", "H"), ("H", "H"))
BIN_ANGSTROM = 0.05
BROKEN_ANGSTROM = 1.4  # O-H; the longest in 400 frames of PBE0-TS is 1.14 Å


class Radial(NamedTuple):
    """Radial distribution functions by pair, such as ``O-H``, and the centres of their bins."""

    distances: NDArray[np.float64]  # (n_bins,) Å
    functions: dict[str, NDArray[np.float64]]  # (n_bins,) each


def separations(atoms: ase.Atoms, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray:
    """Return the distances of nearest images, (n_rows, n_columns), in a cubic cell."""
    edge = edge_of(atoms)
    vectors = atoms.positions[rows, None] - atoms.positions[None, columns]
    vectors -= edge * np.round(vectors / edge)
    return np.linalg.norm(vectors, axis=-1)


def edge_of(atoms: ase.Atoms) -> float:
    """Return the edge of the cubic cell in Å.

    Raises
    ------
    ValueError
        If it is not cubic.
    """
    edge = float(atoms.cell[0, 0])
    if not np.allclose(atoms.cell.array, edge * np.eye(3), atol=1e-4):
        raise ValueError(
            f"cell {atoms.cell.array.tolist()} is not cubic; only cubes are known here"
        )
    return edge


def molecules(atoms: ase.Atoms) -> NDArray[np.int64]:
    """Return the molecule of each atom: that of the nearest oxygen, (n_atoms,)."""
    numbers = atoms.numbers
    oxygen, hydrogen = np.flatnonzero(numbers == 8), np.flatnonzero(numbers == 1)
    owner = np.zeros(len(atoms), dtype=np.int64)
    owner[oxygen] = np.arange(len(oxygen))
    owner[hydrogen] = separations(atoms, hydrogen, oxygen).argmin(axis=1)
    return owner


def longest_bond(atoms: ase.Atoms, owner: NDArray[np.int64]) -> float:
    """Return the largest distance of a hydrogen from the oxygen of its molecule in Å."""
    oxygen, hydrogen = np.flatnonzero(atoms.numbers == 8), np.flatnonzero(atoms.numbers == 1)
    edge = edge_of(atoms)
    vectors = atoms.positions[hydrogen] - atoms.positions[oxygen[owner[hydrogen]]]
    vectors -= edge * np.round(vectors / edge)
    return float(np.linalg.norm(vectors, axis=1).max())


def changed_hands(atoms: ase.Atoms, owner: NDArray[np.int64]) -> int:
    """Return how many hydrogens are nearer to the oxygen of another molecule."""
    return int(np.count_nonzero(molecules(atoms) != owner))


def radial(frames: Sequence[ase.Atoms], *, label: str) -> Radial:
    """Return the radial distribution functions of frames of equal atoms and cells."""
    edge, owner = edge_of(frames[0]), molecules(frames[0])
    bins = np.arange(0.0, 0.5 * edge, BIN_ANGSTROM)
    shells = 4.0 / 3.0 * np.pi * np.diff(bins**3)
    chosen = {symbol: np.flatnonzero(frames[0].symbols == symbol) for symbol in ("O", "H")}
    counts = {pair: np.zeros(len(bins) - 1) for pair in PAIRS}
    foreign = {(a, b): owner[chosen[a], None] != owner[None, chosen[b]] for a, b in PAIRS}
    for atoms in tqdm(frames, unit="frame", desc=label):
        for a, b in PAIRS:
            distances = separations(atoms, chosen[a], chosen[b])[foreign[a, b]]
            counts[a, b] += np.histogram(distances, bins)[0]
    functions = {
        f"{a}-{b}": counts[a, b] * edge**3 / (foreign[a, b].sum() * len(frames) * shells)
        for a, b in PAIRS
    }
    return Radial(0.5 * (bins[1:] + bins[:-1]), functions)


def deviation(found: Radial, reference: Radial) -> dict[str, float]:
    """Return the root mean square difference of each function over the distances of both."""
    n = min(len(found.distances), len(reference.distances))
    return {
        pair: float(np.sqrt(np.mean((values[:n] - reference.functions[pair][:n]) ** 2)))
        for pair, values in found.functions.items()
    }
