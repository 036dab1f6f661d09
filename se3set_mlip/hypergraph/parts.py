"""A hypergraph in parts: some atoms each, with all their incidences and pairs.

Atoms that are close in space go into one part, so that a part has few sources outside of itself.
Everything is linear in atoms, incidences and pairs.
"""

from typing import NamedTuple

import torch

from se3set_mlip.hypergraph.candidates import in_lattice
from se3set_mlip.hypergraph.hypergraph import Hypergraph, System
from se3set_mlip.hypergraph.neighbors import cell_heights, usable_cell

VOLUME_OF_AN_ATOM = 10.0
"""In Å^3, as in liquids and crystals: makes compact parts of about the wanted number of atoms."""


class Arrangement(NamedTuple):
    """The rows of a hypergraph in another order: by atoms, in the order of the parts."""

    hypergraph: Hypergraph
    """Incidences by atom and pairs by incidence; indices of atoms are those of the system."""
    atoms: torch.Tensor
    """Atoms in the order of the parts, (n_atoms,) int64."""
    incidences: torch.Tensor
    """Where the incidence was before, (n_incidences,) int64."""
    pairs: torch.Tensor
    """Where the pair was before, (n_pairs,) int64."""
    last_incidence: torch.Tensor
    """Up to which incidence the first 0, 1, 2... atoms go, (n_atoms + 1,) int64, on the CPU."""
    last_pair: torch.Tensor
    """Up to which pair the first 0, 1, 2... atoms go, (n_atoms + 1,) int64, on the CPU."""


class Part(NamedTuple):
    """Some atoms of an arrangement, and what concerns them."""

    atoms: torch.Tensor
    """Atoms of the part, then further sources of its pairs, (n_local,) int64."""
    n_atoms: int
    """How many atoms of the part there are."""
    incidences: slice
    """Rows of the arrangement's incidences."""
    pairs: slice
    """Rows of the arrangement's pairs."""
    hypergraph: Hypergraph
    """With indices into ``atoms``; weights and vectors are views of the arrangement's."""


def spatial_order(system: System, atoms_in_part: int) -> torch.Tensor:
    """Return the atoms (n_atoms,) sorted into blocks of about this many neighbours.

    Parameters
    ----------
    system
        The structures, which are kept one after the other.
    atoms_in_part
        How large the blocks are at the density of a liquid.
    """
    structure, positions = system.structure, system.positions.detach()
    cell = usable_cell(system.cell.detach(), system.pbc)
    fractional = in_lattice(positions, torch.linalg.inv(cell), structure)
    periodic = system.pbc[structure]
    fractional = torch.where(periodic, fractional - torch.floor(fractional), fractional)
    places = fractional * cell_heights(cell)[structure]  # distances from three faces, Å
    lowest = torch.zeros_like(cell[:, 0])
    rows = structure.unsqueeze(1).expand_as(places)
    lowest = lowest.scatter_reduce(0, rows, places, "amin", include_self=False)
    width = (atoms_in_part * VOLUME_OF_AN_ATOM) ** (1.0 / 3.0)
    blocks = torch.floor((places - lowest[structure]) / width).to(torch.int64)
    order = torch.arange(places.shape[0], device=places.device)
    for key in (blocks[:, 2], blocks[:, 1], blocks[:, 0], structure):
        order = order[torch.argsort(key[order], stable=True)]
    return order


