r"""Ions: a proton more or less. Of molecules that were never seen, to measure on; others to learn.

    python benchmarks/organic/ions.py
    se3set label runs/organic/ions/validation.xyz -o runs/organic/ions/validation_gfn2.xyz
    python benchmarks/organic/judge.py MODEL --data runs/organic/ions [--part test]

    python benchmarks/organic/sample.py --molecules runs/organic/ions/molecules.json \
        --output runs/organic/ions --atoms 110
    se3set label runs/organic/ions/train.xyz -o runs/organic/train_ions_gfn2.xyz

The ions of ``active.py``. Of validation and test molecules one of each, as a force field leaves it
and shaken at 600 K; of molecules of the training a list only, for ``sample.py``, and another one of
amino acids as a protein ends (``termini.json``, sampled likewise with ``--atoms 500``).
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import ase
import ase.io
import numpy as np
from active import all_shapes, one_ion_each, part_of_scaffold, scaffold_parts
from molecules import FILE, Molecule, scaffold, termini
from rdkit import Chem, RDLogger


def ions_of(known: list[dict[str, Any]], part: str, number: int, seed: int) -> list[ase.Atoms]:
    """Return two geometries of an ion of each of so many neutral molecules of a part."""
    rng = np.random.default_rng(seed)
    neutral = [
        molecule
        for molecule in known
        if molecule["part"] == part and not molecule["charge"] and "." not in molecule["smiles"]
    ]
    shuffled = [neutral[k] for k in rng.permutation(len(neutral))]
    found = one_ion_each(shuffled, known, part, rng)[:number]
    frames = all_shapes(found, seed)
    for frame in frames:
        molecule = found[frame.info.pop("place")]
        frame.info |= {"smiles": molecule["smiles"], "source": "ion"}
    return frames


def learned_termini(known: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the charged ends of proteins whose scaffolds are none of the other parts."""
    parts = scaffold_parts(known)
    for smiles, source in termini():
        mol = Chem.MolFromSmiles(smiles)
        if part_of_scaffold(scaffold(mol), parts) == "train":
            yield asdict(
                Molecule(
                    smiles=Chem.MolToSmiles(mol),
                    charge=Chem.GetFormalCharge(mol),
                    source=source,
                    part="train",
                    heavy_atoms=mol.GetNumHeavyAtoms(),
                )
            )


def main() -> None:
    """Write the structures of both parts that are held out, and the list of ions to learn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--molecules", type=int, default=100, help="of each part, at most")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    known = json.loads(FILE.read_text(encoding="utf-8"))
    folder = FILE.parent / "ions"
    folder.mkdir(exist_ok=True)
    for part in ("validation", "test"):
        frames = ions_of(known, part, options.molecules, options.seed)
        ase.io.write(folder / f"{part}.xyz", frames, format="extxyz")
        print(f"{part}: {len(frames)} geometries")
    learned = {
        "molecules": one_ion_each(known, known, "train", np.random.default_rng(options.seed)),
        "termini": list(learned_termini(known)),
    }
    for name, molecules in learned.items():
        text = json.dumps(molecules, indent=0) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
        print(f"train: {len(molecules)} {name}")


if __name__ == "__main__":
    main()
