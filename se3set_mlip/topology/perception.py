"""Between RDKit (SMILES, Mol) and the molecular graph: the chemistry that the caller knows."""

from typing import TYPE_CHECKING

from rdkit import Chem, rdBase

from se3set_mlip.errors import TopologyError
from se3set_mlip.topology.graph import MolecularGraph

if TYPE_CHECKING:
    from rdkit.Chem import Mol

KEKULE_ORDERS = {
    Chem.BondType.SINGLE: 1,
    Chem.BondType.DOUBLE: 2,
    Chem.BondType.TRIPLE: 3,
    Chem.BondType.DATIVE: 1,
}
BOND_TYPES = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}


def graph_from_smiles(smiles: str) -> MolecularGraph:
    """Read a SMILES string and add its hydrogens; see ``Topology.from_smiles``.

    Parameters
    ----------
    smiles
        One or several molecules.

    Raises
    ------
    TopologyError
        If RDKit cannot read the string, or map numbers are incomplete or repeated.
    """
    if not isinstance(smiles, str) or not smiles.strip():
        raise TopologyError(f"SMILES {smiles!r} is empty or no string; give one such as 'CCO'")
    smiles = smiles.strip()
    if not smiles.isascii() or any(letter.isspace() for letter in smiles):
        raise TopologyError(
            f"SMILES {smiles!r} has white space or letters beyond ASCII, where RDKit would stop "
            "reading; give the SMILES without a name, several molecules joined by '.'"
        )
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles, parameters)
    if mol is None:
        raise TopologyError(
            f"SMILES {smiles!r} cannot be read by RDKit; check its brackets, ring closures and "
            "valences"
        )
    mol = Chem.AddHs(mol)
    map_numbers = [atom.GetAtomMapNum() for atom in mol.GetAtoms()]
    if any(map_numbers):
        n_mapped = sum(number > 0 for number in map_numbers)
        if n_mapped != len(map_numbers):
            raise TopologyError(
                f"SMILES {smiles!r} maps {n_mapped} of {len(map_numbers)} atoms (hydrogens "
                "counted); map every atom, hydrogens included, or none"
            )
        if len(set(map_numbers)) != len(map_numbers):
            raise TopologyError(f"SMILES {smiles!r} repeats a map number; use each number once")
        order = sorted(range(len(map_numbers)), key=map_numbers.__getitem__)
        mol = Chem.RenumberAtoms(mol, order)
    return graph_from_rdkit(mol)


def graph_from_rdkit(mol: "Mol") -> MolecularGraph:
    """Read an RDKit molecule; see ``Topology.from_rdkit``.

    Parameters
    ----------
    mol
        Molecule with explicit hydrogens. Aromatic bonds are written in a Kekulé form, dative
        bonds count as single.

    Raises
    ------
    TopologyError
        If there are implicit hydrogens, or bonds without a Kekulé order.
    """
    if not isinstance(mol, Chem.Mol):
        raise TopologyError(
            f"expected an RDKit Mol, got {type(mol).__name__} (RDKit returns None for input it "
            "cannot read); check how the molecule was made"
        )
    mol = Chem.Mol(mol)
    mol.UpdatePropertyCache(strict=False)
    n_implicit = sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())
    if n_implicit:
        raise TopologyError(
            f"the molecule leaves {n_implicit} hydrogens implicit; add them with Chem.AddHs(mol), "
            "so that each atom has a position"
        )
    if any(bond.GetIsAromatic() for bond in mol.GetBonds()):
        try:
            with rdBase.BlockLogs():
                Chem.Kekulize(mol, clearAromaticFlags=True)
        except Chem.MolSanitizeException as error:
            raise TopologyError(
                f"the aromatic bonds have no Kekulé form ({error}); check hydrogens and charges"
            ) from error
    entries = []
    for bond in mol.GetBonds():
        i, j = sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))
        if bond.GetBondType() not in KEKULE_ORDERS:
            raise TopologyError(
                f"bond ({i}, {j}) has type {bond.GetBondType()}; expected a single, double, "
                "triple, aromatic or dative bond: sanitize the molecule"
            )
        entries.append((i, j, KEKULE_ORDERS[bond.GetBondType()]))
    entries.sort()
    return MolecularGraph(
        numbers=tuple(atom.GetAtomicNum() for atom in mol.GetAtoms()),
        bonds=tuple((i, j) for i, j, _ in entries),
        orders=tuple(order for _, _, order in entries),
        formal_charges=tuple(atom.GetFormalCharge() for atom in mol.GetAtoms()),
    )


def graph_to_rdkit(graph: MolecularGraph) -> "Mol":
    """Return a graph as an RDKit molecule; see ``Topology.to_rdkit``.

    No atom may gain implicit hydrogens. Rings and valences are computed, aromaticity is not, and
    no valence is refused: a caller who needs more can call ``Chem.SanitizeMol``.
    """
    editable = Chem.RWMol()
    for number, charge in zip(graph.numbers, graph.formal_charges, strict=True):
        atom = Chem.Atom(number)
        atom.SetFormalCharge(charge)
        atom.SetNoImplicit(True)
        editable.AddAtom(atom)
    for (i, j), order in zip(graph.bonds, graph.orders, strict=True):
        editable.AddBond(i, j, BOND_TYPES[order])
    mol = editable.GetMol()
    mol.UpdatePropertyCache(strict=False)
    Chem.GetSymmSSSR(mol)
    return mol
