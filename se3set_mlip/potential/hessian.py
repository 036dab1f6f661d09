"""The Hessian of one structure: second derivatives of its energy by its positions, eV/Å^2.

    H[i, j] = d2E / dx_i dx_j = -dF_i / dx_j

One graph of the forces is differentiated once for every row i, many rows at a time: one pass with
``m`` rows costs less than ``m`` passes while the tensors are small, and holds ``m`` times their
memory. How many rows are taken together follows from the bytes of the energy's graph, see
:func:`rows_at_once`. In a periodic cell an atom moves together with all of its images, so this is
the Hessian at the Gamma point.
"""

import torch

from se3set_mlip.errors import InputError
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.potential.chunked import check_memory
from se3set_mlip.potential.derivatives import displaced, gradients
from se3set_mlip.potential.memory import (
    FAST_GRAPH_BYTES,
    GIB,
    GRAPH_FACTOR,
    available_bytes,
    saved_bytes,
)
from se3set_mlip.potential.potential_module import PotentialModule

ROW_FACTOR = 1.5
"""What one row takes, in graphs of the energy: 1.0 to 1.3 were measured."""


def hessian(
    module: PotentialModule, system: System, *, memory_gib: float | None = None
) -> torch.Tensor:
    """Return the Hessian of one structure, (3 n_atoms, 3 n_atoms) in eV/Å^2, exactly symmetric.

    Each pair of elements is computed twice, as :func:`hessian_rows` tells, and averaged.

    Parameters
    ----------
    module
        The potential; a network that is not compiled, since compiled ones have first derivatives
        only.
    system
        One structure.
    memory_gib
        What the calculation may take in GiB, besides what the process holds already; None: what
        makes it fast.

    Returns
    -------
    torch.Tensor
        Rows and columns in the order x, y, z of the first atom, x, y, z of the second, and so on;
        the dtype of the network, detached.

    Raises
    ------
    InputError
        For a batch of several structures, or a ceiling that is too low or no positive number.
    """
    rows = hessian_rows(module, system, memory_gib=memory_gib)
    return 0.5 * (rows + rows.T)


def hessian_rows(
    module: PotentialModule, system: System, *, memory_gib: float | None = None
) -> torch.Tensor:
    """Return the Hessian row by row as autograd finds it: symmetric up to rounding.

    Arguments and errors are those of :func:`hessian`.
    """
    n_structures = system.cell.shape[0]
    if n_structures != 1:
        raise InputError(
            f"the Hessian of a batch of {n_structures} structures was asked for; give one at a time"
        )
    check_memory(memory_gib)
    was_training = module.training
    module.eval()
    try:
        with torch.enable_grad():
            return _rows(module, system, memory_gib)
    finally:
        module.train(was_training)


def _rows(module: PotentialModule, system: System, memory_gib: float | None) -> torch.Tensor:
    """Return the Hessian, (3 n_atoms, 3 n_atoms); the module evaluates, the graph is on."""
    n_rows = system.positions.numel()
    free, inputs = displaced(system, stress=False)
    # Counting detaches what a graph saves, so the graph that is differentiated is another one.
    _, graph_bytes = saved_bytes(lambda: module.energies(free))
    at_once = rows_at_once(graph_bytes, memory_gib=memory_gib, device=system.positions.device)
    gradient = gradients(module.energies(free)[0], inputs, True)[0].reshape(-1)
    out = torch.zeros(n_rows, n_rows, dtype=gradient.dtype, device=gradient.device)
    if not gradient.requires_grad:  # a lone atom
        return out
    for start in range(0, n_rows, at_once):
        stop = min(start + at_once, n_rows)
        chosen = torch.zeros(stop - start, n_rows, dtype=gradient.dtype, device=gradient.device)
        chosen[torch.arange(stop - start), torch.arange(start, stop)] = 1.0
        (found,) = torch.autograd.grad(
            gradient, inputs, chosen, retain_graph=stop < n_rows, is_grads_batched=True
        )
        out[start:stop] = found.detach().reshape(stop - start, n_rows)
    return out


def rows_at_once(graph_bytes: float, *, memory_gib: float | None, device: torch.device) -> int:
    """Return how many rows to compute together, at least one.

    With ``m`` rows together it takes about ``(GRAPH_FACTOR + ROW_FACTOR m) graph_bytes``.

    Parameters
    ----------
    graph_bytes
        Of the graph of the energy.
    memory_gib
        What the calculation may take; None: what makes it fast, on a graphics card most of what is
        free.
    device
        Where it is to be computed.

    Raises
    ------
    InputError
        If not even one row fits into the ceiling.
    """
    size = max(1.0, graph_bytes)
    room = (available_bytes(memory_gib, device) / size - GRAPH_FACTOR) / ROW_FACTOR
    if room < 1.0 and memory_gib is not None:
        least = (GRAPH_FACTOR + ROW_FACTOR) * size / GIB
        raise InputError(
            f"memory_gib = {memory_gib:.3g} is too little for the Hessian of this structure, which "
            f"takes {least:.3g} GiB row by row; give more, or a smaller structure"
        )
    fast = room if device.type == "cuda" else FAST_GRAPH_BYTES / size
    return max(1, int(min(room, fast)))
