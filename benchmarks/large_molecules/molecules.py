"""The molecules: where their dynamics start, and what must hold for a molecule to be whole.

Ac-Ala3-NHMe, docosahexaenoic acid and the alanine dipeptide, which is small and no part of the
comparison, come from SMILES. AT-AT is two stacked Watson-Crick pairs of adenine and thymine:
RDKit's geometries of the bases, laid upon the ring atoms of the standard frame of base pairs (Olson
et al., J. Mol. Biol. 313, 229 (2001), in which the complementary base is turned about x), the
second pair turned and lifted as in B-DNA. All are relaxed with GFN2-xTB. Positions in Å.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np
from ase.constraints import Hookean
from ase.optimize import LBFGS
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolAlign
from rdkit.Geometry import Point3D
from tblite.ase import TBLite

from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.topology.molecule import Topology

sys.path.insert(0, str(Path(__file__).parents[1]))

from speed.systems import SMILES, molecule

METHOD, ACCURACY = "GFN2-xTB", 1.0
"""tblite's method, and its accuracy, with which forces are converged to 0.04 meV/Å (RMS)."""
AT_STACK = "AT-AT"
OF_SMILES = {
    "alanine-dipeptide": "CC(=O)N[C@@H](C)C(=O)NC",
    **{name: SMILES[name] for name in ("Ac-Ala3-NHMe", "docosahexaenoic-acid")},
}
MOLECULES = (*OF_SMILES, AT_STACK)
RISE_ANGSTROM, TWIST_DEGREES = 3.36, 36.0
FMAX_EV_PER_ANGSTROM, MOST_STEPS = 0.03, 1000
HYDROGEN_BOND_ANGSTROM, LOST_ANGSTROM = 3.5, 4.5
"""Between the heavy atoms: bonded up to the first, a pair of bases has come apart where all its
hydrogen bonds are longer than the second."""
STACK_WALL_ANGSTROM, STACK_LOST_ANGSTROM = 5.5, 6.0
"""Between the N1 of the adenines, where a wall begins; and between the centres of the pairs, where
the stack has come apart."""
WALL_EV_PER_SQUARE_ANGSTROM = 1.0
"""At 500 K a pair of bases opens within a few ps. So a spring pulls back hydrogen bonds and stack
that are longer than a limit. It moves the atoms only: labels are without it."""

# SMILES; x and y of the heavy atoms in its order, Å, z = 0.
ADENINE = (
    "Nc1ncnc2[nH]cnc12",
    (1.611, 0.369, -0.668, -1.912, -2.320, -1.267, -1.291, 0.024, 0.877, 0.071),
    (0.909, 1.398, 0.532, 1.023, 2.290, 3.124, 4.498, 4.897, 3.902, 2.771),
)
THYMINE = (
    "Cc1c[nH]c(=O)[nH]c1=O",
    (2.466, 1.106, -0.024, -1.284, -1.462, -2.562, -0.298, 0.994, 1.944),
    (4.961, 4.338, 5.057, 4.500, 3.135, 2.608, 2.407, 2.897, 2.119),
)
ADENINE_N6, ADENINE_N1, THYMINE_N3, THYMINE_O4 = 0, 2, 6, 8
ATOMS_OF_BASE = 15


@dataclass(frozen=True)
class Start:
    """A relaxed molecule.

    Parameters
    ----------
    atoms
        Numbers and positions (Å).
    topology
        Its bonds, as perceived.
    hydrogen_bonds
        Heavy atoms of the hydrogen bonds of each base pair that must not all be lost.
    stack
        Atoms of each base pair; empty where there is none.
    walls
        Two atoms each, and the distance (Å) from which on a spring pulls them together.
    """

    atoms: ase.Atoms
    topology: Topology
    hydrogen_bonds: tuple[tuple[tuple[int, int], ...], ...] = ()
    stack: tuple[tuple[int, ...], ...] = ()
    walls: tuple[tuple[int, int, float], ...] = ()

    def lengths(self, positions: NDArray[np.float64]) -> tuple[list[list[float]], float]:
        """Return the hydrogen bonds of each pair and the distance of the pairs, Å."""
        bonds = [
            [float(np.linalg.norm(positions[i] - positions[j])) for i, j in pair]
            for pair in self.hydrogen_bonds
        ]
        if not self.stack:
            return bonds, 0.0
        first, second = (positions[list(part)].mean(axis=0) for part in self.stack)
        return bonds, float(np.linalg.norm(first - second))

    def moving(self) -> ase.Atoms:
        """Return atoms for dynamics: at the start, with calculator and springs."""
        atoms = self.atoms.copy()
        atoms.calc = calculator()
        strength = WALL_EV_PER_SQUARE_ANGSTROM
        atoms.set_constraint([Hookean(i, j, strength, rt=limit) for i, j, limit in self.walls])
        return atoms

    def why_broken(self, positions: NDArray[np.float64]) -> str | None:
        """Say what is no longer as at the start; None if all is.

        Parameters
        ----------
        positions
            (n_atoms, 3), Å.
        """
        try:
            found = Topology.from_coordinates(self.atoms.numbers, positions)
        except (InputError, TopologyError) as error:
            return f"bonds: {error}"
        if found.bonds != self.topology.bonds:
            changed = sorted(set(found.bonds) ^ set(self.topology.bonds))
            return f"bonds: {', '.join(f'{i}-{j}' for i, j in changed)} formed or broken"
        bonds, distance = self.lengths(positions)
        if any(min(pair) > LOST_ANGSTROM for pair in bonds):
            return "a base pair lost its hydrogen bonds"
        if distance > STACK_LOST_ANGSTROM:
            return "the stack came apart"
        return None


