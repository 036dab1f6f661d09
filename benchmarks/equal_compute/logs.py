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
    """A validation: time since training began (s), and root mean square errors.

    Of the energy of a structure (meV) and of an atom, and of forces (meV/Å).
    """

    seconds: float
    energy_rmse_mev: float
    energy_rmse_mev_per_atom: float
    force_rmse_mev_per_angstrom: float


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
    lines = logs[0].read_text(encoding="utf-8").splitlines() if logs else []
    entries = [json.loads(line) for line in lines if line.endswith("}")]  # one may be half written
    return [entry for entry in entries if entry["epoch"] is not None]


def probed(name: str, folder: Path) -> tuple[float, float, int]:
    """Return the seconds of a step and of a validation in a probe, and the steps of an epoch.

    The first epoch warms up. Structures with several topologies are learned with each of them, so
    the steps of an epoch are read, not computed.

    Raises
    ------
    SystemExit
        If the probe did not finish.
    """
    unfinished = f"the probe in {folder} did not finish: see output.txt there"
    if name == MACE:
        rows = [row for row in rows_of_mace(folder) if row["epoch"] > 0]
        last = max((row["epoch"] for row in rows), default=0)
        steps, validations = (
            [row["time"] for row in rows if row["mode"] == mode] for mode in ("opt", "eval")
        )
        if not steps or not validations:
            sys.exit(unfinished)
        return float(np.mean(steps)), float(np.mean(validations)), len(steps) // last
    found = rows_of_ours(folder)
    if len(found) < 4:
        sys.exit(unfinished)
    per_epoch = int(found[0]["step"])
    # The validation of the second epoch is in the time of the third.
    second, third, fourth = np.diff([float(row["wall_time_s"]) for row in found])
    step = 0.5 * float(second + fourth) / per_epoch
    return step, max(0.0, float(third) - step * per_epoch), per_epoch


def curve(name: str, folder: Path, n_atoms: int) -> list[Point]:
    """Return the validations of a run."""
    found, seconds = [], 0.0
    if name == MACE:
        for row in rows_of_mace(folder):
            seconds += row["time"]
            if row["mode"] == "eval":
                energy, forces = 1e3 * row["rmse_e_per_atom"], 1e3 * row["rmse_f"]
                found.append(Point(seconds, n_atoms * energy, energy, forces))
        return found
    for line in rows_of_ours(folder):
        if line["validation_force_rmse_mev_per_angstrom"]:
            energy = float(line["validation_energy_rmse_mev_per_atom"])
            forces = float(line["validation_force_rmse_mev_per_angstrom"])
            found.append(Point(float(line["wall_time_s"]), n_atoms * energy, energy, forces))
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


def epochs(name: str, folder: Path) -> tuple[int, int]:
    """Return how many epochs a run finished, and how many it was to take."""
    settings = yaml.safe_load((folder / "settings.yaml").read_text(encoding="utf-8"))
    if name == MACE:  # only validated epochs are known to be finished
        reached = [row["epoch"] + 1 for row in rows_of_mace(folder) if row["mode"] == "eval"]
        return max(reached, default=0), settings["max_num_epochs"]
    return len(rows_of_ours(folder)), settings["optimizer"]["epochs"]
