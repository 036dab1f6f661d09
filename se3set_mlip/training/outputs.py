"""The output folder of a run: whose it is, what must be equal to continue it, and its log."""

import csv
import io
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from se3set_mlip.configuration import config_to_dict
from se3set_mlip.errors import ConfigError
from se3set_mlip.training.config import DataConfig, LossConfig, RunConfig, TrainingConfig
from se3set_mlip.training.optimizer_config import OptimizerConfig
from se3set_mlip.training.parts import TrainingData
from se3set_mlip.training.state import STATE_FILE, write_atomically, write_json

CONFIG_FILE = "training_config.json"
LOG_FILE = "log.csv"
BEST_FILE = "best.safetensors"
LAST_FILE = "last.safetensors"
REPORT_FILE = "report.json"

LOG_COLUMNS = (
    "epoch",
    "step",
    "train_loss",
    "validation_energy_rmse_mev_per_atom",
    "validation_energy_mae_mev_per_atom",
    "validation_force_rmse_mev_per_angstrom",
    "validation_force_mae_mev_per_angstrom",
    "learning_rate",
    "wall_time_s",
)

_SECTIONS = {"data": DataConfig, "optimizer": OptimizerConfig, "run": RunConfig, "loss": LossConfig}
_FREE_TO_CHANGE = {
    "run": (
        "output_dir",
        "device",
        "threads",
        "progress",
        "plots",
        "checkpoint_every_epochs",
        "checkpoint_every_steps",
        "reported_training_structures",
    ),
    "optimizer": ("max_wall_time_minutes",),
    # their hashes are compared
    "data": ("train_files", "auxiliary_files", "validation_files", "test_files"),
}


def prepare_folder(config: TrainingConfig, *, resume: bool) -> Path:
    """Make the output folder, or make sure that it holds a run to continue.

    Parameters
    ----------
    config
        The configuration of the run.
    resume
        Whether a run in this folder shall be continued.

    Raises
    ------
    ConfigError
        When a new run would write into a folder that is not empty, or when there is no run to
        continue in it.
    """
    folder = Path(config.run.output_dir)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"run.output_dir = {str(folder)!r} is a file; name a folder")
    ours = (folder / CONFIG_FILE).is_file()
    if resume:
        if not ours:
            raise ConfigError(
                f"{folder} holds no training run ({CONFIG_FILE} is missing); correct "
                "run.output_dir, or start without resume"
            )
        return folder
    if folder.is_dir() and any(folder.iterdir()):
        reason = "holds a training run already; resume it" if ours else "is not empty"
        raise ConfigError(f"run.output_dir {folder} {reason}, or choose a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG_FILE, config_to_dict(config))
    return folder


def has_state(folder: Path) -> bool:
    """Return whether a run got as far as its first saved state."""
    return (folder / STATE_FILE).is_file()


def fingerprint(config: TrainingConfig, data: TrainingData) -> dict[str, Any]:
    """Return all that decides the result of a run: settings, and hashes of the data."""
    values = config_to_dict(config)
    values.pop("model_card")
    for section, names in _FREE_TO_CHANGE.items():
        for name in names:
            values[section].pop(name)
    values["optimizer"]["batch_size"] = config.optimizer.structures_per_batch
    values["data"]["sha256"] = [file.sha256 for file in data.files]
    return values


def check_fingerprint(saved: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    """Refuse to continue a run with other settings or data.

    A setting that did not exist yet when the run began had what is its default now.

    Raises
    ------
    ConfigError
        Naming every setting that differs, with both values.
    """
    new = _flat(present)
    old = {name: value for name, value in _defaults().items() if name in new} | _flat(saved)
    differences = [
        f"{name} was {old.get(name)!r}, is {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if differences:
        raise ConfigError(
            f"the run cannot be continued with other settings: {'; '.join(differences)}; restore "
            "them, or start again in another run.output_dir"
        )


def _defaults() -> dict[str, Any]:
    """Return the defaults of the settings that have one, by dotted names."""
    return {
        f"{section}.{field.name}": field.default
        for section, kind in _SECTIONS.items()
        for field in fields(kind)
        if field.default is not MISSING and field.name not in _FREE_TO_CHANGE.get(section, ())
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def write_log(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write the log of all epochs as CSV, in one piece."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=LOG_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {
            name: f"{row[name]:.6g}" if isinstance(row[name], float) else row[name]
            for name in LOG_COLUMNS
        }
        for row in rows
    )
    write_atomically(folder / LOG_FILE, text.getvalue().encode())
