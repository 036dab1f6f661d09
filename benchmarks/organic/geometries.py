"""Geometries of one molecule: in motion, modes, torsions, stretched bonds, protons, distances.

A force field (MMFF94, or UFF where it has no parameters) moves far and cheaply; GFN2-xTB goes on
from there, in motion or towards its minimum, so that bonds have its lengths. A geometry in which a
bond of the SMILES has broken or another formed is left out, but for the bonds that are stretched on
purpose (by up to half) and the protons that are led to a neighbour. Å, fs, K.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import ase
import numpy as np
from ase import units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.langevinbaoab import LangevinBAOAB
from ase.optimize import LBFGS
from ase.vibrations import VibrationsData
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolTransforms
from scipy import constants
from scipy.spatial.transform import Rotation
from tblite.ase import TBLite

from se3set_mlip.elements import COVALENT_RADII

TEMPERATURES_K = (300.0, 600.0, 1000.0)
TIMESTEP_FS, THERMOSTAT_FS = 1.0, 50.0
FAR_STEPS = 60
"""Of the force field, between geometries."""
FIRST_STEPS, BETWEEN_STEPS = 12, 6
"""Of GFN2-xTB, which starts where the force field left off."""
DESCENT = (2, 10)
"""How many steps towards the minimum are taken, at least and at most."""
CONFORMERS = 4
MOVING_ACCURACY = 10.0
"""tblite's, for motion alone; labels are computed anew."""
MODE_TEMPERATURE_K, LOWEST_WAVENUMBER, LARGEST_FOR_MODES = 600.0, 100.0, 16
"""Of displacements along normal modes; slower modes are taken as this fast (1/cm); atoms."""
STRETCH = (0.85, 1.5)
CLOSEST_ANGSTROM = (1.5, 6.0)
"""Between the atoms of two molecules that are put beside each other."""
BROKEN, FORMED, COLLIDED = 1.45, 1.15, 0.6
"""Lengths over the sum of covalent radii: of a bond that is broken, of atoms without a bond that
have one, of atoms on top of each other."""
SHARES = {
    "force field": 0.3,
    "dynamics": 0.25,
    "descent": 0.2,
    "modes": 0.1,
    "torsion": 0.1,
    "stretch": 0.1,
    "proton": 0.1,
}
HBAR = constants.hbar * units.J * units.s
"""In eV and ASE's unit of time."""
DRAWS = 8
"""How often a displacement along modes may fail to be whole, as it does between two molecules."""
POOL = 1.25
"""How many geometries are made for one that is kept."""
HETERO = (7, 8, 16)
"""Give and take protons."""
PROTON_REACH, PROTON_NEAREST = 3.0, 0.95
"""From a proton to who may take it, at most, and where its way ends, Å."""
ON_PURPOSE = ("stretch", "proton")
"""Kinds of geometries whose bonds may be broken."""


ROTATABLE = Chem.MolFromSmarts("[!$(*#*)&!D1]-&!@[!$(*#*)&!D1]")


def mapped_smiles(mol: Chem.Mol, *, first: int = 1) -> str:
    """Return a molecule with its atoms numbered from ``first`` on, in their order."""
    numbered = Chem.Mol(mol)
    for atom in numbered.GetAtoms():
        atom.SetAtomMapNum(atom.GetIdx() + first)
    return str(Chem.MolToSmiles(numbered))


class ForceField(Calculator):  # type: ignore[misc] # ASE has no types
    """MMFF94, or UFF where it has no parameters, of one molecule."""

    implemented_properties = ("energy", "forces")

    def __init__(self, mol: Chem.Mol) -> None:
        super().__init__()
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
            parameters = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
            self.field = rdForceFieldHelpers.MMFFGetMoleculeForceField(
                mol, parameters, ignoreInterfragInteractions=False
            )
        else:
            self.field = rdForceFieldHelpers.UFFGetMoleculeForceField(
                mol, ignoreInterfragInteractions=False
            )
        self.field.Initialize()

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Iterable[str] = (),
        system_changes: Iterable[str] = all_changes,
    ) -> None:
        """Compute energy (eV) and forces (eV/Å)."""
        super().calculate(atoms, properties, system_changes)
        flat = self.atoms.positions.ravel().tolist()
        unit = units.kcal / units.mol
        self.results = {
            "energy": unit * self.field.CalcEnergy(flat),
            "forces": -unit * np.reshape(self.field.CalcGrad(flat), (-1, 3)),
        }


