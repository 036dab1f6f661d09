"""The systems: three molecules from SMILES, and boxes of liquid water.

Molecules are embedded by RDKit with a fixed seed and relaxed with MMFF. Water stands on a lattice
at the density of the liquid, each molecule turned at random (seeded) and moved a little; where
atoms of two molecules come too near, one of them is turned again. Bonds are stated in every case.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import AllChem
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from speed.structure import Structure

SMILES = {
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "Ac-Ala3-NHMe": "CC(=O)N[C@@H](C)C(=O)N[C@@H](C)C(=O)N[C@@H](C)C(=O)NC",
    "docosahexaenoic-acid": "CC/C=C\\C/C=C\\C/C=C\\C/C=C\\C/C=C\\C/C=C\\CCC(=O)O",
}
WATER_LATTICES = {
    192: (4, 4, 4),
    648: (6, 6, 6),
    1536: (8, 8, 8),
    5184: (12, 12, 12),
    12000: (20, 20, 10),
    24000: (20, 20, 20),
}
"""Molecules along each direction, by number of atoms."""
MOLECULES_PER_CUBIC_ANGSTROM = 0.03333  # 0.997 g/cm^3 at 298 K, 18.015 g/mol
NEAREST_ANGSTROM = 1.5
_WATER = np.array([[0.0, 0.0, 0.0], [0.9572, 0.0, 0.0], [-0.2399872, 0.9266272, 0.0]])
_JITTER_ANGSTROM = 0.1


def molecule(name: str, smiles: str, *, seed: int = 1) -> Structure:
    """Return a molecule, its geometry embedded and relaxed with MMFF.

    Raises
    ------
    RuntimeError
        If RDKit finds no geometry.
    """
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if AllChem.EmbedMolecule(mol, randomSeed=seed) != 0:
        raise RuntimeError(f"RDKit embeds {smiles} in no geometry with seed {seed}; give another")
    AllChem.MMFFOptimizeMolecule(mol, maxIters=2000)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    bonds = sorted(
        (*sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())), int(bond.GetBondTypeAsDouble()))
        for bond in mol.GetBonds()
    )
    return Structure(
        name=name,
        numbers=np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()]),
        positions=np.array(mol.GetConformer().GetPositions()),
        cell=None,
        bonds=tuple((i, j) for i, j, _ in bonds),
        orders=tuple(order for _, _, order in bonds),
        charges=tuple(atom.GetFormalCharge() for atom in mol.GetAtoms()),
        molecule=np.zeros(mol.GetNumAtoms(), dtype=np.int64),
    )


def water(lattice: tuple[int, int, int], *, seed: int = 1) -> Structure:
    """Return a box of liquid water with this many molecules along each direction.

    Raises
    ------
    RuntimeError
        If molecules still touch after many turns.
    """
    rng = np.random.default_rng(seed)
    spacing = MOLECULES_PER_CUBIC_ANGSTROM ** (-1.0 / 3.0)
    sites = np.stack(np.meshgrid(*(np.arange(n) for n in lattice), indexing="ij"), axis=-1)
    centres = sites.reshape(-1, 3) * spacing
    n = len(centres)
    centres = centres + rng.uniform(-_JITTER_ANGSTROM, _JITTER_ANGSTROM, (n, 3))
    cell = np.diag(np.array(lattice) * spacing)
    owner = np.repeat(np.arange(n), 3)
    positions = centres[:, None] + _turned(rng, n)
    for _ in range(1000):
        touching = _touching(positions.reshape(-1, 3), owner, cell)
        if not len(touching):
            break
        positions[touching] = centres[touching, None] + _turned(rng, len(touching))
    else:
        raise RuntimeError(f"molecules of water touch after 1000 turns with seed {seed}")
    first = 3 * np.arange(n)
    bonds = np.stack([first, first + 1, first, first + 2], axis=1).reshape(-1, 2)
    return Structure(
        name=f"water-{3 * n}",
        numbers=np.tile(np.array([8, 1, 1]), n),
        positions=positions.reshape(-1, 3),
        cell=cell,
        bonds=tuple((int(i), int(j)) for i, j in bonds),
        orders=(1,) * (2 * n),
        charges=(0,) * (3 * n),
        molecule=owner,
    )


def _turned(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Return n molecules of water around the origin, turned at random, (n, 3, 3)."""
    turns = Rotation.random(n, random_state=int(rng.integers(2**31))).as_matrix()
    turned: NDArray[np.float64] = np.einsum("ak,nik->nai", _WATER, turns)
    return turned


def _touching(
    positions: NDArray[np.float64], owner: NDArray[np.int64], cell: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return one molecule of each pair that has atoms nearer than ``NEAREST_ANGSTROM``."""
    lengths = np.diag(cell)
    tree = cKDTree(positions % lengths, boxsize=lengths)
    pairs = owner[tree.query_pairs(NEAREST_ANGSTROM, output_type="ndarray")]
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1], 0])


def _maker(name: str) -> Callable[[], Structure]:
    """Return what makes a system of ``SYSTEMS``."""
    if name in SMILES:
        return lambda: molecule(name, SMILES[name])
    return lambda: water(WATER_LATTICES[int(name.removeprefix("water-"))])


SYSTEMS = {name: _maker(name) for name in [*SMILES, *(f"water-{n}" for n in WATER_LATTICES)]}
"""What makes each system, by name, from small to large."""
