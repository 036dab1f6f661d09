"""Groups: the smallest pieces of a molecule, which no fragmentation cuts.

A bond is kept if any of these holds, else it is cut; groups are the connected components of what
is kept (arXiv 2405.16511):

(a) its order is above 1, or one of its atoms is hydrogen;
(b) it lies in a ring of at most eight atoms;
(c) both its atoms belong to functional groups: to one, or to two that thereby become one.

For (b), the spec asks for rings of the minimum cycle basis. The cycles of a minimum basis with at
most n edges span all cycles of at most n edges, so together they cover exactly the bonds that lie
on some such cycle, whichever minimum basis is chosen. The shortest cycle through each bond
therefore decides, and nothing depends on the order of atoms.

For (c), the list of functional groups is the published one; its SMARTS patterns, which are its
definition, follow those of the OpenFF Fragmenter (MIT licence, Open Force Field Initiative).
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

from rdkit import Chem

from se3set_mlip.topology.graph import MolecularGraph, connected_components, split_components
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.topology.perception import graph_to_rdkit

LARGEST_RING = 8
HYDROGEN = 1


class FunctionalGroup(NamedTuple):
    """One rule of ``functional_groups.json``."""

    name: str
    """What chemists call it."""
    smarts: str
    """Pattern; hydrogens are explicit atoms, aromaticity follows the MDL model."""
    description: str
    """What it covers."""


@lru_cache(maxsize=1)
def functional_groups() -> tuple[FunctionalGroup, ...]:
    """Return the functional groups that are never cut, in the order of the data file."""
    text = files("se3set_mlip.fragments").joinpath("functional_groups.json").read_text("utf-8")
    return tuple(FunctionalGroup(**entry) for entry in json.loads(text))


@lru_cache(maxsize=1)
def _patterns() -> tuple[Chem.Mol, ...]:
    """Return the compiled SMARTS patterns."""
    return tuple(Chem.MolFromSmarts(rule.smarts) for rule in functional_groups())


def find_groups(topology: Topology) -> tuple[tuple[int, ...], ...]:
    """Return the groups of atoms that are never cut.

    Parameters
    ----------
    topology
        One or several molecules. Identical molecules are worked on once.

    Returns
    -------
    tuple of tuple of int
        A partition of the atoms: each group sorted, groups in the order of their first atoms.
    """
    known: dict[MolecularGraph, tuple[tuple[int, ...], ...]] = {}
    found: list[tuple[int, ...]] = []
    components = topology.components
    for atoms, molecule in zip(
        components, split_components(topology.graph, components), strict=True
    ):
        if molecule not in known:
            known[molecule] = _groups_of_molecule(molecule)
        found.extend(tuple(atoms[local] for local in group) for group in known[molecule])
    return tuple(sorted(found))


def functional_group_atoms(graph: MolecularGraph) -> frozenset[int]:
    """Return the atoms that belong to any functional group.

    Parameters
    ----------
    graph
        A molecule, hydrogens included.
    """
    mol = graph_to_rdkit(graph)
    Chem.SetAromaticity(mol, Chem.AromaticityModel.AROMATICITY_MDL)
    n_matches = len(graph.numbers) ** 2 + 1000  # RDKit stops at 1000 unless told otherwise
    return frozenset(
        atom
        for pattern in _patterns()
        for match in mol.GetSubstructMatches(pattern, maxMatches=n_matches)
        for atom in match
    )


def ring_bonds(n_atoms: int, bonds: Sequence[tuple[int, int]]) -> frozenset[tuple[int, int]]:
    """Return the bonds that lie in a ring of at most eight atoms.

    Parameters
    ----------
    n_atoms
        Number of atoms.
    bonds
        Pairs of atoms.
    """
    neighbors: list[list[int]] = [[] for _ in range(n_atoms)]
    for i, j in bonds:
        neighbors[i].append(j)
        neighbors[j].append(i)
    return frozenset(bond for bond in bonds if _closes_small_ring(neighbors, *bond))


def _closes_small_ring(neighbors: Sequence[Sequence[int]], start: int, end: int) -> bool:
    """Tell whether another path of at most seven bonds joins two bonded atoms."""
    seen = {start}
    front = [start]
    for step in range(LARGEST_RING - 1):
        front = [
            atom
            for previous in front
            for atom in neighbors[previous]
            if not (step == 0 and atom == end)
        ]
        if end in front:
            return True
        front = [atom for atom in dict.fromkeys(front) if atom not in seen]
        seen.update(front)
    return False


def _groups_of_molecule(graph: MolecularGraph) -> tuple[tuple[int, ...], ...]:
    """Return the groups of one molecule; see :func:`find_groups`."""
    numbers = graph.numbers
    functional = functional_group_atoms(graph)
    in_ring = ring_bonds(len(numbers), graph.bonds)
    kept = [
        (i, j)
        for (i, j), order in zip(graph.bonds, graph.orders, strict=True)
        if order > 1
        or HYDROGEN in (numbers[i], numbers[j])
        or (i, j) in in_ring
        or (i in functional and j in functional)
    ]
    return connected_components(len(numbers), kept)
