"""Several systems as one: tensors concatenated, indices shifted."""

from collections.abc import Sequence

import torch

from se3set_mlip.errors import InputError
from se3set_mlip.hypergraph.hypergraph import System


def _shifted(parts: Sequence[torch.Tensor], steps: Sequence[int]) -> torch.Tensor:
    """Concatenate index tensors, each raised by the sum of the steps before it."""
    out, offset = [], 0
    for part, step in zip(parts, steps, strict=True):
        out.append(part + offset)
        offset += step
    return torch.cat(out)


def batch_systems(systems: Sequence[System]) -> System:
    """Concatenate systems into one batch.

    Parameters
    ----------
    systems
        At least one, of equal dtype and device.

    Raises
    ------
    InputError
        If there is no system.
    """
    if not systems:
        raise InputError("cannot batch 0 systems; give at least one")
    if len(systems) == 1:
        return systems[0]
    atoms = [system.numbers.shape[0] for system in systems]
    return System(
        numbers=torch.cat([system.numbers for system in systems]),
        positions=torch.cat([system.positions for system in systems]),
        fragment=_shifted(
            [system.fragment for system in systems],
            [int(system.fragment.max()) + 1 for system in systems],
        ),
        group=_shifted(
            [system.group for system in systems],
            [int(system.group.max()) + 1 for system in systems],
        ),
        parent=_shifted([system.parent for system in systems], atoms),
        charge=torch.cat([system.charge for system in systems]),
        structure=_shifted(
            [system.structure for system in systems], [system.cell.shape[0] for system in systems]
        ),
        cell=torch.cat([system.cell for system in systems]),
        pbc=torch.cat([system.pbc for system in systems]),
    )
