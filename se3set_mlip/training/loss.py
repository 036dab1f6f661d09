"""Predictions and labels become one number to minimise.

    L = w_E <l(dE / n_atoms)> + w_F <l(dF)> + w_S <l(dS)> + w_N <l(sum dF)>

with errors in eV, eV/Å and eV/Å³; the last sum is over the atoms of a molecule. The averages run
over structures, force components, stress components, and components of the net forces on the
molecules of structures that have several, as far as they have a label; what has none does not
enter, neither above nor below the line. Each structure's l is multiplied by its weight
(``config_weight``), 1 unless it states another.
"""

from typing import NamedTuple

import torch

from se3set_mlip.potential.potential_module import PotentialOutput
from se3set_mlip.training.batches import Batch, LabelCounts, count_labels
from se3set_mlip.training.config import LossConfig, StageTwoConfig
from se3set_mlip.training.net_forces import net_forces


class LossWeights(NamedTuple):
    """The weights that hold at one step."""

    energy: float
    forces: float
    stress: float
    net_forces: float = 0.0


def loss_weights(config: LossConfig, *, step: int, n_steps: int) -> LossWeights:
    """Return the weights at ``step`` (from 0) of ``n_steps``: those of stage two near the end."""
    second = config.stage_two
    if second is not None and step >= second.start_fraction * n_steps:
        return _weights_of(second)
    return _weights_of(config)


def _weights_of(stage: LossConfig | StageTwoConfig) -> LossWeights:
    """Return the weights of a stage."""
    return LossWeights(
        energy=stage.energy_weight,
        forces=stage.forces_weight,
        stress=stage.stress_weight,
        net_forces=stage.net_forces_weight,
    )


def _masked_mean(
    error: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    config: LossConfig,
    *,
    count: int,
) -> torch.Tensor:
    """Return the sum over labelled rows of weight times l, divided by the ``count`` of a batch.

    ``error`` is (n_rows, ...); where it holds the whole batch this is the mean.
    """
    rows = error.reshape(error.shape[0], error.shape[1:].numel())  # (n_rows, n_components)
    rows = torch.where(mask.unsqueeze(1), rows, torch.zeros_like(rows)).double()
    n_labelled = max(1, count)
    if config.kind == "l2norm":
        norms: torch.Tensor = torch.linalg.vector_norm(rows, dim=1)
        return (weight * norms).sum() / n_labelled
    if config.kind == "huber":
        magnitude = rows.abs()
        quadratic = magnitude.clamp(max=config.huber_delta)
        # x^2 / 2 below delta, delta (|x| - delta / 2) above
        values = 0.5 * quadratic**2 + config.huber_delta * (magnitude - quadratic)
    else:
        values = rows**2
    return (weight * values.sum(dim=1)).sum() / (n_labelled * rows.shape[1])


def compute_loss(
    output: PotentialOutput,
    batch: Batch,
    config: LossConfig,
    weights: LossWeights,
    *,
    counts: LabelCounts | None = None,
) -> torch.Tensor:
    """Return the loss of a batch, or what a share of it adds to the loss.

    Parameters
    ----------
    output
        What the potential predicts; forces and stress only where their weight is not zero.
    batch
        Structures and labels.
    config
        The kind of loss.
    weights
        The weights that hold now.
    counts
        Labels of the whole batch, of which ``batch`` is a share; by default those of ``batch``. The
        losses of all shares add up to that of the batch.

    Returns
    -------
    torch.Tensor
        () float64.
    """
    labels = batch.labels
    counts = count_labels([labels]) if counts is None else counts
    loss = torch.zeros((), dtype=torch.float64, device=output.energy.device)
    if weights.energy > 0.0:
        error = (output.energy - labels.energy) / batch.n_atoms
        loss = loss + weights.energy * _masked_mean(
            error,
            labels.has_energy,
            labels.weight,
            config,
            count=counts.energy,
        )
    if weights.forces > 0.0:
        error = output.forces - labels.forces
        loss = loss + weights.forces * _masked_mean(
            error,
            labels.has_forces,
            labels.weight[batch.system.structure],
            config,
            count=counts.forces,
        )
    if weights.stress > 0.0:
        error = output.stress - labels.stress
        loss = loss + weights.stress * _masked_mean(
            error,
            labels.has_stress,
            labels.weight,
            config,
            count=counts.stress,
        )
    if weights.net_forces > 0.0:
        net = net_forces(output.forces, batch)
        loss = loss + weights.net_forces * _masked_mean(
            net.predicted - net.label,
            torch.ones_like(net.structure, dtype=torch.bool),
            labels.weight[net.structure],
            config,
            count=counts.molecules,
        )
    return loss
