"""Derivatives of the energy: forces, stress and Hessian. The only place that differentiates.

Forces are ``-dE/dr``. The stress is the derivative with respect to a symmetric strain eps of
positions and cell together, ``r -> r (1 + eps)``, over the volume; its sign is ASE's (positive
under tension).
"""

import torch

from se3set_mlip.hypergraph.hypergraph import System, moved


def strained(system: System, strain: torch.Tensor) -> System:
    """Return the system under a strain (n_structures, 3, 3); only its symmetric part acts."""
    symmetric = 0.5 * (strain + strain.transpose(1, 2))
    positions = system.positions + torch.einsum(
        "ni,nij->nj", system.positions, symmetric[system.structure]
    )
    cell = system.cell + torch.einsum("nki,nij->nkj", system.cell, symmetric)
    return moved(system, positions, cell)


def gradients(
    energy: torch.Tensor, inputs: list[torch.Tensor], create_graph: bool
) -> list[torch.Tensor]:
    """Return the derivatives of the summed energy with respect to each input.

    Parameters
    ----------
    energy
        (n_structures,).
    inputs
        Tensors that require a gradient.
    create_graph
        Whether to keep the graph of the derivatives, for training and Hessians.
    """
    found = torch.autograd.grad(
        [energy.sum()], inputs, create_graph=create_graph, allow_unused=True
    )
    out: list[torch.Tensor] = []
    for k in range(len(inputs)):
        gradient = found[k]
        if gradient is None:  # a lone atom: its energy depends on no position
            out.append(torch.zeros_like(inputs[k]))
        else:
            out.append(gradient)
    return out
