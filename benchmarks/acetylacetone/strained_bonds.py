"""Write acetylacetone with strained bonds to ``data``; needs tblite.

In dynamics at room temperature no bond is ever half as long again, and a potential that has seen
nothing else may have minima there. Each kind of bond is stretched and compressed as a whole (rigid
halves, from 0.72 to 1.6 of its length, the middle left out) in a few geometries of the training
set; forces are those of GFN2-xTB (doi:10.1021/acs.jctc.8b01176), good for the shape of the wall and
of the way out, and count little in the loss. A second file holds the way out alone, with more
weight, and a third the wall, with weights that ask for small relative errors.
"""

from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from rdkit import Chem
from tblite.ase import TBLite

import se3set_mlip as s3
from se3set_mlip.testing.scans import bond_kinds

FOLDER = Path(__file__).parent / "data"
SCALES = (0.72, 0.76, 0.8, 0.84, 0.88, 1.16, 1.22, 1.28, 1.34, 1.4, 1.5, 1.6)
BASES = (0, 100, 200, 300)  # structures of the training set at 300 K
LARGEST_FORCE = 20.0  # eV/Å
WEIGHT = 0.003  # of a structure in the loss
FAR_SCALES = (1.34, 1.4, 1.45, 1.5, 1.55, 1.6)
FAR_WEIGHT = 0.03
NEAR_SCALES = (0.68, 0.71, 0.74, 0.77, 0.8, 0.83, 0.86)
NEAR_FORCE, LARGEST_NEAR_FORCE = 10.0, 80.0  # eV/Å: weights fall beyond the first


def mapped_smiles(topology: s3.Topology) -> str:
    """Return a SMILES string with the number of each atom."""
    molecule = topology.to_rdkit()
    for atom in molecule.GetAtoms():
        atom.SetAtomMapNum(atom.GetIdx() + 1)

    return str(Chem.MolToSmiles(molecule))


def frames(
    scales: tuple[float, ...],
    weight: Callable[[float], float],
    *,
    largest: float = LARGEST_FORCE,
) -> list[Atoms]:
    """Return all structures with forces up to ``largest``, and weights given by the largest."""
    made = []
    for base in BASES:
        start = ase.io.read(FOLDER / "train_300K.xyz", index=base)
        topology = s3.Topology.from_coordinates(start.numbers, start.positions, charge=0)
        smiles = mapped_smiles(topology)
        for bond, (_, side) in bond_kinds(topology):
            vector = start.positions[bond[1]] - start.positions[bond[0]]
            for scale in scales:
                atoms = Atoms(start.numbers, start.positions)
                atoms.positions[side] += (scale - 1.0) * vector
                atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
                forces = atoms.get_forces()
                atoms.calc = None
                strongest = float(np.abs(forces).max())
                if strongest > largest:
                    continue
                atoms.arrays["REF_forces"] = forces
                atoms.info["mapped_smiles"] = smiles
                atoms.info["config_weight"] = round(weight(strongest), 6)
                made.append(atoms)
    return made


def write(name: str, structures: list[Atoms]) -> None:
    """Write a file of structures."""
    ase.io.write(FOLDER / name, structures, format="extxyz")
    print(f"{len(structures)} structures in {FOLDER / name}")


if __name__ == "__main__":
    write("strained_bonds.xyz", frames(SCALES, lambda _: WEIGHT))
    write("strained_bonds_far.xyz", frames(FAR_SCALES, lambda _: FAR_WEIGHT))
    write(
        "strained_bonds_near.xyz",
        frames(
            NEAR_SCALES,
            lambda strongest: FAR_WEIGHT * min(1.0, (NEAR_FORCE / strongest) ** 2),
            largest=LARGEST_NEAR_FORCE,
        ),
    )