@dataclass(frozen=True)
class Made:
    """A geometry and how it was made."""

    positions: NDArray[np.float64]
    kind: str


class Bonds:
    """The bonds of molecules, and whether a geometry holds them and no others."""

    def __init__(self, mol: Chem.Mol) -> None:
        self.pairs = np.array(
            [[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()] for bond in mol.GetBonds()]
        ).reshape(-1, 2)
        radii = np.array([COVALENT_RADII[atom.GetAtomicNum()] for atom in mol.GetAtoms()])
        self.reach = radii[:, None] + radii[None, :]
        self.bonded = np.zeros_like(self.reach, dtype=bool)
        self.bonded[self.pairs[:, 0], self.pairs[:, 1]] = True
        self.bonded |= self.bonded.T

    def whole(self, positions: NDArray[np.float64], *, but: Sequence[tuple[int, int]] = ()) -> bool:
        """Return whether all bonds are there and no others, but for some pairs of atoms."""
        ratio = np.linalg.norm(positions[:, None] - positions[None], axis=-1) / self.reach
        np.fill_diagonal(ratio, np.inf)
        if not np.isfinite(positions).all() or ratio.min() < COLLIDED:
            return False
        held = self.bonded.copy()
        for pair in but:
            held[pair] = held[pair[::-1]] = False
            ratio[pair] = ratio[pair[::-1]] = np.inf
        return bool((ratio[held] < BROKEN).all() and (ratio[~held] > FORMED).all())


