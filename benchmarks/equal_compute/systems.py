"""What is learned: for each system its files, its elements, its batches, and how to get it.

The structures of a system become files in the folder of its runs, with the labels ``REF_energy``
(eV) and ``REF_forces`` (eV/Å): as they are, and with energies relative to the mean of those to
train on, for MACE, whose float32 would round others.
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np

ROOT = Path(__file__).parents[2]
SPLIT_SEED, PROBE_BATCHES = 1, 8
"""Of structures that are held out; and how many batches of MACE's size a probe learns."""


@dataclass(frozen=True)
class System:
    """A system, and how the programs take it.

    Parameters
    ----------
    folder, train
        Where its files are, and which one to train on.
    validation
        A file, or how many structures of ``train`` to hold out.
    tests
        Files to test on, by name.
    make
        The command that makes files which are missing.
    about, level_of_theory
        What they are, and how they were computed.
    elements, n_atoms
        Atomic numbers, and atoms of a structure.
    subjects
        What is compared if nothing is asked for.
    batch, batch_of_mace, batch_to_evaluate
        Structures at a time.
    energy_per, parts
        What energies are shown for, and how many of it make a structure.
    record
        A file that tells how the structures were made, if there is one.
    """

    folder: Path
    train: str
    validation: str | int
    tests: dict[str, str]
    make: str
    about: str
    level_of_theory: str
    elements: tuple[int, ...]
    n_atoms: int
    subjects: tuple[str, ...]
    batch: int = 4
    batch_of_mace: int = 5
    batch_to_evaluate: int = 10
    energy_per: str = "structure"
    parts: int = 1
    record: str | None = None


def _large(name: str, elements: tuple[int, ...], n_atoms: int) -> System:
    """Return a molecule of benchmarks/large_molecules."""
    ours = ("density", "attention", "fragment_update", "large_fragments", "single_atoms")
    return System(
        folder=ROOT / "runs" / "large_molecules" / "data",
        train=f"{name}_train.xyz",
        validation=f"{name}_validation.xyz",
        tests={"test": f"{name}_test.xyz"},
        make=f"python benchmarks/large_molecules/generate.py {name}",
        about=f"{name}, dynamics at 500 K",
        level_of_theory="GFN2-xTB",
        elements=elements,
        n_atoms=n_atoms,
        subjects=(*ours, "mace"),
        record=f"{name}.json",
    )


SYSTEMS = {
    "acetylacetone": System(
        folder=ROOT / "benchmarks" / "acetylacetone" / "data",
        train="train_300K.xyz",
        validation=50,
        tests={"300 K": "test_MD_300K.xyz", "600 K": "test_MD_600K.xyz"},
        make="git checkout benchmarks/acetylacetone/data",
        about="acetylacetone at 300 K (BOTNet-datasets, MIT licence)",
        level_of_theory="PBE-D3/def2-SVP",
        elements=(1, 6, 8),
        n_atoms=15,
        subjects=("density", "density_medium", "attention", "mace"),
    ),
    "water": System(
        folder=ROOT / "runs" / "water" / "data",
        train="train.xyz",
        validation="validation.xyz",
        tests={"data_3": "test.xyz"},
        make="python benchmarks/water/prepare.py --data FOLDER",
        about="liquid water, 64 molecules, of the examples of deepmd-kit (LGPL-3.0)",
        level_of_theory="PBE0-TS",
        elements=(1, 8),
        n_atoms=192,
        subjects=("density", "mace"),
        batch=1,
        batch_of_mace=1,
        batch_to_evaluate=2,
        energy_per="molecule",
        parts=64,
    ),
    "Ac-Ala3-NHMe": _large("Ac-Ala3-NHMe", (1, 6, 7, 8), 42),
    "docosahexaenoic-acid": _large("docosahexaenoic-acid", (1, 6, 8), 56),
    "AT-AT": _large("AT-AT", (1, 6, 7, 8), 60),
}


def read(system: System, name: str) -> list[ase.Atoms]:
    """Return the structures of a file, with ``REF_energy``, ``REF_forces`` and no other labels.

    Raises
    ------
    SystemExit
        If it is missing, or of something else.
    """
    path = system.folder / name
    if not path.exists():
        sys.exit(f"there is no {path}; make it: {system.make}")
    found = []
    for frame in ase.io.read(path, ":"):
        box = frame.cell if frame.pbc.any() else None
        plain = ase.Atoms(frame.numbers, frame.positions, cell=box, pbc=frame.pbc)
        labelled = "REF_energy" in frame.info
        energy = frame.info["REF_energy"] if labelled else frame.get_potential_energy()
        plain.info["REF_energy"] = float(energy)
        plain.arrays["REF_forces"] = frame.arrays["REF_forces"] if labelled else frame.get_forces()
        if len(plain) != system.n_atoms or not set(plain.numbers.tolist()) <= set(system.elements):
            sys.exit(
                f"{path} has {plain.symbols}, which is not {system.about}; give another --data"
            )
        found.append(plain)
    return found


def prepare(system: System, folder: Path, n_train: int | None) -> dict[str, Any]:
    """Write the structures to learn, unless they are there, and return what they are.

    Raises
    ------
    SystemExit
        If files are missing, or the folder is of other structures.
    """
    train = read(system, system.train)
    if isinstance(system.validation, str):
        validation = read(system, system.validation)
    else:
        order = np.random.default_rng(SPLIT_SEED).permutation(len(train)).tolist()
        validation = [train[k] for k in sorted(order[: system.validation])]
        train = [train[k] for k in sorted(order[system.validation :])]
    train = train[:n_train]
    mean = float(np.mean([frame.info["REF_energy"] for frame in train]))
    forces = np.array([frame.arrays["REF_forces"] for frame in train])
    probe = train[: PROBE_BATCHES * system.batch_of_mace]
    parts = {"train": train, "validation": validation, "probe": probe}
    data = {
        "about": system.about,
        "level_of_theory": system.level_of_theory,
        "n_atoms": system.n_atoms,
        "structures": {part: len(frames) for part, frames in parts.items()},
        "mean_energy_ev": mean,
        "force_rms_ev_per_angstrom": float(np.sqrt(np.mean(forces**2))),
        "sha256": {
            name: hashlib.sha256((system.folder / name).read_bytes()).hexdigest()
            for name in (system.train, system.validation)
            if isinstance(name, str)
        },
    }
    if system.record and (system.folder / system.record).exists():
        data["made"] = json.loads((system.folder / system.record).read_text(encoding="utf-8"))
    path = folder / "data.json"
    if path.exists():
        if json.loads(path.read_text(encoding="utf-8")) != data:
            sys.exit(f"{folder} holds runs of other structures; move it, or give another --runs")
        return data
    for kind, shift in (("absolute", 0.0), ("relative", mean)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for part, frames in parts.items():
            shifted = [frame.copy() for frame in frames]
            for frame in shifted:
                frame.info["REF_energy"] -= shift
            ase.io.write(folder / kind / f"{part}.xyz", shifted, format="extxyz")
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return data
