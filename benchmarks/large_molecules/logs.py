"""What the logs of a run say: how long its steps took, its validation errors, how far it came.

Times in s, errors in meV and meV/Å.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from subjects import MACE


class Point(NamedTuple):
    """A validation: time since training began (s), RMS errors of energy (meV), forces (meV/Å)."""

    seconds: float
    energy: float
    forces: float


def rows_of_ours(folder: Path) -> list[dict[str, str]]:
    """Return the log of one of ours, a row for each epoch."""
    path = folder / "run" / "log.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def rows_of_mace(folder: Path) -> list[dict[str, Any]]:
    """Return the log of MACE: its steps, and its validations but the one before training."""
    logs = list((folder / "results").glob("*_train.txt"))
    if not logs:
        return []
    entries = [json.loads(line) for line in logs[0].read_text(encoding="utf-8").splitlines()]
    return [entry for entry in entries if entry["epoch"] is not None]


def probed_seconds(name: str, folder: Path) -> tuple[float, float]:
    """Return how long a step and a validation took in a probe, s; the first epoch warms up."""
    if name == MACE:
        rows = [row for row in rows_of_mace(folder) if row["epoch"] > 0]
        steps = [row["time"] for row in rows if row["mode"] == "opt"]
        return float(np.mean(steps)), float(
            np.mean([row["time"] for row in rows if row["mode"] == "eval"])
        )
    rows = rows_of_ours(folder)
    times = [float(row["wall_time_s"]) for row in rows]
    steps_per_epoch = int(rows[0]["step"])
    without, with_validation = np.diff(times)[[0, 1]]  # it follows the second epoch
    last = float(np.diff(times)[2])
    step = 0.5 * (float(without) + last) / steps_per_epoch
    return step, max(0.0, float(with_validation) - step * steps_per_epoch)


def curve(name: str, folder: Path, n_atoms: int) -> list[Point]:
    """Return the validations of a run."""
    if name != MACE:
        return [
            Point(
                float(row["wall_time_s"]),
                n_atoms * float(row["validation_energy_rmse_mev_per_atom"]),
                float(row["validation_force_rmse_mev_per_angstrom"]),
            )
            for row in rows_of_ours(folder)
            if row["validation_force_rmse_mev_per_angstrom"]
        ]
    seconds, found = 0.0, []
    for row in rows_of_mace(folder):
        seconds += row["time"]
        if row["mode"] == "eval":
            energy = 1e3 * n_atoms * row["rmse_e_per_atom"]
            found.append(Point(seconds, energy, 1e3 * row["rmse_f"]))
    return found


def seconds_of_mace(folder: Path) -> float:
    """Return how long MACE has trained and validated, s."""
    return float(sum(row["time"] for row in rows_of_mace(folder)))


def best_checkpoint_of_mace(folder: Path) -> Path:
    """Return the best checkpoint: the newest one, which MACE keeps of each stage.

    Raises
    ------
    SystemExit
        If there is none.
    """
    checkpoints = (folder / "checkpoints").glob("*_epoch-*.pt")
    found = sorted(checkpoints, key=lambda path: path.stat().st_mtime)
    if not found:
        sys.exit(f"no checkpoint of MACE in {folder}: it did not get to a validation")
    return found[-1]


def parameters(name: str, folder: Path) -> int:
    """Return the number of parameters of a finished run."""
    if name == MACE:  # the optimizer keeps an average for each
        path = best_checkpoint_of_mace(folder)
        states = torch.load(path, map_location="cpu", weights_only=True)["optimizer"]["state"]
        return sum(state["exp_avg"].numel() for state in states.values())
    report = json.loads((folder / "run" / "report.json").read_text(encoding="utf-8"))
    return int(report["parameters"])


def rate_ended(name: str, folder: Path) -> bool:
    """Return whether a run took all its epochs before its time was over."""
    settings = yaml.safe_load((folder / "settings.yaml").read_text(encoding="utf-8"))
    if name == MACE:
        epochs = [row["epoch"] for row in rows_of_mace(folder)]
        return bool(epochs) and max(epochs) + 1 >= settings["max_num_epochs"]
    return len(rows_of_ours(folder)) >= settings["optimizer"]["epochs"]
