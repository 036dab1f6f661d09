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


def displaced(system: System, stress: bool) -> tuple[System, list[torch.Tensor]]:
    """Return the system as a function of what to differentiate by: positions, and strain.

    Parameters
    ----------
    system
        Structures.
    stress
        Whether the strain (n_structures, 3, 3), zero here, is to be the second of these.
    """
    leaf = system.positions.detach().requires_grad_(True)
    out = moved(system, leaf, system.cell)
    inputs = [leaf]
    if stress:
        strain = torch.zeros_like(system.cell).requires_grad_(True)
        out = strained(out, strain)
        inputs.append(strain)
    return out, inputs


def forces_and_stress(
    system: System,
    gradients: list[torch.Tensor],
    forces: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return forces and stress from the derivatives by what :func:`displaced` returned.

    Shapes are (n_atoms, 3) in eV/Å and (n_structures, 3, 3) in eV/Å^3; what is not asked for has no
    rows.
    """
    none = torch.zeros(0, 3, dtype=system.positions.dtype, device=system.positions.device)
    stress = none.view(0, 3, 3)
    if len(gradients) > 1:
        stress = gradients[1] / torch.linalg.det(system.cell).abs().view(-1, 1, 1)
    return -gradients[0] if forces else none, stress


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


def pullback(
    outputs: list[torch.Tensor], weights: list[torch.Tensor], inputs: list[torch.Tensor]
) -> list[torch.Tensor]:
    """Return the derivatives of ``sum_k <weights_k, outputs_k>`` by each input, without a graph.

    Parameters
    ----------
    outputs
        Values of a graph; those that depend on no input count for nothing.
    weights
        As the outputs.
    inputs
        Tensors that require a gradient.
    """
    used = [k for k, output in enumerate(outputs) if output.requires_grad]
    if not used:
        return [torch.zeros_like(value) for value in inputs]
    found = torch.autograd.grad(
        [outputs[k] for k in used], inputs, [weights[k] for k in used], allow_unused=True
    )
    return [
        torch.zeros_like(value) if gradient is None else gradient
        for value, gradient in zip(inputs, found, strict=True)
    ]
