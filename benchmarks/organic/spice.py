"""Molecules among water, with geometries of the SPICE data set, in the parts of the others.

    python benchmarks/organic/spice.py FOLDER [--each 20] [--water 200]

FOLDER holds ``solvated-amino-acids.hdf5`` and ``water.hdf5`` of SPICE (MIT,
github.com/openmm/spice-dataset): amino acids between acetyl and methylamide among twenty molecules
of water, and thirty of water alone. What they are without water decides the part, as in
``molecules.py``; of water alone, geometries are divided. Writes ``runs/organic/PART_spice.xyz``, to
be labelled like the others.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import ase
import ase.io
import h5py
import numpy as np
from ase import units
from molecules import FILE, HELD_OUT, drawn_part, scaffold
from rdkit import Chem

WATER = "O"


def frames_of(group: h5py.Group, number: int, rng: np.random.Generator) -> Iterator[ase.Atoms]:
    """Yield some of the geometries of a species."""
    mapped = group["smiles"][0].decode()
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False
    mol = Chem.MolFromSmiles(mapped, parameters)
    numbers = np.zeros(mol.GetNumAtoms(), dtype=int)
    for atom in mol.GetAtoms():
        numbers[atom.GetAtomMapNum() - 1] = atom.GetAtomicNum()
        atom.SetAtomMapNum(0)
    molecules = Chem.MolToSmiles(Chem.RemoveHs(mol)).split(".")
    solute = ".".join(sorted(set(molecules) - {WATER})) or WATER
    nanometre = 10.0 * units.Angstrom
    chosen = rng.permutation(len(group["conformations"]))[:number]
    for positions in nanometre * group["conformations"][sorted(chosen)].astype(float):
        atoms = ase.Atoms(numbers, positions - positions.mean(axis=0))
        atoms.info |= {
            "molecule": solute,
            "smiles": ".".join(molecules),
            "mapped_smiles": mapped,
            "charge": Chem.GetFormalCharge(mol),
            "source": "among water",
            "kind": "SPICE",
        }
        yield atoms


def part_of(solute: str, parts: dict[str, str]) -> str:
    """Return the part of the solute's scaffold, as it is known, or for training."""
    return parts.get(scaffold(Chem.MolFromSmiles(solute)), "train")


def main() -> None:
    """Write the parts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=20, help="geometries of each amino acid")
    parser.add_argument("--water", type=int, default=200, help="geometries of water alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=FILE.parent)
    options = parser.parse_args()
    known = json.loads((options.output / "molecules.json").read_text(encoding="utf-8"))
    parts = {
        scaffold(Chem.MolFromSmiles(molecule["smiles"])): molecule["part"]
        for molecule in known
        if molecule["source"] not in ("two molecules", "test medicine")
    }
    rng = np.random.default_rng(options.seed)
    found: dict[str, list[ase.Atoms]] = {}
    with h5py.File(options.folder / "solvated-amino-acids.hdf5") as file:
        for group in file.values():
            for atoms in frames_of(group, options.each, rng):
                found.setdefault(part_of(atoms.info["molecule"], parts), []).append(atoms)
    with h5py.File(options.folder / "water.hdf5") as file:
        for atoms in frames_of(file["water"], options.water, rng):
            part = drawn_part(atoms.positions.tobytes(), HELD_OUT)
            found.setdefault(part, []).append(atoms)
    for part, frames in found.items():
        ase.io.write(options.output / f"{part}_spice.xyz", frames, format="extxyz")
        names = sorted({frame.info["molecule"] for frame in frames})
        print(f"{part}: {len(frames)} geometries of {', '.join(names)}")


if __name__ == "__main__":
    main()
