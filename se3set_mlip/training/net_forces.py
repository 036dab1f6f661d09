"""The net force on each molecule of a structure that has several: what they do to each other.

Forces within a molecule cancel in the sum over its atoms, whatever their errors.
"""

from typing import NamedTuple

import torch

from se3set_mlip.training.batches import Batch


class NetForces(NamedTuple):
    """Of molecules that are not alone in their structure, as far as their atoms have labels."""

    label: torch.Tensor
    """eV/Å, (n_molecules, 3)."""
    predicted: torch.Tensor
    """eV/Å, (n_molecules, 3)."""
    structure: torch.Tensor
    """Of which structure each molecule is, (n_molecules,) int64."""


def net_forces(forces: torch.Tensor, batch: Batch) -> NetForces:
    """Sum labels and predictions over molecules.

    Parameters
    ----------
    forces
        Predicted, eV/Å, (n_atoms, 3).
    batch
        Structures and labels.
    """
    labels = batch.labels
    counted = labels.beside_others()
    molecules, row = labels.molecule[counted].unique(return_inverse=True)
    zero = forces.new_zeros(len(molecules), 3)
    structure = torch.zeros_like(molecules)
    structure[row] = batch.system.structure[counted]
    return NetForces(
        label=zero.index_add(0, row, labels.forces[counted]),
        predicted=zero.index_add(0, row, forces[counted]),
        structure=structure,
    )
