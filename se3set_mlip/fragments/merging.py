"""Merging: small groups join others until fragments are large enough (arXiv 2405.16511).

The smallest fragment under ``min_atoms`` goes first. It joins its smallest bonded neighbour if
together they have at most ``max_atoms``; else the smallest fragment that an atom pair binds to it
with a bond order of at least ``min_bond_order``; else it stays alone and is not tried again.

Ties between fragments of one size are broken by the smaller *centrality*, the sum over all other
fragments of the strongest bond order between the two, taken when a fragment forms. Equal
centralities mean equal surroundings; there the position decides, so that the result never depends
on how the atoms are numbered.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from se3set_mlip.elements import COVALENT_RADII
from se3set_mlip.fragments.bond_orders import bond_order
from se3set_mlip.topology.geometry import Box, close_pairs
from se3set_mlip.topology.molecule import Topology

FloatArray = NDArray[np.float64]

CENTRALITY_REACH_ANGSTROM = 12.0
"""Pairs beyond it are left out; a Pauling bond order has fallen below 2e-4 there."""
TIE_TOLERANCE = 1e-7
"""Centralities closer than this are equal: far above rounding, far below chemistry."""


class MergingRules(NamedTuple):
    """What of the configuration concerns merging."""

    bond_order: str
    """``"pauling"`` or ``"lendvay"``."""
    min_atoms: int
    """Fragments with fewer atoms look for a partner."""
    max_atoms: int
    """Most atoms of a fragment and its bonded partner together."""
    min_bond_order: float
    """Least bond order to a partner that is not bonded or would be too large."""


def merge_groups(
    topology: Topology,
    groups: Sequence[tuple[int, ...]],
    *,
    positions: FloatArray,
    box: Box | None,
    rules: MergingRules,
) -> tuple[tuple[int, ...], ...]:
    """Merge groups into fragments.

    Parameters
    ----------
    topology
        The molecule or molecules.
    groups
        A partition of the atoms.
    positions
        Reference geometry, (n_atoms, 3), Å.
    box
        The periodic box, or ``None``.
    rules
        Sizes and thresholds.

    Returns
    -------
    tuple of tuple of int
        A coarser partition of the atoms: each fragment sorted, in the order of first atoms.
    """
    if all(len(group) >= rules.min_atoms for group in groups):
        return tuple(groups)
    merger = _Merger(topology, groups, positions=positions, box=box, rules=rules)
    merger.run()
    return tuple(sorted(tuple(sorted(atoms)) for atoms in merger.atoms.values()))


class _Merger:
    """The state of one run: fragments by label, their neighbours and strongest bond orders."""

    def __init__(
        self,
        topology: Topology,
        groups: Sequence[tuple[int, ...]],
        *,
        positions: FloatArray,
        box: Box | None,
        rules: MergingRules,
    ) -> None:
        self.rules = rules
        self.atoms = {label: list(group) for label, group in enumerate(groups)}
        self.bonded: list[set[int]] = [set() for _ in groups]
        self.strongest: list[dict[int, float]] = [{} for _ in groups]
        label_of_atom = np.empty(topology.n_atoms, dtype=np.int64)
        for label, group in enumerate(groups):
            label_of_atom[list(group)] = label
        for i, j in topology.bonds:
            first, second = int(label_of_atom[i]), int(label_of_atom[j])
            if first != second:
                self.bonded[first].add(second)
                self.bonded[second].add(first)
        radii = np.array([COVALENT_RADII[number] for number in topology.numbers])
        pairs = close_pairs(positions, CENTRALITY_REACH_ANGSTROM, box)
        orders = bond_order(
            rules.bond_order, radii[pairs.first] + radii[pairs.second], pairs.distances
        )
        labels = np.sort(
            np.stack([label_of_atom[pairs.first], label_of_atom[pairs.second]]), axis=0
        )
        different = labels[0] != labels[1]
        codes, inverse = np.unique(
            labels[0, different] * len(groups) + labels[1, different], return_inverse=True
        )
        largest = np.zeros(len(codes))
        np.maximum.at(largest, inverse, orders[different])
        for code, value in zip(codes.tolist(), largest.tolist(), strict=True):
            first, second = divmod(code, len(groups))
            self.strongest[first][second] = value
            self.strongest[second][first] = value
        self.centrality = [sum(orders_to.values()) for orders_to in self.strongest]
        reference = positions
        if box is not None:
            fractional = positions @ box.inverse
            reference = fractional - np.where(box.periodic, np.floor(fractional + 1e-9), 0.0)
        self.places = [reference[list(group)].mean(axis=0) for group in groups]

    def run(self) -> None:
        """Merge until no fragment under the minimum can."""
        waiting = {
            label for label, atoms in self.atoms.items() if len(atoms) < self.rules.min_atoms
        }
        while waiting:
            label = self._smallest(waiting)
            waiting.discard(label)
            partner = self._partner(label)
            if partner is None:
                continue
            self._join(label, partner)
            if len(self.atoms[partner]) >= self.rules.min_atoms:
                waiting.discard(partner)

    def _partner(self, label: int) -> int | None:
        """Return the fragment that this one joins, if there is any."""
        if self.bonded[label]:
            neighbor = self._smallest(self.bonded[label])
            if len(self.atoms[label]) + len(self.atoms[neighbor]) <= self.rules.max_atoms:
                return neighbor
        bound = {
            other
            for other, order in self.strongest[label].items()
            if order >= self.rules.min_bond_order
        }
        return self._smallest(bound) if bound else None

    def _smallest(self, labels: set[int]) -> int:
        """Return the fragment with the fewest atoms, then by centrality, then by place."""
        sizes = {label: len(self.atoms[label]) for label in labels}
        least = min(sizes.values())
        candidates = [label for label, size in sizes.items() if size == least]
        candidates = _least_within_tolerance(candidates, [self.centrality[c] for c in candidates])
        for axis in range(3):
            if len(candidates) == 1:
                break
            values = [float(self.places[c][axis]) for c in candidates]
            candidates = _least_within_tolerance(candidates, values)
        return min(candidates)

    def _join(self, label: int, partner: int) -> None:
        """Let one fragment become part of another."""
        n_label, n_partner = len(self.atoms[label]), len(self.atoms[partner])
        self.places[partner] = (n_label * self.places[label] + n_partner * self.places[partner]) / (
            n_label + n_partner
        )
        self.atoms[partner].extend(self.atoms.pop(label))
        for other, order in self.strongest[label].items():
            del self.strongest[other][label]
            if other != partner:
                merged = max(order, self.strongest[partner].get(other, 0.0))
                self.strongest[partner][other] = merged
                self.strongest[other][partner] = merged
        for other in self.bonded[label]:
            self.bonded[other].discard(label)
            if other != partner:
                self.bonded[partner].add(other)
                self.bonded[other].add(partner)
        self.strongest[label], self.bonded[label] = {}, set()
        self.centrality[partner] = sum(self.strongest[partner].values())


def _least_within_tolerance(candidates: list[int], values: list[float]) -> list[int]:
    """Return the candidates whose value is the least one, up to rounding."""
    least = min(values)
    return [
        candidate
        for candidate, value in zip(candidates, values, strict=True)
        if value <= least + TIE_TOLERANCE
    ]
