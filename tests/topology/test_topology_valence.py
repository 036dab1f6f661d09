"""Orders and charges from connectivity alone agree with what chemists write."""

import pytest
from rdkit import Chem

from se3set_mlip.errors import TopologyError
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.topology.valence import assign_orders

NEUTRAL = [
    *("CC(=O)Nc1ccc(O)cc1", "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "C1=CC=CC=CC=C1", "c1ccc2[nH]ccc2c1"),
    *("C#CC#N", "C=C=C=O", "O=C=O", "N#N", "O=O", "[C-]#[O+]", "C[N+]#[C-]", "CN=[N+]=[N-]"),
    *("C[N+](=O)[O-]", "CS(C)=O", "CS(=O)(=O)NC", "CS(=O)(=O)O", "COP(=O)(OC)OC", "C[S+]([O-])C"),
    *("FS(F)(F)(F)(F)F", "FP(F)(F)(F)F", "ClC(Cl)Cl", "C[Si](C)(C)C", "B(O)(O)O"),
    *("c1ccsc1", "c1cc[se]c1", "C[As](C)C", "c1cc[n+]([O-])cc1", "O=NO", "CSSC", "II", "[H][H]"),
    *("[NH3+]CC(=O)[O-]", "c1ccc2c(c1)ccc1ccccc12", "O=C1C=CC(=O)C=C1", "[O-][O+]=O"),
]
IONS = [
    *("CC(=O)[O-]", "C[NH3+]", "[NH4+].[Cl-]", "COP(=O)([O-])OC", "CS(=O)(=O)[O-]", "CC[S-]"),
    *("NC(N)=[NH2+]", "c1c[nH]c[nH+]1", "[O-]c1ccccc1", "[O-][N+](=O)[O-]", "F[B-](F)(F)F"),
    *("[OH3+]", "[Li+]", "I[I-]I", "[O-]S(=O)(=O)[O-]", "C[N+](C)(C)C", "[O-]P([O-])(=O)O"),
]


def canonical(topology: Topology) -> str:
    """Return a SMILES that is the same for all Kekulé forms of aromatic rings."""
    mol = topology.to_rdkit()
    Chem.SanitizeMol(mol, Chem.SANITIZE_ALL ^ Chem.SANITIZE_CLEANUP ^ Chem.SANITIZE_PROPERTIES)
    return str(Chem.MolToSmiles(mol))


@pytest.mark.parametrize("smiles", [*NEUTRAL, *IONS])
def test_the_usual_form_is_found(smiles: str) -> None:
    known = Topology.from_smiles(smiles)
    if smiles == "C[S+]([O-])C":
        known = Topology.from_smiles("CS(C)=O")
    found = assign_orders(known.numbers, known.bonds, charge=known.charge)
    assert canonical(Topology(known.numbers, known.bonds, *found)) == canonical(known)


@pytest.mark.parametrize("smiles", IONS)
def test_the_charge_need_not_be_told(smiles: str) -> None:
    known = Topology.from_smiles(smiles)
    found = assign_orders(known.numbers, known.bonds, charge=None)
    assert sum(found.formal_charges) == known.charge


def test_what_is_stated_is_kept() -> None:
    known = Topology.from_smiles("C[S+]([O-])C")
    found = assign_orders(
        known.numbers,
        known.bonds,
        charge=0,
        stated_orders=known.orders,
        stated_charges=[None, 1, None, *[None] * (known.n_atoms - 3)],
    )
    assert found == (known.orders, known.formal_charges)


def test_guanidinium_doubles_the_bond_with_more_hydrogens() -> None:
    known = Topology.from_smiles("CNC(N)=[NH2+]")
    found = assign_orders(known.numbers, known.bonds, charge=None)
    substituted = known.bonds.index((1, 2))
    assert found.orders[substituted] == 1
    assert max(found.formal_charges) == 1


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("[CH3]", "total charge of 0; the geometry suggests"),
        ("[O]N=O", "total charge of 0"),
        ("[H]", r"atom 0 \(H\) has 0 neighbour"),
        ("[CH2]", r"atom 0 \(C\) has 2 neighbour\(s\) \(H H\) and bonds of total order 2"),
    ],
)
def test_open_shells_raise(smiles: str, message: str) -> None:
    known = Topology.from_smiles(smiles)
    with pytest.raises(TopologyError, match=message):
        assign_orders(known.numbers, known.bonds, charge=0)


def test_stated_orders_that_fit_no_valence_raise() -> None:
    known = Topology.from_smiles("C=O")
    orders = [3 if order == 2 else order for order in known.orders]
    with pytest.raises(TopologyError, match=r"atom 0 \(C\) .* total order 5"):
        assign_orders(known.numbers, known.bonds, charge=None, stated_orders=orders)


def test_a_part_without_a_pattern_is_named() -> None:
    numbers, bonds = [7, 7, 7, 1, 1, 1], [(0, 1), (1, 2), (0, 3), (1, 4), (2, 5)]
    charges = [0, None, None, None, None, None]
    orders = [None, 1, None, None, None]
    with pytest.raises(TopologyError, match=r"atom \d \(N\)|unsaturated atoms N0"):
        assign_orders(
            numbers, bonds, charge=None, stated_charges=[0, 0, 0, 0, 0, 0], stated_orders=orders
        )
    assert sum(assign_orders(numbers, bonds, charge=None, stated_charges=charges)[1]) == 0


def test_many_regions_are_solved_in_batches() -> None:
    known = Topology.from_smiles(".".join(["c1ccccc1"] * 120))
    found = assign_orders(known.numbers, known.bonds, charge=0)
    assert found.orders.count(2) == 360
