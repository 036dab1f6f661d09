"""The two programs that learn: how each is started, where it stands, and what it has written.

A run is a folder with ``settings.yaml``; what it holds else is the program's own. Times are those
that a program logs of its steps and validations, in s or minutes: reading data, the evaluation
at the end and the writing of files do not count, for either.
"""

import csv
import json
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
MACE_TRAIN = ROOT / ".venvs" / "mace" / "bin" / "mace_run_train"


class Validation(NamedTuple):
    """Errors of the averaged weights, root mean square, on the validation frames."""

    minutes: float
    epoch: int
    energy_mev_per_atom: float
    force_mev_per_angstrom: float


def command(name: str, settings: dict[str, Any], place: Path) -> list[str]:
    """Write the settings of a run, and return how it is started, or continued if it was begun."""
    begun = bool(progress(name, place)[0])
    place.mkdir(parents=True, exist_ok=True)
    path = place / "settings.yaml"
    if name == "mace":
        settings = settings | {"restart_latest": begun}
        start = [str(MACE_TRAIN), "--config", str(path)]
    else:
        resume = ["--resume"] if (place / "run" / "training_config.json").exists() else []
        start = [sys.executable, "-m", "se3set_mlip", "train", str(path), *resume]
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return start


def progress(name: str, place: Path) -> tuple[float, list[Validation]]:
    """Return the minutes that a run has trained for, as logged, and its validations."""
    return (_progress_of_mace if name == "mace" else _progress_of_ours)(place)


def _progress_of_ours(place: Path) -> tuple[float, list[Validation]]:
    path = place / "run" / "log.csv"
    if not path.exists():
        return 0.0, []
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    found = [
        Validation(
            float(row["wall_time_s"]) / 60.0,
            int(row["epoch"]),
            float(row["validation_energy_rmse_mev_per_atom"]),
            float(row["validation_force_rmse_mev_per_angstrom"]),
        )
        for row in rows
        if row["validation_force_rmse_mev_per_angstrom"]
    ]
    return (float(rows[-1]["wall_time_s"]) / 60.0 if rows else 0.0), found


def _entries_of_mace(place: Path) -> list[dict[str, Any]]:
    """Return the lines of MACE's log; the last one may be half written."""
    entries = []
    for log in sorted((place / "results").glob("*_train.txt")):
        lines = log.read_text(encoding="utf-8").splitlines()
        entries += [json.loads(line) for line in lines if line.endswith("}")]
    return entries


def _progress_of_mace(place: Path) -> tuple[float, list[Validation]]:
    seconds, found = 0.0, []
    for entry in _entries_of_mace(place):
        seconds += entry["time"]
        if entry["mode"] == "eval" and entry["epoch"] is not None:
            energy, force = 1e3 * entry["rmse_e_per_atom"], 1e3 * entry["rmse_f"]
            found.append(Validation(seconds / 60.0, entry["epoch"] + 1, energy, force))
    return seconds / 60.0, found


def n_epochs(place: Path) -> int:
    """Return the number of epochs that a run was started for; 0 if there is none."""
    path = place / "settings.yaml"
    if not path.exists():
        return 0
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    return int(settings.get("max_num_epochs") or settings["optimizer"]["epochs"])


def trained(name: str, place: Path) -> bool:
    """Return whether a run has validated its last epoch."""
    validations = progress(name, place)[1]
    return bool(validations) and validations[-1].epoch >= n_epochs(place)


def seconds_per_step(name: str, place: Path) -> float:
    """Return what a step took in a short run.

    Raises
    ------
    RuntimeError
        If it took too few steps to tell.
    """
    if name == "mace":
        times = [entry["time"] for entry in _entries_of_mace(place) if entry["mode"] == "opt"]
        if len(times) >= 4:
            return statistics.median(times[2:])
    else:
        report = place / "run" / "report.json"
        if report.exists():
            values = json.loads(report.read_text(encoding="utf-8"))
            return float(values["wall_time_s"]) / int(values["steps"])
    raise RuntimeError(
        f"{name} took too few steps to measure one; see {place / 'output.txt'}, or give "
        "--calibrate-minutes a larger number"
    )
