"""The optimizers: AdamW, and SOAP for what are matrices.

A linear map of features holds its weights as one vector, cut into one matrix for each irrep. AdamW
scales every number of it alone; SOAP (arXiv 2409.11321) takes the matrices as such and does Adam's
update along the principal axes of their gradients, rows and columns. On small data sets it needs
about half of the epochs (docs/recipe.md).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch

from se3set_mlip.errors import MissingDependencyError
from se3set_mlip.model.linear import EquivariantLinear
from se3set_mlip.training.optimizer_config import OptimizerConfig

LARGEST_AXIS = 256
"""Rows or columns beyond which SOAP takes a side of a matrix as it is: its cost grows as a cube."""
STEPS_BETWEEN_AXES = 10
DECAYS = (0.975, 0.95)
"""Per step, of the averages of gradients and of their squares and products."""


def make_optimizer(module: torch.nn.Module, settings: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimizer of the parameters of a module.

    Raises
    ------
    MissingDependencyError
        When SOAP is wanted and its package is not installed.
    """
    if settings.method == "soap":
        return MatrixOptimizer(module, settings)
    return torch.optim.AdamW(
        module.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        amsgrad=settings.amsgrad,
    )


class _Matrix(NamedTuple):
    """A matrix within a parameter: a tensor of its own, on the same memory."""

    owner: torch.nn.Parameter
    start: int
    view: torch.nn.Parameter

    def take_gradient(self) -> None:
        """Give the view its part of the owner's gradient."""
        gradient = self.owner.grad
        if gradient is None:
            self.view.grad = None
            return
        stop = self.start + self.view.numel()
        self.view.grad = gradient.view(-1)[self.start : stop].view_as(self.view)


class MatrixOptimizer(torch.optim.Optimizer):
    """SOAP for the matrices of a module, AdamW for its other parameters.

    Parameters
    ----------
    module
        On its device; its parameters are changed in place and must not be replaced afterwards.
    settings
        Learning rate of both, at first; each step takes it from ``param_groups``. Weight decay of
        both. AMSGrad does not apply.
    """

    def __init__(self, module: torch.nn.Module, settings: OptimizerConfig) -> None:
        soap = _import_soap()
        super().__init__(module.parameters(), {"lr": settings.learning_rate})
        self._matrices = list(_matrices(module))
        in_matrices = {id(matrix.owner) for matrix in self._matrices}
        shared: dict[str, Any] = {
            "lr": settings.learning_rate,
            "weight_decay": settings.weight_decay,
        }
        parts: dict[str, torch.optim.Optimizer] = {}
        if self._matrices:
            parts["matrices"] = soap(
                [matrix.view for matrix in self._matrices],
                betas=DECAYS,
                precondition_frequency=STEPS_BETWEEN_AXES,
                max_precondition_dim=LARGEST_AXIS,
                **shared,
            )
        others = [p for p in module.parameters() if id(p) not in in_matrices]
        if others:
            parts["others"] = torch.optim.AdamW(others, **shared)
        self._parts = parts

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters from their gradients."""
        loss = None if closure is None else closure()
        for matrix in self._matrices:
            matrix.take_gradient()
        for part in self._parts.values():
            for group in part.param_groups:
                group["lr"] = self.param_groups[0]["lr"]
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both optimizers."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the states of both optimizers."""
        for name, part in self._parts.items():
            part.load_state_dict(state_dict[name])


def _matrices(module: torch.nn.Module) -> Iterator[_Matrix]:
    """Yield the matrices of a module; they cover the parameters that they are views of."""
    vectors = set()
    for child in module.modules():
        if isinstance(child, EquivariantLinear):
            vectors.add(id(child.weight))
            start = 0
            for size, columns in zip(child.sizes, child.output_mul, strict=True):
                if size > 0:
                    yield _matrix(child.weight, start, size, columns)
                start += size
    for parameter in module.parameters():
        if parameter.dim() == 2 and parameter.numel() > 0 and id(parameter) not in vectors:
            yield _matrix(parameter, 0, parameter.numel(), parameter.shape[1])


def _matrix(owner: torch.nn.Parameter, start: int, size: int, columns: int) -> _Matrix:
    """Return the matrix of ``size`` numbers from ``start`` on."""
    numbers = owner.detach().view(-1)[start : start + size]
    return _Matrix(owner, start, torch.nn.Parameter(numbers.view(-1, columns)))


def _import_soap() -> Callable[..., torch.optim.Optimizer]:
    """Return the optimizer of the package that has it."""
    try:
        from pytorch_optimizer import SOAP  # noqa: PLC0415 - takes a second, only training needs it
    except ImportError as error:
        raise MissingDependencyError(
            "optimizer.method soap needs the package pytorch_optimizer; install it with "
            "pip install 'se3set-mlip[train]', or set optimizer.method to adamw"
        ) from error
    return SOAP
