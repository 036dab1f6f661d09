"""The tensors that the network eats: a system of atoms, and its hypergraph.

Glossary of axis names, used in the shape comments of the whole package:

==============  ===============================================================================
n_atoms         atoms of all structures of a batch, one after the other
n_structures    structures in the batch
n_incidences    (fragment, atom, lattice shift) triples: a fragment speaks to an atom
n_pairs         (source atom, incidence) pairs, without self pairs, sorted by incidence
n_fragments     fragments of all structures of a batch
==============  ===============================================================================

Lengths are in Å. Both types are immutable; nothing in the package changes their tensors in place.
"""

from typing import NamedTuple

import torch


class System(NamedTuple):
    """A batch of structures: what is known before any distance is measured.

    Structures lie one after the other; indices of fragments, groups and parents count through the
    whole batch (so a batch is a concatenation with offsets, see :mod:`.batch`).
    """

    numbers: torch.Tensor
    """Atomic numbers, (n_atoms,) int64."""
    positions: torch.Tensor
    """Positions in Å, (n_atoms, 3), the network's dtype."""
    fragment: torch.Tensor
    """The fragment of which the atom is a core atom, (n_atoms,) int64, 0..n_fragments-1."""
    group: torch.Tensor
    """The never-cut group of the atom, (n_atoms,) int64."""
    parent: torch.Tensor
    """The atom's parent in the spanning tree of its fragment (roots: themselves), (n_atoms,)."""
    charge: torch.Tensor
    """Total formal charge of the atom's fragment, in elementary charges, (n_atoms,) int64."""
    structure: torch.Tensor
    """The structure of the atom, (n_atoms,) int64, ascending."""
    cell: torch.Tensor
    """Lattice vectors as rows in Å, (n_structures, 3, 3); ignored where not periodic."""
    pbc: torch.Tensor
    """Whether each lattice direction is periodic, (n_structures, 3) bool."""


class Hypergraph(NamedTuple):
    """Incidences and pairs of a batch at one geometry, with smooth weights."""

    numbers: torch.Tensor
    """Atomic numbers, (n_atoms,) int64."""
    charge: torch.Tensor
    """Total formal charge of the atom's fragment, in elementary charges, (n_atoms,) int64."""
    incidence_atom: torch.Tensor
    """The atom v of the incidence (f, v), (n_incidences,) int64."""
    incidence_weight: torch.Tensor
    """Membership weight w(f, v) in [0, 1], (n_incidences,)."""
    incidence_absence: torch.Tensor
    """prod_u (1 - w(f, u)) over the sources of the incidence, (n_incidences,): 1 if it has none."""
    pair_source: torch.Tensor
    """The source atom u of the pair, (n_pairs,) int64."""
    pair_incidence: torch.Tensor
    """The incidence (f, v) of the pair, (n_pairs,) int64, ascending."""
    pair_vector: torch.Tensor
    """r_u - r_v in Å with lattice shifts, (n_pairs, 3)."""
    pair_weight: torch.Tensor
    """Weight w(f, u) of the source in its fragment, (n_pairs,); 1 for core atoms."""


def moved(system: System, positions: torch.Tensor, cell: torch.Tensor) -> System:
    """Return the system with other positions (n_atoms, 3) and cells (n_structures, 3, 3)."""
    return System(
        numbers=system.numbers,
        positions=positions,
        fragment=system.fragment,
        group=system.group,
        parent=system.parent,
        charge=system.charge,
        structure=system.structure,
        cell=cell,
        pbc=system.pbc,
    )
