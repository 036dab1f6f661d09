"""From a system to its hypergraph, at one geometry.

1. Fragments that straddle a periodic boundary are made whole along their spanning trees.
2. Candidates: implicit overlap, atoms within range of a fragment; explicit overlap, groups whose
   summed bond order with a fragment is large enough.
3. Incidences (f, v, lattice shift) and their weights; pairs (u, incidence) with vectors.

A candidate of weight 0 changes nothing, so any superset of candidates gives the same energy.
"""

import math
from dataclasses import dataclass

import torch

from se3set_mlip.configuration import check_field_types
from se3set_mlip.elements import COVALENT_RADII
from se3set_mlip.errors import ConfigError
from se3set_mlip.fragments.fragmentation import FragmentationConfig
from se3set_mlip.hypergraph.hypergraph import Hypergraph, System
from se3set_mlip.hypergraph.membership import bond_order, segment_absence, smooth_step, switch
from se3set_mlip.hypergraph.neighbors import neighbor_pairs, usable_cell


@dataclass(frozen=True)
class HypergraphConfig:
    """Settings of membership.

    Parameters
    ----------
    membership
        ``"smooth"`` (default; fit for dynamics) or ``"hard"`` (the published steps).
    cutoff_angstrom
        Implicit overlap: r_c, the range within which an atom belongs to a fragment.
    switch_on_angstrom
        Implicit overlap: r_on, the distance up to which it belongs fully.
    overlap_width
        Explicit overlap: the step around ``c_w`` goes from ``c_w (1 - width)`` to
        ``c_w (1 + width)``.
    bond_order_range_angstrom
        Explicit overlap, smooth: pair bond orders are switched to 0 over the last Å before it.
    skin_angstrom
        Widens the search for candidates; the energy does not depend on it.
    """

    membership: str = "smooth"
    cutoff_angstrom: float = 4.0
    switch_on_angstrom: float = 2.5
    overlap_width: float = 0.25
    bond_order_range_angstrom: float = 6.0
    skin_angstrom: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings without meaning."""
        check_field_types(self)
        if self.membership not in ("smooth", "hard"):
            raise ConfigError(f"membership = {self.membership!r}, expected 'smooth' or 'hard'")
        ranges = (self.cutoff_angstrom, self.bond_order_range_angstrom, self.skin_angstrom)
        if not all(math.isfinite(value) for value in ranges):
            raise ConfigError(
                f"cutoff_angstrom, bond_order_range_angstrom and skin_angstrom = {ranges} must be "
                "finite; give distances in Å"
            )
        if self.cutoff_angstrom <= 0 or self.bond_order_range_angstrom <= 1.0:
            raise ConfigError(
                f"cutoff_angstrom = {self.cutoff_angstrom} must be positive and "
                f"bond_order_range_angstrom = {self.bond_order_range_angstrom} above 1 Å"
            )
        if not 0.0 < self.switch_on_angstrom < self.cutoff_angstrom:
            raise ConfigError(
                f"switch_on_angstrom = {self.switch_on_angstrom} must lie between 0 and "
                f"cutoff_angstrom = {self.cutoff_angstrom}; for steps set membership = 'hard'"
            )
        if not 0.0 < self.overlap_width < 1.0:
            raise ConfigError(f"overlap_width = {self.overlap_width} must lie between 0 and 1")
        if self.skin_angstrom < 0.0:
            raise ConfigError(f"skin_angstrom = {self.skin_angstrom} must not be negative")


def whole_fragments(system: System) -> torch.Tensor:
    """Return positions (n_atoms, 3) with every fragment in one piece, by minimum image.

    Each atom takes the image nearest to its parent in the spanning tree; shifts are summed to the
    root by pointer doubling. Without periodicity the positions come back as they are.
    """
    positions = system.positions
    if not bool(system.pbc.any()):
        return positions
    cell = usable_cell(system.cell, system.pbc)[system.structure]
    periodic = system.pbc[system.structure].to(positions.dtype)
    step = (positions - positions[system.parent]).detach()
    fractional = torch.einsum("ni,nij->nj", step, torch.linalg.inv(cell.detach()))
    shift = -torch.round(fractional) * periodic
    parent = system.parent
    ancestor = parent[parent]
    while bool((ancestor != parent).any()):
        shift = shift + shift[parent]
        parent = ancestor
        ancestor = parent[parent]
    return positions + torch.einsum("ni,nij->nj", shift, cell)


def _segment_rows(
    key: torch.Tensor, start: torch.Tensor, size: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """For every row of ``key`` list the rows of its segment: (row of key, index in the segment)."""
    counts = size[key]
    row = torch.repeat_interleave(torch.arange(key.shape[0], device=key.device), counts)
    first = counts.cumsum(0) - counts
    index = torch.arange(row.shape[0], device=key.device) - first[row] + start[key[row]]
    return row, index


def _unique_keys(
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
    return first[row], second[row], s[row], inverse


class HypergraphBuilder(torch.nn.Module):
    """Builds the :class:`Hypergraph` of a :class:`System`; scriptable.

    Parameters
    ----------
    config
        Membership settings.
    fragmentation
        Gives the kind of overlap, the kind of bond order and ``c_w``.
    """

    radii: torch.Tensor

    def __init__(self, config: HypergraphConfig, fragmentation: FragmentationConfig) -> None:
        super().__init__()
        self.smooth = config.membership == "smooth"
        self.explicit = fragmentation.overlap == "explicit"
        self.cutoff = config.cutoff_angstrom
        self.switch_on = config.switch_on_angstrom if self.smooth else config.cutoff_angstrom
        self.skin = config.skin_angstrom
        self.lendvay = fragmentation.bond_order == "lendvay"
        self.overlap_bond_order = fragmentation.overlap_bond_order or 0.0
        self.overlap_width = config.overlap_width
        self.bond_order_range = config.bond_order_range_angstrom
        radii = torch.full((119,), float("nan"), dtype=torch.float64)
        for number, radius in COVALENT_RADII.items():
            radii[number] = radius
        self.register_buffer("radii", radii, persistent=False)

    def forward(self, system: System) -> Hypergraph:
        """Build the hypergraph; differentiable in positions and cell."""
        positions = whole_fragments(system)
        if self.explicit:
            return self._explicit(system, positions)
        return self._implicit(system, positions)

    def _shift_vectors(
        self, shift: torch.Tensor, atom: torch.Tensor, system: System
    ) -> torch.Tensor:
        """Return lattice shifts (n, 3) of the structures of ``atom`` as vectors in Å."""
        cell = system.cell[system.structure[atom]]
        return torch.einsum("ni,nij->nj", shift.to(cell.dtype), cell)

    def _implicit(self, system: System, positions: torch.Tensor) -> Hypergraph:
        """Incidences of atoms within range of a fragment; sources are its core atoms."""
        n_atoms = positions.shape[0]
        atoms = torch.arange(n_atoms, device=positions.device)
        v, u, shift = neighbor_pairs(
            positions, system.cell, system.pbc, system.structure, self.cutoff + self.skin
        )
        n_fragments = int(system.fragment.max().item()) + 1
        zero = torch.zeros(n_atoms, 3, dtype=shift.dtype, device=shift.device)
        atom, fragment, image, _ = _unique_keys(
            torch.cat([atoms, v]),
            torch.cat([system.fragment, system.fragment[u]]),
            torch.cat([zero, shift]),
            n_fragments,
        )
        own = (fragment == system.fragment[atom]) & (image == 0).all(dim=1)

        order = torch.argsort(system.fragment, stable=True)
        size = torch.bincount(system.fragment, minlength=n_fragments)
        incidence, index = _segment_rows(fragment, size.cumsum(0) - size, size)
        source = order[index]
        keep = ~(own[incidence] & (source == atom[incidence]))  # no self pairs
        incidence, source = incidence[keep], source[keep]
        vector = positions[source] - positions[atom[incidence]]
        if bool(system.pbc.any()):
            vector = vector + self._shift_vectors(image[incidence], source, system)

        n_incidences = atom.shape[0]
        near = switch(vector.pow(2).sum(dim=1).sqrt(), self.switch_on, self.cutoff)
        weight = 1.0 - segment_absence(near, incidence, n_incidences)
        weight = torch.where(own, torch.ones_like(weight), weight)
        n_sources = torch.bincount(incidence, minlength=n_incidences)
        return Hypergraph(
            numbers=system.numbers,
            incidence_atom=atom,
            incidence_weight=weight,
            incidence_absence=(n_sources == 0).to(weight.dtype),
            pair_source=source,
            pair_incidence=incidence,
            pair_vector=vector,
            pair_weight=torch.ones_like(near),
        )

    def _overlap_weights(self, total: torch.Tensor) -> torch.Tensor:
        """Return the weight of a group in a fragment from their summed bond order."""
        if not self.smooth:
            return (total >= self.overlap_bond_order).to(total.dtype)
        low = self.overlap_bond_order * (1.0 - self.overlap_width)
        high = self.overlap_bond_order * (1.0 + self.overlap_width)
        return smooth_step((total - low) / (high - low))

    def _explicit(self, system: System, positions: torch.Tensor) -> Hypergraph:
        """Incidences of core atoms and of joined groups; sources are all of them."""
        n_atoms = positions.shape[0]
        periodic = bool(system.pbc.any())
        # The hard rule of an open system sums over all pairs; 1e4 Å is beyond any molecule.
        reach = self.bond_order_range if self.smooth or periodic else 1e4
        i, j, shift = neighbor_pairs(
            positions, system.cell, system.pbc, system.structure, reach + self.skin
        )
        foreign = (system.fragment[i] != system.fragment[j]) | (shift != 0).any(dim=1)
        i, j, shift = i[foreign], j[foreign], shift[foreign]
        vector = positions[j] - positions[i]
        if periodic:
            vector = vector + self._shift_vectors(shift, j, system)
        distance = vector.pow(2).sum(dim=1).sqrt()
        radii = self.radii.to(distance.dtype)
        sums = radii[system.numbers[i]] + radii[system.numbers[j]]
        order = bond_order(distance, sums, self.lendvay)
        order = order * switch(distance, reach - 1.0 if self.smooth else reach, reach)
        n_groups = int(system.group.max().item()) + 1
        fragment, group, image, row = _unique_keys(
            system.fragment[i], system.group[j], shift, n_groups
        )
        total = torch.zeros(fragment.shape[0], dtype=order.dtype, device=order.device)
        joined_weight = self._overlap_weights(total.index_add(0, row, order))
        joined = (joined_weight.detach() > 0.0).nonzero().squeeze(1)

        # Members of each fragment: core atoms with weight 1, then atoms of joined groups.
        atoms_by_group = torch.argsort(system.group, stable=True)
        group_size = torch.bincount(system.group, minlength=n_groups)
        entry, index = _segment_rows(group[joined], group_size.cumsum(0) - group_size, group_size)
        core_image = torch.zeros(n_atoms, 3, dtype=image.dtype, device=image.device)
        core_weight = torch.ones(n_atoms, dtype=order.dtype, device=order.device)
        member_fragment = torch.cat([system.fragment, fragment[joined][entry]])
        member_atom = torch.cat(
            [torch.arange(n_atoms, device=positions.device), atoms_by_group[index]]
        )
        member_image = torch.cat([core_image, image[joined][entry]])
        member_weight = torch.cat([core_weight, joined_weight[joined][entry]])
        by_fragment = torch.argsort(member_fragment, stable=True)
        member_fragment = member_fragment[by_fragment]
        member_atom = member_atom[by_fragment]
        member_image = member_image[by_fragment]
        member_weight = member_weight[by_fragment]

        size = torch.bincount(member_fragment)
        incidence, source = _segment_rows(member_fragment, size.cumsum(0) - size, size)
        keep = incidence != source  # no self pairs
        incidence, source = incidence[keep], source[keep]
        pair_source, pair_atom = member_atom[source], member_atom[incidence]
        vector = positions[pair_source] - positions[pair_atom]
        if periodic:
            step = member_image[source] - member_image[incidence]
            vector = vector + self._shift_vectors(step, pair_source, system)
        n_incidences = member_atom.shape[0]
        pair_weight = member_weight[source]
        return Hypergraph(
            numbers=system.numbers,
            incidence_atom=member_atom,
            incidence_weight=member_weight,
            incidence_absence=segment_absence(pair_weight, incidence, n_incidences),
            pair_source=pair_source,
            pair_incidence=incidence,
            pair_vector=vector,
            pair_weight=pair_weight,
        )
