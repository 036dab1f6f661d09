"""The learning rate as a pure function of the step, and the moving average of the weights."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def learning_rate_factor(
    step: int, *, n_steps: int, warmup_steps: int, final_fraction: float
) -> float:
    """Return the learning rate of a step relative to its maximum.

    Linear warm-up over ``warmup_steps``, then half a cosine down to ``final_fraction`` at the last
    step.

    Parameters
    ----------
    step
        From 0 to ``n_steps - 1``.
    n_steps, warmup_steps
        Lengths of the run and of the warm-up.
    final_fraction
        Value at the last step.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = min(1.0, (step - warmup_steps) / max(1, n_steps - 1 - warmup_steps))
    return final_fraction + (1.0 - final_fraction) * 0.5 * (1.0 + math.cos(math.pi * progress))


class MovingAverage:
    """Exponential moving average of a module's parameters, a <- d a + (1 - d) p.

    The decay grows with the number n of updates, d = min(decay, (1 + n) / (10 + n)), so that random
    initial weights are forgotten early.

    Parameters
    ----------
    module
        Its parameters start the average.
    decay
        Limit of d; 0 makes the average equal to the parameters.
    """

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.n_updates = 0
        self.average = {
            name: parameter.detach().clone() for name, parameter in module.named_parameters()
        }

    @torch.no_grad()
    def update(self, module: torch.nn.Module) -> None:
        """Take the present parameters into the average."""
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        for name, parameter in module.named_parameters():
            self.average[name].lerp_(parameter, 1.0 - decay)
        self.n_updates += 1

    @contextmanager
    def applied(self, module: torch.nn.Module) -> Iterator[None]:
        """Give the module the averaged parameters for the duration of a ``with`` block."""
        own = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
        copy_parameters(module, self.average)
        try:
            yield
        finally:
            copy_parameters(module, own)


@torch.no_grad()
def copy_parameters(module: torch.nn.Module, values: dict[str, torch.Tensor]) -> None:
    """Copy values into the parameters of the same name."""
    for name, parameter in module.named_parameters():
        parameter.copy_(values[name])
