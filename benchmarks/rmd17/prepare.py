"""Revised MD17: the files of a molecule -> extended XYZ in eV, one file each to train and to test.

    python benchmarks/rmd17/prepare.py --data FOLDER aspirin ethanol

``FOLDER`` holds ``rmd17_MOLECULE_train_01.npz`` and ``rmd17_MOLECULE_test_01.npz`` as packed in
https://github.com/andersx/rmd17-npz: split 01 of Christensen and von Lilienfeld (arXiv 2007.09593,
CC0), kcal/mol and Å, at PBE/def2-SVP. The 1,000 structures to train on hold those of
validation: the last 50.
"""

import argparse
from pathlib import Path

import ase
import ase.io
import ase.units
import numpy as np
from tqdm import tqdm

EV = ase.units.kcal / ase.units.mol
N_VALIDATION = 50
MOLECULES = (
    "aspirin",
    "azobenzene",
    "benzene",
    "ethanol",
    "malonaldehyde",
    "naphthalene",
    "paracetamol",
    "salicylic",
    "toluene",
    "uracil",
)


def read(path: Path) -> list[ase.Atoms]:
    """Return the structures of a file with ``REF_energy`` (eV) and ``REF_forces`` (eV/Å)."""
    with np.load(path) as data:
        numbers = data["nuclear_charges"]
        columns = zip(data["coords"], data["energies"], data["forces"], strict=True)
        frames = []
        for positions, energy, forces in columns:
            atoms = ase.Atoms(numbers, positions)
            atoms.info["REF_energy"] = float(energy) * EV
            atoms.arrays["REF_forces"] = forces * EV
            frames.append(atoms)
    return frames


def main() -> None:
    """Write ``MOLECULE_train.xyz``, ``MOLECULE_validation.xyz`` and ``MOLECULE_test.xyz``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("molecules", nargs="*", default=MOLECULES, metavar="MOLECULE")
    parser.add_argument("--data", type=Path, required=True, help="folder of the .npz files")
    parser.add_argument("--output", type=Path, default=Path("runs/rmd17/data"))
    options = parser.parse_args()
    unknown = sorted(set(options.molecules) - set(MOLECULES))
    if unknown:
        parser.error(f"no molecule {', '.join(unknown)}; there are {', '.join(MOLECULES)}")
    options.output.mkdir(parents=True, exist_ok=True)
    for name in tqdm(options.molecules, unit="molecule"):
        train = read(options.data / f"rmd17_{name}_train_01.npz")
        parts = {
            "train": train[:-N_VALIDATION],
            "validation": train[-N_VALIDATION:],
            "test": read(options.data / f"rmd17_{name}_test_01.npz"),
        }
        for part, frames in parts.items():
            ase.io.write(options.output / f"{name}_{part}.xyz", frames, format="extxyz")


if __name__ == "__main__":
    main()
