"""Small molecules with unusual neighbours, torn and shaken: what ANI-1x asks of a potential.

    python benchmarks/organic/small.py --molecules 1500 --each 8
    se3set label runs/organic/train_small.xyz -o runs/organic/train_small_gfn2.xyz

Molecules: those of the structures of ANI-1x that ``tune.py`` trains on, and what one or two changes
of an atom or a bond make of them. Geometries: displaced along all normal modes of GFN2-xTB at 300
to 3000 K, as ANI-1x was begun (J. S. Smith et al., Chem. Sci. 8, 3192 (2017)); and the structures
of ANI-1x themselves with their atoms moved at random. No molecule has a formula that ``tune.py``
holds out, nor a scaffold of the validation or test molecules of ``molecules.py``.
"""

import argparse
import io
import json
from collections.abc import Iterator

import ase
import ase.io
import numpy as np
from geometries import Shapes, mapped_smiles
from molecules import FILE, scaffold
from pool import processes
from rdkit import Chem, RDLogger
from rdkit.Chem import rdDetermineBonds
from rdkit.Chem.rdMolDescriptors import CalcMolFormula
from tqdm import tqdm
from tune import frames, part_of_formula

KELVIN = (300.0, 3000.0)
MOVED_ANGSTROM = (0.0, 0.06)
"""Standard deviation of what moves the atoms of structures of ANI-1x."""
LARGEST = 9
"""Heavy atoms."""
SWAPS = (6, 7, 8)
BONDS = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)


def is_training(formula: str) -> bool:
    """Return whether ``tune.py`` trains on structures of a formula (as ASE writes it)."""
    return part_of_formula(formula) == "train"


def molecule_of(atoms: ase.Atoms) -> Chem.Mol | None:
    """Return the molecule with the bonds of a structure, None where they are not clear."""
    text = io.StringIO()
    ase.io.write(text, ase.Atoms(atoms.numbers, atoms.positions), format="xyz")
    mol = Chem.MolFromXYZBlock(text.getvalue())
    try:
        rdDetermineBonds.DetermineBonds(mol, charge=0)
    except ValueError:
        return None
    return mol if plain(mol) else None


def plain(mol: Chem.Mol) -> bool:
    """Return whether a molecule is in one piece and has neither charges nor unpaired electrons."""
    return len(Chem.GetMolFrags(mol)) == 1 and not any(
        atom.GetFormalCharge() or atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()
    )


def changed(mol: Chem.Mol, rng: np.random.Generator) -> str | None:
    """Return a molecule with one atom or bond changed, None if that makes none."""
    made = Chem.RWMol(mol)
    Chem.Kekulize(made, clearAromaticFlags=True)
    kind = rng.integers(4)
    place = int(rng.integers(made.GetNumAtoms()))
    if kind == 0:
        made.GetAtomWithIdx(place).SetAtomicNum(int(rng.choice(SWAPS)))
    elif kind == 1 and made.GetNumAtoms() < LARGEST:
        new = made.AddAtom(Chem.Atom(int(rng.choice(SWAPS))))
        made.AddBond(place, new, BONDS[0])
    elif kind == 2 and made.GetNumBonds():
        made.GetBondWithIdx(int(rng.integers(made.GetNumBonds()))).SetBondType(
            BONDS[rng.integers(3)]
        )
    else:
        made.RemoveAtom(place)
    try:
        Chem.SanitizeMol(made)
    except Chem.MolSanitizeException:
        return None
    smiles = Chem.MolToSmiles(made)
    return smiles if made.GetNumAtoms() > 0 and plain(made) else None


def held_scaffolds() -> set[str]:
    """Return the scaffolds of the validation and test molecules."""
    return {
        scaffold(Chem.MolFromSmiles(part))
        for molecule in json.loads(FILE.read_text(encoding="utf-8"))
        if molecule["part"] != "train"
        for part in molecule["smiles"].split(".")
    }


def gather(number: int, seed: int, held: set[str]) -> tuple[list[str], list[ase.Atoms]]:
    """Return molecules, and the structures of ANI-1x that have bonds, with them stated.

    Parameters
    ----------
    number
        How many molecules.
    seed
        Decides the changes.
    held
        Scaffolds that no molecule may have.
    """
    rng = np.random.default_rng(seed)
    known: dict[str, None] = {}
    structures = []
    for atoms in frames():
        if not is_training(atoms.get_chemical_formula()):
            continue
        mol = molecule_of(atoms)
        smiles = Chem.MolToSmiles(Chem.RemoveHs(mol)) if mol is not None else None
        if smiles is None or scaffold(Chem.MolFromSmiles(smiles)) in held:
            continue
        atoms.info = {"mapped_smiles": mapped_smiles(mol)}
        atoms.arrays.pop("REF_forces")
        structures.append(atoms)
        known[smiles] = None
    parents, found = list(known), dict(known)
    while len(found) < number:
        smiles = parents[rng.integers(len(parents))]
        for _ in range(rng.integers(1, 3)):
            mol = Chem.MolFromSmiles(smiles) if smiles else None
            smiles = changed(mol, rng) if mol is not None and mol.GetNumAtoms() > 1 else None
        mol = Chem.MolFromSmiles(smiles) if smiles else None
        if mol is not None and is_training(ase_formula(mol)) and scaffold(mol) not in held:
            found[Chem.MolToSmiles(mol)] = None
    return list(found), structures


def ase_formula(mol: Chem.Mol) -> str:
    """Return the formula as ASE writes it."""
    return str(ase.Atoms(CalcMolFormula(mol)).get_chemical_formula())


def displaced(task: tuple[str, int, int, int]) -> list[ase.Atoms]:
    """Return geometries of one molecule; none if it has no conformer, or does not hold together."""
    smiles, place, each, seed = task
    RDLogger.DisableLog("rdApp.*")
    rng = np.random.default_rng([seed, place])
    found = []
    try:
        shapes = Shapes(smiles, rng)
        for made in shapes.modes(each, KELVIN, largest=3 * LARGEST):
            atoms = ase.Atoms(shapes.numbers, made.positions)
            atoms.info["mapped_smiles"] = shapes.mapped_smiles
            found.append(atoms)
    except (ValueError, RuntimeError):
        return found
    return found


def moved(structures: list[ase.Atoms], each: int, seed: int) -> Iterator[ase.Atoms]:
    """Yield structures as they are, and with their atoms moved at random."""
    rng = np.random.default_rng(seed)
    for atoms in structures:
        yield atoms
        for _ in range(each):
            found = atoms.copy()
            found.positions += rng.uniform(*MOVED_ANGSTROM) * rng.standard_normal((len(atoms), 3))
            yield found


def main() -> None:
    """Write the geometries."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--molecules", type=int, default=1500)
    parser.add_argument("--each", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    molecules, structures = gather(options.molecules, options.seed, held_scaffolds())
    tasks = [(s, place, options.each, options.seed) for place, s in enumerate(molecules)]
    with processes() as pool:
        bar = tqdm(pool.map(displaced, tasks, chunksize=4), total=len(tasks), unit="molecule")
        found = [atoms for made in bar for atoms in made]
    n_modes = len(found)
    found += moved(structures, 2, options.seed)
    for atoms in found:
        atoms.info |= {"charge": 0, "kind": "torn"}
    path = FILE.parent / "train_small.xyz"
    ase.io.write(path, found, format="extxyz")
    print(
        f"{path}: {n_modes} geometries of {len(molecules)} molecules, and {len(found) - n_modes} "
        f"of {len(structures)} structures of ANI-1x"
    )


if __name__ == "__main__":
    main()
