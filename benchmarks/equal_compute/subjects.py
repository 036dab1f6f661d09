"""What is compared: choices of this package and MACE, and how each is started.

Ours learn by the recipe of ``benchmarks/recipe/best.py``. Each subject writes its settings and says
by which command it starts; without a number of epochs it is a probe, which tells what they take.
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from systems import ROOT, System

HERE = Path(__file__).parent
MACE_BIN = ROOT / ".venvs" / "mace" / "bin"
sys.path.insert(0, str(HERE.parent))

from recipe.best import RECIPE, merged  # noqa: E402 - needs the path above
from sizes.points import POINTS  # noqa: E402 - likewise

ATTENTION = POINTS["a32_e15"]
MACE_RATE, MACE_STAGE_TWO = 0.1, 0.75
"""How far MACE's learning rate falls in its first stage, and the part of the run that this is."""
PROBE_EPOCHS, PROBE_VALIDATION = 4, 2
VALIDATIONS, CHECKPOINTS = 40, 10
"""How many a run has, about."""
OURS: dict[str, dict[str, Any]] = {
    "density": {"model": {"size": "small"}},
    "density_medium": {"model": {"size": "medium"}},
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
"""Settings of the potential: the small and the medium size; the published interaction with about as
many parameters as the small one; the small size with a network of the fragments, with fragments of
8 atoms or more, and with single atoms within 5 Å, which is a graph (see single_atoms.py)."""
MACE = "mace"
SUBJECTS = (*OURS, MACE)


def program(name: str) -> list[str]:
    """Return the command of the package that a subject wants."""
    if name == "single_atoms":
        return [sys.executable, str(HERE / "single_atoms.py")]
    return [sys.executable, "-m", "se3set_mlip"]


def start_ours(
    name: str,
    system: System,
    files: Path,
    folder: Path,
    *,
    seed: int,
    epochs: int | None,
    minutes: float,
) -> list[str]:
    """Write the settings of one of ours, and return how it is started."""
    number = epochs or PROBE_EPOCHS
    optimizer: dict[str, Any] = {"batch_size": system.batch, "epochs": number}
    if name == "attention":  # published networks with attention want a smaller rate
        smaller = ATTENTION.learning_rate / POINTS["c32"].learning_rate
        optimizer["learning_rate"] = smaller * RECIPE["optimizer"]["learning_rate"]
    if epochs is not None:
        optimizer["max_wall_time_minutes"] = minutes
    settings = {
        "data": {
            "train_files": str(files / "absolute" / f"{'train' if epochs else 'probe'}.xyz"),
            "validation_files": str(files / "absolute" / "validation.xyz"),
        },
        "potential": {"model": {"elements": list(system.elements)}},
        "optimizer": optimizer,
        "run": {
            "output_dir": str(folder / "run"),
            "seed": seed,
            "threads": 1,
            "plots": False,
            "progress": False,
            "evaluation_batch_size": system.batch_to_evaluate,
            "validate_every_epochs": max(1, epochs // VALIDATIONS) if epochs else PROBE_VALIDATION,
            "checkpoint_every_epochs": max(1, number // CHECKPOINTS),
        },
        "model_card": {"level_of_theory": system.level_of_theory, "training_data": system.about},
    }
    path = folder / "settings.yaml"
    written = yaml.safe_dump(merged(RECIPE, {"potential": OURS[name]}, settings))
    path.write_text(written, encoding="utf-8")
    return [*program(name), "train", str(path)]


def start_mace(
    system: System, files: Path, folder: Path, *, seed: int, epochs: int | None
) -> list[str]:
    """Write the settings of MACE, and return how it is started."""
    settings = yaml.safe_load((HERE / "mace.yaml").read_text(encoding="utf-8"))
    number = epochs or PROBE_EPOCHS
    every = max(1, number // VALIDATIONS)
    number -= (number - 1) % every  # the last epoch is validated, too
    stage_two = max(1, round(MACE_STAGE_TWO * number))
    settings |= {
        "work_dir": str(folder),
        "train_file": str(files / "relative" / f"{'train' if epochs else 'probe'}.xyz"),
        "valid_file": str(files / "relative" / "validation.xyz"),
        "E0s": str(dict.fromkeys(system.elements, 0.0)),
        "batch_size": system.batch_of_mace,
        "valid_batch_size": system.batch_to_evaluate,
        "seed": seed,
        "max_num_epochs": number,
        "start_swa": stage_two,
        "lr_scheduler_gamma": MACE_RATE ** (1.0 / stage_two),
        "eval_interval": every,
    }
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return [str(MACE_BIN / "mace_run_train"), "--config", str(path)]
