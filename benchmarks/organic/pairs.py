"""Two small training molecules at many distances and in many directions: geometries to learn.

    python benchmarks/organic/pairs.py --pairs 4000 --each 5
    se3set label runs/organic/train_pairs.xyz -o runs/organic/train_pairs_gfn2.xyz

Each molecule is a conformer of a force field (MMFF94) with its atoms moved a little at random. Of
the geometries of a pair a part is taken some way to the minimum of the force field, as hydrogen
bonds are rarely met by chance. ``dimers.py`` measures on pairs of test molecules.
"""

import argparse
import json
from functools import cache

import ase
import ase.io
import numpy as np
from dimers import at_gap
from geometries import Bonds, mapped_smiles
from molecules import FILE
from pool import processes
from rdkit import Chem, RDLogger
from rdkit.Chem import rdForceFieldHelpers
from scipy.spatial.transform import Rotation
from subjects import atoms_of, conformers
from tqdm import tqdm

from se3set_mlip.structures import settled

LARGEST = 9
"""Heavy atoms of a molecule."""
CONFORMERS = 3
GAPS_ANGSTROM = (1.5, 6.0)
"""Between the closest atoms."""
MOVED_ANGSTROM = (0.0, 0.05)
"""Standard deviation of what moves the atoms."""
SETTLED = 0.4
"""Share of geometries that the force field brings closer to a minimum."""
SETTLING_STEPS = (3, 60)


@cache
def shapes_of(name: str, seed: int) -> tuple[Chem.Mol, list[ase.Atoms]]:
    """Return a molecule and its conformers, sought once in a process."""
    return conformers(name, CONFORMERS, seed=seed)


def geometries(task: tuple[str, str, int, int, int]) -> list[ase.Atoms]:
    """Return geometries of a pair; none where a molecule has no conformer."""
    *names, each, place, seed = task
    RDLogger.DisableLog("rdApp.*")
    rng = np.random.default_rng([seed, place])
    alone = [shapes_of(name, seed) for name in names]
    if not all(found for _, found in alone):
        return []
    both = Chem.CombineMols(alone[0][0], alone[1][0])
    Chem.SanitizeMol(both)
    has_field = rdForceFieldHelpers.MMFFHasAllMoleculeParams(both)
    bonds, stated = Bonds(both), mapped_smiles(both)
    found: list[ase.Atoms] = []
    for _ in range(each):
        parts = []
        for mol, known in alone:
            positions = known[rng.integers(len(known))].positions
            positions = positions - positions.mean(axis=0)
            positions = Rotation.random(rng=rng).apply(positions)
            positions += rng.uniform(*MOVED_ANGSTROM) * rng.standard_normal(positions.shape)
            parts.append(atoms_of(mol, positions))
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        atoms = at_gap(*parts, direction, rng.uniform(*GAPS_ANGSTROM))
        if has_field and rng.random() < SETTLED:
            steps = int(rng.integers(*SETTLING_STEPS))
            atoms.positions = settled(both, atoms.positions, steps=steps)
        if not bonds.whole(atoms.positions):
            continue
        atoms.info = {
            "smiles": ".".join(names),
            "mapped_smiles": stated,
            "charge": sum(part.info["charge"] for part in parts),
            "source": "two molecules",
            "kind": "pair",
        }
        found.append(atoms)
    return found


def main() -> None:
    """Write the geometries."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--each", type=int, default=5, help="geometries of a pair")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, help="default: one for each core")
    options = parser.parse_args()
    known = json.loads(FILE.read_text(encoding="utf-8"))
    small = [
        molecule
        for molecule in known
        if molecule["part"] == "train"
        and molecule["heavy_atoms"] <= LARGEST
        and "." not in molecule["smiles"]
    ]
    rng = np.random.default_rng(options.seed)
    tasks = []
    while len(tasks) < options.pairs:
        first, second = (small[k] for k in rng.choice(len(small), size=2))
        if abs(first["charge"] + second["charge"]) <= 1:
            pair = first["smiles"], second["smiles"]
            tasks.append((*pair, options.each, len(tasks), options.seed))
    with processes(options.processes) as pool:
        bar = tqdm(pool.map(geometries, tasks, chunksize=8), total=len(tasks), unit="pair")
        found = [atoms for made in bar for atoms in made]
    path = FILE.parent / "train_pairs.xyz"
    ase.io.write(path, found, format="extxyz")
    print(f"{path}: {len(found)} geometries of {len(tasks)} pairs of {len(small)} molecules")


if __name__ == "__main__":
    main()
