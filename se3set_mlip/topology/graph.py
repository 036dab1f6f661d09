"""The molecular graph as plain tuples, and its connected components.

What the ways of perception return and :class:`~se3set_mlip.topology.molecule.Topology` checks.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from zlib import crc32

REFINEMENT_ROUNDS = 8


class MolecularGraph(NamedTuple):
    """Numbers, bonds, Kekulé orders and formal charges, as in ``Topology``."""

    numbers: tuple[int, ...]
    """Atomic number of each atom."""
    bonds: tuple[tuple[int, int], ...]
    """Pairs ``(i, j)`` with ``i < j``, sorted."""
    orders: tuple[int, ...]
    """Kekulé order of each bond."""
    formal_charges: tuple[int, ...]
    """Formal charge of each atom."""


def connected_components(
    n_nodes: int, edges: Iterable[tuple[int, int]]
) -> tuple[tuple[int, ...], ...]:
    """Return the connected components of an undirected graph.

    Parameters
    ----------
    n_nodes
        Number of nodes, numbered from 0.
    edges
        Pairs of nodes.

    Returns
    -------
    tuple of tuple of int
        Nodes of each component, sorted; components in the order of their first nodes.
    """
    leader = list(range(n_nodes))

    def find(node: int) -> int:
        while leader[node] != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for i, j in edges:
        first, second = sorted((find(i), find(j)))
        leader[second] = first
    members: dict[int, list[int]] = {}
    for node in range(n_nodes):
        members.setdefault(find(node), []).append(node)
    return tuple(tuple(nodes) for _, nodes in sorted(members.items()))


def environment_codes(numbers: Sequence[int], bonds: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Return a number per atom that says what surrounds it, whatever the order of the atoms.

    The element, then by rounds of Morgan's refinement what the neighbours are, and theirs. Atoms
    that symmetry makes equivalent get equal codes; so do equal atoms of equal molecules.

    Parameters
    ----------
    numbers
        Atomic numbers.
    bonds
        Pairs of atoms; their orders do not count.

    Returns
    -------
    tuple of int
        A 32-bit code per atom, the same in every run.
    """
    neighbors: list[list[int]] = [[] for _ in numbers]
    for i, j in bonds:
        neighbors[i].append(j)
        neighbors[j].append(i)
    codes = list(numbers)
    for _ in range(REFINEMENT_ROUNDS):
        codes = [
            crc32(repr((code, sorted(codes[other] for other in others))).encode("ascii"))
            for code, others in zip(codes, neighbors, strict=True)
        ]
    return tuple(codes)


def split_components(
    graph: MolecularGraph, components: Sequence[Sequence[int]]
) -> list[MolecularGraph]:
    """Return each component as a graph of its own, atoms renumbered from 0 in the same order.

    Identical molecules whose atoms come in the same order give equal graphs, so that work on
    them can be done once.
    """
    owner = [0] * len(graph.numbers)
    local = [0] * len(graph.numbers)
    for index, atoms in enumerate(components):
        for position, atom in enumerate(atoms):
            owner[atom] = index
            local[atom] = position
    bonds: list[list[tuple[int, int]]] = [[] for _ in components]
    orders: list[list[int]] = [[] for _ in components]
    for (i, j), order in zip(graph.bonds, graph.orders, strict=True):
        bonds[owner[i]].append((local[i], local[j]))
        orders[owner[i]].append(order)
    return [
        MolecularGraph(
            tuple(graph.numbers[atom] for atom in atoms),
            tuple(bonds[index]),
            tuple(orders[index]),
            tuple(graph.formal_charges[atom] for atom in atoms),
        )
        for index, atoms in enumerate(components)
    ]
