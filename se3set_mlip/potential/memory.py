"""How much memory a staged evaluation takes: measured on a few atoms, for the size of its parts.

While a network is differentiated part by part, memory holds

- the hypergraph with its graph, and its rows once more in the order of the parts;
- the features of all atoms and incidences after every stage, and derivatives by them;
- the graph of one stage of one part, and what its differentiation takes besides.

The first two grow with the system, and the third with the parts. The graph's bytes are counted on a
small part; differentiation takes up to :data:`GRAPH_FACTOR` times as much.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from se3set_mlip.errors import InputError
from se3set_mlip.hypergraph.hypergraph import Hypergraph
from se3set_mlip.hypergraph.parts import Part
from se3set_mlip.model.stages import StagedNetwork
from se3set_mlip.potential.staged import with_leaves

GRAPH_FACTOR = 2.5
GIB = 2**30
FAST_GRAPH_BYTES = 96 * 2**20
"""On a processor parts with graphs of about this size are fastest, by trial of both networks."""
PARTS_AT_ONCE = 3.0
"""Up to this many parts are faster at once: parts compute all stages but one twice."""
FREE_FRACTION = 0.8
"""Of the free memory of a graphics card, for what it may fill unasked."""

T = TypeVar("T")


def saved_bytes(compute: Callable[[], T]) -> tuple[T, int]:
    """Return what a function returns, and the bytes that its graph keeps for differentiation."""
    storages: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold the graph that holds it

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = compute()
    return out, sum(storages.values())


def available_bytes(memory_gib: float | None, device: torch.device) -> float:
    """Return what may be taken: the ceiling, else most of a free graphics card, else infinity."""
    if memory_gib is not None:
        return memory_gib * GIB
    if device.type != "cuda":
        return math.inf
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return FREE_FRACTION * (torch.cuda.mem_get_info(device)[0] + unused)


def tensor_bytes(tensors: object) -> int:
    """Return the bytes of all tensors in nested tuples."""
    if isinstance(tensors, torch.Tensor):
        return tensors.nbytes
    return sum(tensor_bytes(item) for item in tensors) if isinstance(tensors, tuple) else 0


@dataclass(frozen=True)
class NetworkMemory:
    """Bytes that a network takes, for hypergraphs of one composition.

    Parameters
    ----------
    per_row
        Of the graph of one stage, per atom, incidence and pair of a part.
    per_atom, per_incidence
        Of the features after a stage.
    composition
        Incidences and pairs per atom, for which this was measured.
    """

    per_row: float
    per_atom: float
    per_incidence: float
    composition: tuple[float, float]

    def fits(self, hypergraph: Hypergraph) -> bool:
        """Tell whether a hypergraph is of about the composition of the measurement."""
        return all(
            abs(now - before) <= 0.2 * before
            for now, before in zip(composition(hypergraph), self.composition, strict=True)
        )

    def features(self, hypergraph: Hypergraph, n_stages: int) -> float:
        """Return the bytes of features after all stages, and of derivatives by them."""
        n_atoms, n_incidences = len(hypergraph.numbers), len(hypergraph.incidence_atom)
        return (n_stages + 1) * (n_atoms * self.per_atom + n_incidences * self.per_incidence)


def composition(hypergraph: Hypergraph) -> tuple[float, float]:
    """Return how many incidences and pairs there are per atom."""
    n_atoms = len(hypergraph.numbers)
    return len(hypergraph.incidence_atom) / n_atoms, len(hypergraph.pair_source) / n_atoms


def measure(network: StagedNetwork, part: Part, whole: Hypergraph) -> NetworkMemory:
    """Run all stages of a network on a small part, and count.

    Parameters
    ----------
    network
        A network in stages.
    part
        A part with some tens of atoms.
    whole
        The hypergraph of which it is a part.
    """
    rows = part.n_atoms + len(part.hypergraph.incidence_atom) + len(part.hypergraph.pair_source)
    atoms = network.embed(whole.numbers[part.atoms], whole.charge[part.atoms])
    incidences: list[torch.Tensor] = []
    graph = with_leaves(part.hypergraph)
    repeated = torch.arange(len(part.atoms), device=part.atoms.device) % part.n_atoms
    per_row = per_atom = per_incidence = 0.0
    for k in range(network.n_stages):
        inputs = [value.detach().requires_grad_(True) for value in atoms]
        edges = [value.detach().requires_grad_(True) for value in incidences]

        def run(
            k: int = k,
            inputs: list[torch.Tensor] = inputs,
            edges: list[torch.Tensor] = edges,
        ) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
            return network.stage(k, inputs, edges, network.geometry(graph), graph)

        with torch.enable_grad():
            (atoms, incidences, _), n_bytes = saved_bytes(run)
        per_row = max(per_row, n_bytes / rows)
        per_atom = max(per_atom, sum(value.nbytes for value in atoms) / part.n_atoms)
        held = sum(value.nbytes for value in incidences)
        per_incidence = max(per_incidence, held / max(1, len(graph.incidence_atom)))
        atoms = [value.detach()[repeated] for value in atoms]
    return NetworkMemory(per_row, per_atom, per_incidence, composition(whole))


def rows_in_part(
    memory: NetworkMemory,
    rows: torch.Tensor,
    *,
    n_stages: int,
    fixed_bytes: float,
    memory_gib: float | None,
    device: torch.device,
) -> float:
    """Return how many rows a part may have; infinity where parts are of no use.

    Parameters
    ----------
    memory
        Of the network.
    rows
        How many rows the first 0, 1, 2... atoms have, (n_atoms + 1,).
    n_stages
        Of the network; all their graphs are there together in an evaluation without parts.
    fixed_bytes
        What the system takes however small the parts are.
    memory_gib
        What the evaluation may take; None: as much as it likes, on a graphics card most of what is
        free.
    device
        Where it is to be computed.

    Raises
    ------
    InputError
        If one atom alone would take more than there is.
    """
    n_rows, most_of_an_atom = float(rows[-1]), float(rows.diff().max())
    per_row = GRAPH_FACTOR * memory.per_row
    on_card = device.type == "cuda"
    given = available_bytes(memory_gib, device)
    room = (given - fixed_bytes) / per_row
    fast = math.inf if on_card else FAST_GRAPH_BYTES / memory.per_row
    if n_rows <= PARTS_AT_ONCE * fast and n_stages * n_rows <= room:
        return math.inf
    if room < most_of_an_atom:
        least = (fixed_bytes + per_row * most_of_an_atom) / GIB
        raise InputError(
            f"memory_gib = {given / GIB:.3g} is too little for this system and this network, which "
            f"take {least:.3g} GiB atom by atom; give more, or a smaller system or network"
        )
    return min(room, fast)