class Shapes:
    """One molecule, or two beside each other, and its geometries.

    Parameters
    ----------
    smiles
        ``A`` or ``A.B``.
    rng
        Decides all.

    Raises
    ------
    ValueError
        If no conformer is found.
    """

    def __init__(self, smiles: str, rng: np.random.Generator) -> None:
        self.rng = rng
        self.mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        self.numbers = np.array([atom.GetAtomicNum() for atom in self.mol.GetAtoms()])
        self.charge = Chem.GetFormalCharge(self.mol)
        self.molecules = Chem.GetMolFrags(self.mol)
        self.bonds = Bonds(self.mol)
        self.conformers = self._conformers()
        if not self.conformers:
            raise ValueError(f"no conformer of {smiles} was found")

    @property
    def mapped_smiles(self) -> str:
        """The molecule with the atoms numbered from 1 as they are here."""
        return mapped_smiles(self.mol)

    def _conformers(self) -> list[NDArray[np.float64]]:
        """Return conformers relaxed by a force field."""
        parameters = rdDistGeom.ETKDGv3()
        parameters.randomSeed = int(self.rng.integers(2**31))
        ids = list(rdDistGeom.EmbedMultipleConfs(self.mol, CONFORMERS, parameters))
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(self.mol):
            rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(self.mol, maxIters=500)
        found = [np.array(self.mol.GetConformer(k).GetPositions()) for k in ids]
        if len(self.molecules) > 1:
            found = [self.apart(positions) for positions in found]
        return [positions for positions in found if self.bonds.whole(positions)]

    def apart(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return two molecules turned at random, with their closest atoms at a random distance."""
        first, second = (np.array(atoms) for atoms in self.molecules[:2])
        moved = positions.copy()
        turned = positions[second] - positions[second].mean(axis=0)
        turned = Rotation.random(rng=self.rng).apply(turned)
        direction = self.rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        wanted = self.rng.uniform(*CLOSEST_ANGSTROM)
        centre = positions[first].mean(axis=0)
        for distance in np.arange(0.0, 40.0, 0.1):
            moved[second] = centre + turned + distance * direction
            gaps = np.linalg.norm(moved[first][:, None] - moved[second][None], axis=-1)
            if gaps.min() >= wanted:
                break
        return moved

    def atoms(self, positions: NDArray[np.float64]) -> ase.Atoms:
        """Return atoms that GFN2-xTB moves."""
        found = ase.Atoms(self.numbers, positions)
        found.calc = TBLite(
            method="GFN2-xTB", charge=self.charge, accuracy=MOVING_ACCURACY, verbosity=0
        )
        return found

    def dynamics(self, number: int, kelvin: float, far: int = 0) -> Iterator[Made]:
        """Yield geometries of Langevin dynamics: ``far`` by the force field, then by GFN2-xTB."""
        atoms = self.atoms(self.conformers[self.rng.integers(len(self.conformers))])
        accurate = atoms.calc
        normal = self.rng.standard_normal((len(atoms), 3))
        atoms.set_momenta(np.sqrt(atoms.get_masses() * units.kB * kelvin)[:, None] * normal)
        engine = LangevinBAOAB(
            atoms,
            TIMESTEP_FS * units.fs,
            temperature_K=kelvin,
            T_tau=THERMOSTAT_FS * units.fs,
            rng=self.rng,
        )
        start = atoms.positions.copy(), atoms.get_momenta()
        atoms.calc = ForceField(self.mol)
        for _ in range(far):
            engine.run(FAR_STEPS)
            if not self.bonds.whole(atoms.positions):
                atoms.positions[:] = start[0]
                atoms.set_momenta(start[1])
                break
            yield Made(atoms.positions.copy(), f"force field {kelvin:g} K")
        atoms.calc = accurate
        engine.run(FIRST_STEPS)
        for _ in range(number):
            engine.run(BETWEEN_STEPS)
            if not self.bonds.whole(atoms.positions):
                break
            yield Made(atoms.positions.copy(), f"dynamics {kelvin:g} K")

    def descents(self, starts: list[Made]) -> Iterator[Made]:
        """Yield geometries on the way to a minimum of GFN2-xTB, the last of them near it."""
        for place, start in enumerate(starts):
            atoms = self.atoms(start.positions)
            last = place == len(starts) - 1
            steps = 3 * DESCENT[1] if last else int(self.rng.integers(*DESCENT))
            LBFGS(atoms, logfile=None).run(fmax=0.05, steps=steps)
            yield Made(atoms.positions.copy(), "descent")

    def modes(
        self,
        number: int,
        kelvin: tuple[float, float] = (MODE_TEMPERATURE_K, MODE_TEMPERATURE_K),
        *,
        largest: int = LARGEST_FOR_MODES,
    ) -> Iterator[Made]:
        """Yield the relaxed geometry, and it displaced along its normal modes.

        Parameters
        ----------
        number
            How many displaced ones.
        kelvin
            Lowest and highest temperature of a displacement.
        largest
            Molecules of more atoms have none.
        """
        if not 2 <= len(self.numbers) <= largest:
            return
        atoms = self.atoms(self.conformers[0])
        LBFGS(atoms, logfile=None).run(fmax=0.05, steps=150)
        if not self.bonds.whole(atoms.positions):
            return
        yield Made(atoms.positions.copy(), "relaxed")
        data = VibrationsData.from_2d(atoms, _hessian(atoms))
        energies, modes = data.get_energies_and_modes()
        quanta = np.maximum(np.abs(energies[6:]), LOWEST_WAVENUMBER * units.invcm)  # hbar omega
        # <q^2> = kT / omega^2 for mass-weighted q; modes come divided by the root of the mass.
        spread = np.sqrt(units.kB) * HBAR / quanta
        draws = (
            atoms.positions
            + np.sqrt(self.rng.uniform(*kelvin)) * np.einsum("m,mix->ix", spread * q, modes[6:])
            for q in self.rng.standard_normal((DRAWS * number, len(spread)))
        )
        whole = (Made(positions, "modes") for positions in draws if self.bonds.whole(positions))
        yield from itertools.islice(whole, number)

    def torsions(self, number: int) -> Iterator[Made]:
        """Yield geometries with one rotatable bond turned at random."""
        bonds = self.mol.GetSubstructMatches(ROTATABLE)
        if not bonds:
            return
        for _ in range(number):
            mol = Chem.Mol(self.mol)
            conformer = mol.GetConformer(int(self.rng.integers(mol.GetNumConformers())))
            b, c = bonds[self.rng.integers(len(bonds))]
            a = next(x.GetIdx() for x in mol.GetAtomWithIdx(b).GetNeighbors() if x.GetIdx() != c)
            d = next(x.GetIdx() for x in mol.GetAtomWithIdx(c).GetNeighbors() if x.GetIdx() != b)
            rdMolTransforms.SetDihedralDeg(conformer, a, b, c, d, self.rng.uniform(-180.0, 180.0))
            positions = np.array(conformer.GetPositions())
            if len(self.molecules) > 1:
                positions = self.apart(positions)
            yield Made(positions, "torsion")

    def stretches(self, number: int) -> Iterator[Made]:
        """Yield geometries with one bond, of those not in rings, longer or shorter."""
        for _ in range(number):
            free = [b for b in self.mol.GetBonds() if not b.IsInRing()]
            if not free:
                return
            bond = free[self.rng.integers(len(free))]
            ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            start = self.conformers[self.rng.integers(len(self.conformers))]
            conformer = Chem.Conformer(len(start))
            conformer.SetPositions(start + 0.03 * self.rng.standard_normal(start.shape))
            mol = Chem.Mol(self.mol)
            mol.RemoveAllConformers()
            mol.AddConformer(conformer)
            conformer = mol.GetConformer()
            length = rdMolTransforms.GetBondLength(conformer, *ends) * self.rng.uniform(*STRETCH)
            rdMolTransforms.SetBondLength(conformer, *ends, length)  # moves all that hangs on it
            positions = np.array(conformer.GetPositions())
            if self.bonds.whole(positions, but=[ends]):
                yield Made(positions, "stretch")

    def protons(self, starts: list[Made], number: int) -> Iterator[Made]:
        """Yield geometries with one proton somewhere on its way to another N, O or S near by."""
        hetero = np.isin(self.numbers, HETERO)
        bonds = self.bonds.pairs
        ends = bonds[(self.numbers[bonds] == 1).any(axis=1)]
        ends = np.where(self.numbers[ends[:, :1]] == 1, ends, ends[:, ::-1])  # proton first
        for place in self.rng.permutation(len(starts))[:number]:
            positions = starts[place].positions.copy()
            ways = [
                (h, donor, taker)
                for h, donor in ends[hetero[ends[:, 1]]].tolist()
                for taker in np.flatnonzero(hetero).tolist()
                if taker != donor and np.linalg.norm(positions[taker] - positions[h]) < PROTON_REACH
            ]
            if not ways:
                continue
            h, donor, taker = ways[self.rng.integers(len(ways))]
            way = positions[taker] - positions[h]
            length = np.linalg.norm(way)
            share = self.rng.uniform(0.05, 1.0) * (1.0 - PROTON_NEAREST / length)
            positions[h] += share * way
            if self.bonds.whole(positions, but=[(h, donor), (h, taker)]):
                yield Made(positions, "proton")

    def pool(self, number: int) -> list[Made]:
        """Return more geometries than are wanted, of all kinds."""
        wanted = {kind: max(1, round(POOL * share * number)) for kind, share in SHARES.items()}
        kelvin = float(self.rng.choice(TEMPERATURES_K))
        made = list(self.dynamics(wanted["dynamics"], kelvin, wanted["force field"]))
        shaken = [m for m in made if m.kind.startswith("force field")]
        conformers = [Made(positions, "conformer") for positions in self.conformers]
        starts = [*conformers, *shaken]
        chosen = self.rng.permutation(len(starts))[: wanted["descent"]]
        found = itertools.chain(
            made,
            self.descents([starts[k] for k in chosen]),
            self.modes(wanted["modes"]),
            self.torsions(wanted["torsion"]),
            self.stretches(wanted["stretch"]),
            self.protons(starts, wanted["proton"]),
        )
        return [m for m in found if m.kind in ON_PURPOSE or self.bonds.whole(m.positions)]

    def diverse(self, made: list[Made], number: int) -> list[Made]:
        """Return geometries that differ most: farthest points of Coulomb-matrix eigenvalues."""
        if len(made) <= number:
            return made
        points = np.array([self._eigenvalues(m.positions) for m in made])
        chosen = [0]
        distances = np.linalg.norm(points - points[0], axis=1)
        while len(chosen) < number:
            chosen.append(int(distances.argmax()))
            distances = np.minimum(distances, np.linalg.norm(points - points[chosen[-1]], axis=1))
        return [made[k] for k in sorted(chosen)]

    def _eigenvalues(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return those of the Coulomb matrix (Rupp et al. 2012), the same however it lies."""
        distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
        np.fill_diagonal(distances, 1.0)
        matrix = self.numbers[:, None] * self.numbers[None] / distances
        np.fill_diagonal(matrix, 0.5 * self.numbers**2.4)
        return np.linalg.eigvalsh(matrix)


def _hessian(atoms: ase.Atoms) -> NDArray[np.float64]:
    """Return second derivatives by differences, (3 n_atoms, 3 n_atoms) eV/Å^2."""
    start, step = atoms.positions.copy(), 0.01
    rows = []
    for index in range(start.size):
        slopes = []
        for sign in (1.0, -1.0):
            moved = start.copy()
            moved.flat[index] += sign * step
            atoms.positions = moved
            slopes.append(atoms.get_forces().ravel())
        rows.append((slopes[1] - slopes[0]) / (2.0 * step))
    atoms.positions = start
    matrix = np.array(rows)
    return 0.5 * (matrix + matrix.T)
