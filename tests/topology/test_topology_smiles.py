"""From SMILES and RDKit molecules: the chemistry that the caller knows."""

import pytest
from rdkit import Chem

from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.topology.molecule import Topology


def test_hydrogens_are_added_after_the_atoms_of_the_string() -> None:
    topology = Topology.from_smiles("CCO")
    assert topology.numbers == (6, 6, 8, 1, 1, 1, 1, 1, 1)
    assert topology.bonds[:3] == ((0, 1), (0, 3), (0, 4))
    assert topology.orders == (1,) * 8


def test_several_components_are_one_system() -> None:
    topology = Topology.from_smiles("CCO.O")
    assert len(topology.components) == 2
    assert topology.numbers[:4] == (6, 6, 8, 8)


def test_aromatic_rings_get_a_kekule_form() -> None:
    topology = Topology.from_smiles("c1ccccc1")
    assert sorted(topology.orders) == [1] * 9 + [2] * 3


def test_map_numbers_give_the_order_of_the_atoms() -> None:
    topology = Topology.from_smiles("[O:3]([H:1])[H:2]")
    assert topology.numbers == (1, 1, 8)
    assert topology.bonds == ((0, 2), (1, 2))


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("C1CC", "'C1CC' cannot be read"),
        ("C(C)(C)(C)(C)C", "cannot be read"),
        ("", "empty"),
        ("[CH3:1]O", "maps 1 of 6 atoms"),
        ("[H:1][O:2][H:1]", "repeats a map number"),
    ],
)
def test_strings_that_mean_nothing_raise(smiles: str, message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        Topology.from_smiles(smiles)


@pytest.mark.parametrize("smiles", ["[Na+].[Cl-]", "C*"])
def test_unknown_elements_raise(smiles: str) -> None:
    with pytest.raises(InputError, match="unknown element"):
        Topology.from_smiles(smiles)


def test_implicit_hydrogens_raise() -> None:
    with pytest.raises(TopologyError, match=r"6 hydrogens implicit.*Chem\.AddHs"):
        Topology.from_rdkit(Chem.MolFromSmiles("CCO"))


def test_no_molecule_raises() -> None:
    with pytest.raises(TopologyError, match="expected an RDKit Mol, got NoneType"):
        Topology.from_rdkit(None)  # type: ignore[arg-type]


def test_bonds_without_a_kekule_order_raise() -> None:
    editable = Chem.RWMol(Chem.MolFromSmiles("[Cl-].[Li+]"))
    editable.AddBond(0, 1, Chem.BondType.ZERO)
    with pytest.raises(TopologyError, match=r"bond \(0, 1\) has type ZERO"):
        Topology.from_rdkit(editable.GetMol())


def test_aromatic_bonds_without_a_kekule_form_raise() -> None:
    mol = Chem.MolFromSmiles("c1cccc1", sanitize=False)
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(True)
    with pytest.raises(TopologyError, match="no Kekulé form"):
        Topology.from_rdkit(mol)


def test_the_molecule_is_not_changed() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("c1ccccc1"))
    Topology.from_rdkit(mol)
    assert all(mol.GetAtomWithIdx(atom).GetIsAromatic() for atom in range(6))
