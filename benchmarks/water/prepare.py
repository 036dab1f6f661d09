"""Liquid water: the frames of ``water_pbe0ts_400.npz`` -> extended XYZ in eV and Å.

    python benchmarks/water/prepare.py --data FOLDER

``FOLDER`` holds 400 frames of 64 molecules, periodic, at PBE0-TS, as they come with the examples of
deepmd-kit (LGPL-3.0, https://github.com/deepmodeling/deepmd-kit), packed into one file: ``z`` and
``pos``, ``forces`` (n_atoms of all frames, ...), ``ptr`` (where each frame begins), ``energy``,
``cell``, and ``label``, which names the block of a frame. They are not part of this repository, and
what is written here stays out of it too.

The 80 frames of the block ``data_3`` are the test set; of the 320 others 20, drawn with a seed, are
for validation and 300 to train on. There are no stress labels.
"""

import argparse
import sys
from pathlib import Path

import ase
import ase.io
import numpy as np
from tqdm import tqdm

FILE = "water_pbe0ts_400.npz"
TEST_BLOCK = "data_3"
N_VALIDATION, SPLIT_SEED = 20, 1
PARTS = ("train", "validation", "test")


def read(path: Path) -> tuple[list[ase.Atoms], list[str]]:
    """Return the frames with ``REF_energy`` (eV) and ``REF_forces`` (eV/Å), and their blocks."""
    with np.load(path) as data:
        ends = data["ptr"]
        numbers, positions, forces = data["z"], data["pos"], data["forces"]
        energies, cells, labels = data["energy"], data["cell"], data["label"]
    frames = []
    for k in tqdm(range(len(energies)), unit="frame", desc="read"):
        rows = slice(ends[k], ends[k + 1])
        atoms = ase.Atoms(
            numbers[rows], positions[rows].astype(float), cell=cells[k].astype(float), pbc=True
        )
        atoms.info["REF_energy"] = float(energies[k])
        atoms.arrays["REF_forces"] = forces[rows].astype(float)
        frames.append(atoms)
    return frames, [str(label).partition("/")[0] for label in labels]


def split(blocks: list[str], *, n_validation: int, seed: int) -> dict[str, list[int]]:
    """Return the numbers of the frames to train, validate and test on, each ascending."""
    test = [k for k, block in enumerate(blocks) if block == TEST_BLOCK]
    others = np.array([k for k, block in enumerate(blocks) if block != TEST_BLOCK])
    order = np.random.default_rng(seed).permutation(len(others))
    return {
        "train": sorted(others[order[n_validation:]].tolist()),
        "validation": sorted(others[order[:n_validation]].tolist()),
        "test": test,
    }


def main() -> None:
    """Write ``train.xyz``, ``validation.xyz`` and ``test.xyz``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help=f"folder of {FILE}")
    parser.add_argument("--output", type=Path, default=Path("runs/water/data"))
    parser.add_argument("--validation", type=int, default=N_VALIDATION, help="frames")
    parser.add_argument("--seed", type=int, default=SPLIT_SEED, help="of the split")
    options = parser.parse_args()
    if not (options.data / FILE).is_file():
        sys.exit(f"there is no {FILE} in {options.data}; see --help for what it is")
    frames, blocks = read(options.data / FILE)
    parts = split(blocks, n_validation=options.validation, seed=options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    for part, numbers in tqdm(parts.items(), unit="file", desc="write"):
        chosen = [frames[k] for k in numbers]
        ase.io.write(options.output / f"{part}.xyz", chosen, format="extxyz")
        tqdm.write(f"{part}: {len(chosen)} frames")


if __name__ == "__main__":
    main()
