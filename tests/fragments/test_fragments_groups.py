"""Groups: what is never cut."""

import pytest
from rdkit import Chem

from se3set_mlip.elements import formula
from se3set_mlip.fragments.groups import find_groups, functional_groups, ring_bonds
from se3set_mlip.topology.molecule import Topology


def formulas(smiles: str) -> str:
    """Return the formulas of the groups of a molecule."""
    topology = Topology.from_smiles(smiles)
    return " ".join(
        sorted(formula(topology.numbers[atom] for atom in group) for group in find_groups(topology))
    )


@pytest.mark.parametrize(
    ("what", "smiles", "expected"),
    [
        ("hydrazine", "CNNC", "CH3 CH3 H2N2"),
        ("hydrazone", "CC=NNC", "CH2N2 CH3 CH3"),
        ("oxime", "CC=NOC", "CH3 CH3 CHNO"),
        ("hydroxylamine", "CN(C)OC", "CH3 CH3 CH3 NO"),
        ("amide", "CC(=O)NC", "CH3 CH3 CHNO"),
        ("amide anion", "[O-]c1ccccn1", "C5H4NO"),
        ("urea", "CNC(=O)NC", "CH2N2O CH3 CH3"),
        ("carbamate", "CNC(=O)OC", "CH3 CH3 CHNO2"),
        ("aldehyde with its neighbour", "CCC=O", "C2H3O CH3"),
        ("ketone, of which only C=O is kept", "CC(=O)C", "CH3 CH3 CO"),
        ("sulfoxide", "CS(=O)C", "CH3 CH3 OS"),
        ("sulfoxide, charges apart", "C[S+]([O-])C", "CH3 CH3 OS"),
        ("sulfone", "CS(=O)(=O)C", "CH3 CH3 O2S"),
        ("sulfinic acid", "CS(=O)O", "CH3 HO2S"),
        ("sulfonamide", "CS(=O)(=O)NC", "CH3 CH3 HNO2S"),
        ("sulfonate", "CS(=O)(=O)[O-]", "CH3 O3S"),
        ("phosphine oxide", "CP(=O)(C)C", "C3H9OP"),
        ("phosphonate", "CP(=O)(O)[O-]", "CH3 HO3P"),
        ("phosphate", "COP(=O)(O)O", "CH3 H2O4P"),
        ("carboxylic acid", "CC(=O)O", "CH3 CHO2"),
        ("carboxylate", "CC(=O)[O-]", "CH3 CO2"),
        ("nitro", "C[N+](=O)[O-]", "CH3 NO2"),
        ("ester", "CC(=O)OC", "CH3 CH3 CO2"),
        ("anhydride", "CC(=O)OC(C)=O", "C2O3 CH3 CH3"),
        ("trihalide", "CC(F)(F)Cl", "CClF2 CH3"),
        ("dihalide, which is cut", "CC(F)F", "CH CH3 F F"),
        ("hydroxyl", "CO", "CH3 HO"),
        ("water", "O", "H2O"),
        ("ether, which is cut", "COC", "CH3 CH3 O"),
        ("amine, which is cut", "CNC", "CH3 CH3 HN"),
        ("alkene and alkyne", "CC=CC#CC", "C2 C2H2 CH3 CH3"),
    ],
)
def test_functional_groups_stay_whole(what: str, smiles: str, expected: str) -> None:
    assert formulas(smiles) == expected, what


@pytest.mark.parametrize(
    ("what", "smiles", "expected"),
    [
        ("groups that share an atom", "CC(=O)CC=O", "C2H3O CH3 CO"),
        ("groups that share a carbon", "O=CCC=O", "C3H4O2"),
        ("groups that are bonded", "CC(=O)C(=O)OC", "CH3 CH3 CO CO2"),
        ("two acids", "OC(=O)C(=O)O", "C2H2O4"),
        ("an acid at an amide", "CNC(=O)C(=O)O", "C2H2NO3 CH3"),
        ("a peroxy acid", "CC(=O)OO", "CH3 CHO3"),
    ],
)
def test_functional_groups_that_touch_become_one(what: str, smiles: str, expected: str) -> None:
    assert formulas(smiles) == expected, what


@pytest.mark.parametrize(
    ("what", "smiles", "expected"),
    [
        ("eight atoms", "C1CCCCCCC1", "C8H16"),
        ("nine atoms, which are cut", "C1CCCCCCCC1", " ".join(["CH2"] * 9)),
        ("rings that share an atom", "C1CCC2(C1)CCCC2", "C9H16"),
        ("rings side by side", "C1CC1C1CC1", "C3H5 C3H5"),
        ("cubane", "C12C3C4C1C5C2C3C45", "C8H8"),
        ("a lactam", "O=C1CCCN1", "C4H7NO"),
        ("an ester at a ring", "COC(=O)c1ccccc1", "C6H5 CH3 CO2"),
        ("a functional group that touches a ring", "CC(=O)N1CCCC1", "C5H8NO CH3"),
        ("a nitramine in a ring", "O=[N+]([O-])N1CCCC1", "C4H8N2O2"),
        ("an oxide of pyridine, aromatic", "[O-][n+]1ccccc1", "C5H5N O"),
        ("an oxide of an amine", "C[N+](C)(C)[O-]", "CH3 CH3 CH3 NO"),
    ],
)
def test_small_rings_stay_whole(what: str, smiles: str, expected: str) -> None:
    assert formulas(smiles) == expected, what


def test_every_rule_is_readable_and_named_once() -> None:
    rules = functional_groups()
    assert len({rule.name for rule in rules}) == len(rules)
    assert all(Chem.MolFromSmarts(rule.smarts) is not None for rule in rules)
    assert all(rule.description for rule in rules)


def test_a_molecule_of_a_thousand_hydroxyl_groups_keeps_them_all() -> None:
    """RDKit reports at most 1000 matches unless told otherwise."""
    n_units = 1100
    numbers = [6] * n_units + [8] * n_units + [1] * n_units
    bonds = sorted(
        [(k, k + 1) for k in range(n_units - 1)]
        + [(k, n_units + k) for k in range(n_units)]
        + [(n_units + k, 2 * n_units + k) for k in range(n_units)]
    )
    topology = Topology(tuple(numbers), tuple(bonds), (1,) * len(bonds), (0,) * len(numbers))
    groups = find_groups(topology)
    assert len(groups) == 2 * n_units


def test_ring_bonds_of_fused_rings_do_not_depend_on_a_choice_of_basis() -> None:
    cube = Topology.from_smiles("C12C3C4C1C5C2C3C45")
    heavy = [bond for bond in cube.bonds if max(bond) < 8]
    assert ring_bonds(8, heavy) == frozenset(heavy)


def test_no_bonds_no_rings() -> None:
    assert ring_bonds(1, []) == frozenset()
    assert find_groups(Topology((17,), (), (), (-1,))) == ((0,),)
