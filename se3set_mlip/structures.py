"""Structures for the command line: a file or a SMILES string becomes atoms with coordinates.

A charge travels in ``atoms.info["charge"]``, where whatever needs the chemistry looks for it.
"""

from collections.abc import Sequence
from pathlib import Path

import ase
import ase.io
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from scipy.spatial.distance import cdist

from se3set_mlip.errors import InputError, Se3SetError
from se3set_mlip.shipped import GENERAL_MODEL, SEVERAL_MOLECULES_MODEL
from se3set_mlip.topology.coordinates import bonded_pairs
from se3set_mlip.topology.graph import connected_components
from se3set_mlip.topology.molecule import Topology

Array = NDArray[np.float64]
APART_ANGSTROM = 2.5
"""Between atoms of two molecules that are put beside each other."""
STEP_ANGSTROM = 0.25


def read_structure(path: Path, *, index: int = -1, charge: int | None = None) -> ase.Atoms:
    """Read one structure in any format of ASE.

    Parameters
    ----------
    path
        The file.
    index
        Which structure of a file with several; -1 is the last.
    charge
        Total charge, if the file does not say it.

    Raises
    ------
    InputError
        If the file cannot be read or has no such structure.
    """
    try:
        atoms = ase.io.read(path, index=index)
    # Each of ASE's many readers raises its own errors on a file that it cannot read.
    except Exception as error:
        raise InputError(
            f"cannot read structure {index} of {path} ({type(error).__name__}: {error}); give a "
            "file in a format of ASE, such as .xyz, that has this structure"
        ) from error
    if charge is not None:
        atoms.info["charge"] = charge
    return atoms


def general_model(
    atoms: ase.Atoms, topology: Topology | None = None, *, besides: Sequence[str] = ()
) -> tuple[str, str]:
    """Return the name of the shipped model for an organic structure, and what it is for.

    Parameters
    ----------
    atoms
        The structure.
    topology
        Its chemistry; by default molecules are told apart by distances.
    besides
        Names of models that it should not be, where there is another.
    """
    models = {
        GENERAL_MODEL: "organic molecules",
        SEVERAL_MOLECULES_MODEL: "several organic molecules",
    }
    if _n_molecules(atoms, topology) > 1:
        models = dict(reversed(models.items()))
    name = next((name for name in models if name not in besides), next(iter(models)))
    return name, models[name]


def _n_molecules(atoms: ase.Atoms, topology: Topology | None) -> int:
    """Return how many molecules there are; 1 where that cannot be told."""
    if topology is not None:
        return len(topology.components)
    try:
        bonds = bonded_pairs(atoms.numbers, atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc)
    except Se3SetError:
        return 1  # whoever computes it says what is wrong with it
    return len(connected_components(len(atoms), bonds))


def structure_from_smiles(smiles: str, *, seed: int = 0) -> tuple[ase.Atoms, Topology]:
    """Make coordinates for a molecule: distance geometry, then a force field where one fits.

    Parameters
    ----------
    smiles
        One molecule, or several, which are put beside each other; hydrogens are added.
    seed
        Seed of the embedding.

    Returns
    -------
    ase.Atoms
        The coordinates.
    Topology
        The chemistry, atoms in the same order.

    Raises
    ------
    TopologyError
        If the string cannot be read.
    InputError
        If no coordinates were found.
    """
    topology = Topology.from_smiles(smiles)
    mol = _mol_with_stereochemistry(smiles)
    places: list[tuple[int, ...]] = []
    parts = Chem.GetMolFrags(mol, asMols=True, fragsMolAtomMapping=places)
    positions = np.full((mol.GetNumAtoms(), 3), np.nan)
    rng = np.random.default_rng(seed)
    for place, part in zip(places, parts, strict=True):
        shape = _embedded(part, seed)
        if shape is None:
            raise InputError(
                f"no coordinates were found for SMILES {smiles!r}; give a file with coordinates "
                "instead"
            )
        positions[list(place)] = _beside(positions[np.isfinite(positions[:, 0])], shape, rng)
    if len(parts) > 1:
        positions = settled(mol, positions)
    atoms = ase.Atoms(numbers=topology.numbers, positions=positions)
    atoms.info["smiles"] = smiles
    atoms.info["charge"] = topology.charge
    return atoms, topology


def _embedded(mol: Chem.Mol, seed: int) -> Array | None:
    """Return positions (n_atoms, 3) of one molecule in Å, None if none were found."""
    parameters = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed
    if rdDistGeom.EmbedMolecule(mol, parameters) != 0:
        return None
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=1000)
    return np.array(mol.GetConformer().GetPositions())


def _beside(others: Array, shape: Array, rng: np.random.Generator) -> Array:
    """Return a molecule, moved out from the middle of others until it touches none of them.

    Parameters
    ----------
    others, shape
        Positions (n_others, 3) and (n_atoms, 3) in Å.
    rng
        Draws the direction.
    """
    if not len(others):
        return shape
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    moved = shape - shape.mean(axis=0) + others.mean(axis=0)
    while cdist(others, moved).min() < APART_ANGSTROM:
        moved = moved + STEP_ANGSTROM * direction
    return moved


def settled(mol: Chem.Mol, positions: Array, *, steps: int = 1000) -> Array:
    """Return several molecules as a force field (MMFF94) draws them to each other, where one fits.

    Parameters
    ----------
    mol
        All of them, with hydrogens; its conformers do not matter.
    positions
        (n_atoms, 3) Å.
    steps
        Towards the minimum, at most.
    """
    if not rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        return positions
    moved = Chem.Mol(mol)
    moved.RemoveAllConformers()
    conformer = Chem.Conformer(moved.GetNumAtoms())
    conformer.SetPositions(positions)
    moved.AddConformer(conformer)
    rdForceFieldHelpers.MMFFOptimizeMolecule(
        moved, maxIters=steps, ignoreInterfragInteractions=False
    )
    return np.array(moved.GetConformer().GetPositions())


def _mol_with_stereochemistry(smiles: str) -> Chem.Mol:
    """Return the molecule with its atoms as ``Topology.from_smiles`` numbers them.

    A topology keeps no stereochemistry, which the coordinates must have.
    """
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles, parameters))
    map_numbers = [atom.GetAtomMapNum() for atom in mol.GetAtoms()]
    if any(map_numbers):
        mol = Chem.RenumberAtoms(mol, sorted(range(len(map_numbers)), key=map_numbers.__getitem__))
    return mol
