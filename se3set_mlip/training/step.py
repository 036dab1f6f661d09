"""One optimisation step: a batch changes the parameters once."""

from typing import NamedTuple

import torch

from se3set_mlip.errors import DatasetError
from se3set_mlip.training.batches import Batch
from se3set_mlip.training.config import LossConfig
from se3set_mlip.training.loss import LossWeights, compute_loss


class StepResult(NamedTuple):
    """What a step reports."""

    loss: float
    gradient_norm: float
    """Before clipping."""


def training_step(
    module: torch.nn.Module,
    batch: Batch,
    *,
    optimizer: torch.optim.Optimizer,
    loss: LossConfig,
    weights: LossWeights,
    gradient_clip_norm: float | None,
    step: int,
) -> StepResult:
    """Take one step; the parameters are unchanged when it fails.

    1. Energies, forces and stress, with a graph for the second derivative.
    2. Loss and its gradient with respect to the parameters, clipped to a norm.
    3. Update of the parameters.

    Parameters
    ----------
    module
        The potential, in training mode.
    batch
        Structures and labels, on the device of the module.
    optimizer
        Holds the parameters of the module.
    loss, weights
        Kind of loss, and the weights at this step.
    gradient_clip_norm
        Largest norm of the whole gradient; None does not clip.
    step
        Number of the step, for messages.

    Raises
    ------
    DatasetError
        When loss or gradient are not finite; the message names the step and the structures.
    """
    output = module(batch.system, weights.forces > 0.0, weights.stress > 0.0)
    value = compute_loss(output, batch, loss, weights)
    loss_value = value.item()
    _check_finite("loss", loss_value, batch, step)
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    limit = float("inf") if gradient_clip_norm is None else gradient_clip_norm
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), limit).item()
    _check_finite("gradient norm", norm, batch, step)
    optimizer.step()
    return StepResult(loss_value, norm)


def _check_finite(what: str, value: float, batch: Batch, step: int) -> None:
    """Raise an error that names step and structures when ``value`` is NaN or infinite."""
    if value - value != 0.0:
        raise DatasetError(
            f"the {what} became {value} at step {step}, in the batch of {', '.join(batch.names)}; "
            "look for wrong labels or overlapping atoms in these structures, or lower "
            "optimizer.learning_rate"
        )
