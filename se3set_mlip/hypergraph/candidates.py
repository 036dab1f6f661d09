"""What may become a hypergraph: a system -> indices that stay valid while atoms move a little.

Everything here is discrete, takes a search and has no gradient: which atoms may be within range of
which fragment (implicit overlap), which groups may be bonded to which fragment (explicit overlap).
A search that goes further than the range by a *skin* finds every candidate of all geometries in
which no atom has moved by more than half the skin.
"""

from typing import NamedTuple

import torch

from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.hypergraph.neighbors import neighbor_pairs, usable_cell


class Candidates(NamedTuple):
    """Entries that may have a weight, and the pairs of atoms on which the weight depends.

    An entry is an atom and a fragment (implicit overlap), or a fragment and a group (explicit). Its
    pairs are the atom and each core atom of the fragment, or a core atom of the fragment and an
    atom of the group.
    """

    first: torch.Tensor
    """The atom, or the fragment, of the entry, (n_entries,) int64, ascending."""
    second: torch.Tensor
    """The fragment, or the group, of the entry, (n_entries,) int64."""
    image: torch.Tensor
    """Lattice steps of ``second`` relative to ``first``, (n_entries, 3), dtype of positions."""
    own: torch.Tensor
    """Whether the entry is an atom and its own fragment, (n_entries,) bool."""
    pair_count: torch.Tensor
    """How many pairs the entry has, (n_entries,) int64."""
    pair_first: torch.Tensor
    """The first atom of the pair, (n_pairs,) int64."""
    pair_second: torch.Tensor
    """The second atom of the pair, (n_pairs,) int64."""
    pair_entry: torch.Tensor
    """The entry of the pair, (n_pairs,) int64; ascending with implicit overlap."""
    whole: torch.Tensor
    """Lattice steps that make fragments whole, (n_atoms, 3), dtype of positions."""
    periodic: bool
    """Whether any direction of any structure is periodic."""
    longest: int
    """The largest of ``pair_count``, or more."""


def whole_steps(system: System) -> torch.Tensor:
    """Return lattice steps (n_atoms, 3) after which every fragment is in one piece.

    Each atom takes the image nearest to its parent in the spanning tree; steps are summed to the
    root by pointer doubling.
    """
    positions = system.positions.detach()
    steps = torch.zeros_like(positions)
    if not bool(system.pbc.any()):
        return steps
    inverse = torch.linalg.inv(usable_cell(system.cell.detach(), system.pbc))
    vectors = positions - positions[system.parent]
    periodic = system.pbc[system.structure].to(positions.dtype)
    steps = -torch.round(in_lattice(vectors, inverse, system.structure)) * periodic
    parent = system.parent
    ancestor = parent[parent]
    while bool((ancestor != parent).any()):
        steps = steps + steps[parent]
        parent = ancestor
        ancestor = parent[parent]
    return steps


def in_lattice(steps: torch.Tensor, vectors: torch.Tensor, structure: torch.Tensor) -> torch.Tensor:
    """Return ``steps`` (n, 3) times the rows of ``vectors`` (n_structures, 3, 3) of each row."""
    if vectors.shape[0] == 1:
        return torch.matmul(steps, vectors[0])
    return torch.einsum("ni,nij->nj", steps, vectors[structure])


def segment_rows(
    key: torch.Tensor, start: torch.Tensor, size: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """For every row of ``key`` list the rows of its segment: (row of key, index in the segment)."""
    counts = size[key]
    row = torch.repeat_interleave(torch.arange(key.shape[0], device=key.device), counts)
    first = counts.cumsum(0) - counts
    index = torch.arange(row.shape[0], device=key.device) - first[row] + start[key[row]]
    return row, index


def unique_keys(
    first: torch.Tensor, second: torch.Tensor, shift: torch.Tensor, n_second: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the distinct (first, second, shift), sorted, and for each row which one it is."""
    s = shift.to(torch.int64)
    reach = int(s.abs().max().item()) if s.numel() > 0 else 0
    n_first = int(first.max().item()) + 1 if first.numel() > 0 else 0
    base = 2 * reach + 1
    if float(base) * float(base) * float(base) * float(n_first) * float(n_second) < 4e18:
        n_images = base * base * base
        image = ((s[:, 0] + reach) * base + s[:, 1] + reach) * base + s[:, 2] + reach
    else:  # molecules drifted far apart: number only the images that occur
        images, image = torch.unique(s, dim=0, return_inverse=True)
        n_images = images.shape[0]
    key = (first * n_second + second) * n_images + image
    unique, inverse = torch.unique(key, return_inverse=True)
    rows = torch.arange(key.shape[0], device=key.device)
    row = torch.zeros_like(unique).scatter(0, inverse, rows)
    return first[row], second[row], shift[row], inverse


def implicit_candidates(system: System, cutoff: float, skin: float) -> Candidates:
    """Return atoms and fragments within ``cutoff + skin`` Å of each other, and all own fragments.

    The pairs of an entry are the atom and each core atom of the fragment, without the atom itself.
    """
    whole = whole_steps(system)
    positions = system.positions.detach() + in_lattice(
        whole, system.cell.detach(), system.structure
    )
    n_atoms = positions.shape[0]
    atoms = torch.arange(n_atoms, device=positions.device)
    v, u, shift = neighbor_pairs(
        positions, system.cell, system.pbc, system.structure, cutoff + skin
    )
    size = torch.bincount(system.fragment)
    atom, fragment, image, _ = unique_keys(
        torch.cat([atoms, v]),
        torch.cat([system.fragment, system.fragment[u]]),
        torch.cat([torch.zeros_like(positions), shift]),
        size.shape[0],
    )
    own = (fragment == system.fragment[atom]) & (image == 0).all(dim=1)
    order = torch.argsort(system.fragment, stable=True)
    entry, index = segment_rows(fragment, size.cumsum(0) - size, size)
    source = order[index]
    keep = ~(own[entry] & (source == atom[entry]))  # no self pairs
    entry, source = entry[keep], source[keep]
    return Candidates(
        first=atom,
        second=fragment,
        image=image,
        own=own,
        pair_count=size[fragment] - own.to(torch.int64),
        pair_first=atom[entry],
        pair_second=source,
        pair_entry=entry,
        whole=whole,
        periodic=bool(system.pbc.any()),
        longest=int(size.max().item()),
    )


def explicit_candidates(system: System, reach: float, skin: float) -> Candidates:
    """Return fragments and foreign groups with atoms within ``reach + skin`` Å of each other.

    The pairs of an entry are the close atoms.
    """
    whole = whole_steps(system)
    positions = system.positions.detach() + in_lattice(
        whole, system.cell.detach(), system.structure
    )
    i, j, shift = neighbor_pairs(positions, system.cell, system.pbc, system.structure, reach + skin)
    foreign = (system.fragment[i] != system.fragment[j]) | (shift != 0).any(dim=1)
    i, j, shift = i[foreign], j[foreign], shift[foreign]
    n_groups = int(system.group.max().item()) + 1
    fragment, group, image, entry = unique_keys(
        system.fragment[i], system.group[j], shift, n_groups
    )
    count = torch.bincount(entry, minlength=fragment.shape[0])
    return Candidates(
        first=fragment,
        second=group,
        image=image,
        own=torch.zeros_like(fragment, dtype=torch.bool),
        pair_count=count,
        pair_first=i,
        pair_second=j,
        pair_entry=entry,
        whole=whole,
        periodic=bool(system.pbc.any()),
        longest=int(count.max().item()) if count.shape[0] > 0 else 0,
    )
