"""Errors of a potential on files of labelled structures, and the report at the end of a run."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from se3set_mlip.configuration import config_to_dict
from se3set_mlip.errors import DatasetError
from se3set_mlip.potential.checkpoint import load_checkpoint, save_checkpoint
from se3set_mlip.potential.potential import Potential
from se3set_mlip.training.batches import fixed_batches, make_samples
from se3set_mlip.training.config import TrainingConfig
from se3set_mlip.training.datasets import Frame, read_frames
from se3set_mlip.training.labels import LabelConfig
from se3set_mlip.training.metrics import Metrics, Predictions, compute_metrics, predict
from se3set_mlip.training.outputs import BEST_FILE, REPORT_FILE
from se3set_mlip.training.parts import TrainingData
from se3set_mlip.training.plots import plot_learning_curve, plot_parity
from se3set_mlip.training.state import Progress, write_json

_VERSIONED_PACKAGES = ("se3set-mlip", "torch", "e3nn", "numpy", "ase", "rdkit")


def predict_frames(
    potential: Potential, frames: Sequence[Frame], *, batch_size: int = 32
) -> Predictions:
    """Return labels and predictions of structures; forces and stress where there are labels."""
    batches = fixed_batches(make_samples(potential, frames), batch_size)
    return predict(potential.module, batches, device=potential.device)


def evaluate_file(
    potential: Potential,
    path: str | Path,
    *,
    labels: LabelConfig | None = None,
    batch_size: int = 32,
    echo: Callable[[str], None] | None = None,
) -> Metrics:
    """Compare a potential with the labels of a file.

    Parameters
    ----------
    potential
        Any potential, loaded from a checkpoint or an artefact.
    path
        Extended XYZ, or another file that ASE reads; isolated atoms in it are left out.
    labels
        Names and units of the labels; by default ``REF_*``, then ASE's results, in eV and Å.
    batch_size
        Structures per evaluation.
    echo
        Called with a line on what was found and under which names.

    Returns
    -------
    dict
        ``energy_rmse_mev``, ``energy_rmse_mev_per_atom``, ``energy_mae_mev``,
        ``force_rmse_mev_per_angstrom``, ``force_mae_mev_per_angstrom``, ``n_structures``, and more;
        None where the file has no labels of that kind. ``by_element`` maps symbols to force errors.

    Raises
    ------
    DatasetError
        For a file without structures or labels, or with elements that the potential does not know.
    """
    file = read_frames(path, labels or LabelConfig())
    if echo is not None:
        echo(file.describe())
    if not file.frames:
        raise DatasetError(f"{path} holds isolated atoms only; expected structures to evaluate")
    predictions = predict_frames(potential, file.frames, batch_size=batch_size)
    return compute_metrics(predictions, n_structures=len(file.frames))


def write_report(
    folder: Path,
    config: TrainingConfig,
    data: TrainingData,
    progress: Progress,
    *,
    n_processes: int,
    echo: Callable[[str], None],
) -> dict[str, Metrics]:
    """Evaluate the best potential of a run; write the JSON report and the pictures.

    Parameters
    ----------
    folder
        The output folder; holds the best potential, whose metadata get the errors.
    config, data, progress
        The run.
    n_processes
        How many shared it when it ended.
    echo
        Called with a line for each part of the data.

    Returns
    -------
    dict
        Errors on ``training``, ``validation``, and each test file by its name.
    """
    potential = load_checkpoint(
        folder / BEST_FILE, device=config.run.device, dtype=config.run.dtype
    )
    metrics: dict[str, Metrics] = {}
    for name, part in data.parts.items():
        most = config.run.reported_training_structures if name == "training" else None
        frames = _drawn(part, most, seed=config.run.seed)
        predictions = predict_frames(potential, frames, batch_size=config.run.evaluation_batch_size)
        metrics[name] = compute_metrics(predictions, n_structures=len(frames))
        if config.run.plots:
            plot_parity(predictions, metrics[name], folder / f"parity_{name}.png", title=name)
        echo(_describe(name, metrics[name]))
    if config.run.plots:
        plot_learning_curve(progress.rows, folder / "learning_curve.png")
    _write_metrics_into(potential, metrics, folder / BEST_FILE)
    report = {
        "errors": metrics,
        "best_step": progress.best_step,
        "steps": progress.step,
        "epochs": progress.epoch,
        "wall_time_s": progress.elapsed_seconds,
        "seed": config.run.seed,
        "parameters": sum(parameter.numel() for parameter in potential.module.parameters()),
        "data": [
            {
                "path": file.path,
                "sha256": file.sha256,
                "structures": len(file.frames),
                "isolated_atoms": len(file.isolated_atoms),
                "labels": file.label_sources,
            }
            for file in data.files
        ],
        "left_out": list(data.left_out),
        "structures": {name: len(frames) for name, frames in data.parts.items()},
        "hardware": {**_hardware(config.run.device), "processes": n_processes},
        "versions": _versions(),
        "config": config_to_dict(config),
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    write_json(folder / REPORT_FILE, report)
    return metrics


def _drawn(frames: Sequence[Frame], most: int | None, *, seed: int) -> Sequence[Frame]:
    """Return so many structures, drawn at random, or all if there are not more."""
    if most is None or len(frames) <= most:
        return frames
    chosen = np.random.default_rng(seed).choice(len(frames), size=most, replace=False)
    return [frames[k] for k in sorted(chosen)]


def _describe(name: str, metrics: Metrics) -> str:
    """Return one line on the errors of a part."""

    def words(key: str, unit: str) -> str:
        value = metrics[key]
        return f"{value:.2f} {unit}" if isinstance(value, float) else "no labels"

    net = ""
    if metrics["n_net_forces"]:
        net = f", net force RMSE {words('net_force_rmse_mev_per_angstrom', 'meV/Å')} a molecule"
    return (
        f"{name}: {metrics['n_structures']} structures, energy RMSE "
        f"{words('energy_rmse_mev', 'meV')} ({words('energy_rmse_mev_per_atom', 'meV/atom')}), "
        f"force RMSE {words('force_rmse_mev_per_angstrom', 'meV/Å')}{net}"
    )


def _write_metrics_into(potential: Potential, metrics: dict[str, Metrics], path: Path) -> None:
    """Write the errors on unseen structures into the metadata of the best potential."""
    flat = {
        f"{part}_{name}": float(value)
        for part, values in metrics.items()
        if part != "training"
        for name, value in values.items()
        if isinstance(value, float)
    }
    metadata = replace(potential.metadata, metrics=flat)
    save_checkpoint(path, Potential(potential.module, potential.config, metadata))


def _hardware(device: str) -> dict[str, Any]:
    """Return on what the run took place."""
    values: dict[str, Any] = {
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
    }
    if torch.device(device).type == "cuda":
        values["gpu"] = torch.cuda.get_device_name(torch.device(device))
    return values


def _versions() -> dict[str, str]:
    """Return the versions of Python and the packages that decide the numbers."""
    return {
        "python": platform.python_version(),
        **{name: _package_version(name) for name in _VERSIONED_PACKAGES},
    }


def _package_version(name: str) -> str:
    """Return the version of an installed package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
