"""What members of a committee have computed becomes their mean and their spread.

For K members with energies E_k and forces F_k, at atom v and along axis c:

    E = 1/K sum_k E_k,        F = 1/K sum_k F_k = -dE/dr
    energy_std^2          = 1/(K-1) sum_k (E_k - E)^2
    forces_std[v, c]^2    = 1/(K-1) sum_k (F_k[v, c] - F[v, c])^2
    forces_std_norm[v]^2  = sum_c forces_std[v, c]^2 = 1/(K-1) sum_k |F_k[v] - F[v]|^2

These are *sample* standard deviations, with K - 1 in the denominator: members are a few draws out
of all models that such a training might give. Two members that differ by d have a spread of
d / sqrt(2).

``forces_std`` depends on how the axes lie; ``forces_std_norm`` does not, and is what thresholds are
for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from se3set_mlip.potential.potential_module import PotentialOutput
from se3set_mlip.potential.results import Evaluation


class Spread(NamedTuple):
    """Sample standard deviations over the members of a committee, for a batch."""

    energy_std: torch.Tensor
    """(n_structures,) float64, eV."""
    forces_std: torch.Tensor
    """(n_atoms, 3) float64, eV/Å, of each component; (0, 3) if forces were not asked for."""

    @property
    def forces_std_norm(self) -> torch.Tensor:
        """Norm of ``forces_std`` of each atom, (n_atoms,) eV/Å; the same however axes lie."""
        return self.forces_std.norm(dim=1)


@dataclass(frozen=True)
class CommitteeEvaluation(Evaluation):
    """Mean energy and derivatives of one structure, and the spread of the members.

    Parameters
    ----------
    energy_std
        eV.
    forces_std
        (n_atoms, 3) eV/Å, of each component, if forces were asked for.
    """

    energy_std: float
    forces_std: np.ndarray | None

    @property
    def forces_std_norm(self) -> np.ndarray | None:
        """Norm of ``forces_std`` of each atom, (n_atoms,) eV/Å, if forces were asked for."""
        return None if self.forces_std is None else np.linalg.norm(self.forces_std, axis=1)


def mean_output(members: Sequence[PotentialOutput]) -> PotentialOutput:
    """Return the mean of what members of a committee have computed, field by field."""
    return PotentialOutput(*(_mean(list(field)) for field in zip(*members, strict=True)))


def spread_of(members: Sequence[PotentialOutput]) -> Spread:
    """Return the spread of what members of a committee have computed."""
    return Spread(
        _std([member.energy for member in members]), _std([member.forces for member in members])
    )


def _mean(values: list[torch.Tensor]) -> torch.Tensor:
    """Return the mean in the dtype of the values; exactly the value where all are equal."""
    first = values[0].to(torch.float64)
    rest = torch.stack([value.to(torch.float64) - first for value in values])
    return (first + rest.mean(dim=0)).to(values[0].dtype)


def _std(values: list[torch.Tensor]) -> torch.Tensor:
    """Return the sample standard deviation, float64; exactly 0 where all values are equal.

    Differences from the first are taken before all else: energies may be 10^7 times their spread.
    """
    first = values[0].to(torch.float64)
    rest = torch.stack([value.to(torch.float64) - first for value in values])
    squares = (rest - rest.mean(dim=0)).square().sum(dim=0)
    return (squares / (len(values) - 1)).sqrt()


def mean_evaluation(evaluations: Sequence[Evaluation]) -> CommitteeEvaluation:
    """Return mean and spread of what members of a committee say of one structure."""

    def mean(name: str) -> np.ndarray | None:
        values = [getattr(evaluation, name) for evaluation in evaluations]
        if values[0] is None:
            return None
        return _mean([torch.as_tensor(value) for value in values]).numpy()

    atomic = mean("energies")
    assert atomic is not None
    energies = [torch.tensor(found.energy, dtype=torch.float64) for found in evaluations]
    forces = [torch.as_tensor(found.forces) for found in evaluations if found.forces is not None]
    return CommitteeEvaluation(
        energy=float(_mean(energies)),
        energies=atomic,
        forces=mean("forces"),
        stress=mean("stress"),
        energy_std=float(_std(energies)),
        forces_std=_std(forces).numpy() if forces else None,
    )
