"""Merging by size: the smallest first, to its smallest neighbour, whatever the numbering."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from se3set_mlip.fragments.bond_orders import BOND_ORDERS, bond_order, reach_of_bond_order
from se3set_mlip.fragments.fragmentation import FragmentationConfig, fragment
from se3set_mlip.topology.molecule import Topology

MOLECULES = json.loads((Path(__file__).parents[1] / "data" / "fragments.json").read_text())


def as_multiset(parts: Iterable[Iterable[int]]) -> list[tuple[int, ...]]:
    return sorted(tuple(sorted(int(atom) for atom in part)) for part in parts)


def chain(text: str, *, spacing: float = 1.45) -> tuple[Topology, np.ndarray]:
    """Return heavy atoms in a row, one group each, with the given elements."""
    numbers = tuple({"C": 6, "N": 7, "O": 8, "S": 16, "I": 53}[name] for name in text)
    bonds = tuple((i, i + 1) for i in range(len(numbers) - 1))
    topology = Topology(numbers, bonds, (1,) * len(bonds), (0,) * len(numbers))
    return topology, spacing * np.arange(len(numbers))[:, None] * np.array([[1.0, 0.0, 0.0]])


def fragments(
    topology: Topology, positions: np.ndarray, **settings: object
) -> tuple[tuple[int, ...], ...]:
    config = FragmentationConfig(**settings)  # type: ignore[arg-type]
    return fragment(topology, positions, config=config).fragments


def test_nothing_merges_without_a_minimum() -> None:
    topology, positions = chain("CSC")
    assert fragments(topology, positions, min_atoms=1) == ((0,), (1,), (2,))


def test_an_ether_oxygen_joins_its_smaller_neighbour() -> None:
    topology = Topology.from_smiles("CCOC")
    positions = np.random.default_rng(0).normal(size=(topology.n_atoms, 3)) * 3.0
    found = fragments(topology, positions, min_atoms=2, max_atoms=16)
    # CH2 (3 atoms) is smaller than either CH3.
    assert sorted(len(atoms) for atoms in found) == [4, 4, 4]
    assert next(atoms for atoms in found if 2 in atoms)[:2] == (1, 2)


def test_a_neighbour_that_would_be_too_large_is_not_joined() -> None:
    topology, positions = chain("CSC")
    settings = {"min_atoms": 2, "max_atoms": 2}
    # The first to go joins its neighbour; the last finds two atoms there, but is bound to them.
    assert fragments(topology, positions, **settings) == ((0, 1, 2),)
    # With a threshold that no bond order reaches it stays alone.
    alone = fragments(topology, positions, **settings, min_bond_order=50.0)
    assert sorted(map(len, alone)) == [1, 2]


def test_unbound_fragments_join_by_bond_order_or_stay_alone() -> None:
    topology = Topology((53, 53), (), (), (-1, -1))
    near, far = np.array([[0.0, 0, 0], [3.5, 0, 0]]), np.array([[0.0, 0, 0], [9.0, 0, 0]])
    assert fragments(topology, near, min_atoms=2) == ((0, 1),)
    assert fragments(topology, far, min_atoms=2) == ((0,), (1,))


def test_unbound_fragments_see_periodic_images() -> None:
    topology = Topology((53, 53), (), (), (-1, -1))
    positions = np.array([[0.5, 0.0, 0.0], [17.0, 0.0, 0.0]])
    config = FragmentationConfig(min_atoms=2)
    cell = 20.0 * np.eye(3)
    assert len(fragment(topology, positions, config=config).fragments) == 2
    assert len(fragment(topology, positions, config=config, cell=cell).fragments) == 1
    pbc = (False, True, True)
    assert len(fragment(topology, positions, config=config, cell=cell, pbc=pbc).fragments) == 2


@settings(max_examples=20)
@given(st.permutations(range(9)), st.sampled_from(BOND_ORDERS), st.integers(2, 5))
def test_perfect_symmetry_is_broken_by_place_not_by_number(
    order: list[int], kind: str, min_atoms: int
) -> None:
    """In an equidistant chain of equal atoms both ends are alike; the choice must still repeat."""
    topology, positions = chain("CCCCCCCCC", spacing=1.54)
    config = FragmentationConfig(bond_order=kind, min_atoms=min_atoms)
    found = fragment(topology, positions, config=config).fragments
    again = fragment(topology.permuted(order), positions[order], config=config).fragments
    assert as_multiset([order[a] for a in part] for part in again) == as_multiset(found)


@settings(max_examples=40)
@given(
    st.sampled_from(["ac_ala3_nhme", "dha", "glucose", "trimethyl_phosphate", "ethanol_water"]),
    st.sampled_from(BOND_ORDERS),
    st.integers(0, 9),
    st.integers(0, 12),
    st.sampled_from([0.05, 0.4, 2.0]),
    st.integers(0, 2**32 - 1),
)
def test_any_setting_gives_a_partition_that_does_not_depend_on_the_order(
    name: str, kind: str, min_atoms: int, more: int, min_bond_order: float, seed: int
) -> None:
    entry = MOLECULES[name]
    topology = Topology.from_smiles(entry["smiles"])
    positions = np.array(entry["positions_angstrom"])
    config = FragmentationConfig(
        bond_order=kind,
        min_atoms=min_atoms,
        max_atoms=max(1, min_atoms + more),
        min_bond_order=min_bond_order,
    )
    found = fragment(topology, positions, config=config)
    assert sorted(a for part in found.fragments for a in part) == list(range(topology.n_atoms))
    coarse = {atom: label for label, part in enumerate(found.fragments) for atom in part}
    assert all(len({coarse[atom] for atom in group}) == 1 for group in found.groups)
    order = np.random.default_rng(seed).permutation(topology.n_atoms)
    again = fragment(topology.permuted(order.tolist()), positions[order], config=config)
    assert as_multiset(order[list(p)] for p in again.fragments) == as_multiset(found.fragments)


@pytest.mark.parametrize("kind", BOND_ORDERS)
def test_bond_orders_are_one_at_the_sum_of_radii_and_fall(kind: str) -> None:
    sums = np.array([0.62, 1.52, 2.78])
    np.testing.assert_allclose(bond_order(kind, sums, sums), 1.0)
    distances = np.linspace(0.5, 8.0, 50)
    assert (np.diff(bond_order(kind, np.array(1.4), distances)) < 0.0).all()


def test_bond_orders_have_the_published_form() -> None:
    sums, distances = np.array([1.52]), np.array([2.0])
    np.testing.assert_allclose(bond_order("pauling", sums, distances), np.exp(-0.48))
    np.testing.assert_allclose(bond_order("lendvay", sums, distances), np.exp(-0.48 * 1.52 / 0.25))


@given(
    st.sampled_from(BOND_ORDERS),
    st.lists(st.sampled_from([0.31, 0.66, 0.76, 1.02, 1.39]), min_size=2, max_size=5),
    st.floats(1e-6, 0.5),
)
def test_nothing_reaches_beyond_the_reach(kind: str, radii: list[float], level: float) -> None:
    values = np.array(radii)
    reach = reach_of_bond_order(kind, values, level)
    sums = values[:, None] + values[None, :]
    assert bond_order(kind, sums, np.array(reach + 1e-6)).max() < level
