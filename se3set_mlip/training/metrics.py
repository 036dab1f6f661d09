"""Predictions and labels become errors: of energies, forces and stresses, and of each element.

Errors are in meV, meV/Å and meV/Å³; root mean square (rmse), mean absolute (mae), largest (max).
Only what has a label is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from se3set_mlip.elements import SYMBOLS
from se3set_mlip.training.batches import Batch
from se3set_mlip.training.config import LossConfig
from se3set_mlip.training.labels import FloatArray
from se3set_mlip.training.net_forces import net_forces
from se3set_mlip.units import MEV_PER_EV

Metrics = dict[str, float | int | dict[str, dict[str, float]] | None]


@dataclass(frozen=True)
class Predictions:
    """Labelled quantities and their predictions, one row for each label."""

    names: tuple[str, ...]
    energy: FloatArray
    """(n_energies, 2): label, prediction; eV."""
    n_atoms: FloatArray
    """(n_energies,)."""
    forces: FloatArray
    """(n_atoms with forces, 3, 2); eV/Å."""
    numbers: npt.NDArray[np.int64]
    """(n_atoms with forces,)."""
    stress: FloatArray
    """(n_stresses, 3, 3, 2); eV/Å³."""
    net_forces: FloatArray
    """On molecules beside others, (n_molecules, 3, 2); eV/Å."""


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Return predictions of several sets of structures as one."""
    return Predictions(
        names=tuple(name for part in parts for name in part.names),
        energy=np.concatenate([part.energy for part in parts]),
        n_atoms=np.concatenate([part.n_atoms for part in parts]),
        forces=np.concatenate([part.forces for part in parts]),
        numbers=np.concatenate([part.numbers for part in parts]),
        stress=np.concatenate([part.stress for part in parts]),
        net_forces=np.concatenate([part.net_forces for part in parts]),
    )


def predict(
    module: torch.nn.Module, batches: Sequence[Batch], *, device: torch.device
) -> Predictions:
    """Evaluate a module on labelled batches.

    Parameters
    ----------
    module
        Put into evaluation mode for the duration.
    batches
        Structures and labels.
    device
        Where the module lives.
    """
    columns: dict[str, list[FloatArray]] = {
        name: [] for name in ("energy", "n_atoms", "forces", "numbers", "stress", "net_forces")
    }
    was_training = module.training
    module.eval()
    try:
        for batch in batches:
            _append_batch(columns, module, batch.to(device))
    finally:
        module.train(was_training)
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return Predictions(
        names=tuple(name for batch in batches for name in batch.names),
        energy=joined["energy"],
        n_atoms=joined["n_atoms"],
        forces=joined["forces"],
        numbers=joined["numbers"].astype(np.int64),
        stress=joined["stress"],
        net_forces=joined["net_forces"],
    )


def _append_batch(
    columns: dict[str, list[FloatArray]], module: torch.nn.Module, batch: Batch
) -> None:
    """Add labels and predictions of one batch, where there are labels."""
    labels = batch.labels
    forces, stress = bool(labels.has_forces.any()), bool(labels.has_stress.any())
    with torch.set_grad_enabled(forces or stress):
        output = module(batch.system, forces, stress)
    for name, label, mask, predicted in (
        ("energy", labels.energy, labels.has_energy, output.energy),
        ("forces", labels.forces, labels.has_forces, output.forces),
        ("stress", labels.stress, labels.has_stress, output.stress),
    ):
        if not bool(mask.any()):
            columns[name].append(np.zeros((0, *label.shape[1:], 2)))
            continue
        both = torch.stack([label[mask].double(), predicted.detach()[mask].double()], dim=-1)
        columns[name].append(both.cpu().numpy())
    net = net_forces(output.forces, batch) if forces else None
    columns["net_forces"].append(
        np.zeros((0, 3, 2))
        if net is None
        else torch.stack([net.label, net.predicted.detach()], dim=-1).double().cpu().numpy()
    )
    columns["n_atoms"].append(batch.n_atoms[labels.has_energy].cpu().numpy())
    columns["numbers"].append(batch.system.numbers[labels.has_forces].cpu().numpy())


