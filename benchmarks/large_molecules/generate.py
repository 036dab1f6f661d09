"""Dynamics with GFN2-xTB at 500 K -> structures to train, validate and test on.

    python benchmarks/large_molecules/generate.py AT-AT

Independent Langevin trajectories (1 fs, friction 0.01/fs) of one molecule, each from the relaxed
geometry with a seed of its own: 1 ps of equilibration, then a structure every 25 fs. Four are to
train on, 50 structures of which are drawn for validation, and two others to test on. A trajectory
in which a bond forms or breaks, or the base pairs come apart although springs hold them, is thrown
away and begun again with another seed. Writes ``MOLECULE_{train,validation,test}.xyz`` (eV, eV/Å)
and ``MOLECULE.json``, how they came about. Interrupt it at will: the same command goes on.
"""

import argparse
import hashlib
import json
import os
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from molecules import (
    ACCURACY,
    HYDROGEN_BOND_ANGSTROM,
    METHOD,
    MOLECULES,
    WALL_EV_PER_SQUARE_ANGSTROM,
    relaxed_start,
)
from tqdm import tqdm
from trajectory import Protocol, Trajectory

ROOT = Path(__file__).parents[2]
DATA = ROOT / "runs" / "large_molecules" / "data"
TRAIN, TEST = 4, 2
N_VALIDATION, SPLIT_SEED = 50, 1


def write_part(path: Path, numbers: Any, frames: list[dict[str, Any]]) -> str:
    """Write structures with labels, and return the hash of the file."""
    found = []
    for frame in frames:
        atoms = ase.Atoms(numbers, frame["positions"])
        atoms.info["REF_energy"] = float(frame["energy"])
        atoms.arrays["REF_forces"] = frame["forces"]
        found.append(atoms)
    ase.io.write(path, found, format="extxyz")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def describe(trajectory: Trajectory) -> dict[str, Any]:
    """Return what is to be known of a trajectory."""
    frames = trajectory.frames
    entry = {
        "number": trajectory.number,
        "seed": trajectory.seed,
        "structures": len(frames),
        "mean_temperature_k": float(np.mean([frame["temperature"] for frame in frames])),
        "ms_per_step": 1e3 * trajectory.seconds / trajectory.step,
        "broken": trajectory.broken,
    }
    if trajectory.start.stack:
        bonds = np.array([frame["hydrogen_bonds"] for frame in frames])
        distances = np.array([frame["distance"] for frame in frames])
        entry["hydrogen_bonds_kept"] = float((bonds < HYDROGEN_BOND_ANGSTROM).mean())
        entry["stack_distance_angstrom"] = {
            "mean": float(distances.mean()),
            "largest": float(distances.max()),
        }
    return entry


def finish(name: str, trajectories: list[Trajectory], folder: Path) -> None:
    """Write the three files, and how they came about."""
    start, protocol = trajectories[0].start, trajectories[0].protocol
    train = [frame for trajectory in trajectories[:TRAIN] for frame in trajectory.frames]
    order = np.random.default_rng(SPLIT_SEED).permutation(len(train))
    n_validation = min(N_VALIDATION, len(train) // 5)
    parts = {
        "train": [train[k] for k in sorted(order[n_validation:])],
        "validation": [train[k] for k in sorted(order[:n_validation])],
        "test": [frame for trajectory in trajectories[TRAIN:] for frame in trajectory.frames],
    }
    hashes = {
        part: write_part(folder / f"{name}_{part}.xyz", start.atoms.numbers, frames)
        for part, frames in parts.items()
    }
    forces = {part: np.array([frame["forces"] for frame in parts[part]]) for part in parts}
    record = {
        "molecule": name,
        "n_atoms": len(start.atoms),
        "method": METHOD,
        "tblite": version("tblite"),
        "tblite_accuracy": ACCURACY,
        "ase": version("ase"),
        "integrator": "Langevin",
        "protocol": asdict(protocol),
        "walls": {
            "atoms_and_angstrom": start.walls,
            "ev_per_square_angstrom": WALL_EV_PER_SQUARE_ANGSTROM,
            "in_labels": False,
        },
        "split_seed": SPLIT_SEED,
        "train_trajectories": [describe(trajectory) for trajectory in trajectories[:TRAIN]],
        "test_trajectories": [describe(trajectory) for trajectory in trajectories[TRAIN:]],
        "n_broken": sum(len(trajectory.broken) for trajectory in trajectories),
        "structures": {part: len(frames) for part, frames in parts.items()},
        "force_rms_ev_per_angstrom": {
            part: float(np.sqrt(np.mean(values**2))) for part, values in forces.items()
        },
        "sha256": hashes,
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run what is not there yet, then write the files."""
    usual = Protocol()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("molecule", choices=MOLECULES)
    parser.add_argument("--frames", type=int, default=usual.frames, help="of each trajectory")
    parser.add_argument("--equilibration", type=int, default=usual.equilibration_steps)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    protocol = Protocol(
        equilibration_steps=options.equilibration, frames=options.frames, seed=options.seed
    )
    if protocol.equilibration_steps % protocol.spacing_steps:
        parser.error(f"--equilibration must be a multiple of {protocol.spacing_steps} steps")
    states = options.data / options.molecule
    states.mkdir(parents=True, exist_ok=True)
    start = relaxed_start(options.molecule)
    trajectories = [
        Trajectory(start, protocol, k, states / f"trajectory_{k}.npz") for k in range(TRAIN + TEST)
    ]
    each = protocol.equilibration_steps // protocol.spacing_steps + protocol.frames
    done = sum(trajectory.blocks for trajectory in trajectories)
    with tqdm(total=each * len(trajectories), initial=done, unit="structure") as bar:
        for trajectory in trajectories:
            while not trajectory.finished:
                before = trajectory.blocks
                trajectory.advance()
                bar.set_postfix_str(f"trajectory {trajectory.number}", refresh=False)
                bar.update(trajectory.blocks - before)
    finish(options.molecule, trajectories, options.data)


if __name__ == "__main__":
    main()