def arrange(hypergraph: Hypergraph, atoms: torch.Tensor) -> Arrangement:
    """Return a hypergraph, detached, with its rows in the order of ``atoms`` (n_atoms,)."""
    n_atoms, n_incidences = atoms.shape[0], hypergraph.incidence_atom.shape[0]
    rank = torch.empty_like(atoms)
    rank[atoms] = torch.arange(n_atoms, device=atoms.device)
    incidences = torch.argsort(rank[hypergraph.incidence_atom], stable=True)
    place = torch.empty_like(incidences)
    place[incidences] = torch.arange(n_incidences, device=atoms.device)
    pair_place = place[hypergraph.pair_incidence]
    pairs = torch.argsort(pair_place, stable=True)
    incidence_atom = hypergraph.incidence_atom[incidences]
    pair_incidence = pair_place[pairs]
    per_atom = torch.bincount(rank[incidence_atom], minlength=n_atoms)
    pairs_per_atom = torch.bincount(rank[incidence_atom[pair_incidence]], minlength=n_atoms)
    zero = torch.zeros(1, dtype=torch.int64)
    return Arrangement(
        hypergraph=Hypergraph(
            numbers=hypergraph.numbers,
            charge=hypergraph.charge,
            incidence_atom=incidence_atom,
            incidence_weight=hypergraph.incidence_weight.detach()[incidences],
            incidence_absence=hypergraph.incidence_absence.detach()[incidences],
            pair_source=hypergraph.pair_source[pairs],
            pair_incidence=pair_incidence,
            pair_vector=hypergraph.pair_vector.detach()[pairs],
            pair_weight=hypergraph.pair_weight.detach()[pairs],
        ),
        atoms=atoms,
        incidences=incidences,
        pairs=pairs,
        last_incidence=torch.cat([zero, per_atom.cumsum(0).cpu()]),
        last_pair=torch.cat([zero, pairs_per_atom.cumsum(0).cpu()]),
    )


def n_rows(arrangement: Arrangement) -> torch.Tensor:
    """Return how many rows of any kind the first 0, 1, 2... atoms have, (n_atoms + 1,), CPU."""
    atoms = torch.arange(arrangement.last_pair.shape[0])
    return atoms + arrangement.last_incidence + arrangement.last_pair


def split(arrangement: Arrangement, largest: float) -> list[Part]:
    """Return parts of about equal size, each of at most ``largest`` rows or one atom."""
    rows = n_rows(arrangement)
    room = max(largest - float(rows.diff().max()), 1.0)  # parts end with whole atoms
    n_parts = -int(-float(rows[-1]) // room) if float(rows[-1]) > largest else 1
    goals = torch.arange(1, n_parts + 1, dtype=torch.float64) * (float(rows[-1]) / n_parts)
    stops = torch.searchsorted(rows.to(torch.float64), goals.round(), right=True) - 1
    local = torch.full_like(arrangement.atoms, -1)
    parts: list[Part] = []
    start = 0
    for stop in torch.unique(stops).tolist():
        if stop > start:
            parts.append(_part(arrangement, start, stop, local))
            start = stop
    return parts


def first_part(arrangement: Arrangement, n_atoms: int) -> Part:
    """Return a part of the first ``n_atoms`` atoms, or of all if there are fewer."""
    local = torch.full_like(arrangement.atoms, -1)
    return _part(arrangement, 0, min(n_atoms, len(arrangement.atoms)), local)


def _part(arrangement: Arrangement, start: int, stop: int, local: torch.Tensor) -> Part:
    """Return the part of the atoms from ``start`` to ``stop`` in the arrangement's order.

    ``local`` is working space, (n_atoms,) of -1 before and after.
    """
    whole = arrangement.hypergraph
    first, last = arrangement.last_incidence[start], arrangement.last_incidence[stop]
    incidences = slice(int(first), int(last))
    pairs = slice(int(arrangement.last_pair[start]), int(arrangement.last_pair[stop]))
    own = arrangement.atoms[start:stop]
    local[own] = torch.arange(stop - start, device=own.device)
    source = whole.pair_source[pairs]
    others = torch.unique(source[local[source] < 0])
    local[others] = torch.arange(others.shape[0], device=own.device) + (stop - start)
    part = Part(
        atoms=torch.cat([own, others]),
        n_atoms=stop - start,
        incidences=incidences,
        pairs=pairs,
        hypergraph=Hypergraph(
            numbers=whole.numbers[own],
            charge=whole.charge[own],
            incidence_atom=local[whole.incidence_atom[incidences]],
            incidence_weight=whole.incidence_weight[incidences],
            incidence_absence=whole.incidence_absence[incidences],
            pair_source=local[source],
            pair_incidence=whole.pair_incidence[pairs] - incidences.start,
            pair_vector=whole.pair_vector[pairs],
            pair_weight=whole.pair_weight[pairs],
        ),
    )
    local[part.atoms] = -1
    return part
