"""From a system to its hypergraph, at one geometry.

1. Candidates, see :mod:`.candidates`: fragments that straddle a periodic boundary are made whole;
   implicit overlap, atoms within range of a fragment; explicit overlap, groups near a fragment.
2. Weights and vectors of the candidates, differentiable: incidences (f, v, lattice shift) and pairs
   (u, incidence).

A candidate of weight 0 changes nothing: any superset of candidates gives the same energy, and the
same candidates serve for all geometries near by.
"""

import math
from dataclasses import dataclass

import torch

from se3set_mlip.configuration import check_field_types
from se3set_mlip.elements import COVALENT_RADII
from se3set_mlip.errors import ConfigError
from se3set_mlip.fragments.fragmentation import FragmentationConfig
from se3set_mlip.hypergraph.candidates import (
    Candidates,
    explicit_candidates,
    implicit_candidates,
    in_lattice,
    segment_rows,
    whole_steps,
)
from se3set_mlip.hypergraph.hypergraph import Hypergraph, System
from se3set_mlip.hypergraph.membership import bond_order, segment_absence, smooth_step, switch


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
    """Return positions (n_atoms, 3) with every fragment in one piece, by minimum image."""
    return system.positions + in_lattice(whole_steps(system), system.cell, system.structure)


class HypergraphBuilder(torch.nn.Module):
    """Builds the :class:`Hypergraph` of a :class:`System`; scriptable.

    1. ``candidates``: indices, by a search, without gradient.
    2. ``weighted``: vectors and weights of candidates, differentiable in positions and cell.

    ``forward`` is both. Candidates with a skin may be weighted again while no atom has moved by
    more than half the skin since they were found, in the same cell.

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
        return self.weighted(system, self.candidates(system, self.skin), False)

    @torch.jit.export
    def candidates(self, system: System, skin: float) -> Candidates:
        """Search for candidates up to ``skin`` Å beyond the range; no gradient."""
        if self.explicit:
            return explicit_candidates(system, self._bond_order_reach(system), skin)
        return implicit_candidates(system, self.cutoff, skin)

    @torch.jit.export
    def weighted(
        self,
        system: System,
        candidates: Candidates,
        prune: bool,  # noqa: FBT001 - TorchScript
    ) -> Hypergraph:
        """Return the hypergraph of candidates; differentiable in positions and cell.

        Parameters
        ----------
        system
            Where the atoms are now.
        candidates
            Found for the same atoms near by.
        prune
            Whether to leave out incidences out of range first, which have no effect but a cost. The
            hypergraph is then the same, to the last bit, as with candidates without a skin.
        """
        positions = system.positions
        if candidates.periodic:
            positions = positions + in_lattice(candidates.whole, system.cell, system.structure)
        if self.explicit:
            return self._explicit(system, positions, candidates)
        if prune:
            candidates = self._within_range(system, positions, candidates)
        return self._implicit(system, positions, candidates)

    def _bond_order_reach(self, system: System) -> float:
        """Return the range of bond orders in Å."""
        # The hard rule of an open system sums over all pairs; 1e4 Å is beyond any molecule.
        if self.smooth or bool(system.pbc.any()):
            return self.bond_order_range
        return 1e4

    def _vectors(
        self,
        system: System,
        positions: torch.Tensor,
        candidates: Candidates,
        rows: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the vectors of pairs, or of some of them, (n, 3), from whole positions."""
        first, second, entry = candidates.pair_first, candidates.pair_second, candidates.pair_entry
        if rows is not None:
            first, second, entry = first[rows], second[rows], entry[rows]
        vectors = positions.index_select(0, second) - positions.index_select(0, first)
        if candidates.periodic:
            structure = system.structure[second]
            vectors = vectors + in_lattice(candidates.image[entry], system.cell, structure)
        return vectors

    def _within_range(
        self, system: System, positions: torch.Tensor, candidates: Candidates
    ) -> Candidates:
        """Return the candidates that a search without a skin finds at these positions."""
        vectors = self._vectors(system, positions.detach(), candidates)
        near = vectors.pow(2).sum(dim=1) < self.cutoff * self.cutoff
        alive = candidates.own.index_fill(0, candidates.pair_entry[near], True)
        entries = alive.nonzero().squeeze(1)
        rows = alive[candidates.pair_entry].nonzero().squeeze(1)
        number = alive.cumsum(0) - 1
        return Candidates(
            first=candidates.first[entries],
            second=candidates.second[entries],
            image=candidates.image[entries],
            own=candidates.own[entries],
            pair_count=candidates.pair_count[entries],
            pair_first=candidates.pair_first[rows],
            pair_second=candidates.pair_second[rows],
            pair_entry=number[candidates.pair_entry[rows]],
            whole=candidates.whole,
            periodic=candidates.periodic,
            longest=candidates.longest,
        )

    def _implicit(
        self, system: System, positions: torch.Tensor, candidates: Candidates
    ) -> Hypergraph:
        """Incidences of atoms within range of a fragment; sources are its core atoms."""
        vector = self._vectors(system, positions, candidates)
        near = switch(vector.pow(2).sum(dim=1).sqrt(), self.switch_on, self.cutoff)
        weight = 1.0 - segment_absence(
            near, candidates.pair_entry, candidates.pair_count, candidates.longest
        )
        weight = torch.where(candidates.own, torch.ones_like(weight), weight)
        return Hypergraph(
            numbers=system.numbers,
            charge=system.charge,
            incidence_atom=candidates.first,
            incidence_weight=weight,
            incidence_absence=(candidates.pair_count == 0).to(weight.dtype),
            pair_source=candidates.pair_second,
            pair_incidence=candidates.pair_entry,
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

    def _explicit(
        self, system: System, positions: torch.Tensor, candidates: Candidates
    ) -> Hypergraph:
        """Incidences of core atoms and of joined groups; sources are all of them."""
        distance = self._vectors(system, positions, candidates).pow(2).sum(dim=1).sqrt()
        radii = self.radii.to(distance.dtype)[system.numbers]
        sums = radii[candidates.pair_first] + radii[candidates.pair_second]
        order = bond_order(distance, sums, self.lendvay)
        reach = self._bond_order_reach(system)
        order = order * switch(distance, reach - 1.0 if self.smooth else reach, reach)
        total = torch.zeros(candidates.first.shape[0], dtype=order.dtype, device=order.device)
        joined_weight = self._overlap_weights(total.index_add(0, candidates.pair_entry, order))
        joined = (joined_weight.detach() > 0.0).nonzero().squeeze(1)

        # Members of each fragment: core atoms with weight 1, then atoms of joined groups.
        n_atoms = positions.shape[0]
        atoms = torch.arange(n_atoms, device=positions.device)
        atoms_by_group = torch.argsort(system.group, stable=True)
        group_size = torch.bincount(system.group)
        entry, index = segment_rows(
            candidates.second[joined], group_size.cumsum(0) - group_size, group_size
        )
        entry = joined[entry]
        core_weight = torch.ones(n_atoms, dtype=order.dtype, device=order.device)
        member_fragment = torch.cat([system.fragment, candidates.first[entry]])
        by_fragment = torch.argsort(member_fragment, stable=True)
        member_fragment = member_fragment[by_fragment]
        member_atom = torch.cat([atoms, atoms_by_group[index]])[by_fragment]
        member_weight = torch.cat([core_weight, joined_weight[entry]])[by_fragment]

        size = torch.bincount(member_fragment)
        incidence, source = segment_rows(member_fragment, size.cumsum(0) - size, size)
        keep = incidence != source  # no self pairs
        incidence, source = incidence[keep], source[keep]
        pair_source, pair_atom = member_atom[source], member_atom[incidence]
        vector = positions.index_select(0, pair_source) - positions.index_select(0, pair_atom)
        if candidates.periodic:
            core_image = torch.zeros_like(candidates.whole)
            member_image = torch.cat([core_image, candidates.image[entry]])[by_fragment]
            step = member_image[source] - member_image[incidence]
            vector = vector + in_lattice(step, system.cell, system.structure[pair_source])
        pair_weight = member_weight.index_select(0, source)
        count = size[member_fragment] - 1
        return Hypergraph(
            numbers=system.numbers,
            charge=system.charge,
            incidence_atom=member_atom,
            incidence_weight=member_weight,
            incidence_absence=segment_absence(
                pair_weight, incidence, count, int(size.max().item()) - 1
            ),
            pair_source=pair_source,
            pair_incidence=incidence,
            pair_vector=vector,
            pair_weight=pair_weight,
        )
