"""Fragmentation: which atoms belong together, once per topology.

molecule -> groups (never cut) -> fragments (merged by size) -> with explicit overlap, at a given
geometry, the groups that each fragment takes in. Fragments partition the atoms. The three presets
are the published settings of arXiv 2405.16511 for MD22, MD17 and QM9.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from se3set_mlip.configuration import check_field_types
from se3set_mlip.elements import COVALENT_RADII, format_charge, formula
from se3set_mlip.errors import ConfigError, InputError
from se3set_mlip.fragments.bond_orders import BOND_ORDERS, bond_order, reach_of_bond_order
from se3set_mlip.fragments.groups import find_groups
from se3set_mlip.fragments.merging import MergingRules, merge_groups
from se3set_mlip.fragments.spanning_tree import spanning_tree
from se3set_mlip.topology.geometry import as_positions, close_pairs, make_box
from se3set_mlip.topology.molecule import Topology

OVERLAPS = ("implicit", "explicit")


@dataclass(frozen=True)
class FragmentationConfig:
    """How groups become fragments and fragments overlap.

    Attributes
    ----------
    overlap
        ``"implicit"``: a fragment speaks to atoms within a range (in the hypergraph).
        ``"explicit"``: a fragment takes in groups that are bound to it strongly enough.
    bond_order
        ``"pauling"`` or ``"lendvay"``; see :mod:`se3set_mlip.fragments.bond_orders`.
    min_atoms
        Fragments with fewer atoms look for a partner.
    max_atoms
        Most atoms of a fragment and the bonded partner that it joins.
    min_bond_order
        Least bond order to a partner that is not bonded or would be too large.
    overlap_bond_order
        Explicit overlap only: least summed bond order of a group that is taken in.

    Raises
    ------
    ConfigError
        For a value of the wrong type or out of range.
    """

    overlap: str = "implicit"
    bond_order: str = "pauling"
    min_atoms: int = 0
    max_atoms: int = 8
    min_bond_order: float = 0.1
    overlap_bond_order: float | None = None

    @property
    def needs_geometry(self) -> bool:
        """Whether fragments depend on the reference geometry: where small groups are merged."""
        return self.min_atoms > 1

    def __post_init__(self) -> None:
        check_field_types(self)
        for key, value, known in (
            ("overlap", self.overlap, OVERLAPS),
            ("bond_order", self.bond_order, BOND_ORDERS),
        ):
            if value not in known:
                nearest = get_close_matches(str(value), known, n=1, cutoff=0.0)[0]
                raise ConfigError(
                    f"{key} = {value!r} is unknown; did you mean {nearest!r}? "
                    f"Expected one of {', '.join(known)}"
                )
        if self.min_atoms < 0:
            raise ConfigError(f"min_atoms = {self.min_atoms}; expected 0 or more")
        if self.max_atoms < max(1, self.min_atoms):
            raise ConfigError(
                f"max_atoms = {self.max_atoms} with min_atoms = {self.min_atoms}; "
                f"expected at least {max(1, self.min_atoms)}"
            )
        if not 0.0 < self.min_bond_order < math.inf:
            raise ConfigError(
                f"min_bond_order = {self.min_bond_order}; expected above 0, and finite"
            )
        if self.overlap == "explicit":
            if self.overlap_bond_order is None or not 0.0 < self.overlap_bond_order < math.inf:
                raise ConfigError(
                    f"overlap_bond_order = {self.overlap_bond_order} with explicit overlap; "
                    "expected above 0, 0.1 to 0.2 in the published settings"
                )
        elif self.overlap_bond_order is not None:
            raise ConfigError(
                f"overlap_bond_order = {self.overlap_bond_order} has no effect with implicit "
                "overlap; leave it out or set overlap='explicit'"
            )


PRESETS: Mapping[str, FragmentationConfig] = MappingProxyType(
    {
        "implicit_md22": FragmentationConfig(),
        "explicit_md17": FragmentationConfig(
            overlap="explicit",
            bond_order="lendvay",
            min_atoms=2,
            max_atoms=16,
            min_bond_order=0.1,
            overlap_bond_order=0.1,
        ),
        "explicit_qm9": FragmentationConfig(
            overlap="explicit",
            bond_order="pauling",
            min_atoms=2,
            max_atoms=6,
            min_bond_order=0.4,
            overlap_bond_order=0.2,
        ),
    }
)
"""The published settings by name."""


@dataclass(frozen=True)
class Fragmentation:
    """The fragments of a topology.

    Attributes
    ----------
    topology
        The molecule or molecules.
    config
        The settings that made this.
    groups
        Atoms that are never cut, a partition; each sorted, in the order of first atoms.
    fragments
        Core atoms of each fragment, a partition that is coarser than the groups; same order.
    parents
        A spanning tree of each fragment: the parent of each atom, the smallest atom of a
        fragment being its own. Walking it makes a fragment whole in a periodic cell.
    """

    topology: Topology
    config: FragmentationConfig
    groups: tuple[tuple[int, ...], ...]
    fragments: tuple[tuple[int, ...], ...]
    parents: tuple[int, ...]

    def __post_init__(self) -> None:
        everyone = list(range(self.topology.n_atoms))
        for name, parts in (("groups", self.groups), ("fragments", self.fragments)):
            if sorted(atom for part in parts for atom in part) != everyone:
                raise InputError(
                    f"{name} are no partition of {len(everyone)} atoms; give each atom once"
                )
        if len(self.parents) != len(everyone):
            raise InputError(f"{len(self.parents)} parents for {len(everyone)} atoms")
        for part in self.fragments:
            children: dict[int, list[int]] = {}
            for atom in part:
                children.setdefault(self.parents[atom], []).append(atom)
            reached = [atom for atom in part if self.parents[atom] == atom]
            for atom in reached:  # grows while it is walked
                reached.extend(child for child in children.get(atom, ()) if child != atom)
            if len(reached) != len(part):
                raise InputError(
                    f"parents of fragment {part} are no tree with one root among its atoms; "
                    "each atom but the root needs a parent that is closer to it"
                )

    @cached_property
    def fragment_index(self) -> NDArray[np.int64]:
        """Fragment of each atom, (n_atoms,), int64."""
        return _index_of_parts(self.fragments, self.topology.n_atoms)

    @cached_property
    def group_index(self) -> NDArray[np.int64]:
        """Group of each atom, (n_atoms,), int64."""
        return _index_of_parts(self.groups, self.topology.n_atoms)

    @cached_property
    def fragment_charges(self) -> NDArray[np.int64]:
        """Total formal charge of each atom's fragment, (n_atoms,), int64, elementary charges."""
        totals = np.zeros(len(self.fragments), dtype=np.int64)
        np.add.at(totals, self.fragment_index, self.topology.formal_charges)
        charges: NDArray[np.int64] = totals[self.fragment_index]
        return charges

    def members(self, positions: ArrayLike) -> tuple[tuple[int, ...], ...]:
        """Return the atoms of each fragment with its overlap, by the hard rule.

        With explicit overlap a fragment f takes in every group g with

            sum over u in f, v in g of B(u, v) >= overlap_bond_order.

        With implicit overlap these are the fragments themselves: their range is a matter of the
        hypergraph. Nothing is periodic here.

        Parameters
        ----------
        positions
            Positions, (n_atoms, 3), Å.

        Raises
        ------
        InputError
            For a wrong shape or values that are not finite.
        """
        points = as_positions(positions, self.topology.n_atoms)
        level = self.config.overlap_bond_order
        if level is None:
            return self.fragments
        kind = self.config.bond_order
        radii = np.array([COVALENT_RADII[number] for number in self.topology.numbers])
        largest = max(map(len, self.fragments)) * max(map(len, self.groups))
        pairs = close_pairs(points, reach_of_bond_order(kind, radii, level / largest), None)
        first = np.concatenate([pairs.first, pairs.second])
        second = np.concatenate([pairs.second, pairs.first])
        codes = np.unique(self.fragment_index[first] * len(self.groups) + self.group_index[second])
        found = [set(atoms) for atoms in self.fragments]
        for code in codes.tolist():
            fragment_label, group_label = divmod(code, len(self.groups))
            core, group = self.fragments[fragment_label], self.groups[group_label]
            if group[0] in found[fragment_label]:
                continue
            u, v = np.array(core)[:, None], np.array(group)[None, :]
            distances = np.linalg.norm(points[u] - points[v], axis=-1)  # (n_core, n_group)
            if bond_order(kind, radii[u] + radii[v], distances).sum() >= level:
                found[fragment_label].update(group)
        return tuple(tuple(sorted(atoms)) for atoms in found)

    def describe(self) -> str:
        """Return a table for people: each fragment with its formula, charge and atoms."""
        topology, config = self.topology, self.config
        overlap = f"{config.overlap} overlap, {config.bond_order.capitalize()} bond orders"
        molecules = "molecule" if len(topology.components) == 1 else "molecules"
        title = (
            f"{formula(topology.numbers)}, charge {format_charge(topology.charge)}: "
            f"{topology.n_atoms} atoms, {len(topology.components)} {molecules}, "
            f"{len(self.groups)} groups, {len(self.fragments)} fragments ({overlap})"
        )
        lines = [title, f"{'fragment':>8}  {'formula':<12} {'charge':>6} {'size':>5}  atoms"]
        for label, atoms in enumerate(self.fragments):
            names = formula(topology.numbers[atom] for atom in atoms)
            charge = int(self.fragment_charges[atoms[0]])
            listed = " ".join(str(atom) for atom in atoms)
            lines.append(
                f"{label:>8}  {names:<12} {format_charge(charge):>6} {len(atoms):>5}  {listed}"
            )
        return "\n".join(lines)


