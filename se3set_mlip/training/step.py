"""One optimisation step: a batch changes the parameters once.

Several processes add up the gradients of their shares themselves. DistributedDataParallel is not
used: it takes averages, of equal shares, and expects one backward pass through outputs that it has
seen, while forces are a derivative inside of the forward pass.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from se3set_mlip.errors import DatasetError
from se3set_mlip.training.batches import Share
from se3set_mlip.training.config import LossConfig
from se3set_mlip.training.loss import LossWeights, compute_loss
from se3set_mlip.training.processes import Processes


class StepResult(NamedTuple):
    """What a step reports, of the whole batch."""

    loss: float
    gradient_norm: float
    """Before clipping."""


def training_step(
    module: torch.nn.Module,
    share: Share,
    *,
    optimizer: torch.optim.Optimizer,
    loss: LossConfig,
    weights: LossWeights,
    gradient_clip_norm: float | None,
    step: int,
    processes: Processes,
) -> StepResult:
    """Take one step; the parameters are unchanged when it fails.

    1. Energies, forces and stress, with a graph for the second derivative.
    2. Loss and its gradient with respect to the parameters, added up over all processes and clipped
       to a norm.
    3. Update of the parameters, equal in all processes.

    Parameters
    ----------
    module
        The potential, in training mode.
    share
        Structures and labels for this process, on the device of the module.
    optimizer
        Holds the parameters of the module.
    loss, weights
        Kind of loss, and the weights at this step.
    gradient_clip_norm
        Largest norm of the whole gradient; None does not clip.
    step
        Number of the step, for messages.
    processes
        Who computes the other shares.

    Raises
    ------
    DatasetError
        In all processes, when loss or gradient are not finite; the message names the step and the
        structures.
    """
    parameters = list(module.parameters())
    optimizer.zero_grad(set_to_none=True)
    value = torch.zeros((), dtype=torch.float64, device=parameters[0].device)
    if share.batch is not None:
        forces = weights.forces + weights.net_forces > 0.0
        output = module(share.batch.system, forces, weights.stress > 0.0)
        value = compute_loss(output, share.batch, loss, weights, counts=share.counts)
        value.backward()
    loss_value = _add_up(value.detach(), parameters, processes)
    _check_finite("loss", loss_value, share, step)
    limit = float("inf") if gradient_clip_norm is None else gradient_clip_norm
    norm = torch.nn.utils.clip_grad_norm_(parameters, limit).item()
    _check_finite("gradient norm", norm, share, step)
    optimizer.step()
    return StepResult(loss_value, norm)


def _add_up(
    loss: torch.Tensor, parameters: Sequence[torch.nn.Parameter], processes: Processes
) -> float:
    """Give all processes the sum of their gradients; return the sum of their losses.

    All travel as one vector of float64: loss, who has a gradient, gradients. What has none in any
    process (a term of zero weight) must have none after it, for the optimizer leaves that alone.
    """
    if processes.size == 1:
        return loss.item()
    there = [float(parameter.grad is not None) for parameter in parameters]
    gradients = [
        torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for parameter in parameters
    ]
    vector = torch.cat(
        [
            loss.reshape(1),
            torch.tensor(there, dtype=torch.float64, device=loss.device),
            *(gradient.reshape(-1).double() for gradient in gradients),
        ]
    )
    processes.add_up(vector)
    head, tail = vector[: 1 + len(there)].tolist(), vector[1 + len(there) :]
    pieces = tail.split([parameter.numel() for parameter in parameters])
    for parameter, owners, piece in zip(parameters, head[1:], pieces, strict=True):
        summed = piece.view_as(parameter).to(parameter.dtype)
        parameter.grad = summed if owners > 0.0 else None
    return float(head[0])


def _check_finite(what: str, value: float, share: Share, step: int) -> None:
    """Raise an error that names step and structures when ``value`` is NaN or infinite."""
    if value - value != 0.0:
        raise DatasetError(
            f"the {what} became {value} at step {step}, in the batch of {', '.join(share.names)}; "
            "look for wrong labels or overlapping atoms in these structures, or lower "
            "optimizer.learning_rate"
        )