def _rmse(error: FloatArray) -> float | None:
    """Return the root mean square, None of nothing."""
    return float(np.sqrt(np.mean(error**2))) if error.size else None


def _mae(error: FloatArray) -> float | None:
    """Return the mean absolute value, None of nothing."""
    return float(np.mean(np.abs(error))) if error.size else None


def _largest(error: FloatArray) -> float | None:
    """Return the largest absolute value, None of nothing."""
    return float(np.max(np.abs(error))) if error.size else None


def compute_metrics(predictions: Predictions, *, n_structures: int) -> Metrics:
    """Return errors by name; None where there is no label to compare with.

    Parameters
    ----------
    predictions
        Labels and predictions.
    n_structures
        Number of structures that were evaluated.
    """
    energy = (predictions.energy[:, 1] - predictions.energy[:, 0]) * MEV_PER_EV
    forces = (predictions.forces[..., 1] - predictions.forces[..., 0]) * MEV_PER_EV
    stress = (predictions.stress[..., 1] - predictions.stress[..., 0]) * MEV_PER_EV
    net = (predictions.net_forces[..., 1] - predictions.net_forces[..., 0]) * MEV_PER_EV
    per_atom = energy / predictions.n_atoms
    by_element: dict[str, dict[str, float]] = {}
    for number in np.unique(predictions.numbers):
        chosen = forces[predictions.numbers == number]
        by_element[SYMBOLS[number]] = {
            "force_rmse_mev_per_angstrom": float(np.sqrt(np.mean(chosen**2))),
            "force_mae_mev_per_angstrom": float(np.mean(np.abs(chosen))),
            "force_max_mev_per_angstrom": float(np.max(np.abs(chosen))),
            "n_atoms": float(len(chosen)),
        }
    return {
        "energy_rmse_mev": _rmse(energy),
        "energy_rmse_mev_per_atom": _rmse(per_atom),
        "energy_mae_mev": _mae(energy),
        "energy_mae_mev_per_atom": _mae(per_atom),
        "energy_max_mev": _largest(energy),
        "energy_mean_error_mev": float(np.mean(energy)) if energy.size else None,
        "force_rmse_mev_per_angstrom": _rmse(forces),
        "force_mae_mev_per_angstrom": _mae(forces),
        "force_max_mev_per_angstrom": _largest(forces),
        "stress_rmse_mev_per_angstrom3": _rmse(stress),
        "stress_mae_mev_per_angstrom3": _mae(stress),
        "net_force_rmse_mev_per_angstrom": _rmse(net),
        "net_force_mae_mev_per_angstrom": _mae(net),
        "n_structures": n_structures,
        "n_energies": len(energy),
        "n_force_components": int(forces.size),
        "n_stresses": len(stress),
        "n_net_forces": len(net),
        "by_element": by_element,
    }


def validation_score(metrics: Metrics, loss: LossConfig) -> float:
    """Return what decides which potential is the best: squared errors with the final weights.

    ``w_E rmse(E / n)^2 + w_F rmse(F)^2 + w_S rmse(S)^2 + w_N rmse(N)^2`` in eV and Å, over what has
    labels; N are net forces on molecules.
    """
    final = loss.stage_two or loss
    score = 0.0
    for weight, name in (
        (final.energy_weight, "energy_rmse_mev_per_atom"),
        (final.forces_weight, "force_rmse_mev_per_angstrom"),
        (final.stress_weight, "stress_rmse_mev_per_angstrom3"),
        (final.net_forces_weight, "net_force_rmse_mev_per_angstrom"),
    ):
        error = metrics[name]
        if isinstance(error, float):
            score += weight * (error / MEV_PER_EV) ** 2
    return score