def fragment(
    topology: Topology,
    positions: ArrayLike,
    *,
    preset: str | None = None,
    config: FragmentationConfig | None = None,
    cell: ArrayLike | None = None,
    pbc: ArrayLike | None = None,
) -> Fragmentation:
    """Fragment a topology at its reference geometry.

    Parameters
    ----------
    topology
        The molecule or molecules.
    positions
        Reference geometry, (n_atoms, 3), Å. It matters only where small groups are merged.
    preset
        Name of a published setting; ``"implicit_md22"`` if neither this nor ``config`` is given.
    config
        Settings of one's own instead of a preset.
    cell, pbc
        Lattice vectors (3, 3) in Å and which are periodic; distances to nearest images.

    Raises
    ------
    ConfigError
        For both a preset and a config, or an unknown preset.
    InputError
        For shapes that do not fit or values that are not finite.
    """
    if preset is not None and config is not None:
        raise ConfigError(f"preset = {preset!r} and a config are both given; give one of them")
    if config is None:
        name = "implicit_md22" if preset is None else preset
        if not isinstance(name, str) or name not in PRESETS:
            nearest = get_close_matches(str(name), PRESETS, n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"preset {name!r} is unknown; did you mean {nearest!r}? "
                f"Expected one of {', '.join(PRESETS)}"
            )
        config = PRESETS[name]
    if not isinstance(config, FragmentationConfig):
        raise ConfigError(
            f"config = {config!r} is a {type(config).__name__}, expected a FragmentationConfig; "
            "make one, or name a preset"
        )
    if not isinstance(topology, Topology):
        raise InputError(
            f"topology = {topology!r} is a {type(topology).__name__}; make one with "
            "Topology.from_smiles, from_rdkit, from_openmm or from_coordinates"
        )
    points = as_positions(positions, topology.n_atoms)
    box = make_box(cell, pbc)
    groups = find_groups(topology)
    rules = MergingRules(
        config.bond_order, config.min_atoms, config.max_atoms, config.min_bond_order
    )
    fragments = merge_groups(topology, groups, positions=points, box=box, rules=rules)
    parents = spanning_tree(topology, fragments, positions=points, box=box)
    return Fragmentation(topology, config, groups, fragments, parents)


def _index_of_parts(parts: tuple[tuple[int, ...], ...], n_atoms: int) -> NDArray[np.int64]:
    """Return the part of each atom, (n_atoms,)."""
    index = np.empty(n_atoms, dtype=np.int64)
    for label, atoms in enumerate(parts):
        index[list(atoms)] = label
    return index
