"""Structures for the command line: a file or a SMILES string becomes atoms with coordinates.

A charge travels in ``atoms.info["charge"]``, where whatever needs the chemistry looks for it.
"""

from pathlib import Path

import ase
import ase.io
import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from se3set_mlip.errors import InputError
from se3set_mlip.topology.molecule import Topology


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


def structure_from_smiles(smiles: str, *, seed: int = 0) -> tuple[ase.Atoms, Topology]:
    """Make coordinates for a molecule: distance geometry, then a force field where one fits.

    Parameters
    ----------
    smiles
        One molecule, or several; hydrogens are added.
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
    parameters = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed
    if rdDistGeom.EmbedMolecule(mol, parameters) != 0:
        raise InputError(
            f"no coordinates were found for SMILES {smiles!r}; give a file with coordinates instead"
        )
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=1000)
    atoms = ase.Atoms(
        numbers=topology.numbers, positions=np.array(mol.GetConformer().GetPositions())
    )
    atoms.info["smiles"] = smiles
    atoms.info["charge"] = topology.charge
    return atoms, topology


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
