"""Where the time of an evaluation goes: hypergraph, pairs, incidences, atoms.

The share of the hypergraph is timed directly: weights and vectors of candidates, and their
derivative back to the positions. The search for candidates, which engines do only when the skin is
used up, is timed beside it. The rest is split as torch's profiler sees it. Every operation belongs
to the rows it works on, forwards and backwards: one of its tensors has as many rows as there are
pairs, or incidences, or else atoms. What the profiler does not see (Python between operations) is
left out of the split; it is small where systems are large.
"""

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from se3set_mlip.hypergraph.hypergraph import Hypergraph, System, moved
from se3set_mlip.model.density import DensityNetwork
from se3set_mlip.potential.candidate_cache import SKIN_ANGSTROM
from se3set_mlip.potential.potential_module import PotentialModule

PROFILED_CALLS = 5
MOST_ROWS_PER_ROW = 64
"""A tensor flattened over this many rows of one pair still counts as one of pairs."""


def shares_of_parts(module: PotentialModule, systems: Sequence[System]) -> dict[str, Any]:
    """Return how the time of an evaluation is shared, and how many rows there are of each kind.

    Parameters
    ----------
    module
        The potential, in evaluation mode.
    systems
        Geometries of one structure, one for each call.
    """
    times = [_times(module, system) for system in (systems[0], *systems)][1:]
    share = statistics.median(one.weighing / one.evaluation for one in times)
    built = [_cut_off(module.builder(system)) for system in systems[:PROFILED_CALLS]]
    seen: dict[str, float] = {}
    for one in built:  # each has rows of its own
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
            _network(module, one)
        for part, time_ in split_by_rows(profiled.events(), rows_of(module.network, one)).items():
            seen[part] = seen.get(part, 0.0) + time_
    total = sum(seen.values())
    shares = {"hypergraph": share}
    shares |= {part: (1.0 - share) * time_ / total for part, time_ in seen.items()}
    return {
        "seconds": statistics.median(one.evaluation for one in times),
        "search_seconds": statistics.median(one.search for one in times),
        "rows": rows_of(module.network, built[0]),
        "shares": shares,
    }


def rows_of(network: torch.nn.Module, hypergraph: Hypergraph) -> dict[str, int]:
    """Return how many rows there are of each kind, the most numerous first.

    Densities lay pairs in rows, of which some places are free.
    """
    pairs = hypergraph.pair_source
    if isinstance(network, DensityNetwork):
        pairs = network.geometry(hypergraph).source
    return {
        "pairs": pairs.shape[0],
        "incidences": hypergraph.incidence_atom.shape[0],
        "atoms": hypergraph.numbers.shape[0],
    }


def split_by_rows(events: Iterable[Any], rows: Mapping[str, int]) -> dict[str, float]:
    """Return the time spent on each kind of row, by the shapes of what operations worked on.

    Parameters
    ----------
    events
        Of the profiler, with shapes of inputs and time of their own in µs.
    rows
        Number of rows of each kind, the most numerous first.
    """
    found = dict.fromkeys(rows, 0.0)
    for event in events:
        found[kind_of_rows(event.input_shapes or [], rows)] += event.self_cpu_time_total
    return found


def kind_of_rows(shapes: Iterable[Sequence[int]], rows: Mapping[str, int]) -> str:
    """Return which rows tensors of these shapes are made of; atoms where nothing else fits."""
    sizes = [size for shape in shapes for size in shape if isinstance(size, int)]
    for kind, count in rows.items():
        if any(s and s % count == 0 and s // count <= MOST_ROWS_PER_ROW for s in sizes):
            return kind
    return list(rows)[-1]


class _Times(NamedTuple):
    """Times of one geometry, in seconds."""

    evaluation: float
    """Energy and forces, candidates given."""
    weighing: float
    """Weights and vectors of the candidates, and their derivative."""
    search: float
    """Finding candidates."""


def _times(module: PotentialModule, system: System) -> _Times:
    """Return the times of an evaluation and of what precedes the network."""
    begin = time.perf_counter()
    candidates = module.candidates(system, SKIN_ANGSTROM)
    search = time.perf_counter() - begin

    begin = time.perf_counter()
    module(system, True, False, candidates)
    evaluation = time.perf_counter() - begin

    leaf = system.positions.detach().requires_grad_(True)
    begin = time.perf_counter()
    built = module.builder.weighted(moved(system, leaf, system.cell), candidates.hypergraph, True)
    weighing = time.perf_counter() - begin
    outputs = [tensor for tensor in built if tensor.requires_grad]
    cotangents = [torch.randn_like(tensor) for tensor in outputs]
    begin = time.perf_counter()
    torch.autograd.grad(outputs, leaf, cotangents)
    return _Times(evaluation, weighing + time.perf_counter() - begin, search)


def _cut_off(built: Hypergraph) -> Hypergraph:
    """Return the hypergraph with its weights and vectors as independent inputs."""
    return Hypergraph(
        *(tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in built)
    )


def _network(module: PotentialModule, built: Hypergraph) -> None:
    """Compute the network on a hypergraph, and its derivative."""
    energies = module.network(built)
    inputs = [tensor for tensor in built if tensor.requires_grad]
    torch.autograd.grad(energies.sum(), inputs, allow_unused=True)
