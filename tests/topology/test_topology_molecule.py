"""What a Topology is: checked when made, immutable, and the same in any order of its atoms."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem

from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.topology.molecule import Topology

WATER = {"numbers": (8, 1, 1), "bonds": ((0, 1), (0, 2)), "orders": (1, 1)}
WATER_POSITIONS = np.array([[0.0, 0.0, 0.0], [0.76, 0.59, 0.0], [-0.76, 0.59, 0.0]])


def water() -> Topology:
    return Topology(**WATER, formal_charges=(0, 0, 0))


def test_it_knows_its_neighbors_components_and_charge() -> None:
    topology = Topology.from_smiles("CO.[NH4+].[Cl-]")
    assert topology.n_atoms == 12
    assert topology.charge == 0
    assert topology.components == ((0, 1, 4, 5, 6, 7), (2, 8, 9, 10, 11), (3,))
    assert topology.neighbors[0] == (1, 4, 5, 6)
    assert topology.neighbors[3] == ()
    assert topology.formal_charges[2:4] == (1, -1)


def test_it_is_immutable_and_hashable() -> None:
    topology = water()
    with pytest.raises(dataclasses.FrozenInstanceError):
        topology.numbers = (1,)  # type: ignore[misc]
    assert {topology: "same"}[water()] == "same"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"numbers": (8, 1, 11)}, InputError, "unknown element: Na"),
        ({"numbers": (), "bonds": (), "orders": ()}, TopologyError, "without atoms"),
        ({"formal_charges": (0, 0)}, TopologyError, "2 formal charges for 3 atoms"),
        ({"orders": (1,)}, TopologyError, "1 bond orders for 2 bonds"),
        ({"bonds": ((0, 1), (0, 3))}, TopologyError, r"bond \(0, 3\) in a topology of 3 atoms"),
        ({"bonds": ((1, 0), (0, 2))}, TopologyError, r"bond \(1, 0\).*expected 0 <= i < j"),
        ({"bonds": ((0, 2), (0, 1))}, TopologyError, r"\(0, 1\) follows \(0, 2\); sort"),
        ({"bonds": ((0, 1), (0, 1))}, TopologyError, "give each once"),
        ({"orders": (1, 4)}, TopologyError, r"bond \(0, 2\) has order 4"),
    ],
)
def test_what_cannot_be_a_molecule_raises(
    change: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Topology(**{**WATER, "formal_charges": (0, 0, 0), **change})  # type: ignore[arg-type]


def test_bonds_hold_until_one_is_stretched_too_far() -> None:
    topology = water()
    assert topology.bonds_hold(WATER_POSITIONS)
    stretched = WATER_POSITIONS * [[1.0], [1.65], [1.0]]  # O-H of 1.59 Å; 1.6 * 0.97 = 1.55 Å
    assert not topology.bonds_hold(stretched)
    assert topology.bonds_hold(stretched, factor=1.7)


def test_bonds_hold_across_a_boundary_of_the_cell() -> None:
    shifts = np.array([[0.0, 0.0, 0.0], [5.0, 0.0, -5.0], [0.0, 10.0, 0.0]])
    wrapped = WATER_POSITIONS + shifts
    topology = water()
    assert not topology.bonds_hold(wrapped)
    assert topology.bonds_hold(wrapped, cell=5.0 * np.eye(3))
    assert not topology.bonds_hold(wrapped, cell=5.0 * np.eye(3), pbc=(True, False, True))


def test_a_lone_atom_has_no_bond_to_break() -> None:
    assert Topology((17,), (), (), (-1,)).bonds_hold([[0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (np.zeros((2, 3)), r"shape \(2, 3\); expected \(3, 3\)"),
        (np.full((3, 3), np.nan), r"position of atom 0 is \[nan, nan, nan\] \(3 atoms"),
        ([["a", 0, 0]] * 3, "not an array of numbers"),
    ],
)
def test_positions_that_do_not_fit_raise(positions: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        water().bonds_hold(positions)  # type: ignore[arg-type]


@given(st.permutations(range(9)))
def test_permuting_and_undoing_gives_the_same_topology(order: list[int]) -> None:
    topology = Topology.from_smiles("CCO")
    permuted = topology.permuted(order)
    assert permuted.numbers == tuple(topology.numbers[old] for old in order)
    back = [order.index(atom) for atom in range(9)]
    assert permuted.permuted(back) == topology


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [0, 1, 3]])
def test_what_is_no_permutation_raises(order: list[int]) -> None:
    with pytest.raises(InputError, match="no permutation of 3 atoms"):
        water().permuted(order)


@pytest.mark.parametrize("smiles", ["CCO", "C[N+](=O)[O-]", "c1ccncc1", "N#CC#C", "O.[Cl-]"])
def test_rdkit_gets_back_what_it_gave(smiles: str) -> None:
    topology = Topology.from_smiles(smiles)
    mol = topology.to_rdkit()
    assert Topology.from_rdkit(mol) == topology
    Chem.SanitizeMol(mol)
    assert Chem.CanonSmiles(Chem.MolToSmiles(Chem.RemoveHs(mol))) == Chem.CanonSmiles(smiles)