def calculator() -> TBLite:
    """Return the calculator of energies (eV) and forces (eV/Å)."""
    return TBLite(method=METHOD, accuracy=ACCURACY, verbosity=0)


def base(smiles: str, x: Sequence[float], y: Sequence[float]) -> ase.Atoms:
    """Return a base with its heavy atoms upon those of the standard frame."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if rdDistGeom.EmbedMolecule(mol, randomSeed=1) != 0:
        raise RuntimeError(f"RDKit embeds {smiles} in no geometry with seed 1; give another seed")
    rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=2000)
    frame = Chem.Mol(mol)
    for k, place in enumerate(zip(x, y, strict=True)):
        frame.GetConformer().SetAtomPosition(k, Point3D(*place, 0.0))
    rdMolAlign.AlignMol(mol, frame, atomMap=[(k, k) for k in range(len(x))])
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    return ase.Atoms(numbers, mol.GetConformer().GetPositions())


def at_stack() -> ase.Atoms:
    """Return two stacked adenine-thymine pairs, not yet relaxed."""
    adenine, thymine = base(*ADENINE), base(*THYMINE)
    thymine.positions *= (1.0, -1.0, -1.0)
    pair = adenine + thymine
    above = pair.copy()
    above.rotate(TWIST_DEGREES, "z")
    above.translate((0.0, 0.0, RISE_ANGSTROM))
    return pair + above


def relaxed_start(name: str) -> Start:
    """Return a molecule relaxed with GFN2-xTB; see :class:`Start`.

    Raises
    ------
    RuntimeError
        If it does not relax, or is not whole then.
    """
    if name == AT_STACK:
        atoms = at_stack()
        pairs = (0, 2 * ATOMS_OF_BASE)
        watched = ((ADENINE_N6, THYMINE_O4), (ADENINE_N1, THYMINE_N3))
        bonds = tuple(
            tuple((first + i, first + ATOMS_OF_BASE + j) for i, j in watched) for first in pairs
        )
        stack = tuple(tuple(range(first, first + 2 * ATOMS_OF_BASE)) for first in pairs)
        walls = [(i, j, HYDROGEN_BOND_ANGSTROM) for pair in bonds for i, j in pair]
        walls.append((ADENINE_N1, pairs[1] + ADENINE_N1, STACK_WALL_ANGSTROM))
    else:
        structure = molecule(name, OF_SMILES[name])
        atoms, bonds, stack = ase.Atoms(structure.numbers, structure.positions), (), ()
        walls = []
    topology = Topology.from_coordinates(atoms.numbers, atoms.positions)
    start = Start(atoms, topology, bonds, stack, tuple(walls))
    atoms.calc = calculator()
    if not LBFGS(atoms, logfile=None).run(fmax=FMAX_EV_PER_ANGSTROM, steps=MOST_STEPS):
        raise RuntimeError(f"{name} did not relax in {MOST_STEPS} steps; allow more")
    atoms.calc = None
    reason = start.why_broken(atoms.positions)
    lengths = [length for pair in start.lengths(atoms.positions)[0] for length in pair]
    if reason is None and any(length > HYDROGEN_BOND_ANGSTROM for length in lengths):
        reason = f"hydrogen bonds of {', '.join(f'{length:.2f}' for length in lengths)} Å"
    if reason is not None:
        raise RuntimeError(f"{name} is not whole after relaxation: {reason}; change the start")
    return start
