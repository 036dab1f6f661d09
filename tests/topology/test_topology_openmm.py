"""From OpenMM topologies: what they state is kept, what they leave out is filled in."""

import io
from typing import Any

import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.topology.molecule import Topology

app = pytest.importorskip("openmm.app")


def build(
    elements: str,
    bonds: list[tuple[int, int]],
    *,
    residue: str = "LIG",
    orders: dict[tuple[int, int], float] | None = None,
    charges: dict[int, int] | None = None,
) -> Any:
    """Return an OpenMM topology of one residue."""
    topology = app.Topology()
    holder = topology.addResidue(residue, topology.addChain())
    atoms = [
        topology.addAtom(
            f"{name}{index}",
            app.Element.getBySymbol(name),
            holder,
            formalCharge=(charges or {}).get(index),
        )
        for index, name in enumerate(elements.split())
    ]
    for i, j in bonds:
        topology.addBond(atoms[i], atoms[j], order=(orders or {}).get((i, j)))
    return topology


def as_openmm(topology: Topology) -> Any:
    """Return a topology as OpenMM has it, without orders and charges."""
    return build(
        " ".join(atom.GetSymbol() for atom in topology.to_rdkit().GetAtoms()), list(topology.bonds)
    )


@pytest.mark.parametrize(
    "smiles", ["CCO.O.O", "CC(=O)[O-]", "CC[NH3+]", "c1ccccc1C(=O)N", "C[N+](C)(C)CCOP(=O)([O-])OC"]
)
def test_orders_and_charges_are_filled_in(smiles: str) -> None:
    known = Topology.from_smiles(smiles)
    found = Topology.from_openmm(as_openmm(known))
    assert found.bonds == known.bonds
    assert found.charge == known.charge
    assert sorted(found.orders) == sorted(known.orders)
    assert sorted(found.formal_charges) == sorted(known.formal_charges)


@pytest.fixture(scope="module")
def peptide() -> Any:
    """The heavy atoms of a peptide with charged and aromatic side chains."""
    mol = Chem.AddHs(Chem.MolFromSequence("AKDERHWYCP"), addResidueInfo=True)
    AllChem.EmbedMolecule(mol, randomSeed=1, useRandomCoords=True)
    return app.PDBFile(io.StringIO(Chem.MolToPDBBlock(Chem.RemoveHs(mol), flavor=4)))


@pytest.mark.parametrize(("ph", "charge"), [(2.0, 3), (7.0, 0), (13.0, -2)])
def test_a_peptide_gets_the_charge_of_its_protons(peptide: Any, ph: float, charge: int) -> None:
    modeller = app.Modeller(peptide.topology, peptide.positions)
    modeller.addHydrogens(pH=ph)
    topology = Topology.from_openmm(modeller.topology)
    names = [f"{atom.residue.name}:{atom.name}" for atom in modeller.topology.atoms()]
    charges = {
        name: value for name, value in zip(names, topology.formal_charges, strict=True) if value
    }
    assert topology.charge == charge
    assert ("LYS:NZ" in charges) == (ph < 10.0)
    assert ("ASP:OD1" in charges or "ASP:OD2" in charges) == (ph > 4.0)
    assert sum(value for name, value in charges.items() if name.startswith("ARG")) == 1
    assert not any(name.startswith("TRP") for name in charges)
    mol = topology.to_rdkit()
    Chem.SanitizeMol(mol)
    aromatic = Chem.MolFromSmarts("c1c[nH]c2ccccc12")
    assert mol.HasSubstructMatch(aromatic)


def test_stated_orders_and_charges_are_kept() -> None:
    bonds = [(0, 1), (1, 2), (1, 3)]
    topology = build("H C H O", bonds, orders={(1, 3): 2})
    assert Topology.from_openmm(topology).orders == (1, 1, 2)
    hydride = build("C H H H", [(0, 1), (0, 2), (0, 3)], charges={0: -1})
    assert Topology.from_openmm(hydride).formal_charges == (-1, 0, 0, 0)


def test_an_aromatic_order_is_left_open() -> None:
    known = Topology.from_smiles("c1ccccc1")
    ring = {bond: 1.5 for bond in known.bonds if max(bond) < 6}
    names = " ".join("C" if number == 6 else "H" for number in known.numbers)
    found = Topology.from_openmm(build(names, list(known.bonds), orders=ring))
    assert found.orders.count(2) == 3


def test_a_missing_hydrogen_on_carbon_raises() -> None:
    with pytest.raises(TopologyError, match=r"atom 0 \('C0', C\) would need a formal charge"):
        Topology.from_openmm(build("C H H H", [(0, 1), (0, 2), (0, 3)]))


def test_a_protein_without_hydrogens_raises(peptide: Any) -> None:
    with pytest.raises(TopologyError, match=r"residue ALA 1 has no hydrogens.*addHydrogens"):
        Topology.from_openmm(peptide.topology)


def test_a_virtual_site_raises() -> None:
    topology = build("O H H", [(0, 1), (0, 2)], residue="HOH")
    topology.addAtom("M", None, next(topology.residues()))
    with pytest.raises(InputError, match=r"atom 3 \('M'\) has no element: virtual sites"):
        Topology.from_openmm(topology)


def test_an_unknown_element_raises() -> None:
    with pytest.raises(InputError, match="unknown element: Na"):
        Topology.from_openmm(build("Na Cl", []))


def test_something_else_raises() -> None:
    with pytest.raises(InputError, match=r"expected an openmm\.app\.Topology, got str"):
        Topology.from_openmm("water.pdb")
