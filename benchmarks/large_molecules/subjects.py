"""What is compared: five choices of this package and MACE, and how each is started.

Each subject writes its settings and says by which command it starts. Energies in eV, lengths in Å.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MACE_BIN = ROOT / ".venvs" / "mace" / "bin"
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "rmd17")]

from sizes.points import POINTS  # noqa: E402 - needs the path above
from train import RECIPE  # noqa: E402 - likewise: benchmarks/rmd17/train.py

ATTENTION = POINTS["a32_e15"]
MACE_RATE, MACE_STAGE_TWO = 0.1, 0.75
"""How far MACE's learning rate falls in its first stage, and the part of the run that this is."""
PROBE_STRUCTURES, PROBE_EPOCHS, PROBE_VALIDATION = 40, 4, 2
OURS: dict[str, dict[str, Any]] = {
    "density": {"model": {"size": "small"}},
    "attention": {"model": ATTENTION.model},
    "fragment_update": {"model": {"size": "small", "fragment_update": True}},
    "large_fragments": {
        "model": {"size": "small", "average_sources": 12.0, "average_incidences": 1.6},
        "fragmentation": {"min_atoms": 8, "max_atoms": 16},
    },
    "single_atoms": {
        "model": {"size": "small", "average_sources": 1.0, "average_incidences": 10.0},
        "hypergraph": {"cutoff_angstrom": 5.0},
    },
}
"""Settings of the potential: the small size; the published interaction with as many parameters;
the small size with a network of the fragments, with fragments of 8 atoms or more, and with single
atoms within 5 Å, which is a graph (see single_atoms.py)."""
MACE = "mace"
SUBJECTS = (*OURS, MACE)


@dataclass(frozen=True)
class Files:
    """The data of a molecule.

    Parameters
    ----------
    train, validation
        Structures with labels.
    n_atoms, n_train
        Atoms of the molecule, structures to train on.
    relative
        Folder of the same files with energies relative to the mean of those to train on.
    mean_energy
        That mean, eV.
    """

    train: Path
    validation: Path
    n_atoms: int
    n_train: int
    relative: Path
    mean_energy: float


def prepare_files(molecule: str, data: Path, folder: Path) -> Files:
    """Find the structures of a molecule, and write those with relative energies.

    Raises
    ------
    SystemExit
        If they are not there.
    """
    paths = {part: data / f"{molecule}_{part}.xyz" for part in ("train", "validation")}
    if not all(path.exists() for path in paths.values()):
        sys.exit(f"no structures of {molecule} in {data}: run generate.py {molecule} first")
    found = {part: ase.io.read(path, ":") for part, path in paths.items()}
    mean = float(np.mean([atoms.info["REF_energy"] for atoms in found["train"]]))
    relative = folder / "relative"
    relative.mkdir(parents=True, exist_ok=True)
    for part, frames in found.items():
        for atoms in frames:
            atoms.info["REF_energy"] -= mean
        ase.io.write(relative / f"{part}.xyz", frames, format="extxyz")
    probe = found["train"][:PROBE_STRUCTURES]
    ase.io.write(relative / "probe.xyz", probe, format="extxyz")
    n_atoms = len(found["train"][0])
    return Files(*paths.values(), n_atoms, len(found["train"]), relative, mean)


def program(name: str) -> list[str]:
    """Return the command of the package that a subject wants."""
    if name == "single_atoms":
        return [sys.executable, str(HERE / "single_atoms.py")]
    return [sys.executable, "-m", "se3set_mlip"]


def start_ours(
    name: str, files: Files, folder: Path, *, seed: int, epochs: int | None, minutes: float
) -> list[str]:
    """Write the settings of one of ours, and return how it is started; a probe without epochs."""
    optimizer: dict[str, Any] = {**RECIPE["optimizer"], "epochs": epochs or PROBE_EPOCHS}
    if name == "attention":  # published networks with attention want a smaller rate
        optimizer["learning_rate"] *= ATTENTION.learning_rate / POINTS["c32"].learning_rate
    data: dict[str, Any] = {
        "train_files": str(files.train),
        "validation_files": str(files.validation),
        "energy_scale_ev": 1.0,
    }
    if epochs is None:
        data["n_train"] = min(PROBE_STRUCTURES, files.n_train)
    else:
        optimizer["max_wall_time_minutes"] = minutes
    potential = OURS[name]
    elements = sorted(set(ase.io.read(files.train).numbers.tolist()))
    settings = {
        **RECIPE,
        "data": data,
        "potential": {
            **potential,
            "model": {**potential["model"], "elements": elements},
            "hypergraph": {"switch_on_angstrom": 1.0, **potential.get("hypergraph", {})},
        },
        "optimizer": optimizer,
        "run": {
            "output_dir": str(folder / "run"),
            "seed": seed,
            "threads": 1,
            "plots": False,
            "progress": False,
            "evaluation_batch_size": 10,
            "validate_every_epochs": PROBE_VALIDATION if epochs is None else max(1, epochs // 40),
            "checkpoint_every_epochs": max(1, (epochs or PROBE_EPOCHS) // 10),
        },
    }
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return [*program(name), "train", str(path)]


def start_mace(files: Files, folder: Path, *, seed: int, epochs: int | None) -> list[str]:
    """Write the settings of MACE, and return how it is started; a probe without epochs."""
    settings = yaml.safe_load((HERE / "mace.yaml").read_text(encoding="utf-8"))
    number = epochs or PROBE_EPOCHS
    every = max(1, number // 40)
    number -= (number - 1) % every  # the last epoch is validated, too
    stage_two = max(1, round(MACE_STAGE_TWO * number))
    settings |= {
        "work_dir": str(folder),
        "train_file": str(files.relative / ("probe.xyz" if epochs is None else "train.xyz")),
        "valid_file": str(files.relative / "validation.xyz"),
        "seed": seed,
        "max_num_epochs": number,
        "start_swa": stage_two,
        "lr_scheduler_gamma": MACE_RATE ** (1.0 / stage_two),
        "eval_interval": every,
    }
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return [str(MACE_BIN / "mace_run_train"), "--config", str(path)]


def steps_per_epoch(name: str, n_train: int) -> int:
    """Return how many steps a pass through the training set takes."""
    if name == MACE:  # it drops the last, incomplete batch
        batch = yaml.safe_load((HERE / "mace.yaml").read_text(encoding="utf-8"))["batch_size"]
        return max(1, n_train // batch)
    return math.ceil(n_train / RECIPE["optimizer"]["batch_size"])
