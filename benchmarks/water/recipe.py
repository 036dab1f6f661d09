"""Settings of both programs: how ours and MACE learn water.

Ours is the recipe of ``benchmarks/rmd17/train.py`` with one frame of 192 atoms a step. MACE has the
defaults of its training program, at the size of ``benchmarks/equal_compute/mace.yaml``, one frame a
step, and its second stage, with the loss on the energy raised as in ours, for the last 30 % of its
epochs.
"""

from pathlib import Path
from typing import Any

ELEMENTS = [1, 8]
LEVEL_OF_THEORY = "PBE0-TS"
STAGE_TWO = 0.7  # of the run is over when the second stage begins, in both
MACE = {
    "name": "mace",
    "model": "MACE",
    "num_channels": 64,
    "max_L": 1,
    "num_interactions": 2,
    "correlation": 3,
    "r_max": 5.0,
    "E0s": "average",
    "energy_key": "REF_energy",
    "forces_key": "REF_forces",
    "batch_size": 1,
    "valid_batch_size": 2,
    "lr": 0.01,
    "ema": True,
    "ema_decay": 0.99,
    "amsgrad": True,
    "swa": True,
    "swa_energy_weight": 1000.0,
    "swa_forces_weight": 100.0,
    "default_dtype": "float32",
    "device": "cpu",
    "eval_interval": 1,
    "patience": 10000,
    "skip_evaluate_heads": "Default,pt_head",
}


def potential_settings(size: str, channels: int | None = None) -> dict[str, Any]:
    """Return the settings of a potential for water.

    Parameters
    ----------
    size
        A named size.
    channels
        Instead of the channels of that size, of the density interaction.
    """
    model: dict[str, Any] = {"size": size, "elements": ELEMENTS}
    if channels is not None:
        if channels < 1:
            raise ValueError(f"channels = {channels}; give 1 or more, such as 16")
        model["irreps"] = f"{channels}x0e+{channels}x1o"
        model["irreps_density"] = "+".join(f"{channels}x{ir}" for ir in ("0e", "1o", "2e", "3o"))
    return {"model": model, "hypergraph": {"switch_on_angstrom": 1.0}}


def training_settings(
    data: Path,
    output: Path,
    *,
    size: str,
    channels: int | None,
    seed: int,
    epochs: int,
    minutes: float,
) -> dict[str, Any]:
    """Return the settings of our training; the rate decays over ``epochs``, and ends there."""
    return {
        "data": {
            "train_files": [str(data / "train.xyz")],
            "validation_files": [str(data / "validation.xyz")],
            "energy_scale_ev": 1.0,
        },
        "potential": potential_settings(size, channels),
        "loss": {
            "kind": "huber",
            "energy_weight": 100.0,
            "forces_weight": 100.0,
            "stage_two": {"start_fraction": STAGE_TWO, "energy_weight": 1000.0},
        },
        "optimizer": {
            "method": "soap",
            "learning_rate": 6.0e-3,
            "batch_size": 1,
            "epochs": epochs,
            "max_wall_time_minutes": minutes,
            "warmup_steps": 200,
            "ema_decay": 0.995,
        },
        "run": {
            "output_dir": str(output),
            "seed": seed,
            "threads": 1,
            "plots": False,
            "progress": False,
            "evaluation_batch_size": 2,
        },
        "model_card": {
            "level_of_theory": LEVEL_OF_THEORY,
            "training_data": "liquid water, 64 molecules, of the examples of deepmd-kit (LGPL-3.0)",
        },
    }


def mace_settings(data: Path, output: Path, *, seed: int, epochs: int) -> dict[str, Any]:
    """Return the settings of MACE's training program."""
    return MACE | {
        "work_dir": str(output),
        "train_file": str(data / "train.xyz"),
        "valid_file": str(data / "validation.xyz"),
        "seed": seed,
        "max_num_epochs": epochs,
        "start_swa": max(1, round(STAGE_TWO * epochs)),
    }
